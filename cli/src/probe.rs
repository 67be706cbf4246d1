//! `whostalled probe`.

use std::time::Duration;

use prober::{Request, probe as handshake};

use crate::args::Probe;
use crate::exit;

/// Does one handshake and prints what was measured.
pub fn probe(args: &Probe) -> u8 {
    let ms = |ms: f64| Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default();
    let report = handshake(&Request {
        host: args.host.clone(),
        port: args.port,
        ipv6: args.ipv6,
        ca: args.ca.clone(),
        verify: !args.insecure,
        tls12_only: args.tls12,
        timeout: ms(args.timeout_ms),
        pause_before_hello: ms(args.pause_before_hello_ms),
        pause_before_finished: ms(args.pause_before_finished_ms),
    });
    if args.json {
        println!("{}", serde_json::to_string(&report).unwrap_or_default());
    } else {
        let since =
            |at: Option<i64>| at.zip(report.dns_start).map_or("–".into(), |(a, b)| format!("{:.2} ms", (a - b) as f64 / 1e6));
        println!("lookup done            {}", since(report.dns_end));
        println!("TCP connected          {}", since(report.connected));
        println!("ClientHello sent       {}", since(report.client_hello));
        println!("flight at our kernel   {}", since(report.flight_at_kernel));
        println!("flight read by us      {}", since(report.flight_read));
        println!("Finished sent          {}", since(report.client_finished));
        println!("first response         {}", since(report.first_response));
        if let Some(reason) = &report.reason {
            println!("failed: {reason}");
        }
    }
    if report.success { exit::HELD } else { exit::FAILED }
}
