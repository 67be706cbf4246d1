//! Any two byte streams as a TLS dialogue: no message leaves its stream.
#![no_main]

use analysis::tls::{Dialogue, Order};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((at, rest)) = data.split_first_chunk::<2>() else { return };
    let (client, server) = rest.split_at(usize::from(u16::from_be_bytes(*at)).min(rest.len()));
    let order = Order { server_before_finished: Some(i64::from(at[1]) * 16), client_before_hello: None };
    let d = Dialogue::of_bytes(client, server, order);
    for e in [d.client_hello, d.first_client_hello, d.client_finished, d.first_request].into_iter().flatten() {
        assert!(0 <= e.start && e.start <= e.end && e.end <= client.len() as i64);
    }
    for e in [d.server_hello, d.hello_retry, d.server_flight, d.server_finished].into_iter().flatten() {
        assert!(0 <= e.start && e.start <= e.end && e.end <= server.len() as i64);
    }
});
