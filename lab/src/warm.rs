//! A server's first handshake, which nobody measures: its code and tables are mapped with it, which takes 10 to 16 ms of its CPU.
//!
//! In: a server's address. Out: nothing. What cannot be warmed stays cold: a handshake that fails here is nobody's fault.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prober::tls::{TlsOptions, config};
use rustls::ClientConnection;
use rustls_pki_types::ServerName;

/// No server is waited for longer.
const PATIENCE: Duration = Duration::from_secs(3);

/// A handshake with whoever listens at `address`, which is of this thread's network namespace.
pub fn warm(address: SocketAddr, name: &str) {
    // Whatever comes of it: those who measure will see.
    let _ = handshake(address, name);
}

fn handshake(address: SocketAddr, name: &str) -> std::io::Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // It believes every certificate: there is nothing to find out.
    let tls = config(&TlsOptions { insecure: true, ..TlsOptions::default() })?;
    let name = ServerName::try_from(name.to_owned()).map_err(std::io::Error::other)?;
    let mut client = ClientConnection::new(Arc::new(tls), name).map_err(std::io::Error::other)?;
    while client.is_handshaking() || client.wants_write() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        if client.wants_write() {
            client.write_tls(&mut stream)?;
            continue;
        }
        stream.set_read_timeout(Some(left))?;
        if client.read_tls(&mut stream)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        client.process_new_packets().map_err(std::io::Error::other)?;
    }
    client.send_close_notify();
    client.write_tls(&mut stream)?;
    Ok(())
}
