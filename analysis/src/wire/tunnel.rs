//! What may stand between a frame's beginning and its IP packet: tags, sessions, labels, tunnels.
//!
//! Own code because this is the hot path. Every function takes bytes and cannot panic on any input.

use crate::wire::packet::{NoSegment, Unread, array, be16, byte, tail};

/// An IP packet within something, and the most bytes it can have by that something's own account.
#[derive(Clone, Copy)]
pub(crate) struct Inner<'a> {
    pub bytes: &'a [u8],
    pub most: usize,
}

impl<'a> Inner<'a> {
    pub fn all(bytes: &'a [u8]) -> Self {
        Self { bytes, most: usize::MAX }
    }

    fn at(frame: &'a [u8], at: usize) -> Result<Self, NoSegment> {
        tail(frame, at).map(Self::all)
    }
}

/// The IP packet behind the EtherType at `at`.
#[inline]
pub(crate) fn after_ethertype(frame: &[u8], at: usize) -> Result<Inner<'_>, NoSegment> {
    behind(be16(frame, at)?, frame, at + 2)
}

/// Where a header ends, and the EtherType of what follows it.
type Step = Result<(u16, usize), NoSegment>;

/// The IP packet behind a known EtherType and what may stand between: VLAN tags, the tags of switches' ports (802.1BR, VN-tag),
/// Cisco's metadata, provider backbones (802.1ah), LLC, PPPoE (RFC 2516), MPLS (RFC 3032), NSH (RFC 8300).
///
/// One loop and no recursion: a hostile frame has room for a million of them.
#[inline]
pub(crate) fn behind(mut ethertype: u16, frame: &[u8], mut at: usize) -> Result<Inner<'_>, NoSegment> {
    let mut most = usize::MAX;
    loop {
        (ethertype, at) = match ethertype {
            0x0800 | 0x86dd => return Ok(Inner { bytes: tail(frame, at)?, most }),
            0x8100 | 0x88a8 | 0x9100 => (be16(frame, at + 2)?, at + 4),
            0x8847 | 0x8848 => labels(frame, at)?,
            0x8864 => {
                most = most.min(usize::from(be16(frame, at + 4)?).saturating_sub(2));
                (in_ppp(be16(frame, at + 6)?)?, at + 8)
            }
            other => rare(other, frame, at)?,
        }
    }
}

#[inline(never)]
fn rare(ethertype: u16, frame: &[u8], at: usize) -> Step {
    let tag = match ethertype {
        // Not a type but a length: LLC follows (IEEE 802.3).
        ..=0x05ff => return llc(frame, at),
        0x894f => return nsh(frame, at),
        0x8926 => 4, // VN-tag
        0x893f => 6, // E-tag (802.1BR)
        // A version, how many options, the options.
        0x8909 => 2 + 4 * usize::from(byte(frame, at + 1)?).max(1),
        // The customer's frame, whole, behind the service's identifier (802.1ah).
        0x88e7 => 4 + 12,
        other => return Err(Unread::ethertype(other)),
    };
    Ok((be16(frame, at + tag)?, at + tag + 2))
}

/// The IP packet behind an LLC header.
pub(crate) fn behind_llc(frame: &[u8], at: usize) -> Result<Inner<'_>, NoSegment> {
    llc(frame, at).and_then(|(ethertype, at)| behind(ethertype, frame, at))
}

/// LLC (IEEE 802.2): an EtherType in SNAP (RFC 1042; 802.1H for what bridges translate), or IP itself.
fn llc(frame: &[u8], at: usize) -> Step {
    match array(frame, at)? {
        [0xaa, 0xaa, 0x03] => match array(frame, at + 3)? {
            [0, 0, 0 | 0xf8] => Ok((be16(frame, at + 6)?, at + 8)),
            [a, b, c] => Err(Unread::snap_oui(u32::from_be_bytes([0, a, b, c]))),
        },
        [0x06, 0x06, 0x03] => Ok((0x0800, at + 3)),
        [sap, ..] => Err(Unread::llc_sap(sap)),
    }
}

/// A service chain's header (RFC 8300) says how long it is, in words, and what follows.
fn nsh(frame: &[u8], at: usize) -> Step {
    let words = usize::from(byte(frame, at + 1)? & 0x3f);
    if words < 2 {
        return Err(NoSegment::Malformed("NSH header shorter than 8 bytes"));
    }
    let end = at + 4 * words;
    match byte(frame, at + 3)? {
        1 => Ok((0x0800, end)),
        2 => Ok((0x86dd, end)),
        3 => Ok((be16(frame, end + 12)?, end + 14)),
        4 => Ok((0x894f, end)),
        5 => Ok((0x8847, end)),
        other => Err(NoSegment::NotUnderstood(Unread::NshNext(other))),
    }
}

/// The EtherType that means what a PPP protocol means.
pub(crate) fn in_ppp(protocol: u16) -> Result<u16, NoSegment> {
    match protocol {
        0x0021 => Ok(0x0800),
        0x0057 => Ok(0x86dd),
        0x0281 => Ok(0x8847),
        other => Err(Unread::ppp_protocol(other)),
    }
}

/// Behind the MPLS label stack nothing says what follows: IP by its version, or Ethernet behind a control word.
fn labels(frame: &[u8], mut at: usize) -> Step {
    while byte(frame, at + 2)? & 1 == 0 {
        at += 4;
    }
    at += 4;
    match byte(frame, at)? >> 4 {
        4 | 6 => Ok((0x0800, at)),
        0 => Ok((be16(frame, at + 4 + 12)?, at + 4 + 14)),
        _ => Err(NoSegment::OtherProtocol),
    }
}

/// What VXLAN (RFC 7348; GPE on port 4790), Geneve (RFC 8926) and GTP-U (3GPP TS 29.281) carry on their own ports.
pub(crate) fn in_udp(source: u16, destination: u16, payload: &[u8]) -> Option<Inner<'_>> {
    match (source, destination) {
        (_, 4789 | 8472) => after_ethertype(payload, 8 + 12).ok(),
        (_, 4790) => vxlan_gpe(payload).ok(),
        (_, 6081) => {
            let inner = 8 + usize::from(byte(payload, 0).ok()? & 0x3f) * 4;
            match be16(payload, 2).ok()? {
                0x6558 => after_ethertype(payload, inner + 12).ok(),
                ethertype => behind(ethertype, payload, inner).ok(),
            }
        }
        (2152, _) | (_, 2152) => gtp(payload).ok(),
        _ => None,
    }
}

/// VXLAN that says what it carries (draft-ietf-nvo3-vxlan-gpe, section 3).
fn vxlan_gpe(payload: &[u8]) -> Result<Inner<'_>, NoSegment> {
    match (byte(payload, 0)? & 0x04 != 0, byte(payload, 3)?) {
        (true, 1 | 2) => Inner::at(payload, 8),
        (true, 3) | (false, _) => after_ethertype(payload, 8 + 12),
        (true, 4) => behind(0x894f, payload, 8),
        _ => Err(NoSegment::OtherProtocol),
    }
}

fn gtp(payload: &[u8]) -> Result<Inner<'_>, NoSegment> {
    let flags = byte(payload, 0)?;
    if flags & 0xf0 != 0x30 || byte(payload, 1)? != 0xff {
        return Err(NoSegment::OtherProtocol);
    }
    if flags & 0x07 == 0 {
        return Inner::at(payload, 8);
    }
    let (mut at, mut next) = (12, byte(payload, 11)?);
    while next != 0 && flags & 0x04 != 0 {
        let words = usize::from(byte(payload, at)?);
        if words == 0 {
            return Err(NoSegment::Malformed("GTP extension header of no length"));
        }
        at += words * 4;
        next = byte(payload, at - 1)?;
    }
    Inner::at(payload, at)
}

/// What GRE carries (RFC 2784, RFC 2890): IP, or Ethernet, or frames that a switch mirrors (ERSPAN, draft-foschiano-erspan).
pub(crate) fn gre(body: &[u8]) -> Result<Inner<'_>, NoSegment> {
    let flags = be16(body, 0)?;
    if flags & 0x7 != 0 {
        return Err(NoSegment::OtherProtocol); // version 1 is PPTP's
    }
    let optional = [0x8000, 0x2000, 0x1000].iter().filter(|bit| flags & **bit != 0).count() * 4;
    match be16(body, 2)? {
        0x6558 => after_ethertype(body, 4 + optional + 12),
        0x88be => after_ethertype(body, 4 + optional + if flags & 0x1000 != 0 { 8 } else { 0 } + 12),
        0x22eb => erspan_3(body, 4 + optional),
        ..=0x05ff => Err(NoSegment::OtherProtocol), // lengths are Ethernet's only
        ethertype => behind(ethertype, body, 4 + optional),
    }
}

/// ERSPAN type III: a header of twelve bytes, and eight more if it says so.
fn erspan_3(body: &[u8], at: usize) -> Result<Inner<'_>, NoSegment> {
    let more = if byte(body, at + 11)? & 1 != 0 { 8 } else { 0 };
    after_ethertype(body, at + 12 + more + 12)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MACS: [u8; 12] = [2; 12];
    const PACKET: [u8; 20] = [0x45; 20];

    fn read(between: &[&[u8]]) -> Result<Vec<u8>, NoSegment> {
        let frame = [&MACS[..], &between.concat(), &PACKET].concat();
        after_ethertype(&frame, 12).map(|inner| inner.bytes.to_vec())
    }

    #[test]
    fn ip_is_found_behind_each_tag_and_behind_several() {
        const VLAN: &[u8] = &[0x81, 0, 0, 5];
        const IP: &[u8] = &[8, 0];
        const NSH_TO_IP: &[u8] = &[0x89, 0x4f, 0x0f, 0xc2, 2, 1, 0, 0, 1, 1];
        let ways: [&[&[u8]]; 14] = [
            &[IP],
            &[VLAN, IP],
            &[&[0x89, 0x26, 0, 0, 0, 0], IP],
            &[&[0x89, 0x26, 0x80, 1, 0x20, 2], VLAN, IP],
            &[&[0x89, 0x3f, 0, 0, 0, 0, 0, 0], VLAN, IP],
            &[&[0x89, 0x09, 1, 1, 0, 1, 0, 10], IP],
            &[&[0x89, 0x09, 1, 2, 0, 1, 0, 10, 0, 1, 0, 11], IP],
            &[&[0, 28, 0xaa, 0xaa, 3, 0, 0, 0], IP],
            &[VLAN, &[0, 28, 0xaa, 0xaa, 3, 0, 0, 0xf8], IP],
            &[&[0, 23, 6, 6, 3]],
            &[&[0x88, 0xe7, 0, 0, 1, 0], &MACS, VLAN, IP],
            &[NSH_TO_IP],
            &[&[0x89, 0x4f, 0x0f, 0xc6, 1, 3, 0, 0, 1, 1], &[0; 16], &MACS, IP],
            &[&[0x88, 0x47, 0, 1, 0x01, 64, 0, 0, 0, 0], &MACS, &[0x88, 0x64, 0x11, 0, 0, 1, 0, 22, 0, 0x21]],
        ];
        for way in ways {
            assert_eq!(read(way), Ok(PACKET.to_vec()), "{way:x?}");
        }
    }

    #[test]
    fn what_is_not_read_is_named() {
        let unread = |unread| Err(NoSegment::NotUnderstood(unread));
        assert_eq!(read(&[&[0x81, 0, 0, 5, 0x88, 0xe5]]), unread(Unread::EtherType(0x88e5)));
        assert_eq!(read(&[&[0, 28, 0x98, 0x98, 3]]), unread(Unread::LlcSap(0x98)));
        assert_eq!(read(&[&[0, 28, 0xaa, 0xaa, 3, 0, 1, 2, 8, 0]]), unread(Unread::SnapOui(0x102)));
        assert_eq!(read(&[&[0x89, 0x4f, 0x0f, 0xc2, 2, 9, 0, 0, 1, 1]]), unread(Unread::NshNext(9)));
        assert_eq!(read(&[&[0x88, 0x64, 0x11, 0, 0, 1, 0, 22, 0, 0x2d]]), unread(Unread::PppProtocol(0x2d)));
        // ARP, spanning tree, LCP.
        for quiet in [&[8, 6][..], &[0, 38, 0x42, 0x42, 3], &[0x88, 0x64, 0x11, 0, 0, 1, 0, 22, 0xc0, 0x21]] {
            assert_eq!(read(&[quiet]), Err(NoSegment::OtherProtocol));
        }
        assert!(matches!(read(&[&[0x89, 0x4f, 0x0f, 0xc0, 2, 4, 0, 0]]), Err(NoSegment::Malformed(_))));
    }

    #[test]
    fn a_frame_full_of_headers_ends_in_an_error() {
        // Labels with a control word, then Ethernet that begins with labels again.
        let round = [&[0, 1, 0x01, 64, 0, 0, 0, 0][..], &MACS, &[0x88, 0x47]].concat();
        assert_eq!(behind(0x8847, &round.repeat(200_000), 0).map(|_| ()), Err(NoSegment::Incomplete));
    }

    proptest! {
        #[test]
        fn hostile_headers_are_harmless(kind in 0usize..10, bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let kinds = [0x26, 0x8100, 0x8847, 0x8864, 0x8926, 0x893f, 0x8909, 0x88e7, 0x894f, 0x0800];
            let _ = behind(kinds[kind], &bytes, 0);
        }
    }
}
