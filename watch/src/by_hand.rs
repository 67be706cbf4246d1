//! A name server that says what a test wants.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A name server that has the last bytes of 127.0.0.x that `has` says for every name; there is none while that says nothing.
pub(crate) fn name_server(has: fn(usize) -> &'static [u8], turn: Arc<AtomicUsize>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let address = socket.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let mut asked = [0; 512];
        while let Ok((n, from)) = socket.recv_from(&mut asked) {
            let here = has(turn.load(Ordering::Relaxed));
            // RFC 1035, section 4.1: the header, the question up to its class, then records of four bytes each; NXDOMAIN is 3.
            let end = 12 + asked[12..n].iter().position(|b| *b == 0).expect("a name ends") + 5;
            let of_v4 = asked[end - 4..end - 2] == [0, 1];
            let records: Vec<u8> = here
                .iter()
                .filter(|_| of_v4)
                .flat_map(|last| [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, *last])
                .collect();
            let (code, count) = (if here.is_empty() { 0x83 } else { 0x80 }, (records.len() / 16) as u8);
            let head = [asked[0], asked[1], 0x81, code, 0, 1, 0, count, 0, 0, 0, 0];
            let answer = [&head[..], &asked[12..end], &records].concat();
            socket.send_to(&answer, from).expect("it asked from loopback");
        }
    });
    address
}
