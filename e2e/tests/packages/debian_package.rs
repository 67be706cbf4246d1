//! The Debian package: installed, started by the commands of its units, removed, purged.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use e2e::checks::Checks;
use e2e::debian::{Debian, made, put};
use e2e::process::{Running, Said, is_program, run};
use e2e::waiting::wait_for;
use nix::sys::signal::Signal;
use testing::Need;

const UNITS: [&str; 2] = ["whostalled-watch", "whostalled-capture"];
/// What stays on a host until it is purged.
const KEPT: [&str; 4] =
    ["/etc/whostalled/checks.toml", "/etc/whostalled/capture.toml", "/var/lib/whostalled", "/var/lib/whostalled-capture"];

#[test]
fn the_package_comes_works_and_goes() {
    let mut checks = Checks::new();
    let Some(debian) = Debian::minimal(&mut checks) else { return };
    put(&made("whostalled_", "_amd64.deb"), &debian.path("/root"));
    let shell = |line: &str| -> Said {
        let mut command = debian.command("sh");
        command.args(["-c", line]);
        run(command, 120)
    };

    let said = shell("dpkg -i /root/whostalled_*.deb");
    checks.check("it installs", said.code == Some(0), || said);
    let said = shell("dpkg --verify whostalled && whostalled --version");
    checks.check("its files are those of the package, and the binary runs", said.code == Some(0), || said);
    let said = shell(
        "stat -c '%U %G %a %n' /var/lib/whostalled /var/lib/whostalled-capture /etc/whostalled/*.toml && \
         id -u whostalled-watch whostalled-capture",
    );
    let owned = [
        "whostalled-watch whostalled-watch 700 /var/lib/whostalled",
        "whostalled-capture whostalled-capture 700 /var/lib/whostalled-capture",
        "root whostalled-watch 640 /etc/whostalled/checks.toml",
        "root whostalled-capture 640 /etc/whostalled/capture.toml",
    ];
    let good = said.code == Some(0) && owned.iter().all(|line| said.out.lines().any(|have| have == *line));
    checks.check("each service has a user, a folder and a file of its own", good, || said);
    pages(&mut checks, &debian);
    units(&mut checks, &debian);
    runs(&mut checks, &debian);

    let said = shell("dpkg --remove whostalled");
    let gone = !debian.path("/usr/bin/whostalled").exists() && KEPT.iter().all(|path| debian.path(path).exists());
    checks.check("removed, it leaves what was configured and measured", said.code == Some(0) && gone, || said);
    let said = shell("dpkg --purge whostalled");
    let left: Vec<_> = KEPT.iter().chain(&["/etc/whostalled"]).filter(|path| debian.path(path).exists()).collect();
    let users = shell("getent passwd whostalled-watch whostalled-capture").out;
    checks
        .check("purged, it leaves nothing", said.code == Some(0) && left.is_empty() && users.is_empty(), || (said, left, users));
    let said = shell("dpkg -i /root/whostalled_*.deb");
    checks.check("it installs again", said.code == Some(0), || said);
}

/// Manual pages, and completions as the shells read them.
fn pages(checks: &mut Checks, debian: &Debian) {
    let manual: Vec<_> = std::fs::read_dir(debian.path("/usr/share/man/man1")).into_iter().flatten().flatten().collect();
    let ours = manual.iter().filter(|page| page.file_name().to_string_lossy().starts_with("whostalled")).count();
    checks.check("the manual has a page for each verb", ours >= 10, || ours);
    if is_program("man") {
        let mut man = Command::new("man");
        man.args(["--warnings", "--local-file"]).arg(debian.path("/usr/share/man/man1/whostalled-explain.1.gz"));
        let said = run(
            {
                man.env("MANPAGER", "cat").env("LC_ALL", "C.UTF-8");
                man
            },
            60,
        );
        let clean = said.code == Some(0) && said.out.contains("--slow") && said.err.is_empty();
        checks.check("man shows a page without a warning", clean, || said);
    } else {
        checks.skip(Need::Tools, "man is not installed: no page was shown");
    }
    for (shell, file) in [
        ("bash", "/usr/share/bash-completion/completions/whostalled"),
        ("zsh", "/usr/share/zsh/vendor-completions/_whostalled"),
        ("fish", "/usr/share/fish/vendor_completions.d/whostalled.fish"),
    ] {
        if !is_program(shell) {
            checks.skip(Need::Tools, &format!("{shell} is not installed: its completion was not read"));
            continue;
        }
        let said = run(completing(shell, &debian.path(file)), 60);
        let good = said.code == Some(0) && ["explain", "doctor"].iter().all(|verb| said.out.contains(verb));
        checks.check(format!("{shell} completes the verbs"), good, || said);
    }
}

/// Asks a shell what may follow `whostalled `; of zsh, whose completion needs a terminal, whether it can read the file, and what is in it.
fn completing(shell: &str, file: &Path) -> Command {
    let mut command = Command::new(shell);
    let script = match shell {
        "bash" => {
            "source \"$0\"; COMP_WORDS=(whostalled ''); COMP_CWORD=1; _whostalled whostalled '' whostalled; echo \"${COMPREPLY[@]}\""
        }
        "zsh" => "zsh -n \"$0\" && cat \"$0\"",
        _ => "source $argv[1]; complete --do-complete 'whostalled '",
    };
    command.args(if shell == "bash" { &["--norc", "-c"][..] } else { &["-c"][..] }).arg(script).arg(file);
    command
}

/// systemd does not run in there; it reads the units all the same.
fn units(checks: &mut Checks, debian: &Debian) {
    if !is_program("systemd-analyze") {
        return checks.skip(Need::Tools, "systemd-analyze is not installed: the units were not verified");
    }
    for unit in UNITS {
        let file = debian.path(&format!("/usr/lib/systemd/system/{unit}.service"));
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        // This host has no /usr/bin/whostalled: the unit is verified with a program that is there.
        let scratch = tempfile::tempdir().expect("a folder");
        let copy = scratch.path().join(format!("{unit}.service"));
        std::fs::write(&copy, text.replace("/usr/bin/whostalled", "/bin/true")).expect("a folder of our own");
        let mut verify = Command::new("systemd-analyze");
        verify.args(["verify", "--man=no"]).arg(&copy);
        let said = run(verify, 60);
        let about: Vec<&str> = said.err.lines().filter(|line| line.contains(unit)).collect();
        checks.check(format!("{unit}: systemd has nothing against the unit"), said.code == Some(0) && about.is_empty(), || {
            said.err.clone()
        });
        let user = format!("User={unit}");
        checks.check(format!("{unit}: its user is the package's"), text.lines().any(|line| line == user), || text.clone());
    }
}

/// What a unit starts, as its user and in its folder; `more` capabilities stay.
fn begin(debian: &Debian, unit: &str, more: &str) -> Option<Running> {
    let text = std::fs::read_to_string(debian.path(&format!("/usr/lib/systemd/system/{unit}.service"))).ok()?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let (start, folder) = (field("ExecStart=")?, field("WorkingDirectory=")?);
    let mut command = debian.command("sh");
    let line = format!("cd {folder} && exec setpriv --reuid {unit} --regid {unit} --clear-groups {more} {start}");
    command.args(["-c", &line]);
    Some(Running::start(&mut command))
}

fn answers(debian: &Debian, port: u16) -> bool {
    let mut curl = debian.beside("curl");
    curl.args(["--silent", "--fail", "--output", "/dev/null", "--max-time", "5", &format!("http://127.0.0.1:{port}/")]);
    run(curl, 10).code == Some(0)
}

fn runs(checks: &mut Checks, debian: &Debian) {
    // As installed, but for what a host must say itself: which interface is the edge's, and what to check.
    let file = debian.path("/etc/whostalled/capture.toml");
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    checks.check("the recorder's file names an interface", text.contains("\"eth0\""), || text.clone());
    let made = debian.path("/run/whostalled-capture");
    std::fs::write(&file, text.replace("\"eth0\"", "\"lo\"")).expect("our own");
    let mut command = debian.command("install");
    command.args(["-d", "-o", "whostalled-capture", "-m", "700", "/run/whostalled-capture"]);
    let said = run(command, 10);
    checks.check("its folder in /run, which systemd makes", said.code == Some(0) && made.is_dir(), || said);
    let mut checks_file =
        std::fs::OpenOptions::new().append(true).open(debian.path("/etc/whostalled/checks.toml")).expect("it was installed");
    writeln!(checks_file, "[[check]]\nname = \"nobody\"\ntarget = \"127.0.0.1:9\"\ninsecure = true").expect("our own");
    let caps = "+net_raw,+net_admin,+bpf,+perfmon";
    for (unit, port, more) in [
        ("whostalled-watch", 9719, String::new()),
        ("whostalled-capture", 9720, format!("--inh-caps {caps} --ambient-caps {caps}")),
    ] {
        let Some(mut running) = begin(debian, unit, &more) else {
            checks.check(format!("{unit} has a command and a folder"), false, || unit);
            continue;
        };
        let up = wait_for(60, || !running.is_running() || answers(debian, port));
        let good = up && running.is_running();
        checks.check(format!("{unit} runs as its unit starts it, with the file that was installed"), good, || unit);
        let code = running.end(Signal::SIGTERM);
        checks.check(format!("{unit} ends when it is asked to"), code == Some(0), || code);
    }
}
