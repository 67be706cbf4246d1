//! A log that names a connection before anybody has judged one of its endpoint.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use analysis::clock::Instant as Stamp;
use analysis::wire::packet::{LinkType, Transport, decode};
use capture::limits::{Gate, Limits};
use capture::seen::{Frame, Seen};
use sim::Trial;
use sim::cases::{Grade, Setup};
use sim::tls::Version;
use whostalled_recorder::config::Config;
use whostalled_recorder::engine::{Context, Engine};
use whostalled_recorder::evidence_store::Writer;
use whostalled_recorder::memory::Memory;
use whostalled_recorder::origins::Origins;
use whostalled_recorder::sources::TriggerRequest;
use whostalled_recorder::trigger::{LogLine, Source, Trigger};

#[test]
fn the_first_handshake_at_an_endpoint_is_found_by_a_line_that_names_its_client_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let context = Context {
        filter_at: "test".into(),
        threads: false,
        origins: Origins::open(&[]).expect("there is none to open"),
        names: None,
        traces: None,
    };
    let writer = Writer::start(folder.path(), 1 << 20, |_, _| ()).expect("it starts");
    let mut engine =
        Engine::new(Arc::new(Config::default()), Memory::new(8 << 20), context, writer, Arc::default(), Arc::default());
    let planned = Setup { case: 1, severity: 200, version: Version::ALL[0], grade: Grade::Server, seed: 7 }.plan();
    let trial = Trial::run(&planned.expect("there is such a case").plan, 7);
    let (mut gate, mut client) = (Gate::new(Limits::default()), None::<SocketAddr>);
    for (at, bytes) in &trial.edge {
        let link = LinkType::Ethernet;
        let Some(pass) = gate.push(link, bytes, false) else { continue };
        let Ok(Transport::Tcp(segment)) = decode(link, bytes) else { continue };
        let at = Stamp::from_nanos(*at);
        let frame = Frame { at, wire_len: bytes.len() as u32, interface: 2, outgoing: false, link, bytes };
        let seen = Seen::decoded(frame, &segment, pass.from_client, pass.keep);
        let hello = seen.from_client && matches!(seen.payload, [22, 3, _, _, _, 1, ..]);
        engine.packet(&seen);
        if hello {
            client = Some(seen.client.into());
            break; // nobody can have judged anything yet
        }
    }
    let client = client.expect("a client says Hello");
    let (tell, told) = channel();
    let answer = Box::new(move |outcome| tell.send(outcome).expect("it is heard"));
    let line = LogLine { text: format!("{client} was slow"), entry: None };
    let trigger = Trigger { client, server: None, source: Source::Log(line) };
    engine.asked(TriggerRequest { trigger, at: Instant::now(), answer: Some(answer) });
    engine.finish();
    let path = told.recv().expect("there is an answer").expect("it is kept");
    assert!(path.exists(), "{}", path.display());
}
