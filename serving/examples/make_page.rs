//! A page and its metrics, as `watch` and `capture` serve them: `cargo run -p whostalled-serving --example make_page > page.html`
//!
//! The page goes to standard output, the metrics beside it to standard error. Nothing listens.

use maud::html;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::MetricConstructor;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use whostalled_serving::document;
use whostalled_serving::exposition::{Exposition, Seconds};

fn main() {
    let (rounds, took): (Counter, Histogram) = (Counter::default(), Seconds.new_metric());
    let mut registry = Registry::with_prefix("example");
    registry.register("rounds", "Rounds of the check", rounds.clone());
    registry.register("handshake_seconds", "How long the handshakes took", took.clone());
    for seconds in [0.041, 0.043, 0.353] {
        rounds.inc();
        took.observe(seconds);
    }

    // Whoever wrote the name of this check, it cannot leave its place in the page.
    let name = "<script>log in</script>";
    let body = html! {
        h1 { (name) }
        p { (rounds.get()) " rounds, the slowest took 353 ms." }
    };
    println!("{}", document(name, true, &[("/", "checks"), ("/metrics", "metrics")], &body));
    eprint!("{}", Exposition::new(vec![("rounds", registry)]).openmetrics().concat());
}
