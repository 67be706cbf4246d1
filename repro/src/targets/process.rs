//! Programs of a target: its server, and further ones behind it. In: their tables. Out: what they are called, and their command lines.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use lab::certs::Certificates;
use lab::exec::CommandLine;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Wrong;

use super::{Site, TargetSpec};
use crate::Error;
use crate::vantages::PORT;

/// How faults call a target's server.
pub const SERVER: &str = "server";

/// A program of a target's host besides its server.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessSpec {
    /// Its name, for faults.
    pub name: String,
    /// Program and arguments; filled in as the server's `command`.
    pub command: Vec<String>,
    /// The port that it listens on; the lab waits for it.
    pub port: u16,
}

/// Whether a target's programs and files can be told apart.
pub(super) fn check(target: &TargetSpec) -> Result<(), Wrong> {
    if target.url.is_some() && !(target.processes.is_empty() && target.files.is_empty()) {
        let key = if target.files.is_empty() { "process" } else { "files" };
        return Err(Wrong::at(key, "a target with a `url` has its own programs: leave out `process` and `files`"));
    }
    let plain = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let mut names = BTreeSet::from([SERVER]);
    for (n, process) in target.processes.iter().enumerate() {
        let own = |key: &str, what: String| Wrong::at(key, what).within(n).within("process");
        if !plain(&process.name) || process.name.starts_with('.') {
            return Err(own("name", format!("process name {:?}: letters, digits, `-`, `_` and `.`", process.name)));
        }
        if !names.insert(&process.name) {
            return Err(own(
                "name",
                format!("two programs of the target are called {:?}; \"{SERVER}\" is its server", process.name),
            ));
        }
        if process.command.is_empty() {
            return Err(own("command", "a process needs `command = [\"program\", …]`".into()));
        }
    }
    let odd = target.files.keys().find(|name| !plain(name) || name.starts_with('.'));
    odd.map_or(Ok(()), |name| {
        Err(Wrong::at(name.as_str(), format!("file name {name:?}: letters, digits, `-`, `_` and `.`")).within("files"))
    })
}

/// Where the files of a target lie.
pub(crate) fn files_folder(scratch: &Path, target: &str) -> PathBuf {
    scratch.join(format!("{target}-files"))
}

/// A command's words, filled in.
pub(crate) fn command_line(words: &[String], target: &str, site: &Site<'_>) -> CommandLine {
    let mut words = words.iter().map(|word| filled(word, target, site));
    CommandLine { program: words.next().unwrap_or_default(), args: words.collect() }
}

/// Writes the files of a target, and its chain and key in one, as HAProxy has them.
pub(crate) fn write_files(target: &TargetSpec, site: &Site<'_>) -> Result<(), Error> {
    if target.files.is_empty() {
        return Ok(());
    }
    let folder = files_folder(site.scratch, &target.name);
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |source| Error::Write { path, source }
    };
    std::fs::create_dir_all(&folder).map_err(failed(&folder))?;
    for (name, text) in &target.files {
        let path = folder.join(name);
        std::fs::write(&path, filled(text, &target.name, site)).map_err(failed(&path))?;
    }
    places(site, &target.name).write_pem()
}

fn filled(text: &str, target: &str, site: &Site<'_>) -> String {
    places(site, target).filled(text)
}

fn places<'a>(site: &Site<'a>, target: &str) -> Places<'a> {
    Places {
        listen: SocketAddr::new(site.address, PORT),
        certificates: site.certificates,
        pem: site.scratch.join("chain-and-key.pem"),
        files: files_folder(site.scratch, target),
    }
}

/// What a program's words and files are filled in with.
pub struct Places<'a> {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its chain and key.
    pub certificates: &'a Certificates,
    /// Both in one file.
    pub pem: PathBuf,
    /// Its folder.
    pub files: PathBuf,
}

impl Places<'_> {
    /// A text, filled in.
    pub fn filled(&self, text: &str) -> String {
        let shown = |path: &Path| path.display().to_string();
        text.replace("{address}", &self.listen.ip().to_string())
            .replace("{port}", &self.listen.port().to_string())
            .replace("{chain}", &shown(&self.certificates.chain))
            .replace("{key}", &shown(&self.certificates.key))
            .replace("{pem}", &shown(&self.pem))
            .replace("{files}", &shown(&self.files))
    }

    /// Writes the chain and the key in one, as HAProxy has them.
    ///
    /// # Errors
    /// If one of them cannot be read or written.
    pub fn write_pem(&self) -> Result<(), Error> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |source| Error::Write { path, source }
        };
        let Certificates { chain, key } = self.certificates;
        let both =
            std::fs::read_to_string(chain).and_then(|chain| Ok(chain + &std::fs::read_to_string(key)?)).map_err(failed(key))?;
        std::fs::write(&self.pem, both).map_err(failed(&self.pem))
    }
}
