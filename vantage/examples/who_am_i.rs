//! What a vantage on this host says of itself, and what evidence the host permits: `cargo run -p whostalled-vantage --example who_am_i`

use whostalled_vantage::{Error, Leave, Local, Vantage, doctor};

fn main() -> Result<(), Error> {
    let vantage = Local::new("here", Leave { load: false, capture: true })?;
    let hello = vantage.hello();
    println!("{}: kernel {}, {} CPUs, clock {}", hello.name, hello.kernel, hello.cpus, hello.clock.source);
    if let Some(why) = hello.permits.no_packets {
        println!("it will capture no packets: {why}");
    }
    let diagnosis = doctor::examine();
    println!("best evidence from here: {}", diagnosis.grade);
    for lack in diagnosis.findings.iter().filter_map(|finding| finding.lack.as_ref()) {
        println!("- {}; {}", lack.why, lack.more);
    }
    Ok(())
}
