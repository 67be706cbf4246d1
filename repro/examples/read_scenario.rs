//! A scenario file → what would be done: `cargo run -p whostalled-repro --example read_scenario [SCENARIO.toml]`
//!
//! No lab is built: conditions are data until a provider of vantages brings them about.

use std::error::Error;
use std::path::PathBuf;

use whostalled_repro::Scenario;
use whostalled_repro::conditions::Conditions;

fn main() -> Result<(), Box<dyn Error>> {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/client-stall-and-detour.toml");
    let path = std::env::args_os().nth(1).map_or_else(|| PathBuf::from(shipped), PathBuf::from);
    let scenario = Scenario::parse(&path.display().to_string(), &std::fs::read_to_string(&path)?, &[])?;
    println!("{}: {}", scenario.name, scenario.description);
    println!("{} rounds, {} clients at once", scenario.rounds, scenario.client.concurrency);

    let without = Conditions::of(&scenario, []);
    let with = Conditions::of(&scenario, scenario.faults.values());
    println!("faults: {}", scenario.faults.keys().cloned().collect::<Vec<_>>().join(", "));
    for ((vantage, target), path) in &with.paths {
        let well = without.paths.get(&(vantage.clone(), target.clone())).map(|path| path.out.delay + path.back.delay);
        println!(
            "{vantage} → {target}: round trip {:?}, without faults {:?}",
            path.out.delay + path.back.delay,
            well.unwrap_or_default()
        );
    }
    for (host, load) in &with.loads {
        println!("{host}: {load:?}");
    }
    for message in &with.messages {
        println!("{} → {}: {:?} of {:?}", message.vantage, message.target, message.action, message.message);
    }
    for (target, servers) in &with.servers {
        println!("the server of {target}: {servers:?}");
    }
    for (vantage, clients) in &with.clients {
        for pause in &clients.pauses {
            println!("the client at {vantage} sleeps {} before {:?}", pause.length, pause.before);
        }
        if let Some(stops) = &clients.stops {
            println!("the client at {vantage} runs {}, then is stopped for {}, and so on", stops.running, stops.stopped);
        }
    }
    if let Some(expect) = &scenario.expect {
        println!("expected: {}", expect.get_ref().verdict.labels().join(", or "));
    }
    Ok(())
}
