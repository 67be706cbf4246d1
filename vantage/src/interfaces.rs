//! The captures of a host whose packets leave by who knows which interface: one on each that has an address.
//!
//! Not libpcap's `any`: that would show what passes on loopback twice.

use std::collections::BTreeSet;

use capture::live::Live;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// Memory for the captured packets of one interface.
const RING_BYTES: usize = 32 << 20;
/// A host with more interfaces than this is a router, and its packets pass many of them.
const MOST: usize = 16;

/// One interface under capture.
pub(crate) struct Tap {
    pub(crate) name: String,
    pub(crate) live: Live,
}

/// Begins to capture what TLS clients of this host say to `port`, and what they look up.
///
/// # Errors
/// Why nothing can be captured, in words: it is no failure to go without.
pub(crate) fn listen(port: u16) -> Result<Vec<Tap>, String> {
    let filter = format!("tcp port {port} or udp port 53");
    let mut taps = Vec::new();
    for name in names()? {
        let live = Live::start(&name, &filter, RING_BYTES).map_err(|e| e.to_string())?;
        taps.push(Tap { name, live });
    }
    if taps.is_empty() { Err("no interface of this host is up".into()) } else { Ok(taps) }
}

/// Whether a capture could begin.
///
/// # Errors
/// Why not.
pub(crate) fn may_listen() -> Result<(), String> {
    let name = names()?.into_iter().next().ok_or("no interface of this host is up")?;
    Live::start(&name, "tcp port 9", 1 << 16).map(drop).map_err(|e| e.to_string())
}

/// Interfaces that are up and have an address.
fn names() -> Result<BTreeSet<String>, String> {
    let all = getifaddrs().map_err(|e| format!("asking for this host's interfaces: {e}"))?;
    let addressed = all.filter(|i| {
        let family = i.address.as_ref().and_then(nix::sys::socket::SockaddrLike::family);
        i.flags.contains(InterfaceFlags::IFF_UP)
            && matches!(family, Some(nix::sys::socket::AddressFamily::Inet | nix::sys::socket::AddressFamily::Inet6))
    });
    let names: BTreeSet<String> = addressed.map(|i| i.interface_name).collect();
    if names.len() > MOST {
        return Err(format!("this host has {} interfaces with addresses, and at most {MOST} are captured on", names.len()));
    }
    Ok(names)
}
