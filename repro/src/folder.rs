//! The run folder, written as the run goes: a killed run is still readable.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use capture::evidence::Evidence;
use capture::live::Losses;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2Serializer};
use serde::Serialize;

use analysis::wire::packet::LinkType;

use crate::Error;
use crate::batch::{Frame, now};

/// `LINKTYPE_ETHERNET`.
const ETHERNET: i32 = 1;

/// The files of one run.
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    evidence: Evidence<BufWriter<File>>,
    hosts: Vec<String>,
}

impl Folder {
    /// Makes `results/<run id>` and begins its evidence file with one interface per host.
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
        for host in &hosts {
            evidence.interface(&format!("{host}-eth0"), ETHERNET).map_err(failed(&file))?;
        }
        Ok(Self { path, evidence, hosts })
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
            let interface = self.hosts.iter().position(|h| *h == frame.host).unwrap_or(0);
            self.evidence
                .packet(interface, Some(LinkType::Ethernet), &frame.captured, &said)
                .map_err(self.failed("evidence.pcapng"))?;
        }
        Ok(())
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

    /// Writes a whole file: beside it first, then in its place.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, file: &str, bytes: &[u8]) -> Result<(), Error> {
        let beside = self.path.join(format!(".{file}.new"));
        let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, self.path.join(file)));
        written.map_err(self.failed(file))
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
            if V2Serializer::new().serialize(histogram, &mut bytes).is_ok() {
                let encoded = base64::engine::general_purpose::STANDARD.encode(&bytes);
                text.push_str(&format!("Tag={},{encoded}\n", tag.replace(' ', "|")));
            }
        }
        self.write("histograms.hdr", text.as_bytes())
    }

    /// Ends the evidence file with what each capture lost.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(self, losses: &[Losses]) -> Result<(), Error> {
        let failed = self.failed("evidence.pcapng");
        self.evidence.finish(now(), losses).map_err(failed)
    }

    fn failed(&self, file: &str) -> impl FnOnce(std::io::Error) -> Error + use<> {
        let path = self.path.join(file).display().to_string();
        move |source| Error::Write { path, source }
    }
}
