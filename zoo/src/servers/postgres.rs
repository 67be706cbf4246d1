//! PostgreSQL: a cluster made once a run, a copy of it for each case.
//!
//! It refuses to be root and forks for every connection; OpenSSL's curve is P-256 alone, so that TLS 1.3 always retries.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Helpers, Settings, as_user, folder_of, give, write};
use crate::error::{Failed, Why};

const USER: &str = "postgres";
const TEMPLATE: &str = "postgres";

/// Where a program of the newest version lies; Debian keeps versions apart from the search path.
pub fn program(name: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.filter_map(|v| Some((v.file_name().to_str()?.parse::<u32>().ok()?, v.path().join("bin").join(name))));
    let newest = found.filter(|(_, path)| path.exists()).max_by_key(|(version, _)| *version).map(|(_, path)| path);
    newest.or_else(|| lab::host::installed(name).then(|| name.into()))
}

/// The first of these programs that is not installed.
pub fn missing(names: &'static [&'static str]) -> Option<&'static str> {
    names.iter().copied().find(|name| program(name).is_none())
}

/// A program's path, for a command.
///
/// # Errors
/// If it is not installed.
pub fn path(name: &str) -> Result<String, Failed> {
    program(name).map(|p| p.display().to_string()).ok_or_else(|| Failed(format!("{name} is not installed")))
}

/// Makes the cluster that cases copy.
///
/// # Errors
/// If `initdb` fails.
pub fn template(folder: &Path) -> Result<(), Failed> {
    let data = folder.join(TEMPLATE);
    folder_of(USER, &data)?;
    let options = ["--no-sync", "--auth=trust", "--username=postgres", "--locale=C", "--encoding=UTF8", "--pgdata"];
    let mut args: Vec<String> = options.map(String::from).to_vec();
    args.push(data.display().to_string());
    let (program, args) = as_user(USER, &path("initdb")?, args);
    let output = Command::new(program).args(args).current_dir(folder).output().why("starting initdb")?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failed(format!("initdb: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

pub(super) fn command(s: &Settings<'_>, places: &[SocketAddr], helpers: &Helpers<'_>) -> Result<(String, Vec<String>), Failed> {
    let data = s.scratch.join("postgres");
    let copied = Command::new("cp").args(["-a", &helpers.built(TEMPLATE)]).arg(&data).status().why("starting cp")?;
    if !copied.success() {
        return Err(Failed("the cluster could not be copied".into()));
    }
    // A key must be its own, and no other's to read.
    let key = s.scratch.join("postgres.key");
    std::fs::copy(&s.pki.key, &key).why("copying the key")?;
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).why("the key's mode")?;
    give(USER, &key)?;
    let rules = s.scratch.join("pg_hba.conf");
    write(&rules, &format!("hostssl all all all trust{}\n", if s.case.mtls { " clientcert=verify-ca" } else { "" }))?;
    let addresses: Vec<String> = places.iter().map(|p| p.ip().to_string()).collect();
    let mut settings = vec![
        format!("listen_addresses={}", addresses.join(",")),
        format!("port={}", super::PORT),
        "unix_socket_directories=".into(),
        format!("hba_file={}", rules.display()),
        "ssl=on".into(),
        format!("ssl_cert_file={}", s.pki.chain.display()),
        format!("ssl_key_file={}", key.display()),
    ];
    if s.case.mtls {
        settings.push(format!("ssl_ca_file={}", s.pki.ca.display()));
    }
    // Nothing that works beside the handshakes, and nothing outside of its folder.
    let quiet =
        ["fsync=off", "autovacuum=off", "wal_level=minimal", "max_wal_senders=0", "max_connections=20", "shared_buffers=16MB"];
    settings.extend(quiet.into_iter().chain(["dynamic_shared_memory_type=mmap"]).map(String::from));
    let mut args = vec!["-D".into(), data.display().to_string()];
    args.extend(settings.into_iter().flat_map(|setting| ["-c".into(), setting]));
    let (program, args) = as_user(USER, &path("postgres")?, args);
    // Its segment of System V memory ends with it, however it ends.
    let mut own_memory = vec!["--ipc".into(), program];
    own_memory.extend(args);
    Ok(("unshare".into(), own_memory))
}
