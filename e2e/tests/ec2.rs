//! From nothing to the flagship's verdict on an instance of EC2: a model of EC2 answers aws-sdk-ec2, and what it launches is a host of the lab,
//! where the real first script runs: it fetches the program, asks for its credential with the real AWS CLI, and its agent dials out.
//!
//! The provider and the model come from the folder that `WHOSTALLED_EC2` names, else vantage-ec2/target/debug (`make ec2` builds them).

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::checks::Checks;
use e2e::process::{Said, binary, is_program, repository, run};
use e2e::verdicts::{label, told};
use serde_json::Value;
use testing::{Need, skipped};
use toml::{Table, Value as Toml};

fn provider() -> PathBuf {
    std::env::var_os("WHOSTALLED_EC2").map_or_else(|| repository().join("vantage-ec2/target/debug"), PathBuf::from)
}

/// The flagship's lab: its targets, a host that becomes the instance, one of whoever controls, one of the broker, one of the cloud.
const LAB: &str = r#"
name = "ec2"
[client]
kind = "curl"
[[vantage]]
name = "ops"
[[vantage]]
name = "t2-medium"
[[target]]
name = "edge"
role = "edge"
rtt = "40ms"
[[target]]
name = "control"
role = "control"
server = "nginx"
rtt = "40ms"
[[target]]
name = "broker"
role = "control"
rtt = "10ms"
[[target]]
name = "cloud"
role = "control"
rtt = "10ms"
"#;

/// The cloud, the broker and the recorders, then what `$3` says.
const SCRIPT: &str = r#"set -euo pipefail
bin=$1 out=$2 ec2=$3 certify=$4
jobs=()
trap 'kill "${jobs[@]}" 2>/dev/null; wait 2>/dev/null' EXIT
at() { local host=WHOSTALLED_LAB_HOST_$1; shift; "$bin" lab-exec "${!host}" "$@"; }
await() { for _ in $(seq 600); do "$@" && return; sleep 0.1; done; echo "never: $*" >&2; return 1; }
cloud=http://cloud.lab.test:5000
state() { curl -sf "$cloud/state"; }
nobody() { [ "$(state | jq -r '.live | length')" = 0 ]; }
sed -i "s|@CA@|$WHOSTALLED_LAB_CA|" "$out/run.toml"
for target in edge control; do
  at "$target" "$bin" capture --iface eth0 --control "$out/$target.sock" --evidence "$out/evidence-$target" 2>"$out/$target.recorder" & jobs+=($!)
  await test -S "$out/$target.sock"
done
"$certify" "$out/nats" server broker.lab.test >/dev/null
"$certify" "$out/nats" agent t2-medium >/dev/null
"$certify" "$out/nats" controller ops >/dev/null
(cd "$out/nats" && exec "$bin" lab-exec "$WHOSTALLED_LAB_HOST_broker" "$(command -v nats-server)" -c nats-server.conf -l broker.log) & jobs+=($!)
cat "$out/nats/agents/t2-medium.pem" "$out/nats/agents/t2-medium.key" > "$out/credential.pem"

# What EC2 launches: the lab's host, with folders of its own, whose shutdown is noted and does nothing to this machine.
mkdir -p "$out/stubs" "$out/cloud"
printf '#!/bin/sh\necho "$@" >> %s/shutdowns\n' "$out" > "$out/stubs/shutdown"
cat > "$out/boot" <<END
mount -t tmpfs none /opt && mount -t tmpfs none /run && mount -t tmpfs none /var/lib
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_ENDPOINT_URL
export AWS_ENDPOINT_URL_SSM=$cloud AWS_EC2_METADATA_SERVICE_ENDPOINT=$cloud HOME=/run PATH="$out/stubs:$PATH"
exec bash "\$USER_DATA"
END
cat > "$out/launch" <<END
exec "$bin" lab-exec '$WHOSTALLED_LAB_HOST_t2_medium' unshare -m bash "$out/boot"
END
chmod +x "$out/stubs/shutdown"
at cloud "$ec2/fake-ec2" --listen 0.0.0.0:5000 --folder "$out/cloud" --boot 1 --own-end no --program "$bin" \
  --parameter "/whostalled/agents/t2-medium=$out/credential.pem" -- bash "$out/launch" >"$out/fake.log" 2>&1 & jobs+=($!)
await state >/dev/null
cat > "$out/ec2.toml" <<END
[ec2]
region = "eu-central-1"
type = "t2.medium"
instance_profile = "whostalled-vantage"
subnets = ["subnet-full", "subnet-1"]
program = { url = "$cloud/program", sha256 = "$(sha256sum "$bin" | cut -d' ' -f1)" }
END
export AWS_ENDPOINT_URL=$cloud AWS_ACCESS_KEY_ID=AKIDOPS AWS_SECRET_ACCESS_KEY=secret AWS_EC2_METADATA_DISABLED=true PATH="$ec2:$PATH"
nats=(--nats tls://broker.lab.test:4222 --nats-ca "$out/nats/ca.pem" --nats-cert "$out/nats/controllers/ops.pem" --nats-key "$out/nats/controllers/ops.key")
"#;

/// Nothing to verdict, although EC2 is throttled, full, and loses the answer of a launch.
const RUN: &str = r#"
curl -sf "$cloud/troubles" -d '[["DescribeInstances","throttled",1],["RunInstances","full",1],["RunInstances","lost",1]]'
"$bin" run "$out/run.toml" --settings "$out/ec2.toml" "${nats[@]}" --json --results "$out/results" 2>"$out/run.log" || echo $? > "$out/code"
state > "$out/state.json"
"#;

/// Up, another of the same name, listed, down; then a run that is interrupted, one that is killed while its instance starts, and one that is
/// killed later, and whose instance a reaper finds.
const VERBS: &str = r#"
verb() { "$bin" vantage "$@" --provider ec2 --settings "$out/ec2.toml"; }
verb up --name t2-medium --run standing "${nats[@]}" --json > "$out/up.ndjson"
verb up --name t2-medium --run second "${nats[@]}" >/dev/null 2>"$out/second.log" || echo $? > "$out/second"
verb list --json > "$out/list.ndjson"
verb down standing
state > "$out/down.json"
"$bin" run "$out/run.toml" --rounds 100 --settings "$out/ec2.toml" "${nats[@]}" --results "$out/results" >/dev/null 2>"$out/interrupted.log" & run=$!
await grep -q 'round 1' "$out/interrupted.log"
kill -INT $run
wait $run && echo 0 > "$out/interrupted" || echo $? > "$out/interrupted"
state > "$out/interrupted.json"
"$bin" run "$out/run.toml" --settings "$out/ec2.toml" "${nats[@]}" --results "$out/results" >/dev/null 2>"$out/orphaned.log" & run=$!
await grep -q 'launching' "$out/orphaned.log"
kill -KILL $run
for _ in $(seq 60); do sleep 1; nobody && break; done
state > "$out/orphaned.json"
"$bin" run "$out/run.toml" --rounds 100 --lifetime 125s --settings "$out/ec2.toml" "${nats[@]}" --results "$out/results" >/dev/null 2>"$out/killed.log" & run=$!
await grep -q 'round 1' "$out/killed.log"
kill -KILL $run
state > "$out/killed.json"
# Its shutdown is a stub here, and the model's own end is off, so that the reaper has something to do.
for _ in $(seq 60); do verb reap --grace 1s 2>>"$out/reap.log"; nobody && break; sleep 4; done
state > "$out/reaped.json"
"#;

struct World {
    folder: tempfile::TempDir,
}

impl World {
    /// Nothing where something is missing, which is said.
    fn begin() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            skipped(Need::Root, "the lab's recorders need root; no instance was played");
            return None;
        }
        for tool in ["nats-server", "aws", "jq"] {
            if !is_program(tool) {
                skipped(Need::Tools, format!("{tool} is not installed (aws: pip install awscli); no instance was played"));
                return None;
            }
        }
        for program in ["whostalled-vantage-ec2", "fake-ec2"] {
            if !provider().join(program).is_file() {
                skipped(Need::Tools, format!("{program} is not built: make ec2-build, or name its folder by WHOSTALLED_EC2"));
                return None;
            }
        }
        Some(Self { folder: tempfile::tempdir().expect("a temporary folder") })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).unwrap_or_default()
    }

    /// The flagship, with its vantage on EC2 and its targets as real ones.
    fn scenario(&self) -> String {
        let text = std::fs::read_to_string(repository().join("scenarios/overloaded-client.toml")).expect("the flagship");
        let mut run: Table = text.parse().expect("TOML");
        let table = |fields: &[(&str, &str)]| {
            Toml::Table(fields.iter().map(|(key, value)| ((*key).to_owned(), Toml::String((*value).to_owned()))).collect())
        };
        run.insert("vantage".into(), Toml::Array(vec![table(&[("name", "t2-medium"), ("kind", "ec2")])]));
        let target = |name: &str| {
            let (url, recorder) = (format!("https://{name}.lab.test/"), self.path(&format!("{name}.sock")).display().to_string());
            table(&[("name", name), ("role", name), ("url", &url), ("ca", "@CA@"), ("recorder", &recorder)])
        };
        run.insert("target".into(), Toml::Array(vec![target("edge"), target("control")]));
        toml::to_string(&run).expect("TOML")
    }

    fn play(&self, script: &str) -> Said {
        let write = |name: &str, text: &str| std::fs::write(self.path(name), text).expect("our own folder");
        write("lab.toml", LAB);
        write("run.toml", &self.scenario());
        write("script", &format!("{SCRIPT}{script}"));
        let mut command = Command::new(binary());
        command.args(["lab", "run"]).arg(self.path("lab.toml")).args(["--at", "ops", "--", "bash"]).arg(self.path("script"));
        command.arg(binary()).arg(self.folder.path()).arg(provider()).arg(repository().join("dist/nats/certify"));
        run(command, 580)
    }

    fn instance_logs(&self) -> String {
        let logs = std::fs::read_dir(self.path("cloud")).into_iter().flatten().flatten();
        let logs = logs.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "log"));
        logs.map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect()
    }
}

#[test]
fn from_nothing_to_the_flagships_verdict() {
    let Some(world) = World::begin() else { return };
    let said = world.play(RUN);
    let mut checks = Checks::new();
    let record = told(&said);
    let seen = label(&record["both_ends"]);
    checks.check(format!("the flagship's verdict from an instance: {seen}"), seen.starts_with("client_host"), || {
        (&said, world.text("run.log"), world.instance_logs(), world.text("fake.log"))
    });
    let state = world.json("state.json");
    checks.check("one instance was launched, although the answer was lost", state["launched"] == 1, || state.clone());
    let none = state["live"].as_object().is_some_and(|live| live.is_empty()) && state["things"] == 0;
    checks.check("nothing is left: no instance, volume or interface", none, || state.clone());
    let log = world.text("run.log");
    checks.check("the price is said before it is launched", at(&log, "at most $") < at(&log, "launching"), || log.clone());
    let shutdowns = world.text("shutdowns");
    checks.check("the instance set its own end first", shutdowns.starts_with("-P +"), || shutdowns.clone());
    let script = state["last"]["user_data"].as_str().unwrap_or_default().to_owned();
    let no_secret = !script.contains("PRIVATE KEY") && script.contains("ssm get-parameter");
    checks.check("no key is in its first script", no_secret, || script.clone());
    let manifest = newest(&world.path("results")).map(|folder| folder.join("run.json"));
    let manifest: Value =
        manifest.and_then(|path| serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()).unwrap_or_default();
    let provided = &manifest["provided"][0];
    let facts = provided["facts"]["type"] == "t2.medium" && provided["facts"]["credits"]["specification"] == "standard";
    checks.check("run.json says what it ran on", facts && provided["provider"] == "ec2", || manifest.clone());
    let spin = manifest["hosts"][0]["spin"]["least_ms"].as_f64();
    checks.check("run.json has the instance's spin", spin.is_some_and(|ms| ms > 0.0), || manifest["hosts"].clone());
}

#[test]
fn nothing_stays_whoever_is_interrupted_or_killed() {
    let Some(world) = World::begin() else { return };
    let said = world.play(VERBS);
    let mut checks = Checks::new();
    let count = |name: &str| world.json(name)["live"].as_object().map(serde_json::Map::len);
    checks.check("the verbs ran", said.code == Some(0), || (&said, world.instance_logs(), world.text("fake.log")));
    let up = world.text("up.ndjson");
    checks.check("vantage up says where it is", up.contains(r#""by":"fleet""#) && up.contains(r#""say":"price""#), || up.clone());
    let second = world.text("second.log");
    let refused = world.text("second").trim() == "2" && second.contains("is in the fleet already");
    let one = world.json("down.json")["launched"] == 1;
    checks.check("a second of the same name is refused before it costs", refused && one, || {
        (second.clone(), world.json("down.json"))
    });
    let list = world.text("list.ndjson");
    checks.check("vantage list shows it", list.contains(r#""run":"standing""#), || list.clone());
    checks.check("vantage down leaves nothing", count("down.json") == Some(0), || world.json("down.json"));
    let code = world.text("interrupted");
    checks.check("an interrupted run fails", code.trim() == "2", || (code.clone(), world.text("interrupted.log")));
    checks.check("and has taken its instance down", count("interrupted.json") == Some(0), || world.json("interrupted.json"));
    let orphaned = world.json("orphaned.json");
    let launched = |name: &str| world.json(name)["launched"].as_u64();
    let again = launched("orphaned.json") > launched("interrupted.json");
    checks.check("one that is killed while its instance starts leaves none", again && count("orphaned.json") == Some(0), || {
        (orphaned.clone(), world.text("orphaned.log"))
    });
    checks.check("a killed run leaves its instance", count("killed.json") == Some(1), || world.json("killed.json"));
    checks.check("which is reaped once its time is over", count("reaped.json") == Some(0), || {
        (world.json("reaped.json"), world.text("reap.log"))
    });
}

/// Where words are in a text; far behind it if they are not.
fn at(text: &str, words: &str) -> usize {
    text.find(words).unwrap_or(usize::MAX)
}

fn newest(results: &Path) -> Option<PathBuf> {
    let folders =
        std::fs::read_dir(results).ok()?.flatten().map(|entry| entry.path()).filter(|path| path.join("run.json").is_file());
    folders.max()
}
