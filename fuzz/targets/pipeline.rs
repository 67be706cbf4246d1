//! Any bytes as a capture, all the way to verdicts and their sentences.
#![no_main]

use std::ops::ControlFlow;
use std::path::PathBuf;

use analysis::claims::Broken;
use explain::claims::broken;
use explain::judging::Finding;
use explain::record::record;
use explain::{Options, Sink, explain};
use libfuzzer_sys::fuzz_target;

struct Records;

impl Sink for Records {
    fn finding(&mut self, finding: Finding, files: &[PathBuf]) -> ControlFlow<()> {
        let wrong: Vec<Broken> = broken(&finding).into_iter().filter(Broken::is_arithmetic).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        let record = record(&finding, files);
        if let Some(judged) = record.judged {
            assert!(!judged.sentence.is_empty());
        }
        ControlFlow::Continue(())
    }
    fn progress(&mut self, _: u64) {}
}

fuzz_target!(|data: &[u8]| {
    let path = std::env::temp_dir().join(format!("whostalled-fuzz-{}.pcap", std::process::id()));
    if std::fs::write(&path, data).is_ok() {
        explain(&Options { captures: vec![path], ..Options::default() }, &mut Records);
    }
});
