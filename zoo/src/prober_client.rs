//! Our own prober as a client: a process of its own, told by the same plan as the helpers in other languages.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prober::tls::{Only, TlsOptions, config};
use prober::{Family, HttpRequest, Pauses, Route, Target, probe_now};
use serde_json::{Value, json};

use crate::error::{Failed, Why};

/// Does all handshakes of a plan.
///
/// # Errors
/// If the plan cannot be used; a handshake that fails is a line of output.
pub fn run(path: &str) -> Result<(), Failed> {
    let text = std::fs::read_to_string(path).why(format!("reading {path}"))?;
    let plan: Value = serde_json::from_str(&text).why(format!("reading {path}"))?;
    let file = |key: &str| PathBuf::from(plan[key].as_str().unwrap_or_default());
    let options = |one: &Value| TlsOptions {
        ca: Some(file(if one["distrust"] == json!(true) { "cert" } else { "ca" })),
        only: (plan["version"] == json!("1.2")).then_some(Only::Tls12),
        certificate: (plan["mtls"] == json!(true) && one["no_cert"] != json!(true)).then(|| (file("cert"), file("key"))),
        resume: plan["resume"] == json!(true),
        ..TlsOptions::default()
    };
    let shared = Arc::new(config(&options(&Value::Null)).why("TLS configuration")?);
    for one in plan["handshakes"].as_array().into_iter().flatten() {
        let own = one["distrust"] == json!(true) || one["no_cert"] == json!(true);
        let tls = if own { Arc::new(config(&options(one)).why("TLS configuration")?) } else { Arc::clone(&shared) };
        handshake(&plan, one, tls)?;
        std::thread::sleep(span(&plan["gap_ms"]));
    }
    Ok(())
}

fn handshake(plan: &Value, one: &Value, tls: Arc<rustls::ClientConfig>) -> Result<(), Failed> {
    let ip: IpAddr = one["addr"].as_str().unwrap_or_default().parse().why("address")?;
    let port = one["port"].as_u64().unwrap_or(0) as u16;
    let pauses = Pauses {
        before_hello: span(&one["stall"]["hello"]),
        before_finished: span(&one["stall"]["finished"]),
        ..Pauses::default()
    };
    let target = Target {
        host: "lab.test".into(),
        port,
        connect_to: None,
        address: Some(SocketAddr::new(ip, port)),
        server_name: None,
        family: Family::Any,
        tls: Some(tls),
        request: Some(HttpRequest::default()),
        timeout: span(&plan["timeout_ms"]),
        pauses,
        route: Route::default(),
    };
    // Nothing is looked up; a server must be named nevertheless.
    let report = probe_now(&target, &[SocketAddr::from(([127, 0, 0, 1], 53))]).why("probing")?;
    let local = report.local.map_or(0, |l| l.port());
    for (stage, begun) in [("hello", report.connected), ("finished", report.flight_read)] {
        if let (Some(ms), Some(begun)) = (one["stall"][stage].as_f64(), begun) {
            let t = begun.nanos() as f64 / 1e9;
            println!(
                "{}",
                json!({ "ev": "stall", "stage": stage, "ms": ms, "t": t, "t_end": t + report.paused_ms / 1e3, "port": local })
            );
        }
    }
    let ended = report.ended.nanos() as f64 / 1e9;
    println!(
        "{}",
        json!({ "ev": "done", "ok": report.success, "resumed": report.resumed, "error": report.detail, "port": local, "t": ended })
    );
    Ok(())
}

fn span(value: &Value) -> Duration {
    Duration::from_secs_f64(value.as_f64().unwrap_or(0.0) / 1e3)
}
