//! The binary in a folder with nothing else: no libraries, no /proc, no /etc.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use e2e::certificates::make;
use e2e::checks::Checks;
use e2e::debian::made;
use e2e::process::repository;
use e2e::servers;
use serde_json::Value;
use testing::Need;

#[test]
fn the_binary_needs_nothing_but_itself() {
    let mut checks = Checks::new();
    if !testing::root() {
        return checks.skip(Need::Root, "chroot needs root");
    }
    let (bare, beside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let program = bare.path().join("whostalled");
    std::fs::copy(made("whostalled-", "-x86_64-linux"), &program).expect("it was made");
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("our own");
    let run = |arguments: &[&str], input: Vec<u8>| {
        let mut command = Command::new("/usr/sbin/chroot");
        command.arg(bare.path()).arg("/whostalled").args(arguments).env_clear();
        let output =
            assert_cmd::Command::from_std(command).write_stdin(input).timeout(std::time::Duration::from_secs(60)).output();
        let output = output.expect("it runs");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };

    let said = run(&["--version"], vec![]);
    let built = ["profile dist", ", static, ", "eBPF", "built in"].iter().all(|words| said.1.contains(words));
    checks.check("--version: a static build, with the filter for the kernel", said.0 == Some(0) && built, || said);

    let capture = repository().join("zoo/recorded/c003-python-python-client-stalls/client.pcap.zst");
    let said = run(&["explain", "--json", "-"], std::fs::read(capture).expect("it is in the repository"));
    let report: Value = serde_json::from_str(&said.1).unwrap_or_default();
    let read = report["handshakes"].as_u64().is_some_and(|n| n > 0);
    checks.check("it explains a capture", said.0 == Some(0) && read, || said);

    let (_server, url) = servers::openssl(&make(beside.path()));
    let port = url.trim_end_matches('/').rsplit(':').next().unwrap_or_default().to_owned();
    let said = run(&["probe", "127.0.0.1", "--port", &port, "--insecure", "--json"], vec![]);
    checks.check("it makes a TLS handshake", said.0 == Some(0) && said.1.contains("client_finished"), || said);

    let said = run(&["agent", "--stdio"], vec![]);
    let greeting: Value = serde_json::from_str(said.1.lines().next().unwrap_or_default()).unwrap_or_default();
    checks.check("it greets as a vantage", greeting["answer"] == "hello", || said);
}
