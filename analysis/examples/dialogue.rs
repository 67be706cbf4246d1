//! Bytes of a handshake → which TLS message lies where: `cargo run -p whostalled-analysis --example dialogue`
//!
//! The bytes are a TLS 1.2 handshake, put together by hand. The offsets that are printed are those at which the walk asks when each
//! message left and came.

use whostalled_analysis::tls::{Dialogue, Order, Version};

/// A record: content type, TLS 1.2, length, what is in it.
fn record(content: u8, inside: &[u8]) -> Vec<u8> {
    [&[content, 3, 3][..], &(inside.len() as u16).to_be_bytes(), inside].concat()
}

/// A handshake message in a record of its own.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    record(22, &[&[kind, 0][..], &(body.len() as u16).to_be_bytes(), body].concat())
}

fn main() {
    // Version, random, no session, one cipher suite, no compression.
    let client_hello = message(1, &[&[3, 3][..], &[9; 32], &[0, 0, 2, 0xc0, 0x2f, 1, 0]].concat());
    let server_hello = message(2, &[&[3, 3][..], &[7; 32], &[0, 0xc0, 0x2f, 0]].concat());
    let (certificate, done) = (message(11, &[0; 900]), message(14, &[]));
    let (change, finished) = (record(20, &[1]), record(22, &[0xee; 40]));

    let client = [client_hello, message(16, &[1; 66]), change.clone(), finished.clone()].concat();
    let server = [server_hello, certificate, done, change, finished].concat();
    let dialogue = Dialogue::of_bytes(&client, &server, Order::default());

    println!(
        "{}, {} bytes by the client, {} by the server",
        dialogue.version.map_or("no TLS", Version::name),
        client.len(),
        server.len()
    );
    for (name, extent) in [
        ("ClientHello", dialogue.client_hello),
        ("ServerHello", dialogue.server_hello),
        ("Certificate", dialogue.certificate),
        ("the server's flight", dialogue.server_flight),
        ("the client's Finished", dialogue.client_finished),
        ("the server's Finished", dialogue.server_finished),
    ] {
        match extent {
            Some(extent) => println!("{name:>22}: bytes {} to {}", extent.start, extent.end),
            None => println!("{name:>22}: was never sent"),
        }
    }
}
