//! A handshake with a slow TLS server on loopback → every timing, and whose time it was:
//! `cargo run -p whostalled-prober --example probe_local`

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use analysis::conversation::socket;
use analysis::judging::ledger::Baseline;
use analysis::judging::verdict::{Circumstances, judge};
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, crypto::ring};
use whostalled_prober::tls::{TlsOptions, config};
use whostalled_prober::{Family, Lookup, Pauses, Route, Target, probe};

/// How long the server waits before it answers ClientHello.
const SLOW: Duration = Duration::from_millis(150);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let pair = rcgen::generate_simple_self_signed(vec!["edge.test".to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(pair.signing_key.serialize_der().into());
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions()?;
    let acceptor =
        TlsAcceptor::from(Arc::new(server.with_no_client_auth().with_single_cert(vec![pair.cert.der().clone()], key)?));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        stream.readable().await?;
        tokio::time::sleep(SLOW).await;
        acceptor.accept(stream).await.map(drop)
    });

    let target = Target {
        host: "edge.test".into(),
        port: address.port(),
        connect_to: None,
        address: Some(address),
        server_name: None,
        family: Family::Any,
        tls: Some(Arc::new(config(&TlsOptions { insecure: true, ..TlsOptions::default() })?)),
        request: None,
        timeout: Duration::from_secs(5),
        pauses: Pauses::default(),
        route: Route::default(),
    };
    // Nobody is asked there: the target's address is known.
    let lookup = Lookup::new(&[SocketAddr::from(([127, 0, 0, 1], 9))])?;
    let report = probe(&target, &lookup).await;
    println!("{}, {}", target.host, report.version.as_deref().unwrap_or("no handshake"));
    for (name, at) in [
        ("connected", report.connected),
        ("ClientHello written", report.client_hello),
        ("the server's flight reached our kernel", report.flight_at_kernel),
        ("we read it", report.flight_read),
        ("our Finished written", report.client_finished),
    ] {
        let since = at.zip(report.connect_start).map(|(at, start)| (at - start).to_string());
        println!("{name:>40}: {}", since.as_deref().unwrap_or("not seen"));
    }
    let mut reading = socket::read(&report.trace);
    reading.ledger.apply(&Baseline::default());
    println!("verdict: {} (evidence: {})", judge(&reading, Circumstances::default()).verdict.label(), reading.grade);
    Ok(())
}
