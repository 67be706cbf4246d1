//! The finished connection as HTTP sees it: bytes in, bytes out, and every border between them timed where it happens.
//!
//! In: what hyper writes and asks for. Out: the same on the socket, with TLS between; in the report when the request had left, when
//! the first byte of the answer reached the kernel and us, and what the thread did meanwhile.

use std::io::{self, Read as _, Write as _};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use rustls::ClientConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::Probe;
use crate::http::Progress;
use crate::reason::Failure;
use crate::wire::Wire;

/// One connection behind its handshake.
pub(crate) struct Stream<'a, 'p> {
    probe: &'a mut Probe<'p>,
    wire: &'a mut Wire,
    tls: Option<&'a mut ClientConnection>,
    /// What TLS found wrong: hyper knows of I/O only.
    failed: &'a mut Option<Failure>,
    /// What the edge said and nobody took yet, from `taken` on.
    plain: Vec<u8>,
    taken: usize,
    /// The edge says nothing more.
    ended: bool,
    /// Whether the request, or more of it, was written and did not leave yet.
    unsent: bool,
    /// Whether the last thing done was to wait.
    waiting: bool,
    /// Whoever would read before the request has left.
    early: Option<Waker>,
    /// How far the request is, where the connection carries more than it (HTTP/2).
    progress: Option<&'a Progress>,
}

impl<'a, 'p> Stream<'a, 'p> {
    pub fn new(
        probe: &'a mut Probe<'p>,
        wire: &'a mut Wire,
        tls: Option<&'a mut ClientConnection>,
        failed: &'a mut Option<Failure>,
        progress: Option<&'a Progress>,
    ) -> Self {
        let (plain, taken) = (Vec::new(), 0);
        Self { probe, wire, tls, failed, plain, taken, ended: false, unsent: false, waiting: false, early: None, progress }
    }

    /// Whether what is read now may begin the answer.
    fn awaits_answer(&self) -> bool {
        // Settings come before it; the last bytes before its head is known had the head in them.
        let multiplexed = self.progress.is_some_and(|progress| !progress.answered.load(Ordering::Relaxed));
        multiplexed || self.probe.report.first_response.is_none()
    }

    /// Takes what TLS makes of the bytes that were read last.
    fn decrypt(&mut self, len: usize) -> io::Result<()> {
        let mut bytes = self.wire.bytes(len);
        let Some(tls) = &mut self.tls else {
            self.plain.extend_from_slice(bytes);
            return Ok(());
        };
        while !bytes.is_empty() {
            tls.read_tls(&mut bytes)?;
            let state = tls.process_new_packets().map_err(|error| {
                *self.failed = Some(Failure::of_tls(&error));
                io::Error::from(io::ErrorKind::InvalidData)
            })?;
            self.ended |= state.peer_has_closed();
            let at = self.plain.len();
            self.plain.resize(at + state.plaintext_bytes_to_read(), 0);
            let got = tls.reader().read(&mut self.plain[at..]).unwrap_or(0);
            self.plain.truncate(at + got);
        }
        Ok(())
    }
}

impl Stream<'_, '_> {
    /// What the edge says next, once there is any of it; nothing at the end.
    fn poll_plain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        // What comes before the request has left is nobody's answer, and reading it would put the request off.
        if self.probe.report.first_request.is_none() {
            self.early = Some(cx.waker().clone());
            return Poll::Pending;
        }
        while self.taken == self.plain.len() && !self.ended {
            if !self.waiting {
                self.probe.sample(true);
                self.waiting = true;
            }
            let (len, at_kernel) = ready!(self.wire.poll_read(cx))?;
            let read = self.probe.clock.now();
            self.waiting = false;
            (self.taken, self.ended) = (0, len == 0);
            self.plain.clear();
            self.decrypt(len)?;
            self.probe.sample(false);
            if !self.plain.is_empty() && self.awaits_answer() {
                self.probe.report.first_response = Some(read);
                self.probe.heard(at_kernel, read, len);
            }
        }
        Poll::Ready(Ok(&self.plain[self.taken..]))
    }

    fn poll_put(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.unsent = true;
        let Some(tls) = &mut self.tls else {
            self.wire.out.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        };
        // It takes only so much before that has left.
        let mut taken = tls.writer().write(bytes)?;
        while taken == 0 && !bytes.is_empty() {
            ready!(self.wire.poll_flush(cx, tls))?;
            taken = tls.writer().write(bytes)?;
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.tls {
            Some(tls) => ready!(self.wire.poll_flush(cx, tls))?,
            None => ready!(self.wire.poll_send(cx))?,
        }
        let asked = self.progress.is_none_or(|progress| progress.asked.load(Ordering::Relaxed));
        if std::mem::take(&mut self.unsent) && asked {
            self.probe.requested(self.wire);
            self.early.take().into_iter().for_each(Waker::wake);
        }
        Poll::Ready(Ok(()))
    }
}

/// For HTTP/1.1.
impl Read for Stream<'_, '_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let plain = ready!(self.poll_plain(cx))?;
        let given = buf.remaining().min(plain.len());
        buf.put_slice(&plain[..given]);
        self.taken += given;
        Poll::Ready(Ok(()))
    }
}

impl Write for Stream<'_, '_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_put(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_leave(cx)
    }

    /// Whoever ends the probe closes the connection.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// For HTTP/2.
impl AsyncRead for Stream<'_, '_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let plain = ready!(self.poll_plain(cx))?;
        let given = buf.remaining().min(plain.len());
        buf.put_slice(&plain[..given]);
        self.taken += given;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream<'_, '_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_put(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_leave(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
