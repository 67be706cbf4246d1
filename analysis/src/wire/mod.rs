//! From the bytes of a frame to TCP segments, UDP datagrams and ICMP errors: link types, tunnels, fragments.

pub(crate) mod addresses;
pub mod fragments;
pub mod icmp;
pub mod link;
pub(crate) mod nflog;
pub mod packet;
pub(crate) mod pktap;
pub(crate) mod tunnel;
pub(crate) mod unread;
pub(crate) mod wlan;
