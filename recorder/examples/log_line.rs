//! Lines of proxies' logs → triggers, which have the recorder keep a flow: `cargo run -p whostalled-recorder --example log_line [LINE…]`

use std::time::Duration;

use imports::logline::{Fields, ParsedLine, read};
use whostalled_recorder::trigger::{LogLine, Source, Trigger};

/// A handshake that took no longer deserves no file.
const AT_LEAST: Duration = Duration::from_millis(200);

const LINES: [&str; 5] = [
    "haproxy[1]: 192.0.2.7:40012 fe~ Th=512 Ti=0",
    "haproxy[1]: 192.0.2.8:40013 fe~ Th=7 Ti=0",
    r#"{"remote_addr":"2001:db8::7","remote_port":"40014","handshake_ms":731.5}"#,
    "198.51.100.4:5001",
    "worker process 31 exited",
];

/// The trigger in a line, or why there is none.
fn trigger(line: &str) -> Result<Trigger, &'static str> {
    match read(line, &Fields::default()) {
        Err(unread) => Err(unread.hint()),
        Ok(ParsedLine { every: true, .. }) => Err("a log of all requests, which says nothing of handshakes"),
        Ok(ParsedLine { took: Some(took), .. }) if took < AT_LEAST => Err("not slow"),
        // A line without a time is somebody's word that this one was slow.
        Ok(ParsedLine { client, .. }) => {
            let source = Source::Log(LogLine { text: line.to_owned(), entry: None });
            Ok(Trigger { client, server: None, source })
        }
    }
}

fn main() {
    let mut lines: Vec<String> = std::env::args().skip(1).collect();
    if lines.is_empty() {
        lines = LINES.map(str::to_owned).to_vec();
    }
    for line in lines {
        match trigger(&line) {
            Ok(Trigger { client, source, .. }) => println!("keep the flow of {client} (said by: {})  {line}", source.name()),
            Err(why) => println!("nothing ({why})  {line}"),
        }
    }
}
