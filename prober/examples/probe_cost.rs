//! What a probe costs its thread: `cargo run --release -p whostalled-prober --example probe_cost -- 2000 [plain]`
//!
//! Full handshakes with a request each, against a server on loopback in another thread. Out: CPU time a probe, and from the request to the
//! first byte of its answer. Compare two builds by turns: one alone says little on a busy machine.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use whostalled_prober::tls::{TlsOptions, config};
use whostalled_prober::{Family, HttpRequest, Lookup, Pauses, Route, Target, probe};

/// Bytes of the answer's body.
const BODY: usize = 2_000;
/// Probes before those that count.
const WARM: usize = 200;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

async fn answer(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) -> Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {BODY}\r\n\r\n");
    let _ = stream.read(&mut [0; 4096]).await?;
    stream.write_all(&[head.as_bytes(), &[b'x'; BODY]].concat()).await?;
    Ok(stream.shutdown().await?)
}

async fn serve(tls: Option<TlsAcceptor>, bound: Sender<SocketAddr>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    bound.send(listener.local_addr()?)?;
    loop {
        let (stream, _): (TcpStream, _) = listener.accept().await?;
        match tls.clone() {
            Some(tls) => tokio::spawn(async move { answer(tls.accept(stream).await?).await }),
            None => tokio::spawn(answer(stream)),
        };
    }
}

fn cpu_micros() -> Result<i64> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    Ok(usage.user_time().num_microseconds() + usage.system_time().num_microseconds())
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let probes: u32 = arguments.next().map_or(Ok(2_000), |n| n.parse())?;
    let plain = arguments.next().is_some_and(|word| word == "plain");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let own = rcgen::generate_simple_self_signed(vec!["edge.test".to_owned()])?;
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key)?;
    let acceptor = (!plain).then(|| TlsAcceptor::from(Arc::new(server)));
    let (bound, address) = channel();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    std::thread::spawn(move || runtime()?.block_on(serve(acceptor, bound)));
    let address = address.recv()?;
    let insecure = TlsOptions { insecure: true, ..TlsOptions::default() };
    let target = Target {
        host: "edge.test".into(),
        port: address.port(),
        connect_to: None,
        address: Some(address),
        server_name: None,
        family: Family::Any,
        tls: (!plain).then(|| config(&insecure)).transpose()?.map(Arc::new),
        request: Some(HttpRequest { head_only: false, ..HttpRequest::default() }),
        timeout: Duration::from_secs(5),
        pauses: Pauses::default(),
        route: Route::default(),
    };
    runtime()?.block_on(async {
        let lookup = Lookup::new(&[address])?; // it is not asked
        for _ in 0..WARM {
            probe(&target, &lookup).await;
        }
        let (before, mut waited) = (cpu_micros()?, 0.0);
        for _ in 0..probes {
            let report = probe(&target, &lookup).await;
            let (Some(asked), Some(came), true) = (report.first_request, report.first_response, report.success) else {
                return Err(format!("a probe failed: {:?}", report.detail).into());
            };
            waited += (came - asked).millis();
        }
        let (cpu, n) = (cpu_micros()? - before, f64::from(probes));
        println!("{:.1} µs CPU a probe; {:.3} ms from the request to its first byte, on average", cpu as f64 / n, waited / n);
        Ok(())
    })
}
