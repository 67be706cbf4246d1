//! Ends of connections, and what a connection is called.

use std::hash::BuildHasher;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

use foldhash::fast::RandomState;

/// One end of a connection as the wire has it: an address, of IPv4 mapped into IPv6 (RFC 4291, section 2.5.5.2), and a port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct End([u8; 18]);

impl End {
    /// Of the bytes of an address and a port, in network order.
    pub fn new(address: [u8; 16], port: [u8; 2]) -> Self {
        let mut end = [0; 18];
        end[..16].copy_from_slice(&address);
        end[16..].copy_from_slice(&port);
        Self(end)
    }

    /// Address and port, as numbers of no meaning.
    fn parts(self) -> (u128, u16) {
        let Self([address @ .., high, low]) = self;
        (u128::from_ne_bytes(address), u16::from_ne_bytes([high, low]))
    }
}

impl From<SocketAddr> for End {
    fn from(address: SocketAddr) -> Self {
        let ip = match address {
            SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped(),
            SocketAddr::V6(v6) => *v6.ip(),
        };
        Self::new(ip.octets(), address.port().to_be_bytes())
    }
}

impl From<End> for SocketAddr {
    fn from(End([address @ .., high, low]): End) -> Self {
        SocketAddr::new(Ipv6Addr::from(address).to_canonical(), u16::from_be_bytes([high, low]))
    }
}

/// What a flow is called: the same for both directions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FlowName(pub(crate) u64);

impl FlowName {
    /// Of the flow between two ends.
    pub fn of(a: impl Into<End>, b: impl Into<End>) -> Self {
        // Drawn anew by each process: a stranger cannot choose ports so that flows crowd each other out.
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::default);
        let (a, b) = (a.into().parts(), b.into().parts());
        let (a, b) = (a.min(b), a.max(b));
        Self(KEY.hash_one((a.0, b.0, u32::from(a.1) << 16 | u32::from(b.1))).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str) -> SocketAddr {
        text.parse().expect("it is an address with a port")
    }

    #[test]
    fn both_directions_are_one_flow_and_ports_belong_to_their_addresses() {
        let flow = |a, b| FlowName::of(end(a), end(b));
        assert_eq!(flow("10.0.0.1:1", "10.0.0.2:2"), flow("10.0.0.2:2", "10.0.0.1:1"));
        assert_ne!(flow("10.0.0.1:1", "10.0.0.2:2"), flow("10.0.0.1:2", "10.0.0.2:1"));
    }

    #[test]
    fn a_mapped_address_is_the_same_end() {
        for text in ["192.0.2.7:443", "[2001:db8::7]:40000"] {
            assert_eq!(SocketAddr::from(End::from(end(text))), end(text));
        }
        assert_eq!(End::from(end("[::ffff:192.0.2.7]:443")), End::from(end("192.0.2.7:443")));
    }
}
