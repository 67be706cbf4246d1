//! The rustls client: a process of its own, told by the same plan as the helpers in other languages.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};
use serde_json::{Value, json};

use crate::error::{Failed, Why};

/// Does all handshakes of a plan.
///
/// # Errors
/// If the plan cannot be used; a handshake that fails is a line of output.
pub fn run(path: &str) -> Result<(), Failed> {
    let text = std::fs::read_to_string(path).why(format!("reading {path}"))?;
    let plan: Value = serde_json::from_str(&text).why(format!("reading {path}"))?;
    let shared = config(&plan, false, false)?;
    for one in plan["handshakes"].as_array().into_iter().flatten() {
        let (distrust, bare) = (one["distrust"] == json!(true), one["no_cert"] == json!(true));
        let config = if distrust || bare { config(&plan, distrust, bare)? } else { Arc::clone(&shared) };
        let mut port = 0;
        let result = handshake(&plan, one, config, &mut port);
        let error = result.as_ref().err().map(|e| e.0.clone());
        println!(
            "{}",
            json!({ "ev": "done", "ok": result.is_ok(), "resumed": result.unwrap_or(false), "error": error, "port": port, "t": now() })
        );
        std::thread::sleep(span(&plan["gap_ms"]));
    }
    Ok(())
}

fn config(plan: &Value, distrust: bool, bare: bool) -> Result<Arc<ClientConfig>, Failed> {
    let file = |key: &str| plan[key].as_str().unwrap_or_default().to_owned();
    let mut roots = RootCertStore::empty();
    let trusted = if distrust { file("cert") } else { file("ca") };
    for certificate in CertificateDer::pem_file_iter(trusted).why("reading the root")? {
        roots.add(certificate.why("reading the root")?).why("using the root")?;
    }
    let versions: &[&rustls::SupportedProtocolVersion] =
        if plan["version"] == json!("1.2") { &[&rustls::version::TLS12] } else { rustls::ALL_VERSIONS };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).why("TLS versions")?;
    let builder = builder.with_root_certificates(roots);
    let mut config = if plan["mtls"] == json!(true) && !bare {
        let chain = CertificateDer::pem_file_iter(file("cert")).why("client certificate")?.collect::<Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_file(file("key")).why("client key")?;
        builder.with_client_auth_cert(chain.why("client certificate")?, key).why("client certificate")?
    } else {
        builder.with_no_client_auth()
    };
    if plan["resume"] != json!(true) {
        config.resumption = rustls::client::Resumption::disabled();
    }
    Ok(Arc::new(config))
}

fn handshake(plan: &Value, one: &Value, config: Arc<ClientConfig>, port: &mut u16) -> Result<bool, Failed> {
    let ip: IpAddr = one["addr"].as_str().unwrap_or_default().parse().why("address")?;
    let address = SocketAddr::new(ip, one["port"].as_u64().unwrap_or(0) as u16);
    let timeout = span(&plan["timeout_ms"]);
    let mut socket = TcpStream::connect_timeout(&address, timeout).why("connecting")?;
    *port = socket.local_addr().why("own port")?.port();
    socket.set_nodelay(true).why("socket")?;
    socket.set_read_timeout(Some(timeout)).why("socket")?;
    stall(one, "hello", *port);
    let name = ServerName::try_from("lab.test").why("name")?;
    let mut tls = ClientConnection::new(config, name).why("TLS")?;
    let finished_turn = if plan["hrr"] == json!(true) { 3 } else { 2 };
    let mut turns = 0;
    while tls.is_handshaking() || tls.wants_write() {
        if tls.wants_write() {
            turns += 1;
            if turns == finished_turn {
                stall(one, "finished", *port);
            }
            let mut bytes = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut bytes).why("TLS")?;
            }
            socket.write_all(&bytes).why("sending")?;
            continue;
        }
        match tls.read_tls(&mut socket) {
            Ok(0) => return Err(Failed("closed".into())),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue, // stopped and continued
            other => other.why("reading")?,
        };
        if let Err(error) = tls.process_new_packets() {
            let _ = tls.write_tls(&mut socket);
            return Err(Failed(error.to_string()));
        }
    }
    let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
    let mut stream = rustls::Stream::new(&mut tls, &mut socket);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: lab.test\r\nConnection: close\r\n\r\n").why("asking")?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(e) if answer.is_empty() => Err(Failed(e.to_string())),
        _ => Ok(resumed),
    }
}

fn stall(one: &Value, stage: &str, port: u16) {
    if let Some(ms) = one["stall"][stage].as_f64() {
        let begun = now();
        std::thread::sleep(Duration::from_secs_f64(ms / 1e3));
        println!("{}", json!({ "ev": "stall", "stage": stage, "ms": ms, "t": begun, "t_end": now(), "port": port }));
    }
}

fn span(value: &Value) -> Duration {
    Duration::from_secs_f64(value.as_f64().unwrap_or(0.0) / 1e3)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}
