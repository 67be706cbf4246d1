//! Any bytes as something that a customer sent, of whatever kind: requests come out, each of which sums exactly, or words about what is wrong.
#![no_main]

use std::ops::ControlFlow;

use analysis::clock::Span;
use explain::imported::judged;
use imports::{Source, read, sniff};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    // What it looks like, or any kind: hostile files need not look like what they are taken for.
    let sniffed = sniff(data).map(|source| (source, data));
    let chosen = [Source::Curl, Source::Har, Source::NetLog, Source::Line][usize::from(first % 4)];
    for (source, bytes) in sniffed.into_iter().chain([(chosen, rest)]) {
        read(source, bytes, &mut |request| {
            if let Some(judged) = judged(&request, None) {
                let ledger = &judged.reading.ledger;
                assert_eq!(ledger.entries.iter().map(|e| e.span).sum::<Span>(), ledger.total);
            }
            ControlFlow::Continue(())
        });
    }
});
