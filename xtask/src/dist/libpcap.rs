//! A libpcap to link statically. In: Debian's source package of the host's release. Out: a folder with `libpcap.a` alone.
//!
//! Debian's own `libpcap.a` wants D-Bus, systemd and RDMA with all that belongs to them: here they are left out, with every kind of device
//! that is no network interface. apt checks the source against the archive's signature.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

/// Who vouches for the archive.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What is left out, or would be found if it were installed.
const WITHOUT: &[&str] = &[
    "--disable-shared",
    "--disable-dbus",
    "--disable-rdma",
    "--disable-usb",
    "--disable-bluetooth",
    "--disable-netmap",
    "--without-libnl",
    "--without-dag",
    "--without-septel",
    "--without-snf",
    "--without-turbocap",
    "--without-dpdk",
];

/// A libpcap.
pub(super) struct Libpcap {
    /// In which `libpcap.a` is.
    pub folder: PathBuf,
    /// Three numbers.
    pub version: String,
}

/// Builds it, or finds the one that was built before: in `target/libpcap`, which may be removed at any time.
pub(super) fn build(shell: &Shell) -> Result<Libpcap> {
    let own = shell.current_dir().join("target/libpcap");
    if let Some(built) = built(&own) {
        return Ok(built);
    }
    shell.create_dir(&own)?;
    let source = fetch(shell, &own).context("fetching libpcap's source package by apt-get")?;
    println!("building a static libpcap in {}", source.display());
    let _inside = shell.push_dir(&source);
    let log = own.join("build.log");
    let script = "exec >\"$0\" 2>&1; ./configure \"$@\" CFLAGS='-O2 -fPIC' && make libpcap.a";
    let done = cmd!(shell, "sh -c {script} {log} {WITHOUT...}").quiet().run();
    done.with_context(|| format!("building libpcap failed: see {} (it needs flex and bison)", log.display()))?;
    // The crate pcap is to find this file and no other.
    let version = version_of(&source).context("libpcap's source says no version")?;
    let alone = own.join(format!("built-{version}"));
    shell.create_dir(&alone)?;
    shell.copy_file("libpcap.a", &alone)?;
    built(&own).context("libpcap was built and is not there")
}

fn built(own: &Path) -> Option<Libpcap> {
    let folders = std::fs::read_dir(own).ok()?.flatten().map(|entry| entry.path());
    let mut built = folders.filter(|path| path.join("libpcap.a").is_file()).filter_map(|folder| {
        let version = folder.file_name()?.to_str()?.strip_prefix("built-")?.to_owned();
        Some(Libpcap { folder, version })
    });
    built.next()
}

/// The unpacked source, with Debian's patches. apt is given lists of its own: the host's stay as they are, and no rights are needed.
fn fetch(shell: &Shell, own: &Path) -> Result<PathBuf> {
    let os = shell.read_file("/etc/os-release")?;
    let suite = os.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let suite = suite.filter(|_| os.lines().any(|line| line == "ID=debian") && Path::new(KEYRING).exists());
    let Some(suite) = suite else {
        bail!("packages are made on Debian alone (no {KEYRING}, or /etc/os-release names another system)");
    };
    let archive = testing::archive(suite).with_context(|| format!("apt has no archive of {suite}: run apt-get update"))?;
    let (lists, cache) = (own.join("lists"), own.join("cache"));
    shell.create_dir(lists.join("partial"))?;
    shell.create_dir(cache.join("archives/partial"))?;
    let sources = own.join("sources.list");
    shell.write_file(&sources, format!("deb-src [signed-by={KEYRING}] {archive} {suite} main\n"))?;
    let options = [
        format!("-oDir::Etc::sourcelist={}", sources.display()),
        "-oDir::Etc::sourceparts=-".to_owned(),
        format!("-oDir::State::lists={}", lists.display()),
        format!("-oDir::Cache={}", cache.display()),
        // Its helper user may not read this folder.
        "-oAPT::Sandbox::User=root".to_owned(),
    ];
    let _inside = shell.push_dir(own);
    let options = options.as_slice();
    cmd!(shell, "apt-get {options...} -qq update").quiet().run()?;
    cmd!(shell, "apt-get {options...} -qq source libpcap").quiet().ignore_stdout().ignore_stderr().run()?;
    let source = std::fs::read_dir(own)?.flatten().map(|entry| entry.path()).find(|path| path.join("pcap-linux.c").is_file());
    source.context("apt-get gave no source")
}

/// `1.10.3`, as the source itself has it.
fn version_of(source: &Path) -> Option<String> {
    let text = std::fs::read_to_string(source.join("VERSION")).ok()?;
    let version = text.trim();
    let numbers = version.split('.').filter(|part| part.parse::<u32>().is_ok()).count();
    (numbers == 3).then(|| version.to_owned())
}
