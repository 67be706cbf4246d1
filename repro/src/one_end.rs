//! The packets that one host of a run captured, out of the evidence of all.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use analysis::clock::Instant;
use capture::Captured;
use capture::evidence::Evidence;
use capture::file::Reader;

use crate::Error;

/// Writes what the interface of this number (hosts in the order of the scenario) captured to a file of its own.
///
/// # Errors
/// If the evidence cannot be read or the file not be written.
pub fn write(evidence: &Path, interface: u32, to: &Path) -> Result<(), Error> {
    let failed = |source| Error::Write { path: to.display().to_string(), source };
    let mut reader = Reader::open(evidence, None)?;
    let mut file = None;
    let mut last = Instant::from_nanos(0);
    while let Some(frame) = reader.next_frame()? {
        let (Some(link), true) = (frame.link, frame.interface == interface) else { continue };
        if file.is_none() {
            let mut begun = Evidence::begin(BufWriter::new(File::create(to).map_err(failed)?), "").map_err(failed)?;
            begun.interface("eth0", link.number()).map_err(failed)?;
            file = Some(begun);
        }
        let captured = Captured { at: frame.at, wire_len: frame.wire_len, outgoing: None, bytes: frame.bytes.to_vec() };
        if let Some(file) = &mut file {
            file.packet(0, Some(link), &captured, &[]).map_err(failed)?;
        }
        last = frame.at;
    }
    file.map_or(Ok(()), |file| file.finish(last, &[])).map_err(failed)
}
