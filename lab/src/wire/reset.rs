//! Resets in an end's name, as a middlebox sends them.

use crate::sys::VNET_HEADER;

const ETHERNET: usize = 14;
const TCP: usize = 20;

/// The two resets that answer `frame` (virtio header, Ethernet, IP without extensions, TCP): one on to its receiver
/// and one back to its sender. Absent if the frame is something else.
pub(super) fn pair(frame: &[u8], payload: u32, ttl: u8) -> Option<(Vec<u8>, Vec<u8>)> {
    let packet = frame.get(VNET_HEADER..)?;
    let ip = packet.get(ETHERNET..)?;
    let six = ip.first()? >> 4 == 6;
    let header = if six { 40 } else { usize::from(ip.first()? & 15) * 4 };
    let tcp = ip.get(header..header + TCP)?;
    let seq = u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?);
    let ack = u32::from_be_bytes(tcp.get(8..12)?.try_into().ok()?);
    let on = build(packet.get(..ETHERNET)?, ip.get(..header)?, tcp, six, false, (seq, ack), ttl)?;
    let back = build(packet.get(..ETHERNET)?, ip.get(..header)?, tcp, six, true, (ack, seq.wrapping_add(payload)), ttl)?;
    Some((on, back))
}

fn build(link: &[u8], ip: &[u8], tcp: &[u8], six: bool, swap: bool, numbers: (u32, u32), ttl: u8) -> Option<Vec<u8>> {
    let mut frame = vec![0; VNET_HEADER];
    frame.extend_from_slice(link);
    let mut header = ip.get(..if six { 40 } else { 20 })?.to_vec();
    let (from, size) = if six { (8, 16) } else { (12, 4) };
    if swap {
        let (left, right) = header.get_mut(from..from + 2 * size)?.split_at_mut(size);
        left.swap_with_slice(right);
    }
    if six {
        header[4..6].copy_from_slice(&(TCP as u16).to_be_bytes());
        header[7] = ttl;
    } else {
        header[0] = 0x45;
        header[2..4].copy_from_slice(&(20 + TCP as u16).to_be_bytes());
        header[4..6].copy_from_slice(&[0, 0]);
        header[8] = ttl;
        header[10..12].copy_from_slice(&[0, 0]);
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    let mut reset = tcp.get(..TCP)?.to_vec();
    if swap {
        let (left, right) = reset.get_mut(..4)?.split_at_mut(2);
        left.swap_with_slice(right);
    }
    reset[4..8].copy_from_slice(&numbers.0.to_be_bytes());
    reset[8..12].copy_from_slice(&numbers.1.to_be_bytes());
    reset[12] = 5 << 4;
    reset[13] = 0x14; // RST, ACK
    reset[14..20].copy_from_slice(&[0; 6]);
    let addresses = header.get(from..from + 2 * size)?.to_vec();
    let sum = checksum(&[&addresses, &[0, 6], &(TCP as u16).to_be_bytes(), &reset]);
    reset[16..18].copy_from_slice(&sum.to_be_bytes());
    frame.extend_from_slice(&header);
    frame.extend_from_slice(&reset);
    Some(frame)
}

/// The Internet checksum (RFC 1071) of parts of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|p| p.chunks(2)).map(|c| u32::from(c[0]) << 8 | c.get(1).map_or(0, |b| u32::from(*b)));
    let mut sum: u32 = words.sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_header_with_its_checksum_sums_to_nothing() {
        let mut header = [0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 77, 0, 10, 10, 77, 0, 11];
        let sum = super::checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(super::checksum(&[&header]), 0);
    }
}
