//! Do evidence files open in stock tshark? In: folders of runs. Out: a count; bad if tshark complains, or a file lacks an end, comments or
//! packets that both ends share.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use xshell::{Shell, cmd};

use crate::Found;

pub(crate) fn check(shell: &Shell, runs: &[PathBuf]) -> Result<Found> {
    let mut checked = 0;
    // A run without a verdict was void, or ended before its evidence was written.
    for run in runs.iter().filter(|run| std::fs::metadata(run.join("verdict.json")).is_ok_and(|m| m.len() > 0)) {
        if let Some(wrong) = complaint(shell, &run.join("evidence.pcapng"))? {
            println!("{wrong}");
            return Ok(Found::Bad);
        }
        checked += 1;
    }
    println!("evidence: {checked} files opened in tshark, both ends joined");
    Ok(Found::good_if(checked > 0))
}

/// What is wrong with a file, if anything.
fn complaint(shell: &Shell, file: &Path) -> Result<Option<String>> {
    let fields = ["frame.interface_name", "frame.packet_id", "frame.comment"].map(|field| ["-e", field]).concat();
    let output = cmd!(shell, "tshark -r {file} -T fields {fields...}").quiet().ignore_status().output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| !line.contains("Running as user")).collect();
    if !lines.is_empty() || !output.status.success() {
        return Ok(Some(format!("tshark on {}: {}", file.display(), lines.join(" "))));
    }
    let (ends, comments, joined) = counts(&String::from_utf8_lossy(&output.stdout));
    if ends < 2 || comments == 0 || joined == 0 {
        return Ok(Some(format!("{}: ends {ends}, comments {comments}, joined packets {joined}", file.display())));
    }
    Ok(None)
}

/// Ends, comments, and packets that were seen at a second end.
fn counts(table: &str) -> (usize, usize, usize) {
    let (mut ends, mut seen, mut comments, mut joined) = (HashSet::new(), HashMap::new(), 0, 0);
    for line in table.lines() {
        let mut fields = line.split('\t');
        let mut next = || fields.next().unwrap_or_default();
        let (end, id, comment) = (next(), next(), next());
        ends.insert(end);
        comments += usize::from(!comment.is_empty());
        if !id.is_empty() {
            joined += usize::from(seen.insert(id, end).is_some_and(|before| before != end));
        }
    }
    (ends.len(), comments, joined)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_packet_is_joined_when_a_second_end_has_its_id() {
        let table = "client\t1\thello\nedge\t1\t\nclient\t2\t\nclient\t2\t\nedge\t\t\n";
        assert_eq!(super::counts(table), (2, 1, 1));
        assert_eq!(super::counts(""), (0, 0, 0));
    }
}
