//! Exim, which takes mail behind STARTTLS; GnuTLS. It forks for every connection.

use std::net::SocketAddr;

use super::{PORT, Settings, as_user, folder_of, write};
use crate::error::Failed;

/// Debian's; Exim lets nobody else listen.
const USER: &str = "Debian-exim";

pub(super) fn command(s: &Settings<'_>, places: &[SocketAddr]) -> Result<(String, Vec<String>), Failed> {
    let folder = s.scratch.join("exim");
    folder_of(USER, &folder)?;
    let addresses: Vec<String> = places.iter().map(|p| p.ip().to_string()).collect();
    let mut lines = vec![
        "primary_hostname = lab.test".into(),
        format!("spool_directory = {}", folder.display()),
        format!("log_file_path = {}/%slog", folder.display()),
        format!("pid_file_path = {}/pid", folder.display()),
        format!("daemon_smtp_ports = {PORT}"),
        format!("local_interfaces = <; {}", addresses.join(" ; ")),
        "keep_environment =".into(),
        "helo_accept_junk_hosts = *".into(),
        // No lookups.
        "host_lookup =".into(),
        "rfc1413_query_timeout = 0s".into(),
        // A connection's process outlives a recorder that was killed, but not for long.
        "smtp_receive_timeout = 20s".into(),
        "tls_advertise_hosts = *".into(),
        format!("tls_certificate = {}", s.pki.chain.display()),
        format!("tls_privatekey = {}", s.pki.key.display()),
    ];
    if s.case.hello_retry {
        lines.push("tls_require_ciphers = NORMAL:-GROUP-ALL:+GROUP-SECP384R1".into());
    }
    if s.case.mtls {
        lines.push("tls_verify_hosts = *".into());
        lines.push(format!("tls_verify_certificates = {}", s.pki.ca.display()));
    }
    let path = s.scratch.join("exim.conf");
    write(&path, &(lines.join("\n") + "\n"))?;
    Ok(as_user(USER, "exim4", vec!["-bdf".into(), "-C".into(), path.display().to_string()]))
}
