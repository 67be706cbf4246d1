//! How often the gate cries wolf, and how often it misses one: `cargo run --release -p whostalled-compare --example gate -- 50`; with
//! `-- 1000 30 same` only whether it cries wolf, of so many, each given 30 s at most.
//!
//! Two edges on loopback, in threads, that are the same but for how long one of them thinks; in every second comparison somebody else
//! eats a CPU. Out: a table of what was found, of so many comparisons each.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use analysis::judging::ledger::{Owner, Phase};
use records::compared::{Found, Outcome};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use whostalled_compare::edge::Asked;
use whostalled_compare::judge::Sizes;
use whostalled_compare::{Options, Stop, compare};

/// What an edge thinks anyway.
const USUAL: Duration = Duration::from_millis(5);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

async fn serve(config: Arc<ServerConfig>, thinks: Duration, bound: Sender<SocketAddr>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    bound.send(listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let acceptor = TlsAcceptor::from(Arc::clone(&config));
        tokio::spawn(async move {
            tokio::time::sleep(thinks).await;
            let mut tls = acceptor.accept(stream).await?;
            let _ = tls.read(&mut [0; 4096]).await?;
            tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await?;
            tls.shutdown().await
        });
    }
}

fn edge(thinks: Duration) -> Result<String> {
    let own = rcgen::generate_simple_self_signed(vec!["edge.test".to_owned()])?;
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key)?;
    let (bound, address) = channel();
    std::thread::spawn(move || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(serve(Arc::new(config), thinks, bound))
    });
    Ok(format!("https://{}/", address.recv()?))
}

fn main() -> Result<()> {
    let comparisons: u32 = std::env::args().nth(1).map_or(Ok(20), |n| n.parse())?;
    let budget = Duration::from_secs(std::env::args().nth(2).map_or(Ok(60), |n| n.parse())?);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = Options {
        tls: prober::tls::TlsOptions { insecure: true, ..Default::default() },
        asked: Asked { name: Some("edge.test".into()), path: "/".into(), ..Asked::default() },
        budget,
        timeout: Duration::from_secs(10),
        sizes: Sizes::default(),
        stop: Stop::default(),
    };
    println!(
        "| the candidate thinks | comparisons | slower | and the right part named | too noisy | median time s | median blocks |"
    );
    println!("|---|---|---|---|---|---|---|");
    let same = std::env::args().nth(3).is_some_and(|which| which == "same");
    let others = if same { &[][..] } else { &[USUAL / 5, USUAL][..] };
    for more in [Duration::ZERO].iter().chain(others).copied() {
        let (base, candidate) = (edge(USUAL)?, edge(USUAL + more)?);
        let (mut slower, mut named, mut noisy, mut times, mut blocks) = (0, 0, 0, Vec::new(), Vec::new());
        for n in 0..comparisons {
            let stop = Arc::new(AtomicBool::new(n % 2 == 0));
            let stopped = Arc::clone(&stop);
            let eater = std::thread::spawn(move || while !stopped.load(Ordering::Relaxed) {});
            let begun = Instant::now();
            let compared = compare(&base, &candidate, &options, |_| ());
            stop.store(true, Ordering::Relaxed);
            let _ = eater.join();
            let compared = compared?;
            let parts: Vec<_> = compared.differences.iter().filter(|d| d.found == Found::Slower).map(|d| d.part).collect();
            slower += u32::from(!parts.is_empty());
            named += u32::from(parts.iter().any(|p| (p.phase, p.owner) == (Phase::ServerFlight, Owner::Edge)));
            noisy += u32::from(compared.outcome == Outcome::TooNoisy);
            times.push(begun.elapsed().as_secs_f64());
            blocks.push(compared.blocks.len());
        }
        times.sort_by(f64::total_cmp);
        blocks.sort_unstable();
        let (time, block) = (times[times.len() / 2], blocks[blocks.len() / 2]);
        println!("| {more:?} longer | {comparisons} | {slower} | {named} | {noisy} | {time:.1} | {block} |");
    }
    Ok(())
}
