//! `make watch-demo`, checked: a detour, a capacity fault and a starved prober come and go; alerts fire and resolve at a real Alertmanager.
//! Page, store and what Alertmanager heard are left in `results/watch-demo`.

use std::process::Command;

use e2e::checks::Checks;
use e2e::process::{binary, is_program, repository};
use testing::Need;

#[test]
fn alertmanager_hears_who_stalled() {
    let mut t = Checks::new();
    if !is_program("prometheus-alertmanager") {
        return t
            .skip(Need::Tools, "the demo: prometheus-alertmanager is not installed (apt-get install prometheus-alertmanager)");
    }
    let results = repository().join("results/watch-demo");
    let mut demo = Command::new("bash");
    demo.arg(repository().join("examples/watch-demo/run"))
        .arg(&results)
        .current_dir(repository())
        .env("WHOSTALLED_BIN", binary());
    let status = demo.status().expect("it starts");
    t.check("the demo runs to its end", status.success(), || status);
    let heard = std::fs::read_to_string(results.join("heard.txt")).unwrap_or_default();
    for (words, alert) in [
        ("the detour was an alert, the path at fault", "edge: the path is longer than usual:"),
        ("the capacity fault was an alert, the edge at fault", "edge: the edge is slow or fails:"),
        ("the starved prober was an alert of its own", "prober: the prober itself:"),
    ] {
        t.check(words, heard.contains(alert), || &heard);
    }
    let last = heard.lines().last().unwrap_or_default();
    t.check("each was resolved", last.contains("nothing"), || last);
    println!("page: {0}/now.html, incidents: {0}/incidents.html", results.display());
}
