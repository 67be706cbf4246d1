//! Where a file's bytes come from: a file, a file that still grows, standard input; plain, gzip or zstd.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// Bytes that a decompressing thread hands over at once.
const CHUNK: usize = 256 * 1024;
/// How often a growing file is looked at.
const PATIENCE: Duration = Duration::from_millis(100);
/// A first block larger than this is not waited for.
const MOST_HEAD: usize = 1 << 20;

/// Opens `path` (`-`: standard input). With `follow`, the end of the file is where more will come, until it is set.
///
/// # Errors
/// If it cannot be opened, or its first bytes cannot be read.
pub fn open(path: &Path, follow: Option<Arc<AtomicBool>>) -> io::Result<Source> {
    let raw: Box<dyn Read + Send> = if path.as_os_str() == "-" {
        Box::new(io::stdin())
    } else if let Some(stop) = follow {
        Box::new(Growing { file: File::open(path)?, stop })
    } else {
        Box::new(File::open(path)?)
    };
    Source::new(raw)
}

/// Plain bytes of a file, whatever it was packed with. The first read gives all of a capture's first header, however the bytes trickle in.
pub struct Source {
    head: io::Cursor<Vec<u8>>,
    rest: Box<dyn Read + Send>,
}

impl Source {
    /// Unpacks what `raw` gives, if it is packed.
    ///
    /// # Errors
    /// If its first bytes cannot be read.
    pub fn new(mut raw: Box<dyn Read + Send>) -> io::Result<Self> {
        let mut head = Vec::new();
        fill(&mut raw, &mut head, 4)?;
        let (mut head, mut rest) = match head[..] {
            [0x1f, 0x8b, ..] => {
                let whole = io::Cursor::new(head).chain(raw);
                (Vec::new(), ahead(flate2::read::MultiGzDecoder::new(whole)))
            }
            [0x28, 0xb5, 0x2f, 0xfd] => {
                let whole = io::Cursor::new(head).chain(raw);
                (Vec::new(), ahead(Zstd::Between(Some(Box::new(whole)))))
            }
            _ => (head, raw),
        };
        // A pcap header has 24 bytes; a pcapng Section Header Block says its own length.
        fill(&mut rest, &mut head, 24)?;
        if let [0x0a, 0x0d, 0x0d, 0x0a, a, b, c, d, order, ..] = head[..] {
            let length = [a, b, c, d];
            let length = if order == 0x1a { u32::from_be_bytes(length) } else { u32::from_le_bytes(length) };
            fill(&mut rest, &mut head, (length as usize).min(MOST_HEAD))?;
        }
        Ok(Self { head: io::Cursor::new(head), rest })
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.head.read(buffer)? {
            0 => self.rest.read(buffer),
            n => Ok(n),
        }
    }
}

/// Reads until `head` has `want` bytes or no more come.
fn fill(from: &mut impl Read, head: &mut Vec<u8>, want: usize) -> io::Result<()> {
    let missing = want.saturating_sub(head.len()) as u64;
    from.by_ref().take(missing).read_to_end(head).map(|_| ())
}

/// A file that somebody still writes.
struct Growing {
    file: File,
    /// Set when no more is wanted.
    stop: Arc<AtomicBool>,
}

impl Read for Growing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(buffer)? {
                0 if !buffer.is_empty() && !self.stop.load(Ordering::Relaxed) => std::thread::sleep(PATIENCE),
                n => return Ok(n),
            }
        }
    }
}

/// zstd frames, one after another.
enum Zstd {
    Between(Option<Box<dyn Read + Send>>),
    Within(Box<ruzstd::decoding::StreamingDecoder<Box<dyn Read + Send>, ruzstd::decoding::FrameDecoder>>),
}

impl Read for Zstd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self {
                Zstd::Between(source) => {
                    let Some(mut source) = source.take() else { return Ok(0) };
                    let mut magic = Vec::new();
                    fill(&mut source, &mut magic, 4)?;
                    if magic.is_empty() {
                        return Ok(0);
                    }
                    let whole: Box<dyn Read + Send> = Box::new(io::Cursor::new(magic).chain(source));
                    let decoder = ruzstd::decoding::StreamingDecoder::new(whole).map_err(|e| io::Error::other(e.to_string()))?;
                    *self = Zstd::Within(Box::new(decoder));
                }
                Zstd::Within(decoder) => match decoder.read(buffer)? {
                    0 if !buffer.is_empty() => {
                        let Zstd::Within(decoder) = std::mem::replace(self, Zstd::Between(None)) else { return Ok(0) };
                        *self = Zstd::Between(Some(decoder.into_inner()));
                    }
                    n => return Ok(n),
                },
            }
        }
    }
}

/// Decompresses on a thread of its own, so that it costs no time where there are two CPUs.
fn ahead(mut source: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    let (sender, receiver) = sync_channel(8);
    std::thread::spawn(move || {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            let read = source.by_ref().take(CHUNK as u64).read_to_end(&mut chunk);
            let (last, failed) = (chunk.is_empty(), read.is_err());
            // What was read before an error counts.
            if (!last && sender.send(Ok(chunk)).is_err()) || last && !failed {
                return;
            }
            if let Err(error) = read {
                let _ = sender.send(Err(error));
                return;
            }
        }
    });
    Box::new(Ahead { chunks: receiver, chunk: io::Cursor::default() })
}

struct Ahead {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: io::Cursor<Vec<u8>>,
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.chunk.read(buffer)? {
                0 if !buffer.is_empty() => match self.chunks.recv() {
                    Ok(chunk) => self.chunk = io::Cursor::new(chunk?),
                    Err(_) => return Ok(0), // the thread is done
                },
                n => return Ok(n),
            }
        }
    }
}
