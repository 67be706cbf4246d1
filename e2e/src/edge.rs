//! A TLS server that can be closed and opened again. In: certificates. Out: an answer to each request, on a port that stays the same.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::RUNTIME;
use crate::certificates::Certificates;
use crate::ports::free_port;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
/// How long a client may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The server, closed at first.
#[derive(Debug)]
pub struct Edge {
    /// Its port of 127.0.0.1.
    pub port: u16,
    certificates: Certificates,
    serving: Option<JoinHandle<()>>,
}

impl Edge {
    /// One that is closed.
    #[must_use]
    pub fn closed(certificates: &Certificates) -> Self {
        Self { port: free_port(), certificates: certificates.clone(), serving: None }
    }

    /// One that is open.
    #[must_use]
    pub fn opened(certificates: &Certificates) -> Self {
        let mut edge = Self::closed(certificates);
        edge.open();
        edge
    }

    /// Listens.
    pub fn open(&mut self) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket of our own");
        let acceptor = TlsAcceptor::from(self.certificates.server());
        self.serving = Some(RUNTIME.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime");
            while let Ok((plain, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                // A client that leaves is the client's affair.
                tokio::spawn(tokio::time::timeout(PATIENCE, async move { serve(&acceptor, plain).await.ok() }));
            }
        }));
    }

    /// Refuses from now on.
    pub fn close(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // The listener is dropped with its task.
            let _ = RUNTIME.block_on(serving);
        }
    }

    /// A whole handshake, a request and its answer; gives the client's end.
    #[must_use]
    pub fn handshake(&self) -> SocketAddr {
        let connector = TlsConnector::from(std::sync::Arc::new(self.certificates.client()));
        RUNTIME.block_on(async {
            let plain = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.expect("it listens");
            let end = plain.local_addr().expect("it is connected");
            let name = "localhost".try_into().expect("a name");
            let mut stream = connector.connect(name, plain).await.expect("a handshake");
            stream.write_all(b"hi").await.expect("it reads");
            let mut answer = [0; 100];
            assert!(stream.read(&mut answer).await.expect("it answers") > 0, "it answers");
            end
        })
    }
}

async fn serve(acceptor: &TlsAcceptor, plain: TcpStream) -> std::io::Result<()> {
    // Else Nagle's algorithm holds the answer behind the session tickets, which a client acknowledges 40 ms later: rightly called slow.
    plain.set_nodelay(true)?;
    let mut stream = acceptor.accept(plain).await?;
    let mut request = [0; 4096];
    // One read: what we are sent is short.
    let _ = stream.read(&mut request).await?;
    stream.write_all(ANSWER).await?;
    stream.flush().await?;
    // Whoever asked closes.
    let _ = stream.read(&mut request).await?;
    Ok(())
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.close();
    }
}
