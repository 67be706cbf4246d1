//! What somebody wrote in a file → lengths of time and names, or the line of what is wrong:
//! `cargo run -p whostalled-settings --example read_settings`

use serde::Deserialize;
use whostalled_settings::place::unread;
use whostalled_settings::words::plain;
use whostalled_settings::{Time, Wrong};

/// A file with two settings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    interval: Time,
}

impl File {
    /// Reads it; errors are in words, with their line.
    fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| unread(text, &error))?;
        file.check().map_err(|wrong| wrong.shown(text))?;
        Ok(file)
    }

    /// What no type knows: a [`Wrong`] names the key, and finds its line in the text.
    fn check(&self) -> Result<(), Wrong> {
        plain("the name", &self.name).map_err(|error| Wrong::at("name", error.to_string()))?;
        if self.interval < Time::secs(1) {
            return Err(Wrong::at("interval", "less than a second; write 1s or more"));
        }
        Ok(())
    }
}

fn main() {
    for text in [
        "name = \"login\"\ninterval = \"1m30s\"",
        "name = \"login\"\ninterval = \"90\"",
        "name = \"login\"\ninterval = \"250ms\"",
        "name = \"log\\u001b[31min\"\ninterval = \"30s\"",
        "name = \"login\"\nintervall = \"30s\"",
    ] {
        match File::parse(text) {
            Ok(file) => println!("read: {} every {} ms", file.name, file.interval.as_millis()),
            Err(wrong) => println!("refused: {wrong}"),
        }
    }
}
