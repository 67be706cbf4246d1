//! What the embedded edge does on purpose: in and out of the file by which its lab tells it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;

/// What it does on purpose.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Does {
    /// How long the program sleeps.
    pub delays: Delays,
    /// How long it waits before accepting each connection.
    pub accept_interval_ms: f64,
    /// It answers a ClientHello with an alert.
    pub refuse: bool,
}

/// How long the program sleeps before each of its answers, in milliseconds.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Delays {
    /// Its first line before TLS.
    pub plaintext_ms: f64,
    /// HelloRetryRequest.
    pub hello_retry_ms: f64,
    /// ServerHello.
    pub server_hello_ms: f64,
    /// What it says behind the client's Finished.
    pub server_finished_ms: f64,
}

impl Does {
    /// As the file has it; absent where there is none.
    pub(super) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Writes the file in one step: a server that reads it meanwhile sees the old or the new one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let failed = |e: std::io::Error| Error::system(format!("writing {}", path.display()))(e);
        let text = serde_json::to_vec(self).map_err(|e| failed(e.into()))?;
        let beside = path.with_extension("new");
        std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path)).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_is_nothing() {
        let path = std::env::temp_dir().join(format!("whostalled-does-{}", std::process::id()));
        assert_eq!(Does::read(&path), None);
        let does = Does { delays: Delays { server_hello_ms: 2.5, ..Delays::default() }, refuse: true, ..Does::default() };
        does.write(&path).expect("a temporary folder can be written to");
        assert_eq!(Does::read(&path), Some(does));
        std::fs::remove_file(&path).expect("it was written");
    }
}
