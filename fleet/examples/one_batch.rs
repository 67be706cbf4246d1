//! A vantage behind a NATS server: `nats-server &`, then `whostalled agent --nats nats://localhost --name here &`, then this.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use agent::{Go, Plan};
use vantage::Vantage;
use whostalled_fleet::{Fleet, Server};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stop = AtomicBool::new(false);
    let server = Server::new("nats://localhost:4222", None)?;
    let fleet = Fleet::connect(&server, "an example", "handed-over".into(), Arc::new(|line| eprintln!("{line}")))?;
    for agent in fleet.meant("*")? {
        let mut vantage = fleet.open(&agent, agent.as_str(), true, &stop)?;
        println!("{agent}: {:?}, clock ahead by {:?}", vantage.hello().permits, vantage.ahead());
        vantage.prepare(&Plan { batch: 1, clients: None, load: None }, &stop)?;
        vantage.go(Go { at: None }, &stop)?;
        let bundle = vantage.collect(&stop)?;
        println!("{agent}: {} bytes of packets in batch {}", bundle.frames.0.len(), bundle.batch);
        vantage.stored(1);
    }
    Ok(())
}
