//! Two hosts joined by a slow wire, and a connection between them: `cargo run -p whostalled-lab --example two_hosts`
//!
//! It needs the rights that the lab needs (root, or user namespaces for ordinary users) and says so where it has none. Nothing leaves the
//! namespaces that it makes.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use whostalled_lab::Error;
use whostalled_lab::host::{Lab, LabConfig};
use whostalled_lab::rootless;
use whostalled_lab::wire::PathConfig;

/// One way.
const DELAY: Duration = Duration::from_millis(30);

/// How long it takes to connect.
fn connect() -> Result<Duration, Error> {
    // First of all: it must be called while there is one thread.
    let privilege = rootless::enter()?;
    println!("rights: {privilege:?}");
    let names = ["office", "edge"].map(str::to_owned);
    let lab = Lab::build(&names, LabConfig { seed: 1, offloads: true }, &std::env::temp_dir())?;
    let [office, edge] = &lab.hosts[..] else { return Err(Error::helper("building the lab", "two hosts were asked for")) };
    for (from, to) in [(office, edge), (edge, office)] {
        lab.wire.set_path(from.port, to.port, PathConfig { delay: DELAY, ..PathConfig::default() });
        println!("{} ({}) → {} ({}): {DELAY:?}", from.name, from.ipv4, to.name, to.ipv4);
    }

    let at = SocketAddr::new(edge.address(false), 443);
    // A socket stays in the namespace in which it was made; the kernel answers for it.
    let _listener = edge.namespace.run(|| TcpListener::bind(at).map_err(Error::system("listening at the edge")))?;
    office.namespace.run(|| {
        let begun = Instant::now();
        TcpStream::connect(at).map_err(Error::system("connecting from the office"))?;
        Ok(begun.elapsed())
    })
}

fn main() -> ExitCode {
    match connect() {
        Ok(took) => {
            println!("connected after {took:?}: one round trip, and what the kernels took");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("no lab can be built here: {error}");
            ExitCode::FAILURE
        }
    }
}
