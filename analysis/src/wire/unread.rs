//! What was not understood of a frame, by the number that names it in Wireshark and in its registry.
//!
//! Only what may hide a TCP connection counts: ARP, LLDP, spanning tree and their like are known to hold none.

use std::fmt;

use crate::wire::packet::NoSegment;

/// The first thing in a frame that nobody here can read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Unread {
    /// A link type, by its number in the registry (`LINKTYPE_`).
    LinkType(i32),
    /// An EtherType.
    EtherType(u16),
    /// An LLC service access point (IEEE 802.2).
    LlcSap(u8),
    /// Who defines what follows a SNAP header.
    SnapOui(u32),
    /// A PPP protocol.
    PppProtocol(u16),
    /// What follows an NSH header (RFC 8300).
    NshNext(u8),
    /// A version of IP that is neither 4 nor 6.
    IpVersion(u8),
    /// An IP protocol that carries packets.
    IpProtocol(u8),
    /// An encrypted 802.11 frame.
    WlanProtected,
    /// One of several pieces of an 802.11 frame.
    WlanFragment,
    /// An 802.11 frame with several packets in it.
    WlanAggregate,
}

impl Unread {
    /// What an EtherType means that nobody here reads.
    pub(crate) fn ethertype(number: u16) -> NoSegment {
        match number {
            // ARP, Wake-on-LAN, AVTP, SRP, DEC, RARP, AppleTalk and its ARP, IPX, pause frames, LACP and OAM.
            0x0806 | 0x0842 | 0x22f0 | 0x22ea | 0x6001..=0x6007 | 0x8035 | 0x809b | 0x80f3 | 0x8137 | 0x8808 | 0x8809
            // PPPoE discovery, EAPOL, PROFINET, Realtek's, ATA, EtherCAT, GOOSE and its kin, LLDP, HomePlug, MRP, MVRP, MMRP, PTP.
            | 0x8863 | 0x888e | 0x8892 | 0x8899 | 0x88a2 | 0x88a4 | 0x88b8..=0x88ba | 0x88c7 | 0x88cc | 0x88e1 | 0x88e3
            | 0x88f5..=0x88f7
            // Connectivity faults, Fibre Channel and its discovery, TDLS, HomePlug again, RoCE, IEEE 1905, loopback.
            | 0x8902 | 0x8906 | 0x890d | 0x8912 | 0x8914 | 0x8915 | 0x893a | 0x9000 => NoSegment::OtherProtocol,
            number => NoSegment::NotUnderstood(Self::EtherType(number)),
        }
    }

    /// The same of an LLC service access point.
    pub(crate) fn llc_sap(number: u8) -> NoSegment {
        match number {
            // Null, spanning tree, IPX, NetBIOS, IS-IS, IPX without LLC.
            0x00 | 0x42 | 0xe0 | 0xf0 | 0xfe | 0xff => NoSegment::OtherProtocol,
            number => NoSegment::NotUnderstood(Self::LlcSap(number)),
        }
    }

    /// The same of who defines what follows a SNAP header.
    pub(crate) fn snap_oui(number: u32) -> NoSegment {
        match number {
            // What switches tell each other: Cisco (CDP, DTP, PVST+), Extreme, Foundry; AppleTalk.
            0x00_000c | 0x00_e02b | 0x00_e052 | 0x08_0007 => NoSegment::OtherProtocol,
            number => NoSegment::NotUnderstood(Self::SnapOui(number)),
        }
    }

    /// The same of a PPP protocol.
    pub(crate) fn ppp_protocol(number: u16) -> NoSegment {
        match number {
            // Control protocols: of the network layers, of the link.
            0x8000.. => NoSegment::OtherProtocol,
            number => NoSegment::NotUnderstood(Self::PppProtocol(number)),
        }
    }

    /// The same of an IP protocol: most carry what they say and no TCP, few carry packets.
    pub(crate) fn ip_protocol(number: u8) -> NoSegment {
        match number {
            // ESP, AH, mobile IP, IPIP, EtherIP, IPComp, L2TP, MPLS, Ethernet.
            50 | 51 | 55 | 94 | 97 | 108 | 115 | 137 | 143 => NoSegment::NotUnderstood(Self::IpProtocol(number)),
            _ => NoSegment::OtherProtocol,
        }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unread::LinkType(number) => write!(f, "link type {number}"),
            Unread::EtherType(number @ 0x88e5) => write!(f, "EtherType {number:#06x} (MACsec)"),
            Unread::EtherType(number @ 0x8903) => write!(f, "EtherType {number:#06x} (FabricPath)"),
            Unread::EtherType(number @ 0x22f3) => write!(f, "EtherType {number:#06x} (TRILL)"),
            Unread::EtherType(number) => write!(f, "EtherType {number:#06x}"),
            Unread::LlcSap(number) => write!(f, "LLC SAP {number:#04x}"),
            Unread::SnapOui(number) => write!(f, "SNAP OUI {number:#08x}"),
            Unread::PppProtocol(number) => write!(f, "PPP protocol {number:#06x}"),
            Unread::NshNext(number) => write!(f, "NSH next protocol {number}"),
            Unread::IpVersion(number) => write!(f, "IP version {number}"),
            Unread::IpProtocol(50) => write!(f, "IP protocol 50 (ESP)"),
            Unread::IpProtocol(51) => write!(f, "IP protocol 51 (AH)"),
            Unread::IpProtocol(115) => write!(f, "IP protocol 115 (L2TP)"),
            Unread::IpProtocol(number) => write!(f, "IP protocol {number}"),
            Unread::WlanProtected => write!(f, "802.11 (encrypted)"),
            Unread::WlanFragment => write!(f, "802.11 (fragments)"),
            Unread::WlanAggregate => write!(f, "802.11 (A-MSDU of several)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_called_by_its_number() {
        let said =
            [Unread::LinkType(147), Unread::EtherType(0x8926), Unread::LlcSap(6), Unread::SnapOui(0xf8), Unread::IpProtocol(50)];
        let words = ["link type 147", "EtherType 0x8926", "LLC SAP 0x06", "SNAP OUI 0x0000f8", "IP protocol 50 (ESP)"];
        assert_eq!(said.map(|unread| unread.to_string()), words);
    }

    #[test]
    fn what_holds_no_tcp_is_no_news() {
        assert_eq!(Unread::ethertype(0x0806), NoSegment::OtherProtocol);
        assert_eq!(Unread::ethertype(0x88e5), NoSegment::NotUnderstood(Unread::EtherType(0x88e5)));
        assert_eq!(Unread::ppp_protocol(0xc021), NoSegment::OtherProtocol);
        assert_eq!(Unread::ip_protocol(89), NoSegment::OtherProtocol);
        assert_eq!(Unread::llc_sap(0x42), NoSegment::OtherProtocol);
    }
}
