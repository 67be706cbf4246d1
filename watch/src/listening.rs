//! Who comes to the page: connections, encrypted or not, of which none holds up another or stays for nothing.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpUserTimeout;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch as latest};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

/// Connections at once; others wait in the kernel. The prober needs descriptors, too.
const MOST_CONNECTIONS: usize = 256;
/// Of the open files that we may have, a part at most is for the page.
const SHARE: u64 = 4;
/// Time in which a peer takes nothing of an answer.
const TAKEN: Duration = Duration::from_secs(30);
/// Time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time from a connection's begin, or its last answer, to the end of a request's header.
const HEADER: Duration = Duration::from_secs(30);
/// Time before another attempt where this host gives no connection: it has no descriptor left, say.
const PAUSE: Duration = Duration::from_secs(1);

/// Connections at once where we may have so many open files.
pub(crate) fn most_connections(sockets: u64) -> usize {
    usize::try_from(sockets / SHARE).unwrap_or(usize::MAX).clamp(1, MOST_CONNECTIONS)
}

/// How long a peer may do nothing.
#[derive(Clone, Copy)]
struct Patience {
    /// As [`HEADER`].
    header: Duration,
    /// As [`TAKEN`].
    taken: Duration,
}

/// Serves for ever, `most` at once; by TLS as it is now, if there is any.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: latest::Receiver<Option<TlsAcceptor>>,
    routes: Router,
    most: usize,
) -> Infallible {
    serve_within(listener, tls, routes, most, Patience { header: HEADER, taken: TAKEN }).await
}

async fn serve_within(
    listener: TcpListener,
    tls: latest::Receiver<Option<TlsAcceptor>>,
    routes: Router,
    most: usize,
    Patience { header, taken }: Patience,
) -> Infallible {
    let slots = Arc::new(Semaphore::new(most));
    loop {
        // It is never closed.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return std::future::pending().await };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if is_of_one(&error) => continue,
            Err(error) => {
                debug!(%error, "no connection to the page is taken for a while");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Whoever reads nothing would keep its place: the kernel ends it, the answers to its probes of a full window or not.
        let taken = u32::try_from(taken.as_millis()).unwrap_or(u32::MAX);
        if let Err(error) = setsockopt(&stream, TcpUserTimeout, &taken) {
            debug!(%error, "a connection to the page has no limit of time");
        }
        let (acceptor, routes) = (tls.borrow().clone(), routes.clone());
        tokio::spawn(async move {
            match acceptor {
                None => answer(stream, routes, header).await,
                Some(acceptor) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                        answer(stream, routes, header).await;
                    }
                }
            }
            drop(slot);
        });
    }
}

/// Whether it is that connection's error, and the next may be well.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, routes: Router, header: Duration) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(header);
    // How it ends is the peer's.
    let _ = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes)).await;
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn said(stream: &mut TcpStream, request: &str) -> String {
        stream.write_all(request.as_bytes()).await.expect("it is open");
        let mut answer = vec![0; 4096];
        let n = stream.read(&mut answer).await.unwrap_or(0);
        String::from_utf8_lossy(&answer[..n]).into_owned()
    }

    #[tokio::test]
    async fn half_a_request_is_not_waited_for_and_a_connection_may_ask_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("it is bound");
        let (_tls, tls) = latest::channel(None);
        let routes = Router::new().route("/", get(|| async { "well" }));
        let serving =
            tokio::spawn(serve_within(listener, tls, routes, 2, Patience { header: Duration::from_millis(300), taken: TAKEN }));
        let mut twice = TcpStream::connect(address).await.expect("it listens");
        for _ in 0..2 {
            assert!(said(&mut twice, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.ends_with("well"));
        }
        let mut half = TcpStream::connect(address).await.expect("it listens");
        let ended = tokio::time::timeout(HEADER, said(&mut half, "GET / HTTP/1.1\r\nHost:")).await;
        assert!(ended.is_ok_and(|answer| !answer.contains("well")), "it is closed");
        serving.abort();
    }

    #[tokio::test]
    async fn who_asks_and_reads_nothing_does_not_keep_its_place() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("it is bound");
        let (_tls, tls) = latest::channel(None);
        let long = || get(|| async { vec![b'.'; 64 << 20] });
        let routes = Router::new().route("/", get(|| async { "well" })).route("/long", long());
        let patience = Patience { header: HEADER, taken: Duration::from_millis(500) };
        let serving = tokio::spawn(serve_within(listener, tls, routes, 1, patience));
        let mut deaf = TcpStream::connect(address).await.expect("it listens");
        deaf.write_all(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("it is open");
        deaf.readable().await.expect("it is answered");
        let mut next = TcpStream::connect(address).await.expect("the kernel takes it");
        let answer = tokio::time::timeout(HEADER, said(&mut next, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert!(answer.is_ok_and(|answer| answer.ends_with("well")), "there is room again");
        serving.abort();
    }

    #[test]
    fn the_page_takes_a_part_of_what_there_is() {
        assert_eq!([8, 256, 1_024, u64::MAX].map(most_connections), [2, 64, 256, 256]);
    }
}
