//! The unsafe corner: packet sockets, real-time priority and how glibc looks up names, which no safe crate offers.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Bytes of `struct virtio_net_hdr` that precede each frame on a socket with `PACKET_VNET_HDR`.
pub const VNET_HEADER: usize = 10;

/// Opens a packet socket bound to one interface of the calling thread's namespace: frames come and go
/// with their virtio header (so that offloaded super-frames pass whole), stamped by the kernel, without
/// our own echoes.
pub fn packet_socket(interface: &str) -> io::Result<OwnedFd> {
    let all = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: plain system call; the result is checked before it becomes an owned descriptor.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, i32::from(all)) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just returned by socket(2) and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    for (level, option) in [
        (libc::SOL_PACKET, libc::PACKET_VNET_HDR),
        (libc::SOL_PACKET, PACKET_IGNORE_OUTGOING),
        (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
    ] {
        set(&fd, level, option, 1)?;
    }
    set(&fd, libc::SOL_SOCKET, libc::SO_RCVBUF, 8 << 20)?;
    set(&fd, libc::SOL_SOCKET, libc::SO_SNDBUF, 8 << 20)?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: all,
        sll_ifindex: nix::net::if_::if_nametoindex(interface)? as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the pointer and length describe `address`, which lives across the call.
    let bound =
        unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size_of::<libc::sockaddr_ll>() as libc::socklen_t) };
    if bound < 0 { Err(io::Error::last_os_error()) } else { Ok(fd) }
}

/// `linux/if_packet.h`; the libc crate does not have it on every target.
const PACKET_IGNORE_OUTGOING: i32 = 23;

fn set(fd: &OwnedFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and length describe `value`, which lives across the call.
    let done = unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const value).cast(), size_of::<i32>() as libc::socklen_t)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives the calling thread real-time priority (`SCHED_FIFO`) over everything the lab starves.
pub fn real_time(priority: i32) -> io::Result<()> {
    // SAFETY: sched_param is a plain struct for which zero is valid; the call only reads it.
    let done = unsafe {
        let mut param: libc::sched_param = std::mem::zeroed();
        param.sched_priority = priority;
        libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const param)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// In a static binary, has names of hosts and users looked up in files and by DNS alone, whatever `/etc/nsswitch.conf` says: other ways
/// are plugins that glibc would load from the host, and a plugin of another glibc than ours may end the process. To be called before the
/// first lookup. Elsewhere it does nothing.
pub fn without_plugins_for_names() {
    #[cfg(all(target_feature = "crt-static", target_env = "gnu"))]
    for (database, ways) in [(c"hosts", c"files dns"), (c"passwd", c"files"), (c"group", c"files")] {
        // SAFETY: both are strings that end with a zero byte and live for ever; glibc copies what it keeps, and no lookup has begun.
        unsafe { __nss_configure_lookup(database.as_ptr(), ways.as_ptr()) };
    }
}

#[cfg(all(target_feature = "crt-static", target_env = "gnu"))]
unsafe extern "C" {
    /// `nss.h`: the ways by which one database is looked up, instead of those of `/etc/nsswitch.conf`.
    fn __nss_configure_lookup(database: *const libc::c_char, ways: *const libc::c_char) -> libc::c_int;
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_unknown_interface_is_an_error_not_a_socket() {
        assert!(super::packet_socket("no-such-if0").is_err());
    }
}
