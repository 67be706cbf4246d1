//! Tables of the documentation, made by the commands that they name. In: pages with `<!-- generated: COMMAND -->` … `<!-- /generated -->`.
//! Out: the same pages, with what each command prints now between its markers; bad if a command fails, and then its page is left as it was.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::Found;

const BEGIN: &str = "<!-- generated: ";
const END: &str = "<!-- /generated -->";

pub(crate) fn write(shell: &Shell, pages: &[PathBuf]) -> Result<Found> {
    let mut found = Found::Good;
    for page in pages {
        if let Err(error) = write_page(shell, page) {
            println!("{error:#}");
            found = Found::Bad;
        }
    }
    Ok(found)
}

fn write_page(shell: &Shell, page: &Path) -> Result<()> {
    let name = page.display().to_string();
    let before = std::fs::read_to_string(page).with_context(|| name.clone())?;
    let run = |command: &str| -> Result<String> {
        println!("{name}: {command}");
        // What it says on standard error is for whoever watches.
        Ok(cmd!(shell, "bash -o pipefail -c {command}").quiet().read()?)
    };
    let after = generated(&before, run).with_context(|| name.clone())?;
    if after == before {
        println!("{name}: as it was");
        return Ok(());
    }
    std::fs::write(page, after).with_context(|| name.clone())?;
    println!("{name}: changed; read the difference before you commit it");
    Ok(())
}

/// A page with what `run` gives for each command between its markers.
fn generated(page: &str, mut run: impl FnMut(&str) -> Result<String>) -> Result<String> {
    let mut out = String::new();
    let mut lines = page.lines().enumerate();
    let mut blocks = 0;
    while let Some((at, line)) = lines.next() {
        out += line;
        out.push('\n');
        if line == END {
            bail!("line {}: the end of no table", at + 1);
        }
        let Some(command) = line.strip_prefix(BEGIN) else { continue };
        let Some(command) = command.strip_suffix(" -->") else { bail!("line {}: a marker ends with \" -->\"", at + 1) };
        let end = lines.by_ref().map(|(_, line)| line).find(|line| *line == END || line.starts_with(BEGIN));
        if end != Some(END) {
            bail!("line {}: {END} is missing behind it", at + 1);
        }
        let printed = run(command)?;
        if printed.trim().is_empty() {
            bail!("line {}: {command} printed nothing", at + 1);
        }
        out += &format!("\n{}\n\n{END}\n", printed.trim());
        blocks += 1;
    }
    if blocks == 0 {
        bail!("no line begins with {BEGIN:?}");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(page: &str, printed: &str) -> Result<String> {
        generated(page, |command| Ok(printed.replace("COMMAND", command)))
    }

    #[test]
    fn what_a_command_prints_takes_the_place_of_what_it_printed_before() {
        let page = "# A\n<!-- generated: a b -->\nold\n<!-- /generated -->\ntext\n<!-- generated: c -->\n<!-- /generated -->\n";
        let made = with(page, "\n| COMMAND |\n\n").expect("it is well-formed");
        let wanted = "# A\n<!-- generated: a b -->\n\n| a b |\n\n<!-- /generated -->\ntext\n<!-- generated: c -->\n\n| c |\n\n<!-- /generated -->\n";
        assert_eq!(made, wanted);
        assert_eq!(with(&made, "| COMMAND |").expect("it is well-formed"), made, "again it is the same");
    }

    #[test]
    fn markers_that_do_not_pair_are_refused_with_their_line() {
        for (page, line) in [
            ("a\n<!-- generated: x -->\n", "line 2"),
            ("<!-- generated: x -->\n<!-- generated: y -->\n<!-- /generated -->\n", "line 1"),
            ("a\nb\n<!-- /generated -->\n", "line 3"),
            ("<!-- generated: x\n<!-- /generated -->\n", "line 1"),
            ("no table\n", "no line"),
        ] {
            let error = with(page, "t").expect_err(page).to_string();
            assert!(error.starts_with(line), "{page}: {error}");
        }
        assert!(
            with("<!-- generated: x -->\n<!-- /generated -->\n", " \n").is_err(),
            "a command that prints nothing is no table"
        );
    }
}
