//! A server's first handshake, which nobody measures: its code and tables are mapped with it, which takes 10 to 16 ms of its CPU.
//!
//! In: a server's address. Out: nothing. What cannot be warmed stays cold: a handshake that fails here is nobody's fault.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

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
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // It believes every certificate: there is nothing to find out.
    let tls = config(&TlsOptions { insecure: true, ..TlsOptions::default() })?;
    let name = ServerName::try_from(name.to_owned()).map_err(std::io::Error::other)?;
    let mut client = ClientConnection::new(Arc::new(tls), name).map_err(std::io::Error::other)?;
    client.complete_io(&mut stream)?;
    client.send_close_notify();
    client.write_tls(&mut stream)?;
    Ok(())
}
