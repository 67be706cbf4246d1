//! What runs at the starved vantage. In: the folder for results. Out: a watcher's store; what blackbox_exporter and curl measured at the healthy
//! edge, in milliseconds, a line each.

use std::fmt::Write;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use e2e::http::{Http, total};
use e2e::process::{Running, binary, run as run_to_end};
use e2e::waiting::pause;
use nix::sys::signal::Signal;

/// Checks of each edge, and measurements by the others.
const CHECKS: usize = 16;
const MEASUREMENTS: usize = 60;

pub fn run(results: &Path) {
    let bundle = std::env::var("WHOSTALLED_LAB_CA").expect("set by lab run");
    let seconds: u64 = std::env::var("TRUTH_SECONDS").map_or(70, |s| s.parse().expect("TRUTH_SECONDS is a number"));
    let mut config = format!(
        "[watch]\nvantage = \"office\"\nstore = \"{}\"\n[defaults]\ninterval = \"1s\"\ntimeout = \"20s\"\nca = \"{bundle}\"\n",
        results.join("store.db").display()
    );
    for (target, i) in ["edge", "slow"].iter().flat_map(|target| (1..=CHECKS).map(move |i| (target, i))) {
        writeln!(config, "[[check]]\nname = \"{target}-{i}\"\ntarget = \"https://{target}.lab.test/\"").expect("a string");
    }
    let write = |name: &str, text: &str| {
        std::fs::write(results.join(name), text).expect("our own folder");
        results.join(name)
    };
    let log = File::create(results.join("watch.log")).expect("our own folder");
    let mut watch = Running::start(Command::new(binary()).arg("watch").arg(write("checks.toml", &config)).stderr(log));
    pause(seconds * 1000);
    let http = Http::plain();
    write("metrics.txt", &http.get("http://127.0.0.1:9719/metrics").text());
    watch.end(Signal::SIGTERM);

    // The others, one after the other, against the healthy edge.
    let modules =
        format!("modules: {{ tls: {{ prober: http, timeout: 20s, http: {{ tls_config: {{ ca_file: {bundle} }} }} }} }}\n");
    let file = write("blackbox.yml", &modules);
    let mut exporter = Command::new("prometheus-blackbox-exporter");
    exporter.arg(format!("--config.file={}", file.display())).args(["--web.listen-address=127.0.0.1:9115", "--log.level=error"]);
    let _exporter = Running::start(exporter.stderr(Stdio::null()));
    pause(3000);
    let (mut blackbox, mut curl) = (String::new(), String::new());
    for _ in 0..MEASUREMENTS {
        let page = http.get("http://127.0.0.1:9115/probe?module=tls&target=https://edge.lab.test/").text();
        if page.contains("probe_http_duration_seconds{phase=\"tls\"}") {
            writeln!(blackbox, "{}", total(&page, "probe_http_duration_seconds{phase=\"tls\"}") * 1e3).expect("a string");
        }
        let mut command = Command::new("curl");
        command.args([
            "-s",
            "-o",
            "/dev/null",
            "--cacert",
            &bundle,
            "-w",
            "%{time_connect} %{time_appconnect}",
            "https://edge.lab.test/",
        ]);
        let said = run_to_end(command, 60).out;
        let times: Vec<f64> = said.split_whitespace().filter_map(|t| t.parse().ok()).collect();
        if let [connect, tls] = times[..] {
            writeln!(curl, "{}", (tls - connect) * 1e3).expect("a string");
        }
    }
    write("blackbox.txt", &blackbox);
    write("curl.txt", &curl);
}
