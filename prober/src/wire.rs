//! One connection: bytes out, bytes in with the kernel's time, TLS between.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

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
    /// Bytes to be sent, those from `left` on not yet.
    pub out: Vec<u8>,
    left: usize,
    /// What is to be sent leaves in two pieces, the first of them one TLS record.
    in_pieces: bool,
    buffer: Vec<u8>,
}

impl Wire {
    pub fn new(stream: TcpStream, in_pieces: bool) -> Self {
        Self { stream, sent: 0, out: Vec::new(), left: 0, in_pieces, buffer: vec![0; READ] }
    }

    /// Hands all that TLS wants to send to the kernel.
    pub async fn flush(&mut self, tls: &mut ClientConnection) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx, tls)).await
    }

    /// The same, as far as the kernel takes it now.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>, tls: &mut ClientConnection) -> Poll<io::Result<()>> {
        while tls.wants_write() {
            tls.write_tls(&mut self.out)?;
        }
        self.poll_send(cx)
    }

    /// Hands what is to be sent to the kernel, as far as it takes it now.
    pub fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.left < self.out.len() {
            let end = if self.in_pieces && self.left == 0 { first_record(&self.out) } else { self.out.len() };
            match self.stream.try_write(&self.out[self.left..end]) {
                Ok(n) => {
                    self.sent += n as u64;
                    self.left += n;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(self.stream.poll_write_ready(cx))?,
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        self.out.clear();
        self.left = 0;
        Poll::Ready(Ok(()))
    }

    /// The next bytes, with the time when the last of them reached the kernel; nothing at the end of the stream.
    pub async fn read(&mut self) -> io::Result<(&[u8], Option<Instant<Client>>)> {
        let (len, at) = poll_fn(|cx| self.poll_read(cx)).await?;
        Ok((self.bytes(len), at))
    }

    /// How many bytes came next, and when the last of them reached the kernel; none at the end of the stream.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(usize, Option<Instant<Client>>)>> {
        let (stream, buffer) = (&self.stream, &mut self.buffer);
        loop {
            // A kernel timestamp of what was sent wakes the socket too; then there is nothing to read.
            ready!(stream.poll_read_ready(cx))?;
            match stream.try_io(Interest::READABLE, || stamps::read(stream, buffer)) {
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// The first bytes of what was read last.
    pub fn bytes(&self, len: usize) -> &[u8] {
        &self.buffer[..len]
    }
}

/// Where the first TLS record ends.
fn first_record(bytes: &[u8]) -> usize {
    match bytes {
        [20..=23, _, _, high, low, ..] => (5 + usize::from(u16::from_be_bytes([*high, *low]))).min(bytes.len()),
        _ => bytes.len(),
    }
}
