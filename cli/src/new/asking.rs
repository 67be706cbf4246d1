//! Questions on a terminal, for a report.

use std::io::{BufRead, IsTerminal, Write};
use std::str::FromStr;

use repro::client::{ClientKind, ClientSpec};
use repro::sketch::{Report, Slow};
use settings::Time;

/// Asks for a report.
///
/// # Errors
/// If nobody is there to answer.
pub(super) fn report() -> Result<Report, Box<dyn std::error::Error>> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err("name what it is from: --from CAPTURE, or --sni NAME and --slow 'ServerHello to Finished 500ms'".into());
    }
    let text = |what: &str| ask(what, |said| Ok::<_, String>((!said.is_empty()).then(|| said.to_owned())));
    let server_name = text("Which server name (SNI)?")?;
    let mut facts = Vec::new();
    for (what, name) in [("At which address?", "address"), ("Where is the client?", "client's region"), ("When was it?", "time")]
    {
        facts.extend(text(what)?.map(|said| format!("{name}: {said}")));
    }
    let kind = ask("Which client: probe, curl?  [probe]", |said| match said {
        "" | "probe" => Ok(ClientKind::Probe),
        "curl" => Ok(ClientKind::Curl),
        other => Err(format!("{other:?}: probe or curl; any command by --client")),
    })?;
    let round_trip = ask("Which round trip between them, as 40ms?", optional::<Time>)?;
    let slow = ask("What was slow, as \"ServerHello to Finished 500ms\"?", optional::<Slow>)?;
    let culprit = ask("Who is suspected, as path/delay?  [who usually has it]", optional)?;
    Ok(Report {
        server_name,
        facts,
        client: Some(ClientSpec::new(kind)),
        round_trip,
        slow: slow.map(|Slow(stretch, time)| (stretch, time)),
        culprit,
    })
}

fn optional<T: FromStr<Err: std::fmt::Display>>(said: &str) -> Result<Option<T>, String> {
    if said.is_empty() { Ok(None) } else { said.parse().map(Some).map_err(|e: T::Err| e.to_string()) }
}

/// Asks until the answer makes sense; an empty one is none.
fn ask<T, E: std::fmt::Display>(question: &str, read: impl Fn(&str) -> Result<T, E>) -> std::io::Result<T> {
    loop {
        eprint!("{question} ");
        std::io::stderr().flush()?;
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line)? == 0 {
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "no answer"));
        }
        match read(line.trim()) {
            Ok(answer) => return Ok(answer),
            Err(error) => eprintln!("  {error}"),
        }
    }
}
