//! Scenario files: what is right is read, what is wrong is refused with its place.

use std::path::Path;

use agent::Load;
use whostalled_repro::Scenario;
use whostalled_repro::conditions::Conditions;
use whostalled_repro::faults::{CpuQuota, Fault};

const GOOD: &str = r#"
name = "x"
[client]
kind = "probe"
[[vantage]]
name = "office"
[[target]]
name = "edge"
role = "edge"
[faults.q]
kind = "cpu_quota"
on = "office"
cpus = 0.4
[expect]
verdict = "client_host"
"#;

fn parse(text: &str, set: &[&str]) -> Result<Scenario, String> {
    let set: Vec<String> = set.iter().map(|s| (*s).to_owned()).collect();
    Scenario::parse("x.toml", text, &set).map_err(|e| e.to_string())
}

#[test]
fn every_shipped_scenario_parses_and_says_what_it_expects() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let entries = std::fs::read_dir(folder).expect("the folder is there").flatten().map(|e| e.path());
    // Incidents have a folder, and tests, of their own.
    let files: Vec<_> = entries.filter(|path| path.is_file()).collect();
    assert!(files.len() >= 17);
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        let scenario = Scenario::parse(&file.display().to_string(), &text, &[]).unwrap_or_else(|e| panic!("{e}"));
        assert!(scenario.expect.is_some() && !scenario.description.is_empty(), "{}", file.display());
        assert_eq!(file.file_stem().and_then(|s| s.to_str()), Some(scenario.name.as_str()), "a scenario is named as its file");
    }
}

#[test]
fn mistakes_name_file_line_and_what_was_meant() {
    for (from, to, line, words) in [
        ("kind = \"probe\"", "kindd = \"probe\"", "line 4", "kindd"),
        ("cpus = 0.4", "cpus = \"much\"", "line 13", "expected f64"),
        ("cpus = 0.4", "cpus = 4000", "line 13", "between 0.01 and 64"),
        ("cpus = 0.4", "", "line 10", "missing field `cpus`"),
        ("cpus = 0.4", "cpus = 0.4\ncopies = 2", "line 14", "unknown field `copies`, expected one of `on`, `cpus`, `burners`"),
        ("on = \"office\"", "on = \"offcie\"", "line 12", "there is edge, office"),
        ("\"client_host\"", "\"client_hots\"", "line 14", "is no verdict"),
        ("name = \"edge\"", "name = \"edge\"\nrtt = \"40\"", "line 9", "250ms"),
        ("kind = \"cpu_quota\"", "kind = \"cpu_qouta\"", "line 11", "cpu_quota"),
        ("kind = \"cpu_quota\"", "", "line 10", "missing field `kind`"),
        ("kind = \"cpu_quota\"", "kind = 3", "line 11", "expected a string"),
        ("[faults.q]\nkind = \"cpu_quota\"\non = \"office\"\ncpus = 0.4", "[faults]\nq = 3", "line 11", "a table with a `kind`"),
    ] {
        let message = parse(&GOOD.replace(from, to), &[]).expect_err(to);
        assert!(message.starts_with("x.toml: "), "{message}");
        assert!(message.contains(line) && message.contains(words), "{to}: wants {line} and {words:?} in:\n{message}");
    }
}

#[test]
fn what_no_machine_can_bear_or_no_file_can_be_called_is_refused_with_its_line() {
    let target = "name = \"edge\"\nrole = \"edge\"";
    let command = "kind = \"command\"";
    for (from, to, line, words) in [
        ("name = \"x\"", "name = \"../../x\"", "line 2", "folder"),
        ("name = \"x\"", "name = \"/etc/x\"", "line 2", "folder"),
        ("name = \"x\"", "name = \"..\"", "line 2", "folder"),
        ("name = \"x\"", "name = \"\"", "line 2", "folder"),
        ("name = \"x\"", "name = \"a\\u001b[31mb\"", "line 2", "control character"),
        ("name = \"x\"", "name = \"x\"\ndescription = \"a\\u001bb\"", "line 3", "control character"),
        ("name = \"x\"", "name = \"x\"\nrounds = 0", "line 3", "from 1 to"),
        ("name = \"x\"", "name = \"x\"\nrounds = 4000000000", "line 3", "from 1 to"),
        ("kind = \"probe\"", "kind = \"probe\"\nconcurrency = 0", "line 5", "from 1 to"),
        ("kind = \"probe\"", "kind = \"probe\"\nconcurrency = 100000", "line 5", "from 1 to"),
        ("kind = \"probe\"", "kind = \"probe\"\ntimeout = \"9999999s\"", "line 5", "at most 600 s"),
        ("kind = \"probe\"", "kind = \"probe\"\nspread = \"2h\"", "line 5", "at most 60 s"),
        ("kind = \"probe\"", command, "line 4", "needs `command"),
        (target, "name = \"edge\"\nrole = \"edge\"\nrtt = \"9999999s\"", "line 10", "at most 60 s"),
        (target, "name = \"edge\"\nrole = \"edge\"\nserver = \"command\"", "line 10", "needs `command"),
        (target, "name = \"office\"\nrole = \"edge\"", "line 8", "two hosts are called"),
        (target, "name = \"an edge\"\nrole = \"edge\"", "line 8", "letters, digits"),
        ("[[vantage]]\nname = \"office\"", "vantage = []", "line 5", "at least one"),
        (
            "kind = \"cpu_quota\"\non = \"office\"\ncpus = 0.4",
            "kind = \"detour\"\nto = \"edge\"\nextra_rtt = \"1d\"",
            "line 13",
            "at most 60 s",
        ),
        (
            "kind = \"cpu_quota\"\non = \"office\"\ncpus = 0.4",
            "kind = \"edge_delay\"\non = \"office\"\nfor = \"1s\"",
            "line 12",
            "embedded",
        ),
        ("cpus = 0.4", "cpus = 0.4\nburners = 100000", "line 14", "at most 256"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        // Keys of the root stand before the first table.
        let text = match to.starts_with("vantage") {
            true => GOOD.replace(from, "").replace("name = \"x\"\n", "name = \"x\"\n\n\nvantage = []\n"),
            false => GOOD.replacen(from, to, 1),
        };
        let message = parse(&text, &[]).expect_err(to);
        assert!(
            [":", ","].iter().any(|end| message.contains(&format!("{line}{end}"))) && message.contains(words),
            "{to}: wants {line} and {words:?} in:\n{message}"
        );
        assert!(!message.contains('\u{1b}'), "{message:?}");
    }
    let all = ["rounds=10000".to_owned(), "client.concurrency=500".to_owned()];
    let message = Scenario::parse("x.toml", GOOD, &all).expect_err("five million handshakes").to_string();
    assert!(message.contains("1000000 at most"), "{message}");
}

#[test]
fn lengths_of_time_are_written_as_everywhere() {
    let scenario = parse(GOOD, &["client.timeout=2m30s", "target.edge.rtt=0.5s", "client.spread=1s 500ms"]).expect("all fit");
    assert_eq!(scenario.client.timeout.as_millis(), 150_000.0);
    assert_eq!((scenario.targets[0].rtt.as_millis(), scenario.client.spread.as_millis()), (500.0, 1_500.0));
}

#[test]
fn settings_reach_into_tables_and_named_lists() {
    let scenario = parse(GOOD, &["faults.q.cpus=0.2", "rounds=7", "client.kind=curl", "target.edge.rtt=80ms"]).expect("all fit");
    let quota = CpuQuota { on: "office".into(), cpus: 0.2, burners: 0 };
    assert_eq!(scenario.faults.get("q"), Some(&Fault::CpuQuota(quota)));
    assert_eq!(scenario.rounds, 7);
    assert_eq!(scenario.targets[0].rtt.as_millis(), 80.0);
    for bad in ["faults.q.cpus=lots", "nonsense", "target.egde.rtt=1ms", "faults.q.colour=red"] {
        let message = parse(GOOD, &[bad]).expect_err(bad);
        assert!(message.contains("--set"), "{message}");
    }
}

/// One fault of each kind; a new kind makes this list one short.
const EVERY_KIND: &str = r#"
[[target]]
name = "far"
role = "edge"
[faults.a]
kind = "cpu_quota"
on = "edge"
cpus = 0.5
burners = 2
[faults.b]
kind = "cpu_burners"
on = "office"
burners = 3
[faults.c]
kind = "stop"
on = "office"
running = "70ms"
stopped = "400ms"
[faults.d]
kind = "client_pause"
before = "client_hello"
for = "200ms"
[faults.e]
kind = "detour"
to = "edge"
extra_rtt = "60ms"
direction = "out"
[faults.f]
kind = "drop"
from = "office"
to = "edge"
message = "server_flight"
segment = 1
copies = 2
[faults.g]
kind = "hold"
to = "edge"
after = "flight_ack"
for = "300ms"
[faults.h]
kind = "mtu"
to = "edge"
bytes = 1400
direction = "back"
[faults.i]
kind = "loss"
to = "edge"
rate = 0.02
[faults.j]
kind = "edge_delay"
on = "edge"
for = "250ms"
[faults.k]
kind = "accept_queue"
on = "edge"
interval = "500ms"
[faults.l]
kind = "dns_delay"
for = "200ms"
[faults.m]
kind = "reset"
to = "edge"
message = "client_finished"
segment = 0
[faults.n]
kind = "refuse"
on = "office"
[faults.o]
kind = "process"
on = "edge"
process = "server"
does = { runs = ["nginx"] }
[faults.p]
kind = "storm"
from = "office"
to = "edge"
clients = 10
every = "500ms"
timeout = "900ms"
path = "/x"
[faults.q2]
kind = "wrong_site"
from = "office"
to = "edge"
at = "far"
"#;

fn every_kind() -> Scenario {
    let head = GOOD.split("[faults.q]").next().expect("it has faults");
    parse(&format!("{head}{EVERY_KIND}"), &[]).expect("all are right")
}

#[test]
fn every_kind_is_read_and_written_with_the_same_words() {
    let scenario = every_kind();
    let schema: serde_json::Value = serde_json::from_str(&whostalled_repro::scenario::schema()).expect("it is JSON");
    let kinds = schema["$defs"]["Fault"]["oneOf"].as_array().expect("a fault is one of several");
    assert_eq!(scenario.faults.len(), kinds.len(), "a kind is not tested here");
    let written = serde_json::to_value(&scenario).expect("it can be written");
    let meant: toml::Table = toml::from_str(EVERY_KIND).expect("it is TOML");
    for (name, fault) in meant["faults"].as_table().expect("it is a table") {
        for (field, value) in fault.as_table().expect("it is a table") {
            let value = serde_json::to_value(value).expect("it is plain");
            let again = &written["faults"][name][field];
            // A length of time may be written otherwise: only that it is there.
            assert!(
                *again == value || again.as_str().is_some_and(|s| s.ends_with("ms")),
                "{name}.{field}: {value} became {again}"
            );
        }
    }
}

#[test]
fn every_kind_refuses_fields_of_others() {
    let head = GOOD.split("[faults.q]").next().expect("it has faults");
    for kind in EVERY_KIND.split("[faults.").filter(|k| k.contains("kind")) {
        let text = format!("{head}[faults.{kind}colour = \"red\"\n");
        let message = parse(&text, &[]).expect_err(kind);
        let line = text.lines().position(|l| l.starts_with("colour")).expect("it is there") + 1;
        assert!(message.contains(&format!("line {line},")) && message.contains("unknown field `colour`"), "{message}");
    }
}

#[test]
fn a_fault_on_hosts_that_it_cannot_mean_is_refused_at_its_field() {
    let head = GOOD.split("[faults.q]").next().expect("it has faults");
    for (fault, words) in [
        ("kind = \"stop\"\non = \"edge\"\nrunning = \"1s\"\nstopped = \"1s\"", "there is office"),
        ("kind = \"client_pause\"\non = \"edge\"\nbefore = \"client_hello\"\nfor = \"1s\"", "there is office"),
        ("kind = \"loss\"\nto = \"office\"\nrate = 0.1", "there is edge"),
        ("kind = \"loss\"\nfrom = \"edge\"\nto = \"edge\"\nrate = 0.1", "there is office"),
    ] {
        let message = parse(&format!("{head}[faults.q]\n{fault}\n"), &[]).expect_err(fault);
        assert!(message.contains("line 12, column") && message.contains(words), "{message}");
    }
    let both = "kind = \"hold\"\nto = \"edge\"\nfor = \"1s\"\nmessage = \"syn\"\nafter = \"syn\"";
    let message = parse(&format!("{head}[faults.q]\n{both}\n"), &[]).expect_err("one of them");
    assert!(message.contains("line 10, column") && message.contains("either `message`"), "{message}");
}

#[test]
fn conditions_hold_what_the_faults_do_and_nothing_once_they_are_lifted() {
    let scenario = every_kind();
    let on = Conditions::of(&scenario, scenario.faults.values());
    let path = &on.paths[&("office".to_owned(), "edge".to_owned())];
    let ms = std::time::Duration::from_millis;
    assert_eq!((path.out.delay, path.back.delay), (ms(20) + ms(60), ms(20)));
    assert_eq!((path.out.mtu, path.back.mtu), (None, Some(1400)));
    assert_eq!((path.out.loss, path.back.loss), (0.02, 0.02));
    assert_eq!(on.loads["edge"], Load { cpus: Some(0.5), burners: 2, one_cpu: false });
    assert_eq!(on.loads["office"], Load { cpus: None, burners: 3, one_cpu: true });
    assert_eq!(on.messages.len(), 3, "one lost, one held, one answered by a reset");
    assert!(on.clients["office"].distrust);
    assert_eq!(on.servers["edge"].delays.server_hello.0, ms(250));
    assert_eq!(on.servers["edge"].queue.map(|q| (q.interval.0, q.backlog)), Some((ms(500), 1)));
    assert_eq!((on.clients["office"].pauses.len(), on.clients["office"].stops.is_some()), (1, true));
    assert_eq!(on.lookup_delay.0, ms(200));

    let without = Conditions::of(&scenario, []);
    for (name, fault) in &scenario.faults {
        let with = Conditions::of(&scenario, [fault]);
        assert_ne!(with, without, "the fault {name} does nothing");
    }
    assert!(without.loads.is_empty() && without.messages.is_empty() && without.servers.is_empty());
}

#[test]
fn trials_differ_in_what_may_vary_and_can_be_read() {
    let scenario = every_kind();
    let variation = whostalled_repro::accuracy::variation(&scenario, 1);
    let set = |what: &str| variation.iter().any(|v| v == what);
    assert!(set("target.edge.rtt=24ms") && set("seed=2"), "{variation:?}");
    assert!(set("faults.e.extra_rtt=42ms") && set("faults.c.running=42ms") && set("faults.c.stopped=280ms"), "{variation:?}");
    assert!(variation.iter().any(|v| v.starts_with("faults.a.cpus=0.714")), "{variation:?}");
    assert!(!variation.iter().any(|v| v.starts_with("faults.f.")), "which message is lost is what the scenario means");
    let head = GOOD.split("[faults.q]").next().expect("it has faults");
    let set: Vec<&str> = variation.iter().map(String::as_str).collect();
    parse(&format!("{head}{EVERY_KIND}"), &set).expect("a trial is a scenario");
}

#[test]
fn selecting_what_is_not_there_is_refused() {
    let mut scenario = parse(GOOD, &[]).expect("good");
    let message = scenario.select(&["home".into()], &[]).expect_err("no such vantage").to_string();
    assert!(message.contains("it has office"), "{message}");
}

#[test]
fn the_published_schema_is_the_codes() {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scenario.schema.json");
    let published = std::fs::read_to_string(published).expect("it is published");
    assert_eq!(published.trim(), whostalled_repro::scenario::schema().trim(), "regenerate it: make schema");
}

#[test]
fn what_looks_like_a_number_may_be_a_word() {
    let text =
        "name = \"x\"\n[client]\nkind = \"probe\"\n[[vantage]]\nname = \"t2\"\n[[target]]\nname = \"edge\"\nrole = \"edge\"\n";
    let set = |settings: &[&str]| {
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        Scenario::parse("x.toml", text, &settings).map_err(|e| e.to_string())
    };
    let scenario = set(&["client.tls=1.2", "rounds=5"]).expect("both are what they are meant as");
    let asked = scenario.to_toml().expect("it can be written");
    assert!(asked.contains("tls = \"1.2\"") && asked.contains("rounds = 5"), "{asked}");
    let error = set(&["client.tls=1.7"]).map(|_| ()).expect_err("there is no such version");
    assert!(error.contains("client.tls=1.7"), "{error}");
}

#[test]
fn what_only_our_own_programs_can_do_is_refused_for_others_at_its_field() {
    let target = "name = \"edge\"\nrole = \"edge\"";
    for (from, to, words) in [
        (target, "name = \"edge\"\nrole = \"edge\"\nserver = \"nginx\"\nhello_retry = true", "`hello_retry` is for the embedded"),
        (target, "name = \"edge\"\nrole = \"edge\"\nchain_bytes = 10", "between 500 and 60000"),
        (target, "name = \"edge\"\nrole = \"edge\"\nbefore_tls = { first = \"client\", exchanges = 0 }", "at least one line"),
        (target, "name = \"edge\"\nrole = \"edge\"\nbefore_tls = { first = \"edge\", exchanges = 99 }", "at most 10"),
        ("kind = \"probe\"", "kind = \"curl\"\nresume = true", "`resume` is for our own client"),
        ("name = \"x\"", "name = \"x\"\nbaseline_rounds = 20000", "at most 10000"),
        (
            "kind = \"cpu_quota\"\non = \"office\"\ncpus = 0.4",
            "kind = \"edge_delay\"\non = \"edge\"\nbefore = \"hello_retry\"\nfor = \"9ms\"",
            "give it `hello_retry`",
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let message = parse(&GOOD.replacen(from, to, 1), &[]).expect_err(to);
        assert!(message.contains(words) && message.contains("line "), "{to}: wants {words:?} in:\n{message}");
    }
    let waits = GOOD.replace("kind = \"cpu_quota\"\non = \"office\"\ncpus = 0.4", "kind = \"dns_delay\"\nfor = \"9ms\"");
    assert!(parse(&waits, &[]).is_ok());
    let message = parse(&waits, &["baseline_rounds=2"]).expect_err("a name server is told once");
    assert!(message.contains("baseline_rounds"), "{message}");
}

#[test]
fn rounds_without_faults_come_first() {
    let scenario = parse(GOOD, &["baseline_rounds=4", "rounds=3"]).expect("it is right");
    assert_eq!((scenario.all_rounds(), Conditions::of(&scenario, []).loads.len()), (7, 0));
}
