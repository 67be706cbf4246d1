//! Servers that speak HTTPS: a case and where to listen in, their configuration and arguments out.

use std::net::SocketAddr;
use std::path::Path;

use super::{PORT, write};
use crate::case::Case;
use crate::certs::Pki;
use crate::error::Failed;

pub(super) fn nginx(case: &Case, places: &[SocketAddr], pki: &Pki, scratch: &Path) -> Result<Vec<String>, Failed> {
    let folder = scratch.display();
    let listens: String = places.iter().map(|a| format!("listen {a} ssl;\n")).collect();
    let client =
        if case.mtls { format!("ssl_verify_client on; ssl_client_certificate {};\n", pki.ca.display()) } else { String::new() };
    let curve = if case.hello_retry { "ssl_ecdh_curve secp384r1;\n" } else { "" };
    let text = format!(
        "user root root; daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n\
         events {{ worker_connections 256; }}\nhttp {{ access_log off; client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2;\n\
         fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5; keepalive_timeout 0;\n\
         server {{ {listens} ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.2 TLSv1.3; {client}{curve}\n\
         ssl_session_cache shared:s:1m; location / {{ return 200 \"ok\\n\"; }} }} }}\n",
        pki.chain.display(),
        pki.key.display()
    );
    let path = scratch.join("nginx.conf");
    write(&path, &text)?;
    Ok(vec!["-e".into(), format!("{folder}/nginx.log"), "-c".into(), path.display().to_string()])
}

pub(super) fn haproxy(case: &Case, places: &[SocketAddr], pki: &Pki, scratch: &Path) -> Result<Vec<String>, Failed> {
    let client = if case.mtls { format!(" ca-file {} verify required", pki.ca.display()) } else { String::new() };
    let curve = if case.hello_retry { " curves secp384r1" } else { "" };
    let binds: String = places.iter().map(|a| format!("  bind {a} ssl crt {}{client}{curve}\n", pki.both.display())).collect();
    let text = format!(
        "global\n  nbthread 1\ndefaults\n  mode http\n  timeout client 20s\n  timeout server 20s\n  timeout connect 5s\n\
         frontend f\n{binds}  http-request return status 200 content-type text/plain string ok\n"
    );
    let path = scratch.join("haproxy.cfg");
    write(&path, &text)?;
    Ok(vec!["-db".into(), "-f".into(), path.display().to_string()])
}

pub(super) fn caddy(case: &Case, places: &[SocketAddr], pki: &Pki, scratch: &Path) -> Result<Vec<String>, Failed> {
    let binds: Vec<String> = places.iter().map(|a| a.ip().to_string()).collect();
    let curve = if case.hello_retry { "    curves secp384r1\n" } else { "" };
    let client = if case.mtls {
        format!("    client_auth {{\n      mode require_and_verify\n      trusted_ca_cert_file {}\n    }}\n", pki.ca.display())
    } else {
        String::new()
    };
    let text = format!(
        "{{\n  admin off\n  auto_https off\n  storage file_system {}\n  servers {{\n    protocols h1 h2\n  }}\n}}\nhttps://lab.test:{PORT} {{\n  \
         bind {}\n  tls {} {} {{\n{curve}{client}  }}\n  respond \"ok\"\n}}\n",
        scratch.join("caddy").display(),
        binds.join(" "),
        pki.chain.display(),
        pki.key.display()
    );
    let path = scratch.join("Caddyfile");
    write(&path, &text)?;
    Ok(["run", "--adapter", "caddyfile", "--config"]
        .iter()
        .map(|s| (*s).to_owned())
        .chain([path.display().to_string()])
        .collect())
}

pub(super) fn gnutls(case: &Case, pki: &Pki) -> Vec<String> {
    let mut args: Vec<String> = vec![
        "--http".into(),
        "--quiet".into(),
        format!("--port={PORT}"),
        format!("--x509certfile={}", pki.chain.display()),
        format!("--x509keyfile={}", pki.key.display()),
    ];
    if case.hello_retry {
        args.push("--priority=NORMAL:-GROUP-ALL:+GROUP-SECP384R1".into());
    }
    if case.mtls {
        args.push(format!("--x509cafile={}", pki.ca.display()));
        args.push("--require-client-cert".into());
        args.push("--verify-client-cert".into());
    } else {
        args.push("--disable-client-cert".into());
    }
    args
}
