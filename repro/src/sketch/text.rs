//! A sketch as a scenario file, with comments that say where each part is from.

use std::fmt::Write;

use settings::words::visible;

use super::Sketch;
use crate::Error;

/// Columns of a comment.
const WIDTH: usize = 110;

impl Sketch {
    /// The file.
    ///
    /// # Errors
    /// If the scenario cannot be written as TOML.
    pub fn to_text(&self) -> Result<String, Error> {
        let mut text = String::new();
        for line in &self.origin {
            comment(&mut text, "", line);
        }
        if !self.cannot.is_empty() {
            text += "#\n# What the lab does otherwise:\n";
            self.cannot.iter().for_each(|what| comment(&mut text, "- ", what));
        }
        text += "#\n# `whostalled run` with this file runs it again; --set reaches into it; --vantage and --target put it elsewhere.\n";
        for line in self.scenario.to_toml()?.lines() {
            let fault = line.strip_prefix("[faults.").and_then(|rest| rest.strip_suffix(']'));
            if line == "[client]" {
                text +=
                    "# Its TLS version, resumption and TCP_NODELAY are the original's, as far as the lab's client has them.\n";
            }
            if line == "[[target]]" {
                text += "# The round trip is that of the path when it is well.\n";
            }
            if let (Some(expected), "[expect]") = (self.expected, line) {
                comment(&mut text, "", expected.words());
            }
            for piece in self.pieces.iter().filter(|piece| Some(piece.fault.as_str()) == fault) {
                comment(
                    &mut text,
                    "",
                    &format!("Stands for {} of {} ({}).", piece.span, piece.owner.label(), piece.phase.words()),
                );
            }
            text += line;
            text.push('\n');
        }
        Ok(text)
    }
}

/// Appends a comment, wrapped; whatever it quotes is made harmless.
fn comment(text: &mut String, bullet: &str, what: &str) {
    let mut line = format!("# {bullet}");
    for word in visible(what).split_whitespace() {
        if line.chars().count() + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{}", line.trim_end());
            line = format!("# {}", " ".repeat(bullet.len()));
        }
        let _ = write!(line, "{word} ");
    }
    let _ = writeln!(text, "{}", line.trim_end());
}
