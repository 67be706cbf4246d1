//! Squid as a proxy that is asked to CONNECT, on the host of the server behind it.

use std::net::SocketAddr;

use super::{Settings, as_user, folder_of, write};
use crate::case::Before;
use crate::error::Failed;

/// Debian's.
const USER: &str = "proxy";

/// Squid's helper that takes any password.
pub const PASSWORDS: &str = "/usr/lib/squid/basic_fake_auth";

pub(super) fn command(s: &Settings<'_>, places: &[SocketAddr]) -> Result<(String, Vec<String>), Failed> {
    let folder = s.scratch.join("squid");
    folder_of(USER, &folder)?;
    let folder = folder.display();
    let mut lines: Vec<String> = places.iter().map(|p| format!("http_port {p}")).collect();
    if s.case.before == Some(Before::ConnectAgain) {
        lines.push(format!("auth_param basic program {PASSWORDS}"));
        lines.push("auth_param basic children 1 startup=1 idle=1".into());
        lines.push("acl known proxy_auth REQUIRED".into());
        lines.push("http_access allow known".into());
        lines.push("http_access deny all".into());
    } else {
        lines.push("http_access allow all".into());
    }
    lines.extend([format!("cache_log {folder}/cache.log"), format!("coredump_dir {folder}"), "pid_filename none".into()]);
    // Neither a cache nor anything else beside the tunnel.
    let quiet = [
        "visible_hostname edge.lab.test",
        "cache deny all",
        "cache_mem 1 MB",
        "memory_cache_shared off",
        "access_log none",
        "cache_store_log none",
        "netdb_filename none",
        "pinger_enable off",
        "max_filedescriptors 1024",
        "shutdown_lifetime 0 seconds",
    ];
    lines.extend(quiet.map(String::from));
    let path = s.scratch.join("squid.conf");
    write(&path, &(lines.join("\n") + "\n"))?;
    let (program, args) = as_user(USER, "squid", vec!["-N".into(), "-f".into(), path.display().to_string()]);
    // Its segments of shared memory end with it, however it ends.
    let own_memory = r#"mount -t tmpfs tmpfs /dev/shm && exec "$0" "$@""#;
    let mut all: Vec<String> = ["--mount", "sh", "-c", own_memory].map(String::from).to_vec();
    all.push(program);
    all.extend(args);
    Ok(("unshare".into(), all))
}
