//! What is compared where clients are: a command that makes one handshake with our edge, asks, and ends.
//!
//! In: a command with `{url}` in it, and `{ca}` where the file of the root certificate goes, neither in quotation marks. Out: counts
//! of a handshake, or its times. The command is started anew for each: what that takes is in "TCP connect".

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{File, read_dir, read_to_string};
use std::io::{self, Read, Seek};
use std::time::{Duration, Instant};

use analysis::judging::ledger::Owner;
use records::compared::{Counted, Part};

use crate::answering::{Answering, Process, Served, Unserved};
use crate::costs::quoted;
use crate::counts::{SEGMENT, records};
use crate::measure::{Handshake, Whole};
use crate::processes::Command;
use crate::{Error, Options, Stop};

/// Where the address goes.
pub const URL: &str = "{url}";
/// Where the file of the root certificate goes.
const CA: &str = "{ca}";
/// Answered, a client is to end within this.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// Refused, it is to say why within this.
const SAYS_WITHIN: Duration = Duration::from_millis(500);
/// Between two looks at whether it has.
const LOOK: Duration = Duration::from_millis(1);
/// Of what it says on standard error, so much is kept.
const MOST_SAID: u64 = 1 << 14;

/// A client's command, and the edge that it meets.
pub struct Caller {
    /// As it was named.
    pub named: String,
    /// With everything filled in.
    line: String,
    edge: Answering,
    stop: Stop,
    /// What it said last on standard error.
    said: RefCell<File>,
    /// Its root certificate; here, so that it is there as long as it is asked for.
    _ca: tempfile::NamedTempFile,
}

impl Caller {
    /// Readies the edge; nothing is started yet.
    ///
    /// # Errors
    /// If the host gives no files or sockets.
    pub fn begin(word: &str, options: &Options) -> Result<Self, Error> {
        Self::within(word, options, &|line| Ok(line.to_owned()))
    }

    /// The same, whose command another one runs: `wrap` gives that one's.
    ///
    /// # Errors
    /// If the host gives no files or sockets.
    pub fn within(word: &str, options: &Options, wrap: &dyn Fn(&str) -> Result<String, Error>) -> Result<Self, Error> {
        let ca = tempfile::NamedTempFile::with_suffix(".pem")?;
        let edge = Answering::begin(ca.path(), options.tls.only)?;
        // They are words for the shell, whatever is in them.
        let (url, file) = (quoted(&edge.url(&options.asked.path))?, quoted(&ca.path().display().to_string())?);
        let line = word.replace(URL, &url).replace(CA, &file);
        let said = RefCell::new(tempfile::tempfile()?);
        Ok(Self { named: word.to_owned(), line: wrap(&line)?, edge, stop: options.stop.clone(), said, _ca: ca })
    }

    /// Counts and times one handshake and the request behind it.
    ///
    /// # Errors
    /// If the host gives no resources.
    pub fn once(&self, timeout: Duration) -> io::Result<Handshake> {
        let served = match self.call(timeout) {
            Ok(served) => served,
            Err(Unserved::Client(why)) => return Ok(Handshake::Failed(why)),
            Err(Unserved::Host(error)) => return Err(error),
        };
        let mut times = BTreeMap::new();
        for (phase, took) in served.took_ms {
            *times.entry(Part { phase, owner: Owner::Client }).or_insert(0.0) += took;
        }
        let hello = served.sent.first().map_or(0, |turn| turn.len() as u64);
        let all = served.sent.concat();
        let counts = vec![
            (Counted::RoundTrips, served.waited),
            (Counted::Connections, served.connections),
            (Counted::HelloRetryRequests, u64::from(served.retried)),
            (Counted::ClientHelloSegments, hello.div_ceil(SEGMENT)),
            (Counted::ClientHelloBytes, hello),
            (Counted::ClientRecords, records(&all)),
            (Counted::ClientBytes, all.len() as u64),
        ];
        Ok(Handshake::Whole(Whole { times, counts, agreed: served.agreed }))
    }

    fn call(&self, timeout: Duration) -> Result<Served, Unserved> {
        let mut said = self.said.borrow_mut();
        said.set_len(0).and_then(|()| said.rewind())?;
        let began = Instant::now();
        let mut running = Running { command: Command::quiet(&self.line, said.try_clone()?)?, stop: &self.stop };
        let served = self.edge.serve(&mut running, began, began + timeout);
        let in_its_words = |said: &mut File, why: String| {
            let mut words = Vec::new();
            // What it said is a help, no condition.
            let _ = said.rewind().and_then(|()| said.take(MOST_SAID).read_to_end(&mut words));
            let words = String::from_utf8_lossy(&words);
            let mut lines = words.lines().map(str::trim).filter(|line| !line.is_empty());
            // Some say what is wrong first, and some last.
            match (lines.next(), lines.next_back()) {
                (Some(first), Some(last)) => format!("{why}: {first:.200} … {last:.200}"),
                (Some(only), None) => format!("{why}: {only:.200}"),
                (None, _) => why,
            }
        };
        match served {
            Ok(served) => {
                let patience = Instant::now();
                loop {
                    match running.command.status() {
                        Some(status) if status.success() => return Ok(served),
                        Some(status) => {
                            return Err(Unserved::Client(in_its_words(&mut said, format!("answered, it ended ({status})"))));
                        }
                        None if patience.elapsed() > ENDS_WITHIN || self.stop.is_set() => {
                            let why = format!("answered, it did not end within {} s", ENDS_WITHIN.as_secs());
                            return Err(Unserved::Client(in_its_words(&mut said, why)));
                        }
                        None => std::thread::sleep(LOOK),
                    }
                }
            }
            Err(Unserved::Client(why)) => {
                // It has been told, and says what it makes of it.
                let patience = Instant::now();
                while running.command.status().is_none() && patience.elapsed() < SAYS_WITHIN {
                    std::thread::sleep(LOOK);
                }
                drop(running);
                Err(Unserved::Client(in_its_words(&mut said, why)))
            }
            Err(host) => Err(host),
        }
    }
}

/// A client's process.
struct Running<'a> {
    command: Command,
    stop: &'a Stop,
}

impl Process for Running<'_> {
    fn ended(&mut self) -> Option<String> {
        self.command.ended()
    }

    fn is_given_up(&self) -> bool {
        self.stop.is_set()
    }

    fn waited_for_a_cpu(&self) -> Duration {
        // Of all its threads: the second figure of each is nanoseconds on a run queue (sched-stats of the kernel's documentation).
        let threads = read_dir(format!("/proc/{}/task", self.command.id())).into_iter().flatten().flatten();
        let one = |folder: std::fs::DirEntry| {
            read_to_string(folder.path().join("schedstat")).ok()?.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        Duration::from_nanos(threads.filter_map(one).sum())
    }
}
