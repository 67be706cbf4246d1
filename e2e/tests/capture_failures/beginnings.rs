//! Beginnings that are refused, and one with fewer rights.

use std::process::Command;

use e2e::checks::Checks;
use e2e::process::{Said, binary, is_program, run};
use e2e::waiting::wait_for;
use nix::sys::signal::Signal;
use testing::Need;

use crate::recorder::{Config, Place, SOON};

fn capture(place: &Place, words: &[&str]) -> Said {
    let mut command = Command::new(binary());
    command.arg("capture").args(words).current_dir(place.folder.path());
    run(command, 40)
}

#[test]
fn what_is_wrong_is_named() {
    let Some(place) = Place::new() else { return };
    let mut t = Checks::new();
    let refused = |more: &str| {
        let file = place.write("wrong.toml", &Config { more, ..place.config() });
        capture(&place, &["--config", &file.display().to_string()])
    };
    let said = refused("[evidnce]\nfolder = 1\n");
    t.check("a misspelt section is refused with its line", said.refused(2, "evidnce") && said.err.contains("line"), || said);
    let said = refused("[origin]\ndatabases = [\"/nosuch/asn.mmdb\"]\n");
    t.check("a database that is not there is named", said.refused(2, "/nosuch/asn.mmdb"), || said);
    let said = capture(&place, &["--iface", "nosuch0"]);
    t.check("an interface that is not there is named", said.refused(2, "nosuch0"), || said);
    let said = capture(&place, &[]);
    t.check("without an interface it says what to write", said.refused(2, "--iface"), || said);
    let said = place.ask(&["status"]);
    t.check("without a recorder, status says so", said.refused(2, "running"), || said);
}

#[test]
fn fewer_rights() {
    let Some(place) = Place::new() else { return };
    let mut t = Checks::new();
    if !is_program("setpriv") {
        return t.skip(Need::Tools, "fewer rights: setpriv is not installed");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--clear-groups", "--inh-caps=-all"]).arg(binary()).args(["capture", "--iface", "lo"]);
    command.current_dir("/tmp");
    let said = run(command, 40);
    t.check("without rights it says which it needs", said.refused(2, "CAP_NET_RAW"), || said);
    let lesser = ["setpriv", "--bounding-set=-bpf,-sys_admin,-perfmon", "--inh-caps=-bpf,-sys_admin,-perfmon"];
    let mut recorder = place.begin_with(&lesser, &place.config());
    let client = place.edge.handshake().to_string();
    let kept = wait_for(SOON, || place.ask(&["trigger", &client]).code == Some(0));
    let log = place.log();
    let said = log.contains("user on lo") && log.contains("tc:");
    t.check("where eBPF is not permitted it filters in user space, and says so", kept && said, || log);
    recorder.end(Signal::SIGTERM);
}
