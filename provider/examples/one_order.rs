//! What a provider is given for one vantage of an hour, and what becomes of its answer:
//!
//!   cargo run -p whostalled-provider --example one_order

use whostalled_provider::{Ask, Caps, Heard, Join, Order, Request, Settings, Wanted, hear};

fn main() {
    let order = Order {
        run: "run-1".into(),
        order: None,
        expires_at: 1_795_800_000,
        caps: Caps { instances: 1, hours: 1.0, usd: 0.25 },
        join: Join::Nats { url: "tls://nats.example.com:4222".into(), ca: None },
        vantages: vec![Wanted { name: "box".into(), agent: Some("box-1".into()) }],
    };
    let caps = order.caps;
    println!("to the provider:\n{}", serde_json::to_string(&Request::new(Ask::Up(order), true, Settings::new())).expect("JSON"));
    println!("\nfrom it:");
    for line in [r#"{"say":"price","usd":0.3,"usd_per_hour":0.3,"what":"a box"}"#, r#"{"say":"done"}"#, "hello"] {
        match hear(line) {
            Ok(Heard::Line(whostalled_provider::Line::Price { usd, .. })) => println!("${usd}: {:?}", caps.bear(1, 0, 1.0, usd)),
            heard => println!("{heard:?}"),
        }
    }
}
