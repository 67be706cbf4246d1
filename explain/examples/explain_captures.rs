//! Capture files → the verdict of every handshake in them: `cargo run -p whostalled-explain --example explain_captures [FILE…]`
//!
//! Without files, both ends of a recording of the zoo: a Java client, slow at its first handshake as virtual machines are, that stalled in two more.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use records::explained::ExplainedRecord;
use whostalled_explain::filter::Filter;
use whostalled_explain::gather::Gather;
use whostalled_explain::{Options, explain};

fn main() {
    let mut captures: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if captures.is_empty() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../zoo/recorded/c022-java-go-client-stalls");
        captures = ["client.pcap.zst", "edge.pcap.zst"].map(|name| folder.join(name)).to_vec();
    }

    // Called with every handshake as it is judged; `Break` ends the reading.
    let mut each = |record: &ExplainedRecord| {
        println!("#{} {} → {}: {}", record.id, record.client, record.server, record.label());
        if let Some(judged) = record.judged.as_ref().filter(|_| record.label() != "healthy") {
            println!("    {}", judged.sentence);
        }
        ControlFlow::Continue(())
    };
    let mut progress = |_packets| ();
    let mut gather = Gather::new(Filter::default(), 10, &mut progress).for_each(&mut each);
    let outcome = explain(&Options { captures, ..Options::default() }, &mut gather);

    let (report, _) = gather.finish(outcome);
    for share in &report.summary {
        println!("{:>4} × {}", share.n, share.verdict);
    }
    for warning in &report.warnings {
        println!("warning: {warning}");
    }
}
