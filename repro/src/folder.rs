//! The run folder, written as the run goes: a killed run is still readable.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use capture::clock::wall;
use capture::evidence::Evidence;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2Serializer};
use serde::Serialize;

use agent::Losses;
use analysis::wire::packet::LinkType;

use crate::Error;
use crate::batch::Frame;

/// The files of one run.
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    evidence: Evidence<BufWriter<File>>,
    /// The interfaces described so far, by the host that captured there and how its frames begin.
    interfaces: Vec<(String, LinkType)>,
}

impl Folder {
    /// Makes `results/<run id>` and begins its evidence file with one interface per host of the lab; real hosts get theirs with their first
    /// packet.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(path: PathBuf, scenario: &str, hosts: Vec<String>) -> Result<Self, Error> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |source| Error::Write { path, source }
        };
        std::fs::create_dir_all(&path).map_err(failed(&path))?;
        let file = path.join("evidence.pcapng");
        let out = BufWriter::new(File::create(&file).map_err(failed(&file))?);
        let comment = format!("whostalled run of {scenario}. One interface per host; epb_packetid joins a packet at both ends.");
        let mut evidence = Evidence::begin(out, &comment).map_err(failed(&file))?;
        let mut interfaces = Vec::new();
        for host in hosts {
            evidence.interface(&format!("{host}-eth0"), LinkType::Ethernet.number()).map_err(failed(&file))?;
            interfaces.push((host, LinkType::Ethernet));
        }
        Ok(Self { path, evidence, interfaces })
    }

    /// The number the next evidence packet will have.
    pub fn next_packet(&self) -> u64 {
        self.evidence.packets() + 1
    }

    /// Appends frames with comments by packet number.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn frames(&mut self, frames: &[Frame], comments: &[(u64, String)]) -> Result<(), Error> {
        for frame in frames {
            let number = self.next_packet();
            let said: Vec<String> = comments.iter().filter(|(n, _)| *n == number).map(|(_, c)| c.clone()).collect();
            let interface = self.interface(frame).map_err(self.failed("evidence.pcapng"))?;
            self.evidence.packet(interface, Some(frame.link), &frame.captured, &said).map_err(self.failed("evidence.pcapng"))?;
        }
        Ok(())
    }

    fn interface(&mut self, frame: &Frame) -> std::io::Result<usize> {
        let known = self.interfaces.iter().position(|(host, link)| *host == frame.host && *link == frame.link);
        known.map_or_else(
            || {
                self.interfaces.push((frame.host.clone(), frame.link));
                self.evidence.interface(&frame.host, frame.link.number())
            },
            Ok,
        )
    }

    /// Appends one JSON line.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append<T: Serialize>(&self, file: &str, value: &T) -> Result<(), Error> {
        let mut line = serde_json::to_vec(value).map_err(|e| self.failed(file)(e.into()))?;
        line.push(b'\n');
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(self.path.join(file));
        opened.and_then(|mut f| f.write_all(&line)).map_err(self.failed(file))
    }

    /// Hands all that was written to the system: from now on it survives this process.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&mut self) -> Result<(), Error> {
        self.evidence.flush().map_err(self.failed("evidence.pcapng"))
    }

    /// Writes a whole file: beside it first, then in its place.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, file: &str, bytes: &[u8]) -> Result<(), Error> {
        let beside = self.path.join(format!(".{file}.new"));
        let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, self.path.join(file)));
        written.map_err(self.failed(file))
    }

    /// Writes a whole file of JSON lines.
    ///
    /// # Errors
    /// If one cannot be written.
    pub fn lines<T: Serialize>(&self, file: &str, values: &[T]) -> Result<(), Error> {
        let mut lines = Vec::new();
        for value in values {
            serde_json::to_writer(&mut lines, value).map_err(|e| self.failed(file)(e.into()))?;
            lines.push(b'\n');
        }
        self.write(file, &lines)
    }

    /// Writes JSON.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn json<T: Serialize>(&self, file: &str, value: &T) -> Result<(), Error> {
        let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| self.failed(file)(e.into()))?;
        bytes.push(b'\n');
        self.write(file, &bytes)
    }

    /// Writes histograms as HdrHistogram log lines: tag, base64 of the V2 encoding; values are microseconds.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn histograms(&self, histograms: &[(String, Histogram<u64>)]) -> Result<(), Error> {
        let mut text = String::from("#[Histogram log, one per cell and phase; values in microseconds; V2 encoding, base64]\n");
        for (tag, histogram) in histograms {
            let mut bytes = Vec::new();
            let written = V2Serializer::new().serialize(histogram, &mut bytes);
            written.map_err(|e| self.failed("histograms.hdr")(std::io::Error::other(format!("{tag}: {e:?}"))))?;
            let encoded = base64::engine::general_purpose::STANDARD.encode(&bytes);
            text.push_str(&format!("Tag={},{encoded}\n", tag.replace(' ', "|")));
        }
        self.write("histograms.hdr", text.as_bytes())
    }

    /// Ends the evidence file with what the captures of each host lost.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(self, losses: &BTreeMap<String, Losses>) -> Result<(), Error> {
        let failed = self.failed("evidence.pcapng");
        let of = |(host, _): &(String, LinkType)| {
            let Losses { received, dropped, evicted } = losses.get(host).copied().unwrap_or_default();
            capture::live::Losses { received, dropped, evicted }
        };
        let losses: Vec<_> = self.interfaces.iter().map(of).collect();
        self.evidence.finish(wall(), &losses).map_err(failed)
    }

    fn failed(&self, file: &str) -> impl FnOnce(std::io::Error) -> Error + use<> {
        let path = self.path.join(file).display().to_string();
        move |source| Error::Write { path, source }
    }
}

#[cfg(test)]
mod tests {
    use serde::Serializer as Into;
    use serde::ser::Error as _;

    use super::*;

    /// What cannot be written.
    struct Unwritable;

    impl Serialize for Unwritable {
        fn serialize<S: Into>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom("it has no form"))
        }
    }

    #[test]
    fn a_record_that_cannot_be_written_is_an_error_and_no_gap() {
        let room = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder::create(room.path().join("run"), "x", Vec::new()).expect("it is ours");
        folder.lines("all.ndjson", &[1, 2]).expect("numbers have a form");
        assert_eq!(std::fs::read_to_string(folder.path.join("all.ndjson")).expect("it is there"), "1\n2\n");
        let error = folder.lines("handshakes.ndjson", &[Unwritable]).expect_err("it cannot be written").to_string();
        assert!(error.contains("handshakes.ndjson") && error.contains("it has no form"), "{error}");
    }
}
