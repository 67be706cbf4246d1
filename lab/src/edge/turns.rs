//! The edge's connection as turns: it sleeps before it reads what a later turn of the client's says, and may write its own in two pieces.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use agent::{BeforeTls, Speaker};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// Lines before TLS are shorter.
const MOST_LINE: usize = 512;

/// A sleep, and whom to tell how long it was.
pub(super) struct Delay {
    /// As long as it is meant to be, in milliseconds.
    pub ms: f64,
    /// Told how long it was, in milliseconds.
    pub slept: Box<dyn FnOnce(f64) + Send>,
}

impl Delay {
    fn length(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.ms / 1e3).ok().filter(|length| !length.is_zero())
    }

    /// Sleeps, if there is anything to sleep.
    pub(super) async fn sleep(self) {
        let Some(length) = self.length() else { return };
        let begun = Instant::now();
        tokio::time::sleep(length).await;
        (self.slept)(begun.elapsed().as_secs_f64() * 1e3);
    }
}

/// Speaks what comes before TLS; the delay lies before the edge's first line.
pub(super) async fn plaintext(stream: &mut TcpStream, before: BeforeTls, delay: Delay) -> io::Result<()> {
    let mut delay = Some(delay);
    if before.first == Speaker::Edge {
        sleep_once(&mut delay).await;
        stream.write_all(b"220 edge.lab.test ready\r\n").await?;
    }
    for _ in 0..before.exchanges {
        line(stream).await?;
        sleep_once(&mut delay).await;
        stream.write_all(b"250 go on\r\n").await?;
    }
    Ok(())
}

async fn sleep_once(delay: &mut Option<Delay>) {
    if let Some(delay) = delay.take() {
        delay.sleep().await;
    }
}

/// Reads up to the end of a line and no byte more: what follows is TLS.
async fn line(stream: &mut TcpStream) -> io::Result<()> {
    for _ in 0..MOST_LINE {
        if stream.read_u8().await? == b'\n' {
            return Ok(());
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "a line before TLS does not end"))
}

/// A connection from the ClientHello on.
pub(super) struct Turns {
    stream: TcpStream,
    in_pieces: bool,
    /// Whether it spoke since it last listened.
    spoke: bool,
    /// Before what the client says next, and after that.
    delays: std::vec::IntoIter<Delay>,
    asleep: Option<(Pin<Box<Sleep>>, Instant, Delay)>,
}

impl Turns {
    /// `delays` are those before what the client says behind each of our flights.
    pub(super) fn new(stream: TcpStream, in_pieces: bool, delays: Vec<Delay>) -> Self {
        Self { stream, in_pieces, spoke: false, delays: delays.into_iter(), asleep: None }
    }
}

impl AsyncRead for Turns {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.spoke {
            // The kernel has taken and acknowledged it; the program is not there yet.
            ready!(self.stream.poll_read_ready(cx))?;
            self.spoke = false;
            let next = self.delays.next().and_then(|delay| Some((delay.length()?, delay)));
            self.asleep = next.map(|(length, delay)| (Box::pin(tokio::time::sleep(length)), Instant::now(), delay));
        }
        if let Some((sleep, ..)) = &mut self.asleep {
            ready!(sleep.as_mut().poll(cx));
            if let Some((_, begun, delay)) = self.asleep.take() {
                (delay.slept)(begun.elapsed().as_secs_f64() * 1e3);
            }
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Turns {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let piece = if self.in_pieces && !self.spoke { first_record(bytes) } else { bytes.len() };
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[..piece]))?;
        self.spoke = true;
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.in_pieces && !self.spoke {
            let first = pieces.iter().find(|piece| !piece.is_empty()).map_or(&[][..], |piece| piece);
            return self.poll_write(cx, first);
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, pieces))?;
        self.spoke = true;
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Where the first TLS record ends.
fn first_record(bytes: &[u8]) -> usize {
    match bytes {
        [_, _, _, high, low, ..] => (5 + usize::from(u16::from_be_bytes([*high, *low]))).min(bytes.len()),
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_piece_is_a_record() {
        assert_eq!(first_record(&[22, 3, 3, 0, 2, 9, 9, 20, 3, 3]), 7);
        assert_eq!(first_record(&[22, 3, 3, 1, 0, 9]), 6, "no more than there is");
        assert_eq!(first_record(&[22, 3]), 2);
    }

    #[tokio::test]
    async fn it_speaks_lines_and_sleeps_before_the_turn_behind_its_own() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("it is bound");
        let (told, heard) = std::sync::mpsc::channel();
        let delay = |what: &'static str, told: std::sync::mpsc::Sender<_>| Delay {
            ms: 5.0,
            slept: Box::new(move |ms| {
                let _ = told.send((what, ms));
            }),
        };
        let (plain, later) = (delay("plain", told.clone()), delay("later", told));
        let edge = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            plaintext(&mut stream, BeforeTls { first: Speaker::Edge, exchanges: 1 }, plain).await?;
            let mut turns = Turns::new(stream, false, vec![later]);
            let mut byte = [0];
            turns.read_exact(&mut byte).await?;
            turns.write_all(b"mine").await?;
            turns.read_exact(&mut byte).await?;
            Ok::<u8, io::Error>(byte[0])
        });
        let mut client = TcpStream::connect(address).await.expect("it listens");
        line(&mut client).await.expect("a greeting");
        client.write_all(b"STARTTLS\r\n").await.expect("it is read");
        line(&mut client).await.expect("an answer");
        client.write_all(b"a").await.expect("it is read");
        let mut mine = [0; 4];
        client.read_exact(&mut mine).await.expect("its turn");
        client.write_all(b"b").await.expect("it is read");
        assert_eq!(edge.await.expect("no panic").expect("no error"), b'b');
        let slept: Vec<(&str, f64)> = heard.iter().collect();
        assert!(
            matches!(slept.as_slice(), [("plain", first), ("later", second)] if *first >= 5.0 && *second >= 5.0),
            "{slept:?}"
        );
    }
}
