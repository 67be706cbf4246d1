//! What may stand between a frame's beginning and its IP packet: tags, sessions, labels, tunnels.
//!
//! Own code because this is the hot path. Every function takes bytes and cannot panic on any input.

use crate::packet::{NoSegment, be16, byte, tail};

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

/// The IP packet behind a known EtherType and what may stand between: VLAN tags, PPPoE (RFC 2516), MPLS (RFC 3032).
#[inline]
pub(crate) fn behind(mut ethertype: u16, frame: &[u8], mut at: usize) -> Result<Inner<'_>, NoSegment> {
    loop {
        match ethertype {
            0x0800 | 0x86dd => return Inner::at(frame, at),
            0x8100 | 0x88a8 | 0x9100 => {
                ethertype = be16(frame, at + 2)?;
                at += 4;
            }
            0x8864 => {
                let known = matches!(be16(frame, at + 6)?, 0x0021 | 0x0057);
                let most = usize::from(be16(frame, at + 4)?).saturating_sub(2);
                let inner = Inner { bytes: tail(frame, at + 8)?, most };
                return if known { Ok(inner) } else { Err(NoSegment::OtherProtocol) };
            }
            0x8847 | 0x8848 => return after_labels(frame, at),
            _ => return Err(NoSegment::OtherProtocol),
        }
    }
}

/// Behind the MPLS label stack nothing says what follows: IP by its version, or Ethernet behind a control word.
fn after_labels(frame: &[u8], mut at: usize) -> Result<Inner<'_>, NoSegment> {
    while byte(frame, at + 2)? & 1 == 0 {
        at += 4;
    }
    at += 4;
    match byte(frame, at)? >> 4 {
        4 | 6 => Inner::at(frame, at),
        0 => after_ethertype(frame, at + 4 + 12),
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
        ethertype => behind(ethertype, body, 4 + optional),
    }
}

/// ERSPAN type III: a header of twelve bytes, and eight more if it says so.
fn erspan_3(body: &[u8], at: usize) -> Result<Inner<'_>, NoSegment> {
    let more = if byte(body, at + 11)? & 1 != 0 { 8 } else { 0 };
    after_ethertype(body, at + 12 + more + 12)
}
