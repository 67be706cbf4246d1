//! Starts the server of a case, told where to stall.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use lab::host::Host;
use serde_json::{Map, Value, json};

use crate::case::{Case, Fault};
use crate::certs::Pki;
use crate::error::{Failed, Why};
use crate::spawn::{Program, Start, listening, start};
use crate::stacks::Server;

/// Where servers listen.
pub const PORT: u16 = 4_433;

/// Built helpers.
pub struct Helpers<'a> {
    pub folder: &'a Path,
    pub stacks: &'a Path,
}

impl Helpers<'_> {
    fn built(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    pub fn source(&self, name: &str) -> String {
        self.stacks.join(name).display().to_string()
    }

    pub fn go(&self, name: &str) -> String {
        self.built(name)
    }

    pub fn classes(&self) -> String {
        self.built("java")
    }

    /// Environment that makes a program stall itself.
    pub fn stalls(&self, plan: &str, first: usize, log: &Path) -> Vec<(String, String)> {
        vec![
            ("LD_PRELOAD".into(), self.built("stall.so")),
            ("ZOO_STALL".into(), plan.into()),
            ("ZOO_FIRST".into(), first.to_string()),
            ("ZOO_LOG".into(), log.display().to_string()),
        ]
    }
}

/// Stalls of the server by number of connection.
fn stalls(case: &Case) -> Vec<(usize, &'static str, f64)> {
    let of = |(n, faults): (usize, &Vec<Fault>)| {
        faults
            .iter()
            .filter_map(move |f| match f {
                Fault::ServerStall { stage, ms } => Some((n, *stage, *ms)),
                Fault::ServerClose => Some((n, "close", 0.0)),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    case.faults.iter().enumerate().flat_map(of).collect()
}

/// Starts it; the second part is the file in which a preloaded library logs.
///
/// # Errors
/// If it does not come up.
pub fn serve(
    case: &Case,
    host: &Host,
    pki: &Pki,
    helpers: &Helpers<'_>,
    scratch: &Path,
    group: Option<PathBuf>,
) -> Result<Program, Failed> {
    let addresses: Vec<IpAddr> = host.addresses().into_iter().filter(|a| a.is_ipv6() == case.ipv6).take(2).collect();
    let log = scratch.join("server");
    let (program, args, input) = match case.server {
        Server::Go | Server::Python | Server::Node => {
            let plan = scratch.join("server.json");
            write(&plan, &own_plan(case, &addresses, pki).to_string())?;
            let plan = plan.display().to_string();
            match case.server {
                Server::Go => (helpers.go("go-server"), vec![plan], None),
                Server::Python => ("python3".into(), vec![helpers.source("server.py"), plan], None),
                _ => ("node".into(), vec![helpers.source("server.js"), plan], None),
            }
        }
        Server::Nginx => ("nginx".into(), nginx(case, &addresses, pki, scratch)?, None),
        Server::Haproxy => ("haproxy".into(), haproxy(case, &addresses, pki, scratch)?, None),
        Server::Caddy => ("caddy".into(), caddy(case, &addresses, pki, scratch)?, None),
        Server::Gnutls => ("gnutls-serv".into(), gnutls(case, pki), None),
    };
    let mut env = vec![("HOME".into(), scratch.display().to_string()), ("GOMAXPROCS".into(), "2".into())];
    if matches!(case.server, Server::Nginx | Server::Haproxy | Server::Gnutls) {
        let plan: Vec<String> = stalls(case).iter().map(|(n, stage, ms)| format!("{n}:{stage}:{ms}")).collect();
        if !plan.is_empty() {
            env.extend(helpers.stalls(&plan.join(","), 0, &scratch.join("server-stalls")));
        }
    }
    let mut running = start(host, &Start { program: &program, args, env, log, input, group })?;
    let many = if case.server == Server::Gnutls { 1 } else { addresses.len() };
    listening(host, PORT, many, &mut running)?;
    Ok(running)
}

/// Starts the third host: plain HTTP that answers `/NUMBER` after so many milliseconds.
///
/// # Errors
/// If it does not come up.
pub fn third(host: &Host, helpers: &Helpers<'_>, scratch: &Path) -> Result<Program, Failed> {
    let plan = scratch.join("third.json");
    write(&plan, &json!({ "plain": true, "addrs": [host.ipv4.to_string()], "port": 80 }).to_string())?;
    let args = vec![helpers.source("server.py"), plan.display().to_string()];
    let what = Start { program: "python3", args, env: vec![], log: scratch.join("third"), input: None, group: None };
    let mut running = start(host, &what)?;
    listening(host, 80, 1, &mut running)?;
    Ok(running)
}

fn own_plan(case: &Case, addresses: &[IpAddr], pki: &Pki) -> Value {
    let mut by_number = Map::new();
    for (n, stage, ms) in stalls(case) {
        let entry = by_number.entry(n.to_string()).or_insert_with(|| json!({}));
        entry[stage] = json!(ms);
    }
    json!({
        "addrs": addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), "port": PORT,
        "chain": pki.chain, "key": pki.key, "ca": pki.ca, "mtls": case.mtls, "hrr": case.hello_retry,
        "pre": case.before.map(|b| b.word()), "stalls": by_number,
    })
}

fn nginx(case: &Case, addresses: &[IpAddr], pki: &Pki, scratch: &Path) -> Result<Vec<String>, Failed> {
    let folder = scratch.display();
    let listens: String = addresses.iter().map(|a| format!("listen {} ssl;\n", at(*a))).collect();
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

fn haproxy(case: &Case, addresses: &[IpAddr], pki: &Pki, scratch: &Path) -> Result<Vec<String>, Failed> {
    let client = if case.mtls { format!(" ca-file {} verify required", pki.ca.display()) } else { String::new() };
    let curve = if case.hello_retry { " curves secp384r1" } else { "" };
    let binds: String =
        addresses.iter().map(|a| format!("  bind {} ssl crt {}{client}{curve}\n", at(*a), pki.both.display())).collect();
    let text = format!(
        "global\n  nbthread 1\ndefaults\n  mode http\n  timeout client 20s\n  timeout server 20s\n  timeout connect 5s\n\
         frontend f\n{binds}  http-request return status 200 content-type text/plain string ok\n"
    );
    let path = scratch.join("haproxy.cfg");
    write(&path, &text)?;
    Ok(vec!["-db".into(), "-f".into(), path.display().to_string()])
}

fn caddy(case: &Case, addresses: &[IpAddr], pki: &Pki, scratch: &Path) -> Result<Vec<String>, Failed> {
    let binds: Vec<String> = addresses.iter().map(ToString::to_string).collect();
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

fn gnutls(case: &Case, pki: &Pki) -> Vec<String> {
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

fn at(address: IpAddr) -> String {
    std::net::SocketAddr::new(address, PORT).to_string()
}

pub fn write(path: &Path, text: &str) -> Result<(), Failed> {
    std::fs::write(path, text).why(format!("writing {}", path.display()))
}
