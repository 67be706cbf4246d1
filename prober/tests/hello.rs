//! The shape of our ClientHello, held to a golden text: what another crate of the build brings (a provider, a feature of rustls) must not
//! change what is measured. `cargo test -p whostalled-prober` builds it without the fleet, `cargo test --workspace` with it.

use std::sync::Arc;

use rustls::ClientConnection;
use whostalled_prober::tls::{Only, TlsOptions, config};

/// What a hello offers, in words that do not change from one to the next: random bytes are left out, and extensions, whose order rustls
/// shuffles, are sorted.
fn shape(options: TlsOptions) -> String {
    let config = config(&TlsOptions { insecure: true, alpn: vec!["http/1.1".into()], ..options }).expect("the options are sound");
    let name = "edge.test".try_into().expect("a name");
    let mut connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
    let mut record = Vec::new();
    connection.write_tls(&mut record).expect("memory");
    let mut rest = &record[..];
    let mut take = |n: usize| {
        let (taken, after) = rest.split_at(n);
        rest = after;
        taken.to_vec()
    };
    let number = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut lines = vec![format!("record {} of {}, {} bytes", hex(&take(1)), hex(&take(2)), number(&take(2)))];
    lines.push(format!("handshake {}, {} bytes", hex(&take(1)), number(&take(3))));
    let version = hex(&take(2));
    take(32);
    let session = usize::from(take(1)[0]);
    take(session);
    lines.push(format!("version {version}, session of {session} bytes"));
    let ciphers = number(&take(2));
    lines.push(format!("ciphers {}", hex(&take(ciphers))));
    let compressions = number(&take(1));
    lines.push(format!("compressions {}", hex(&take(compressions))));
    let mut left = number(&take(2));
    let mut extensions = Vec::new();
    while left > 0 {
        let (kind, length) = (number(&take(2)), number(&take(2)));
        let body = take(length);
        left -= 4 + length;
        // A key share (RFC 8446, 4.2.8): groups and lengths; the keys are random.
        let shown = if kind == 51 {
            let mut shares = &body[2..];
            let mut all = Vec::new();
            while let [a, b, c, d, after @ ..] = shares {
                let length = number(&[*c, *d]);
                all.push(format!("{}:{length}", hex(&[*a, *b])));
                shares = &after[length..];
            }
            all.join(" ")
        } else {
            hex(&body)
        };
        extensions.push(format!("extension {kind:05}: {shown}"));
    }
    extensions.sort();
    lines.extend(extensions);
    lines.join("\n")
}

#[test]
fn our_hello_does_not_change_with_the_build() {
    assert_eq!(shape(TlsOptions::default()), include_str!("hello/default.txt").trim_end());
    let tls12 = TlsOptions { only: Some(Only::Tls12), ..TlsOptions::default() };
    assert_eq!(shape(tls12), include_str!("hello/tls12.txt").trim_end());
}
