//! One connection: bytes out, bytes in with the kernel's time, TLS between.

use std::io;

use analysis::clock::{Client, Instant};
use rustls::ClientConnection;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::stamps;

/// Bytes read at once: a usual flight of the edge's.
const READ: usize = 16 * 1024;

/// A connected socket.
pub(crate) struct Wire {
    pub stream: TcpStream,
    /// Bytes sent so far.
    pub sent: u64,
    buffer: Vec<u8>,
    out: Vec<u8>,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, sent: 0, buffer: vec![0; READ], out: Vec::new() }
    }

    /// Hands all that TLS wants to send to the kernel.
    pub async fn flush(&mut self, tls: &mut ClientConnection) -> io::Result<()> {
        self.out.clear();
        while tls.wants_write() {
            tls.write_tls(&mut self.out)?;
        }
        let out = std::mem::take(&mut self.out);
        let sent = self.send(&out).await;
        self.out = out;
        sent
    }

    /// Hands bytes to the kernel.
    pub async fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(n) => {
                    self.sent += n as u64;
                    bytes = &bytes[n..];
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.stream.writable().await?,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// The next bytes, with the time when the last of them reached the kernel; nothing at the end of the stream.
    pub async fn read(&mut self) -> io::Result<(&[u8], Option<Instant<Client>>)> {
        let (stream, buffer) = (&self.stream, &mut self.buffer);
        loop {
            // A kernel timestamp of what was sent wakes the socket too; then there is nothing to read.
            stream.readable().await?;
            match stream.try_io(Interest::READABLE, || stamps::read(stream, buffer)) {
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(e) => return Err(e),
                Ok((n, at)) => return Ok((&self.buffer[..n], at)),
            }
        }
    }
}
