//! Scenarios of the lab, from elsewhere: in process; over ssh to an sshd in a namespace of the lab; over NATS, with certificates, from twenty
//! agents in namespaces of their own. Recorders at the targets make them both ends. The verdicts are the same.
//! `RUNS=10` runs each as often (make test: once); `ONLY=detour` that scenario alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::checks::Checks;
use e2e::process::{Said, binary, is_program, repository, run};
use e2e::ssh;
use e2e::verdicts::{label, told};
use serde_json::Value;
use testing::{Need, skipped};
use toml::{Table, Value as Toml};

/// The flagship, and six others: a client's program, its host, the path, the edge, the resolver, nobody.
const SCENARIOS: [&str; 7] =
    ["overloaded-client", "client-app-sleeps", "client-stopped", "detour", "edge-app-slow", "slow-dns", "healthy"];
/// Agents of the fleet.
const AGENTS: usize = 20;
/// Of the runs of one scenario from one place so many in ten may say something else: servers, agents and clients share this machine's CPUs.
const DISTURBED_IN_TEN: usize = 1;
/// Faults that a vantage brings about by itself; the others are the lab's.
const OF_VANTAGES: [&str; 4] = ["cpu_quota", "cpu_burners", "stop", "client_pause"];
const SSH_PORT: u16 = 2_222;

fn names() -> Vec<String> {
    (1..=AGENTS).map(|n| format!("a{n:02}")).collect()
}

/// A scenario's file, taken apart.
struct Divided {
    text: Table,
    /// Where its clients run in the lab.
    vantage: String,
    targets: Vec<String>,
}

impl Divided {
    fn of(path: &Path) -> Self {
        let text: Table = std::fs::read_to_string(path).expect("a scenario").parse().expect("it is TOML");
        let list = |key: &str| -> Vec<String> {
            let all = text[key].as_array().expect("a list");
            all.iter().map(|one| one["name"].as_str().expect("a name").to_owned()).collect()
        };
        let (vantage, targets) = (list("vantage").remove(0), list("target"));
        Self { text, vantage, targets }
    }

    fn faults(&self, of_vantages: bool) -> Table {
        let all = self.text.get("faults").and_then(Toml::as_table).cloned().unwrap_or_default();
        let of = |fault: &Toml| fault["kind"].as_str().is_some_and(|kind| OF_VANTAGES.contains(&kind));
        all.into_iter().filter(|(_, fault)| of(fault) == of_vantages).collect()
    }

    /// The lab: its hosts, `more` of them, and the faults that no vantage can bring about.
    fn lab(&self, more: &[String]) -> Table {
        let mut lab = self.text.clone();
        lab.remove("expect");
        lab.insert("faults".into(), Toml::Table(self.faults(false)));
        let named = |name: &str| Toml::Table(Table::from_iter([("name".to_owned(), Toml::String(name.into()))]));
        lab["vantage"].as_array_mut().expect("a list").extend(more.iter().map(|name| named(name)));
        if !more.is_empty() {
            let mut broker = named("broker");
            broker.as_table_mut().expect("a table").insert("role".into(), "control".into());
            lab["target"].as_array_mut().expect("a list").push(broker);
        }
        lab
    }

    /// The run in it: real vantages, real targets, the faults of vantages on each.
    fn run(&self, kind: &str, vantages: &[(String, String)], recorder: &dyn Fn(&str) -> String) -> Table {
        let mut run = self.text.clone();
        run.remove("expect");
        run.remove("offloads");
        let table = |fields: &[(&str, String)]| {
            Toml::Table(fields.iter().map(|(key, value)| ((*key).to_owned(), Toml::String(value.clone()))).collect())
        };
        let each =
            vantages.iter().map(|(name, host)| table(&[("name", name.clone()), ("kind", kind.into()), ("host", host.clone())]));
        run.insert("vantage".into(), Toml::Array(each.collect()));
        let role = |name: &str| if name == "edge" { "edge" } else { "control" };
        // How far it is when well: a control elsewhere does not tell.
        let usual = |name: &String| {
            let of_name = |target: &&Toml| target["name"].as_str() == Some(name.as_str());
            let target = self.text["target"].as_array().and_then(|all| all.iter().find(of_name));
            target.and_then(|target| target.get("rtt")?.as_str()).unwrap_or("40ms").to_owned()
        };
        let target = |name: &String| {
            let url = format!("https://{name}.lab.test/");
            table(&[
                ("name", name.clone()),
                ("role", role(name).into()),
                ("url", url),
                ("ca", "@CA@".into()),
                ("baseline_rtt", usual(name)),
                ("recorder", recorder(name)),
            ])
        };
        run.insert("target".into(), Toml::Array(self.targets.iter().map(target).collect()));
        let mut faults = Table::new();
        for (name, fault) in self.faults(true) {
            if fault.get("on").is_none() {
                faults.insert(name, fault);
                continue;
            }
            for (vantage, _) in vantages {
                let mut fault = fault.clone();
                fault["on"] = Toml::String(vantage.clone());
                faults.insert(format!("{name}-{vantage}"), fault);
            }
        }
        run.insert("faults".into(), Toml::Table(faults));
        if vantages.len() > 1 {
            run.insert("rounds".into(), Toml::Integer(1));
            let bearable = [("clients", 50), ("handshakes", 5_000)].map(|(key, n)| (key.to_owned(), Toml::Integer(n)));
            run.insert("bearable".into(), Toml::Table(Table::from_iter(bearable)));
        }
        run
    }
}

/// What both places need: jobs that end with the script, and recorders at the targets.
const BEGIN: &str = r#"set -euo pipefail
bin=$1 out=$2
jobs=()
trap 'kill "${jobs[@]}" 2>/dev/null; wait 2>/dev/null' EXIT
at() { local host=WHOSTALLED_LAB_HOST_$1; shift; "$bin" lab-exec "${!host}" "$@"; }
await() { for _ in $(seq 600); do "$@" && return; sleep 0.1; done; echo "never: $*" >&2; return 1; }
recorder() {
  at "$1" "$bin" capture --iface eth0 --control "$out/$1.sock" --evidence "$out/evidence-$1" 2>"$out/$1.recorder" & jobs+=($!)
  await test -S "$out/$1.sock"
}
sed -i "s|@CA@|$WHOSTALLED_LAB_CA|" "$out/run.toml"
"#;

const OVER_SSH: &str = r#"
"$(command -v sshd)" -D -f "$out/ssh/sshd_config" 2>"$out/sshd.log" & jobs+=($!)
PATH="$out/ssh:$PATH"
await ssh box true 2>/dev/null
"$bin" run "$out/run.toml" --json --results "$out/results"
"#;

const OVER_NATS: &str = r#"
certify=$3; shift 3
"$certify" "$out/nats" server broker.lab.test >/dev/null
"$certify" "$out/nats" agent "$@" rec-edge rec-control >/dev/null
"$certify" "$out/nats" controller ops >/dev/null
server=(--nats tls://broker.lab.test:4222 --nats-ca "$out/nats/ca.pem")
as() { certificate=(--nats-cert "$out/nats/$1.pem" --nats-key "$out/nats/$1.key"); }
(cd "$out/nats" && exec "$bin" lab-exec "$WHOSTALLED_LAB_HOST_broker" "$(command -v nats-server)" -c nats-server.conf -l broker.log) & jobs+=($!)
agent() {
  local host=$1 name=$2; shift 2
  as "agents/$name"
  at "$host" "$bin" agent "${server[@]}" "${certificate[@]}" --name "$name" "$@" 2>"$out/$name.log" & jobs+=($!)
}
for name in "$@"; do agent "$name" "$name" --allow-load --spool "$out/spool-$name"; done
for target in edge control; do [ -S "$out/$target.sock" ] && agent "$target" "rec-$target" --recorder "$out/$target.sock" --recorder-only; done
for name in "$@" rec-edge; do await grep -q ': connected' "$out/$name.log"; done
as controllers/ops
"$bin" run "$out/run.toml" "${server[@]}" "${certificate[@]}" --json --results "$out/results"
"#;

/// Runs a scenario from elsewhere, in a lab of its own.
fn elsewhere(folder: &Path, scenario: &Divided, fleet: bool) -> Said {
    std::fs::create_dir_all(folder).expect("our own folder");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("our own folder");
    let agents = if fleet { names() } else { Vec::new() };
    let toml = |table: &Table| toml::to_string(table).expect("it is TOML");
    write("lab.toml", &toml(&scenario.lab(&agents)));
    let (kind, vantages) = if fleet {
        ("fleet", agents.iter().map(|name| (name.clone(), name.clone())).collect())
    } else {
        ("ssh", vec![(scenario.vantage.clone(), "box".to_owned())])
    };
    let recorder = |target: &str| {
        if fleet { format!("fleet:rec-{target}") } else { folder.join(format!("{target}.sock")).display().to_string() }
    };
    write("run.toml", &toml(&scenario.run(kind, &vantages, &recorder)));
    let recorders: String = scenario.targets.iter().map(|target| format!("recorder {target}\n")).collect();
    write("script", &format!("{BEGIN}{recorders}{}", if fleet { OVER_NATS } else { OVER_SSH }));
    if !fleet {
        let _ = ssh::configure(&folder.join("ssh"), SSH_PORT);
    }
    let mut command = Command::new(binary());
    command.args(["lab", "run"]).arg(folder.join("lab.toml")).args(["--at", &scenario.vantage, "--", "bash"]);
    command.arg(folder.join("script")).arg(binary()).arg(folder).arg(repository().join("dist/nats/certify")).args(&agents);
    run(command, 600)
}

fn in_process(folder: &Path, path: &Path) -> Said {
    let mut command = Command::new(binary());
    command.arg("run").arg(path).arg("--json").arg("--results").arg(folder);
    run(command, 120)
}

/// Whose side a label names: what the edge's host did, its recorder does not see, and a path has several ways to be slow.
fn side(label: &str) -> &str {
    let owner = label.split(['/', ' ']).next().unwrap_or(label);
    ["client", "edge"].into_iter().find(|side| owner.starts_with(side)).unwrap_or(owner)
}

/// Labels, and how often each came.
#[derive(Default)]
struct Counted(BTreeMap<String, usize>);

impl Counted {
    fn shown(&self) -> String {
        self.0.iter().map(|(label, n)| format!("{label} ×{n}")).collect::<Vec<_>>().join(", ")
    }
}

#[test]
fn the_same_verdicts_from_elsewhere() {
    if !nix::unistd::geteuid().is_root() {
        return skipped(Need::Root, "sshd and recorders in the lab need root; no scenario was run from elsewhere");
    }
    if !is_program("nats-server") || !is_program("sshd") {
        return skipped(Need::Tools, "nats-server or sshd is not installed; no scenario was run from elsewhere");
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<usize>().ok());
    let (runs, only) = (number("RUNS").unwrap_or(1), std::env::var("ONLY").ok());
    let mut checks = Checks::new();
    let mut table =
        vec!["| scenario | in process | over ssh | over NATS, 20 agents |".to_owned(), "|---|---|---|---|".to_owned()];
    let mut late: Vec<Value> = Vec::new();
    for name in SCENARIOS.into_iter().filter(|name| only.as_deref().is_none_or(|only| only == *name)) {
        let path: PathBuf = repository().join("scenarios").join(name).with_extension("toml");
        let scenario = Divided::of(&path);
        let mut columns = [Counted::default(), Counted::default(), Counted::default()];
        for n in 0..runs {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let at = |place: &str| folder.path().join(place);
            let said = [
                in_process(&at("here"), &path),
                elsewhere(&at("ssh"), &scenario, false),
                elsewhere(&at("nats"), &scenario, true),
            ];
            let records = said.each_ref().map(told);
            let labels = records.each_ref().map(|record| label(&record["both_ends"]));
            late.extend(records[2]["footing"]["starts"].as_object().map(|starts| Value::Object(starts.clone())));
            for (column, (label, said)) in columns.iter_mut().zip(labels.iter().zip(&said)) {
                if label == "none" {
                    println!("{name}, run {}: no verdict from both ends: {said:?}", n + 1);
                }
                *column.0.entry(label.clone()).or_default() += 1;
            }
            println!("{name}, run {} of {runs}: {}", n + 1, labels.join(" | "));
        }
        let usual = columns[0].0.iter().max_by_key(|(_, n)| **n).map(|(label, _)| label.clone()).unwrap_or_default();
        for (column, place) in columns[1..].iter().zip(["over ssh", "over NATS"]) {
            let same: usize = column.0.iter().filter(|(label, _)| side(label) == side(&usual)).map(|(_, n)| n).sum();
            let wanted = runs - (runs * DISTURBED_IN_TEN) / 10;
            checks.check(format!("{name} {place}: {same} of {runs} as in process"), same >= wanted && usual != "none", || {
                (usual.clone(), column.shown())
            });
        }
        table.push(format!("| {name} | {} |", columns.each_ref().map(Counted::shown).join(" | ")));
    }
    println!("{}", table.join("\n"));
    late.iter().for_each(|starts| println!("{starts}"));
}
