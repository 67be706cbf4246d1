//! The two addresses of an IP packet, borrowed from its header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of an IP packet, its sender's first, as they lie in its header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Addresses<'a> {
    /// IPv4.
    V4(&'a [u8; 8]),
    /// IPv6.
    V6(&'a [u8; 32]),
}

impl Addresses<'_> {
    /// Who sent it.
    pub fn source(self) -> IpAddr {
        match self {
            Addresses::V4([a, b, c, d, ..]) => Ipv4Addr::new(*a, *b, *c, *d).into(),
            Addresses::V6(both) => Ipv6Addr::from(halves(both)[0]).into(),
        }
    }

    /// For whom it is.
    pub fn destination(self) -> IpAddr {
        match self {
            Addresses::V4([.., a, b, c, d]) => Ipv4Addr::new(*a, *b, *c, *d).into(),
            Addresses::V6(both) => Ipv6Addr::from(halves(both)[1]).into(),
        }
    }
}

/// Two IPv6 addresses that lie side by side.
#[inline]
pub(crate) fn halves(both: &[u8; 32]) -> [[u8; 16]; 2] {
    let (first, second) = both.split_at(16);
    [first, second].map(|half| half.try_into().expect("half of 32 bytes are 16"))
}
