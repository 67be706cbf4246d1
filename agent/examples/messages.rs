//! What a controller and a vantage say to each other in one batch, as it travels: `cargo run -p whostalled-agent --example messages`

use std::error::Error;

use analysis::clock::Span;
use settings::Time;
use whostalled_agent::{
    ClientKind, ClientSpec, Clients, Clock, ClockError, Destination, Go, Hello, Losses, Pause, PauseBefore, Permits, Plan, Ready,
    TlsVersion, VERSION,
};

fn say(who: &str, what: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    let json = serde_json::to_string(what)?;
    println!("{who:>10}: {json}");
    Ok(json)
}

fn main() -> Result<(), Box<dyn Error>> {
    let clock = Clock { source: "tsc".into(), error: ClockError::WithinNs(Span::from_micros(250)) };
    let permits = Permits { quotas: false, real_time: false, no_packets: None };
    let hello = Hello {
        version: VERSION,
        name: "office".into(),
        software: "0.1.0".into(),
        kernel: "6.8.0".into(),
        cpus: 4,
        clock,
        permits,
        spin: None,
    };
    let json = say("vantage", &hello)?;
    // Whoever reads a Hello looks at its version before anything else is said.
    serde_json::from_str::<Hello>(&json)?.check()?;

    let client =
        ClientSpec { concurrency: 2, spread: Time::millis(80), tls: TlsVersion::V13, ..ClientSpec::new(ClientKind::Probe) };
    let to = Destination::new("edge.example", 443);
    let pauses = vec![Pause { before: PauseBefore::ClientFinished, length: Time::millis(300) }];
    let clients = Clients { client, to, pauses, stops: None, settle: Time::millis(160), distrust: false };
    say("controller", &Plan { batch: 1, clients: Some(clients), load: None })?;
    say("vantage", &Ready { batch: 1, clients: 2, losses: Losses::default() })?;
    say("controller", &Go { at: None })?;

    // The vantage ends the batch with a Bundle. One of a later program is refused before anything of it is believed.
    if let Err(error) = (Hello { version: VERSION + 1, ..hello }).check() {
        println!("   refused: {error}");
    }
    Ok(())
}
