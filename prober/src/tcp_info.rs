//! `TCP_INFO`: what the kernel knows of a connection (Linux, `include/uapi/linux/tcp.h`).
//!
//! The kernel's structure grows at its end; a short answer leaves later fields absent.
#![allow(unsafe_code, reason = "getsockopt(2) of a structure that nix does not name")]

use std::os::fd::{AsFd, AsRawFd};

use analysis::clock::Span;

/// The fields read here.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TcpInfo {
    /// Smoothed round trip, in whole microseconds; right behind the TCP handshake, that one's.
    pub rtt: Span,
    /// Segments sent again since the connection began, SYN included.
    pub total_retrans: u32,
    /// Segments that arrived before an earlier one; absent before Linux 5.4.
    pub rcv_ooopack: Option<u32>,
}

/// Asks the kernel.
pub fn tcp_info(socket: impl AsFd) -> Option<TcpInfo> {
    let mut bytes = [0_u8; 512];
    let mut len = bytes.len() as libc::socklen_t;
    // SAFETY: `bytes` is writable for `len` bytes and outlives the call; the kernel writes at most `len` bytes and says how many.
    let done = unsafe {
        let fd = socket.as_fd().as_raw_fd();
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, bytes.as_mut_ptr().cast(), &raw mut len)
    };
    (done == 0).then_some(())?;
    let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(..len as usize)?.get(at..at + 4)?.try_into().ok()?));
    Some(TcpInfo { rtt: Span::from_micros(i64::from(word(68)?)), total_retrans: word(100)?, rcv_ooopack: word(224) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_connection_over_loopback_has_a_round_trip_and_no_retransmission() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
        let stream = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("loopback answers");
        let info = tcp_info(&stream).expect("TCP_INFO exists since Linux 2.4");
        assert!(info.rtt > Span::ZERO && info.rtt < Span::from_millis(1_000), "{info:?}");
        assert_eq!(info.total_retrans, 0);
        assert!(tcp_info(std::fs::File::open("/dev/null").expect("it exists")).is_none(), "not a socket");
    }
}
