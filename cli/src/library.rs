//! The scenario library: runs scenarios and writes a page of what came out. A hidden verb: `cargo xtask library` calls it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use report::library::{Shown, Skipped, page};

use crate::exit;
use crate::fleets::Reached;
use crate::run::{once, read};

/// Runs of one, if they are void.
const ATTEMPTS: u32 = 3;
/// A page that is larger is no page.
const MOST_BYTES: usize = 1 << 20;

/// `library OUT RESULTS FILE…`
pub fn library(rest: &[String]) -> Result<u8, Box<dyn std::error::Error>> {
    let [out, results, files @ ..] = rest else { return Err("library OUT RESULTS FILE…".into()) };
    let privilege = lab::rootless::enter()?;
    let (mut shown, mut skipped) = (Vec::new(), Vec::new());
    for file in files {
        let scenario = read(Path::new(file), &[])?;
        let mut attempt = 1;
        let ran = loop {
            let ready = repro::ready(&scenario, Path::new(results)).map_err(|e| e.to_string());
            let ran = ready.and_then(|()| {
                once(&scenario, Path::new(results), privilege, false, &Reached::none()).map_err(|e| e.to_string())
            });
            match ran {
                Ok(outcome) if (outcome.record.footing.void.is_some() || !outcome.record.held()) && attempt < ATTEMPTS => {
                    attempt += 1
                }
                ran => break ran,
            }
        };
        match ran {
            Ok(outcome) => shown.push(Shown { file: file.clone(), run: outcome.record, handshakes: outcome.handshakes }),
            Err(why) => skipped.push(Skipped { file: file.clone(), why }),
        }
    }
    let kernel = shown.first().map_or_else(String::new, |s| format!(", Linux {}", s.run.kernel));
    let made = format!("{}{kernel}", Timestamp::now().strftime("%Y-%m-%d"));
    let text = page(&shown, &skipped, &made, "cargo xtask library");
    if text.len() > MOST_BYTES {
        return Err(format!("the page has {} bytes, and {MOST_BYTES} are the most", text.len()).into());
    }
    let path = PathBuf::from(out);
    std::fs::write(&path, &text).map_err(|e| format!("{out}: {e}"))?;
    let held = shown.iter().filter(|s| s.run.held()).count();
    println!("{out}: {} bytes, {held} of {} as expected, {} not run", text.len(), shown.len(), skipped.len());
    Ok(if held == shown.len() && skipped.is_empty() { exit::HELD } else { exit::FAILED })
}
