//! Who comes to the page: connections, encrypted or not, of which none holds up another or stays for nothing.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch as latest};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

/// Connections at once; others wait in the kernel. The prober needs descriptors, too.
const MOST_CONNECTIONS: usize = 256;
/// Time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time from a connection's begin, or its last answer, to the end of a request's header.
const HEADER: Duration = Duration::from_secs(30);
/// Time before another attempt where this host gives no connection: it has no descriptor left, say.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves for ever; by TLS as it is now, if there is any.
pub(crate) async fn serve(listener: TcpListener, tls: latest::Receiver<Option<TlsAcceptor>>, routes: Router) -> Infallible {
    serve_within(listener, tls, routes, HEADER).await
}

async fn serve_within(
    listener: TcpListener,
    tls: latest::Receiver<Option<TlsAcceptor>>,
    routes: Router,
    header: Duration,
) -> Infallible {
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
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
        let serving = tokio::spawn(serve_within(listener, tls, routes, Duration::from_millis(300)));
        let mut twice = TcpStream::connect(address).await.expect("it listens");
        for _ in 0..2 {
            assert!(said(&mut twice, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.ends_with("well"));
        }
        let mut half = TcpStream::connect(address).await.expect("it listens");
        let ended = tokio::time::timeout(HEADER, said(&mut half, "GET / HTTP/1.1\r\nHost:")).await;
        assert!(ended.is_ok_and(|answer| !answer.contains("well")), "it is closed");
        serving.abort();
    }
}
