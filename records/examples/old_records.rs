//! Lines that older programs wrote → records, or what is wrong with them: `cargo run -p whostalled-records --example old_records`

use whostalled_records::explained::ExplainedRecord;
use whostalled_records::read::{Error, lines};

/// What `explain --ndjson` wrote at an earlier commit.
const OLD: &[u8] = include_bytes!("../tests/written/a6b7866-found.ndjson");

fn main() {
    // The third line is of a program that is yet to come.
    let first: Vec<&[u8]> = OLD.split_inclusive(|byte| *byte == b'\n').take(2).collect();
    let file = [&first.concat()[..], b"{\"format\": 7}\n{\"format\": 1, \"id\": 4"].concat();
    for read in lines::<ExplainedRecord>("found.ndjson", &file) {
        match read {
            Ok(record) => {
                println!("#{}, {} → {}: {}", record.id, record.client, record.server, record.label());
                if let Some(judged) = record.judged {
                    println!("    {} in all, seen from {}", judged.reading.ledger.total, judged.reading.grade);
                }
            }
            // A killed program leaves half a line; that is no reason to distrust the others.
            Err(cut @ Error::Cut { .. }) => println!("left out: {cut}"),
            Err(error) => println!("refused: {error}"),
        }
    }
}
