//! Address translation on the wire: one host's IPv4 connections leave in another address and port.
//!
//! It rewrites whole frames and mends their checksums by the difference (RFC 1624), which needs checksums that are
//! complete: offloads must be off.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use super::Port;
use crate::sys::VNET_HEADER;

const IP: usize = VNET_HEADER + 14;

/// Settings of the translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NatConfig {
    /// The host behind it.
    pub host: Port,
    /// Its own address.
    pub inside: Ipv4Addr,
    /// The address that others see.
    pub outside: Ipv4Addr,
    /// The first port given out; one more for each connection.
    pub first_port: u16,
}

/// A running translation.
pub(super) struct Nat {
    config: NatConfig,
    by_inside: HashMap<u16, u16>,
    by_outside: HashMap<u16, u16>,
}

impl Nat {
    pub(super) fn new(config: NatConfig) -> Self {
        Self { config, by_inside: HashMap::new(), by_outside: HashMap::new() }
    }

    /// Pairs of ports, inside and outside.
    pub(super) fn ports(&self) -> Vec<(u16, u16)> {
        self.by_inside.iter().map(|(a, b)| (*a, *b)).collect()
    }

    /// A frame that comes from the wire's far side: back to the address inside.
    pub(super) fn inward(&mut self, frame: &mut [u8]) {
        let (config, ports) = (self.config, &self.by_outside);
        rewrite(frame, 16, 2, config.outside, config.inside, |port| ports.get(&port).copied());
    }

    /// A frame that is to go to `to`: out of the host behind the translation, in the address outside.
    pub(super) fn outward(&mut self, to: Port, frame: &mut [u8]) {
        let Self { config, by_inside, by_outside } = self;
        if to == config.host {
            return;
        }
        rewrite(frame, 12, 0, config.inside, config.outside, |port| {
            let next = config.first_port.wrapping_add(by_inside.len() as u16);
            let outside = *by_inside.entry(port).or_insert(next);
            by_outside.insert(outside, port);
            Some(outside)
        });
    }
}

/// Replaces an address (at `address` of the IP header) and its port (at `port` of the TCP header), if it is `from`.
fn rewrite(
    frame: &mut [u8],
    address: usize,
    port: usize,
    from: Ipv4Addr,
    to: Ipv4Addr,
    mut map: impl FnMut(u16) -> Option<u16>,
) -> Option<()> {
    let ip = frame.get_mut(IP..)?;
    if ip.first()? >> 4 != 4 || *ip.get(9)? != 6 || ip.get(address..address + 4)? != from.octets() {
        return None;
    }
    let tcp = usize::from(ip[0] & 15) * 4;
    let old_port = u16::from_be_bytes(ip.get(tcp + port..tcp + port + 2)?.try_into().ok()?);
    let new_port = map(old_port)?;
    let ttl = u16::from_be_bytes([*ip.get(8)?, 6]);
    let hop = ttl.wrapping_sub(0x100);
    let mut header_changes = vec![(ttl, hop)];
    let mut changes = vec![(old_port, new_port)];
    for (old, new) in from.octets().chunks(2).zip(to.octets().chunks(2)) {
        let pair = (u16::from_be_bytes([old[0], old[1]]), u16::from_be_bytes([new[0], new[1]]));
        header_changes.push(pair);
        changes.push(pair);
    }
    ip.get_mut(8..9)?[0] = (hop >> 8) as u8;
    ip.get_mut(address..address + 4)?.copy_from_slice(&to.octets());
    ip.get_mut(tcp + port..tcp + port + 2)?.copy_from_slice(&new_port.to_be_bytes());
    mend(ip.get_mut(10..12)?, &header_changes);
    mend(ip.get_mut(tcp + 16..tcp + 18)?, &changes);
    Some(())
}

fn mend(checksum: &mut [u8], changes: &[(u16, u16)]) {
    let Some(old) = checksum.first_chunk::<2>() else { return };
    let mut sum = u32::from(!u16::from_be_bytes(*old));
    for (from, to) in changes {
        sum += u32::from(!from) + u32::from(*to);
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    checksum.copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_mended_checksum_is_the_one_computed_anew() {
        // Words 0x1234 0x5678: sum 0x68ac, checksum 0x9753. With 0x1111 for 0x1234: sum 0x6789, checksum 0x9876.
        let mut checksum = 0x9753_u16.to_be_bytes();
        super::mend(&mut checksum, &[(0x1234, 0x1111)]);
        assert_eq!(u16::from_be_bytes(checksum), 0x9876);
    }
}
