//! The finished connection as HTTP sees it: bytes in, bytes out, and every border between them timed where it happens.
//!
//! In: what hyper writes and asks for. Out: the same on the socket, with TLS between; in the report when the request had left, when
//! the first byte of the answer reached the kernel and us, and what the thread did meanwhile.

use std::io::{self, Read as _, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use rustls::ClientConnection;

use crate::client::Probe;
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
}

impl<'a, 'p> Stream<'a, 'p> {
    pub fn new(
        probe: &'a mut Probe<'p>,
        wire: &'a mut Wire,
        tls: Option<&'a mut ClientConnection>,
        failed: &'a mut Option<Failure>,
    ) -> Self {
        let (plain, taken) = (Vec::new(), 0);
        Self { probe, wire, tls, failed, plain, taken, ended: false, unsent: false, waiting: false, early: None }
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

impl Read for Stream<'_, '_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // What comes before the request has left is nobody's answer, and reading it would put the request off.
        if this.probe.report.first_request.is_none() {
            this.early = Some(cx.waker().clone());
            return Poll::Pending;
        }
        while this.taken == this.plain.len() && !this.ended {
            if !this.waiting {
                this.probe.sample(true);
                this.waiting = true;
            }
            let (len, at_kernel) = ready!(this.wire.poll_read(cx))?;
            let read = this.probe.clock.now();
            this.waiting = false;
            (this.taken, this.ended) = (0, len == 0);
            this.plain.clear();
            this.decrypt(len)?;
            this.probe.sample(false);
            if !this.plain.is_empty() && this.probe.report.first_response.is_none() {
                this.probe.report.first_response = Some(read);
                this.probe.heard(at_kernel, read);
            }
        }
        let given = buf.remaining().min(this.plain.len() - this.taken);
        buf.put_slice(&this.plain[this.taken..this.taken + given]);
        this.taken += given;
        Poll::Ready(Ok(()))
    }
}

impl Write for Stream<'_, '_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.unsent = true;
        let Some(tls) = &mut this.tls else {
            this.wire.out.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        };
        // It takes only so much before that has left.
        let mut taken = tls.writer().write(bytes)?;
        while taken == 0 && !bytes.is_empty() {
            ready!(this.wire.poll_flush(cx, tls))?;
            taken = tls.writer().write(bytes)?;
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match &mut this.tls {
            Some(tls) => ready!(this.wire.poll_flush(cx, tls))?,
            None => ready!(this.wire.poll_send(cx))?,
        }
        if std::mem::take(&mut this.unsent) {
            this.probe.requested(this.wire);
            this.early.take().into_iter().for_each(Waker::wake);
        }
        Poll::Ready(Ok(()))
    }

    /// Whoever ends the probe closes the connection.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
