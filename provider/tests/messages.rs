//! The messages as they travel: the golden file is version 1, and what was written by it must always be read. UPDATE=1 writes it anew.

use std::path::Path;

use serde::{Deserialize, Serialize};
use whostalled_provider::{
    Ask, Caps, Fault, Final, Heard, Join, Line, Order, Reach, Request, Settings, VERSION, Vantage, Wanted, Wrong, fresh, hear,
    program,
};

#[derive(PartialEq, Debug, Serialize, Deserialize)]
struct Conversation {
    requests: Vec<Request>,
    lines: Vec<Line>,
}

fn settings(of: serde_json::Value) -> Settings {
    of.as_object().expect("an object").clone()
}

fn conversation() -> Conversation {
    let order = |join, agent: Option<&str>| Order {
        run: "20261127T160000.000-x-7".into(),
        order: agent.map(|_| "0123456789abcdef".to_owned()),
        expires_at: 1_795_800_000,
        caps: Caps { instances: 4, hours: 2.0, usd: 1.0 },
        join,
        vantages: vec![Wanted { name: "t2".into(), agent: agent.map(str::to_owned) }],
    };
    let nats = Join::Nats { url: "tls://nats.example:4222".into(), ca: Some("-----BEGIN".into()) };
    let own = || settings(serde_json::json!({"region": "eu-central-1", "type": "t2.medium"}));
    let requests = vec![
        Request::new(Ask::Up(order(nats, Some("ec2-1"))), true, own()),
        Request::new(Ask::Up(order(Join::Ssh, None)), false, own()),
        Request::new(Ask::List { run: None }, false, own()),
        Request::new(Ask::List { run: Some("r".into()) }, false, own()),
        Request::new(Ask::Down { run: "r".into(), order: None }, false, own()),
        Request::new(Ask::Down { run: "r".into(), order: Some("0123456789abcdef".into()) }, false, own()),
        Request::new(Ask::Reap { grace_s: 300 }, false, own()),
    ];
    let vantage = |reach| {
        Line::Vantage(Vantage {
            name: "t2".into(),
            run: "r".into(),
            id: "i-0123".into(),
            state: "running".into(),
            reach,
            expires_at: Some(1_795_800_000),
            usd_per_hour: Some(0.0536),
            facts: settings(serde_json::json!({"credits": 60})),
        })
    };
    let wrong = |fault| {
        Line::Failed(Wrong { fault, what: "no t2.medium".into(), todo: Some("try another".into()), left: vec!["i-0123".into()] })
    };
    let lines = vec![
        Line::Progress { what: "burning".into(), done: Some(12.5), of: Some(37.5) },
        Line::Progress { what: "waiting".into(), done: None, of: None },
        Line::Price { usd: 0.08, usd_per_hour: 0.0536, what: "instance and disk".into() },
        vantage(Some(Reach::Fleet { agent: "ec2-1".into() })),
        vantage(Some(Reach::Ssh { host: "i-0123".into() })),
        vantage(None),
        Line::Marked { id: "i-0123".into(), why: "expired".into() },
        Line::Gone { id: "i-0123".into() },
        wrong(Fault::Request),
        wrong(Fault::Rights),
        wrong(Fault::Capacity),
        wrong(Fault::Cloud),
        wrong(Fault::Interrupted),
        wrong(Fault::Provider),
        Line::Done,
    ];
    Conversation { requests, lines }
}

#[test]
fn what_travels_is_version_1() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages.json");
    let ours = conversation();
    let text = serde_json::to_string_pretty(&ours).expect("JSON") + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).expect("our own file");
    }
    let golden = std::fs::read_to_string(&path).expect("the golden file");
    let read: Conversation = serde_json::from_str(&golden).expect("what was written once is read always");
    assert_eq!(read, ours);
    assert_eq!(text, golden, "a field more, or another name: is it a new version?");
    assert!(golden.contains(&format!("\"version\": {VERSION}")));
}

#[test]
fn each_line_is_heard_as_what_it_is() {
    for line in conversation().lines {
        let heard = hear(&serde_json::to_string(&line).expect("JSON")).expect("it is a line");
        match line {
            Line::Done => assert_eq!(heard, Heard::Final(Final::Done)),
            Line::Failed(wrong) => assert_eq!(heard, Heard::Final(Final::Failed(wrong))),
            line => assert_eq!(heard, Heard::Line(line)),
        }
    }
}

#[test]
fn a_shell_needs_few_words() {
    let vantage = r#"{"say":"vantage","name":"a","run":"r","id":"1","state":"up","later":true}"#;
    let Ok(Heard::Line(Line::Vantage(vantage))) = hear(vantage) else { panic!("it is one") };
    assert_eq!((vantage.reach, vantage.expires_at), (None, None));
    assert_eq!(hear(r#"{"say":"sings"}"#).expect("a line"), Heard::Unknown("sings".into()));
    for (bad, why) in [("", "no JSON"), ("{}", "say"), ("[1]", "say"), (r#"{"say":"price"}"#, "price"), (r#"{"say":1}"#, "say")] {
        assert!(hear(bad).expect_err(bad).to_string().contains(why), "{bad}");
    }
}

#[test]
fn no_order_is_named_as_another() {
    let all: std::collections::BTreeSet<String> = (0..1_000).map(|_| fresh()).collect();
    assert!(all.len() == 1_000 && all.iter().all(|one| one.len() == 16), "{all:?}");
}

#[test]
fn a_name_leads_into_no_other_folder() {
    assert_eq!(program("ec2").expect("a name"), "whostalled-vantage-ec2");
    for bad in ["", "../x", "a/b", "a b", "ä"] {
        assert!(program(bad).is_err(), "{bad}");
    }
}
