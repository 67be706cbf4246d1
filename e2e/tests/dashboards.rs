//! Dashboards and rules against a real Prometheus, which stores histograms as classic buckets, then as native histograms: every panel has
//! figures, and every recording rule records. Loopback only.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use e2e::certificates::make;
use e2e::checks::Checks;
use e2e::edge::Edge;
use e2e::http::Http;
use e2e::ports::free_port;
use e2e::process::{Running, binary, is_program, repository, run};
use e2e::waiting::{pause, wait_for};
use serde_json::Value;
use testing::Need;

const SOON: u64 = 60;

/// Every expression of a dashboard, by its panel; variables stand for everything, the interval for what fits a short test.
fn expressions(dashboard: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(repository().join(dashboard)).expect("a dashboard of ours");
    let dashboard: Value = serde_json::from_str(&text).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let each = panels.iter().flat_map(|panel| {
        let title = panel["title"].as_str().unwrap_or_default().to_owned();
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.filter_map(move |target| {
            Some((format!("{title} ({})", target["refId"].as_str()?), target["expr"].as_str()?.to_owned()))
        })
    });
    each.map(|(title, expr)| {
        let expr = expr.replace("$__rate_interval", "10s").replace("$check", ".*").replace("$instance", ".*");
        (title, expr)
    })
    .collect()
}

fn query(http: &Http, at: &str, expr: &str) -> Result<usize, String> {
    let encoded: String = expr.bytes().map(|b| format!("%{b:02X}")).collect();
    let answer = http.get(&format!("http://{at}/api/v1/query?query={encoded}"));
    let answer: Value = serde_json::from_slice(&answer.body).map_err(|e| e.to_string())?;
    let result = answer["data"]["result"].as_array().ok_or_else(|| answer.to_string())?;
    Ok(result.len())
}

fn prometheus(folder: &Path, targets: &[String], native: bool) -> (String, Running) {
    let at = format!("127.0.0.1:{}", free_port());
    let folder = folder.join(if native { "native" } else { "classic" });
    std::fs::create_dir_all(&folder).expect("a folder of our own");
    let rules = std::fs::read_to_string(repository().join("dist/prometheus/whostalled.rules.yml")).expect("rules of ours");
    std::fs::write(folder.join("rules.yml"), rules.replace("[5m]", "[10s]")).expect("a folder of our own");
    let config = format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [rules.yml]\nscrape_configs:\n- job_name: whostalled\n  static_configs: [{{ targets: [{}] }}]\n",
        targets.join(", ")
    );
    std::fs::write(folder.join("prometheus.yml"), config).expect("a folder of our own");
    let log = File::create(folder.join("log")).expect("a folder of our own");
    let mut command = Command::new("prometheus");
    command.arg(format!("--web.listen-address={at}")).arg("--config.file=prometheus.yml").arg("--storage.tsdb.path=data");
    if native {
        command.arg("--enable-feature=native-histograms");
    }
    (at, Running::start(command.current_dir(&folder).stderr(log.try_clone().expect("a file")).stdout(log)))
}

#[test]
fn every_panel_and_every_record_has_figures_however_histograms_are_stored() {
    let mut t = Checks::new();
    if !is_program("prometheus") {
        return t.skip(Need::Tools, "dashboards are tried with prometheus");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let certificates = make(folder.path());
    let edge = Edge::opened(&certificates);
    let watch_at = format!("127.0.0.1:{}", free_port());
    let text = format!(
        "[watch]\nstore = \"store.db\"\nlisten = \"{watch_at}\"\n[defaults]\ninterval = \"200ms\"\ntimeout = \"2s\"\nca = \"{}\"\n\
         [[check]]\nname = \"login\"\ntarget = \"https://127.0.0.1:{}/\"\n",
        certificates.ca.display(),
        edge.port
    );
    std::fs::write(folder.path().join("checks.toml"), text).expect("a folder of our own");
    let log = |name: &str| File::create(folder.path().join(name)).expect("a folder of our own");
    let mut watch = Command::new(binary());
    let _watch = Running::start(watch.args(["watch", "checks.toml"]).current_dir(folder.path()).stderr(log("watch.log")));
    let mut targets = vec![watch_at];
    let mut dashboards = vec!["dist/grafana/whostalled.json"];
    let recorder = nix::unistd::geteuid().is_root().then(|| {
        let at = format!("127.0.0.1:{}", free_port());
        let mut capture = Command::new(binary());
        capture.args(["capture", "--iface", "lo", "--memory", "8MiB", "--listen", &at, "--port", &edge.port.to_string()]);
        targets.push(at);
        dashboards.push("dist/grafana/whostalled-capture.json");
        Running::start(capture.current_dir(folder.path()).stderr(log("recorder.log")))
    });
    if recorder.is_none() {
        t.skip(Need::Root, "the recorder's dashboard needs a recorder");
    }
    let http = Http::plain();
    for native in [false, true] {
        let kind = if native { "native" } else { "classic" };
        let (at, _prometheus) = prometheus(folder.path(), &targets, native);
        let up = wait_for(SOON, || {
            query(&http, &at, "count(up == 1)").is_ok_and(|n| n == 1)
                && query(&http, &at, "up == 1").is_ok_and(|n| n == targets.len())
        });
        t.check(format!("{kind}: Prometheus scrapes"), up, || std::fs::read_to_string(folder.path().join(kind).join("log")));
        // A trigger of the recorder's, so that its own times are there.
        if recorder.is_some() {
            let kept = wait_for(SOON, || {
                let mut ask = Command::new(binary());
                ask.args(["capture", "trigger", &edge.handshake().to_string()]).current_dir(folder.path());
                run(ask, 40).code == Some(0)
            });
            t.check("the recorder keeps a handshake", kept, || std::fs::read_to_string(folder.path().join("recorder.log")));
        }
        let native_is_native = wait_for(SOON, || {
            let stored = query(&http, &at, "rate(whostalled_round_duration_seconds_bucket[10s])");
            stored.is_ok_and(|n| (n == 0) == native) || {
                pause(500);
                false
            }
        });
        t.check(format!("{kind}: histograms are stored so"), native_is_native, || {
            query(&http, &at, "whostalled_round_duration_seconds_bucket")
        });
        for dashboard in &dashboards {
            for (panel, expr) in expressions(dashboard) {
                let shown = wait_for(30, || query(&http, &at, &expr).is_ok_and(|n| n > 0));
                t.check(format!("{kind}: {dashboard}: {panel}"), shown, || (expr.clone(), query(&http, &at, &expr)));
            }
        }
        for record in ["check:whostalled_round_duration_seconds:p99_5m", "check:whostalled_rounds:blamed_ratio_5m"] {
            let shown = wait_for(30, || query(&http, &at, record).is_ok_and(|n| n > 0));
            t.check(format!("{kind}: the rule {record}"), shown, || query(&http, &at, record));
        }
    }
}
