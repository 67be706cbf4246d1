//! `whostalled probe`.

use std::sync::Arc;
use std::time::Duration;

use analysis::clock::{Client, Instant};
use prober::tls::{TlsOptions, config, distrust};
use prober::{BeforeTls, Family, HttpRequest, Pauses, Route, Target, probe_now};
use settings::words::visible;

use crate::args::Probe;
use crate::{exit, saying};

/// Does one handshake and prints what was measured.
///
/// # Errors
/// If the probe could not even begin.
pub fn probe(args: &Probe) -> Result<u8, Box<dyn std::error::Error>> {
    if args.host.contains("://") || args.host.contains(['/', '@']) || args.host.parse::<std::net::SocketAddr>().is_ok() {
        return Err("HOST is a name or an address alone: --port and --path say the rest".into());
    }
    let ms = |ms: f64| Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default();
    let tls = TlsOptions {
        key_log: true,
        resume: args.resume,
        certificate: args.cert.clone().zip(args.key.clone()),
        ..args.tls.options()
    };
    let mut config = config(&tls)?;
    if args.distrust {
        distrust(&mut config);
    }
    let target = Target {
        host: args.host.clone(),
        port: args.port,
        connect_to: None,
        address: args.address.map(|address| (address, args.port).into()),
        server_name: None,
        family: family(args),
        tls: Some(Arc::new(config)),
        request: Some(HttpRequest { path: args.path.clone(), ..HttpRequest::default() }),
        timeout: ms(args.timeout_ms),
        pauses: Pauses {
            before_hello: ms(args.pause_before_hello_ms),
            before_finished: ms(args.pause_before_finished_ms),
            before_tls: before_tls(args),
            in_pieces: args.in_pieces,
            once: args.once,
        },
        route: Route::default(),
    };
    if args.resume {
        // Whatever becomes of it: without a session, the next is a full handshake and says so.
        let pauses = Pauses { before_hello: Duration::ZERO, before_finished: Duration::ZERO, ..target.pauses };
        probe_now(&Target { pauses, ..target.clone() }, &[])?;
    }
    let report = probe_now(&target, &[])?;
    if args.json {
        saying::line(serde_json::to_string(&report)?)?;
    } else {
        let since =
            |at: Option<Instant<Client>>| at.map_or("–".into(), |at| format!("{:.2} ms", (at - report.trace.started).millis()));
        saying::line(format_args!("lookup done            {}", since(report.dns_end)))?;
        saying::line(format_args!("TCP connected          {}", since(report.connected)))?;
        saying::line(format_args!("ClientHello sent       {}", since(report.client_hello)))?;
        saying::line(format_args!("flight at our kernel   {}", since(report.flight_at_kernel)))?;
        saying::line(format_args!("flight read by us      {}", since(report.flight_read)))?;
        saying::line(format_args!("Finished sent          {}", since(report.client_finished)))?;
        saying::line(format_args!("first response         {}", since(report.first_response)))?;
        if let Some(staple) = &report.staple {
            saying::line(format_args!("stapled OCSP answer    {}", staple.status.name()))?;
        }
        if let Some(reason) = &report.reason {
            saying::line(failed(reason.name(), report.detail.as_deref()))?;
        }
    }
    Ok(if report.success { exit::HELD } else { exit::FAILED })
}

fn before_tls(args: &Probe) -> Option<BeforeTls> {
    args.speaks_first.zip(args.plain_exchanges).map(|(first, exchanges)| BeforeTls { first, exchanges })
}

fn family(args: &Probe) -> Family {
    match (args.ipv4, args.ipv6) {
        (true, _) => Family::V4,
        (_, true) => Family::V6,
        _ => Family::Any,
    }
}

/// Why, in words that can be shown: an edge may have chosen some of them.
fn failed(reason: &str, detail: Option<&str>) -> String {
    detail.map_or_else(|| format!("failed: {reason}"), |detail| format!("failed: {} ({reason})", visible(detail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_words_and_then_its_name() {
        let said = failed("dns_no_address", Some("the name server says that there is no name x\u{1b}[1m"));
        assert_eq!(said, "failed: the name server says that there is no name x\\u{1b}[1m (dns_no_address)");
        assert_eq!(failed("prober", None), "failed: prober");
    }
}
