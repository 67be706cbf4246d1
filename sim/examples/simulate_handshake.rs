//! One simulated handshake → its packets, as they left and came: `cargo run -p whostalled-sim --example simulate_handshake`
//!
//! The server's program sleeps for 150 ms. Nothing waits for it: the clock is virtual, and the same seed gives the same bytes.

use whostalled_sim::cases::{Grade, NAMES, Setup};
use whostalled_sim::frame::End;
use whostalled_sim::tls::Version;
use whostalled_sim::{MS, Trial};

/// The row of the fault matrix that is called so.
const CASE: &str = "edge app sleeps";

fn main() -> Result<(), &'static str> {
    let row = NAMES.iter().position(|name| *name == CASE).ok_or("no case has that name")?;
    let setup = Setup { case: row as u8 + 1, severity: 150, version: Version::Tls13, grade: Grade::BothAndHost, seed: 7 };
    let planned = setup.plan().ok_or("the case makes no sense for this handshake")?;
    let trial = Trial::run(&planned.plan, setup.seed);

    println!("{CASE}: {} with {}", trial.at_client.0, trial.at_client.1);
    let begun = trial.log.first().map_or(0, |sent| sent.at);
    let ms = |at: i64| (at - begun) as f64 / MS as f64;
    for sent in &trial.log {
        let arrow = if sent.from == End::Client { "client →       " } else { "       ← server" };
        let what = match (sent.syn, sent.end - sent.start) {
            (true, _) => "SYN".to_owned(),
            (false, 0) => "acknowledgement".to_owned(),
            (false, bytes) => format!("{bytes} bytes"),
        };
        let arrived = sent.arrived.map_or_else(|| "lost".to_owned(), |at| format!("came at {:.1} ms", ms(at)));
        println!("{:>8.1} ms  {arrow}  {what:<16} {arrived}", ms(sent.at));
    }
    println!(
        "captured: {} packets at the client, {} at the edge, other handshakes included",
        trial.client.len(),
        trial.edge.len()
    );
    Ok(())
}
