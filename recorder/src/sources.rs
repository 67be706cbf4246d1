//! Where triggers come from: the journal, files that grow, syslog messages. One thread each; what they cannot hand over in time is
//! counted, never waited for.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::UdpSocket;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use nix::sys::eventfd::EventFd;

use crate::config::Log;
use crate::error::Error;
use crate::evidence_store::Answer;
use crate::trigger::{LogLine, Source, Trigger};
use imports::logline::{Fields, ParsedLine, Unread, read, read_fields};

/// Between two looks at a file, and at whether to stop.
const LOOK: Duration = Duration::from_millis(50);
/// Before a journalctl that ended is started again.
const AGAIN: Duration = Duration::from_secs(1);
/// A longer line is cut: what is behind that is no line of its own, whatever it looks like.
const MOST_LINE: u64 = 64 << 10;
/// A larger field of a journal entry is not read.
const MOST_FIELD: u64 = 1 << 20;
/// Bytes of an entry that are kept with a flow.
const MOST_ENTRY: usize = 4 << 20;

/// A trigger, and when it came.
pub struct TriggerRequest {
    /// What is wanted.
    pub trigger: Trigger,
    /// Since when.
    pub at: Instant,
    /// Told what became of it.
    pub answer: Option<Answer>,
}

/// What sources report beside triggers.
pub enum SourceEvent {
    /// A line that cannot be followed, of the log of that name; and why.
    Unread(Arc<str>, Unread),
    /// A connection that was not slow.
    NotSlow,
    /// A trigger that nobody had time for.
    Shed,
    /// A source is in trouble, or (with nothing said) no longer.
    Trouble(String, Option<String>),
}

/// Where triggers go. Whoever waits for them is woken.
#[derive(Clone)]
pub struct TriggerSender {
    to: SyncSender<TriggerRequest>,
    wake: Arc<EventFd>,
}

impl TriggerSender {
    /// Triggers for whoever reads from the other end of `to` and sleeps on `wake`.
    pub fn new(to: SyncSender<TriggerRequest>, wake: Arc<EventFd>) -> Self {
        Self { to, wake }
    }

    /// Hands a trigger over; whether there was room for it.
    pub fn ask(&self, asked: TriggerRequest) -> bool {
        let taken = self.to.try_send(asked).is_ok();
        let _ = self.wake.write(1); // it fails only when it is set already
        taken
    }

    /// Wakes the recorder for something else.
    pub fn wake(&self) {
        let _ = self.wake.write(1);
    }
}

/// What a source needs.
#[derive(Clone)]
pub struct SourceOutput {
    /// What the log is called: its path, `journal`, `syslog` and where it is listened for.
    pub name: Arc<str>,
    /// Where triggers go.
    pub asked: TriggerSender,
    /// Its kind, as metrics call it.
    pub source: &'static str,
    /// Hears the rest, and from which kind of source.
    pub heard: Arc<dyn Fn(&'static str, SourceEvent) + Send + Sync>,
    /// Set when it is over.
    pub stop: Arc<AtomicBool>,
}

impl SourceOutput {
    fn over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn hear(&self, event: SourceEvent) {
        (self.heard)(self.source, event);
    }

    fn said(&self, said: Result<ParsedLine, Unread>, at_least: Option<Duration>, line: impl FnOnce() -> LogLine) {
        match said {
            Err(why) => self.hear(SourceEvent::Unread(Arc::clone(&self.name), why)),
            // One of all requests, and nothing is said of its handshake: not a word that it was slow.
            Ok(ParsedLine { every: true, .. }) => self.hear(SourceEvent::NotSlow),
            Ok(ParsedLine { took: Some(took), .. }) if at_least.is_some_and(|least| took < least) => {
                self.hear(SourceEvent::NotSlow)
            }
            Ok(ParsedLine { client, .. }) => {
                let trigger = Trigger { client, server: None, source: Source::Log(line()) };
                if !self.asked.ask(TriggerRequest { trigger, at: Instant::now(), answer: None }) {
                    self.hear(SourceEvent::Shed);
                }
            }
        }
    }

    fn line(&self, line: &str, fields: &Fields, at_least: Option<Duration>) {
        self.said(read(line, fields), at_least, || LogLine { text: line.trim_end().to_owned(), entry: None });
    }

    fn trouble(&self, what: Option<String>) {
        self.hear(SourceEvent::Trouble(self.name.to_string(), what));
    }
}

/// Starts following a log.
///
/// # Errors
/// If it cannot be followed at all.
pub fn follow(log: &Log, output: SourceOutput, cursors: &Path) -> Result<(), Error> {
    let output = SourceOutput { name: name(log).into(), source: log.source(), ..output };
    let run: Box<dyn FnOnce() + Send> = match log.clone() {
        Log::Journal { matches, directory, fields, at_least } => {
            let cursor = cursors.join(format!("journal-{:08x}.cursor", mark(&format!("{matches:?}{directory:?}"))));
            let journal = Journal { matches, directory, fields: fields.fields(), at_least: at_least.map(|t| t.0), cursor };
            Box::new(move || journal.run(&output))
        }
        Log::File { path, fields, at_least } => {
            let (fields, at_least) = (fields.fields(), at_least.map(|t| t.0));
            Box::new(move || grow(&path, &output, &mut |line| output.line(line, &fields, at_least)))
        }
        Log::Syslog { listen, fields, at_least } => {
            let failed = |source| Error::Syslog { at: listen, source };
            let socket = UdpSocket::bind(listen).map_err(failed)?;
            socket.set_read_timeout(Some(LOOK)).map_err(failed)?;
            let (fields, at_least) = (fields.fields(), at_least.map(|t| t.0));
            Box::new(move || {
                let mut message = vec![0; 65_535];
                while !output.over() {
                    if let Ok(len) = socket.recv(&mut message) {
                        output.line(&String::from_utf8_lossy(&message[..len]), &fields, at_least);
                    }
                }
            })
        }
    };
    std::thread::Builder::new().name("log".into()).spawn(run).map(drop).map_err(Error::own("the thread of a log"))
}

fn name(log: &Log) -> String {
    match log {
        Log::Journal { .. } => "journal".into(),
        Log::File { path, .. } => path.display().to_string(),
        Log::Syslog { listen, .. } => format!("syslog {listen}"),
    }
}

/// Follows a file from its end on, through rotation by renaming and by truncating.
fn grow(path: &Path, output: &SourceOutput, each: &mut dyn FnMut(&str)) {
    let mut from_end = true;
    while !output.over() {
        let opened = File::open(path).and_then(|mut file| {
            let from = if from_end { SeekFrom::End(0) } else { SeekFrom::Start(0) };
            file.seek(from).map(|_| file)
        });
        match opened {
            Ok(file) => {
                output.trouble(None);
                read_on(path, BufReader::new(file), output, each);
                from_end = false; // its successor is new: all of it counts
            }
            Err(error) => {
                output.trouble(Some(error.to_string()));
                from_end = false; // a file that appears later is new
                std::thread::sleep(LOOK);
            }
        }
    }
}

/// Reads lines until another file of that name has something in it, or this one was made shorter.
///
/// A program writes on into its renamed log until it is told to open the new one, and what it says there counts: the old file is left
/// once the new one has a byte, and only after it was read to its end again.
fn read_on(path: &Path, mut file: BufReader<File>, output: &SourceOutput, each: &mut dyn FnMut(&str)) {
    let own = file.get_ref().metadata().map(|m| m.ino()).unwrap_or(0);
    let (mut line, mut succeeded) = (Vec::new(), false);
    while !output.over() {
        match next_line(&mut file, &mut line) {
            Ok(true) => {
                each(&String::from_utf8_lossy(&line));
                line.clear();
                continue;
            }
            Ok(false) => {}
            Err(error) => return output.trouble(Some(error.to_string())),
        }
        let now = std::fs::metadata(path).ok();
        let shorter = file.stream_position().is_ok_and(|read| now.as_ref().is_some_and(|m| m.ino() == own && m.len() < read));
        if shorter || succeeded {
            return;
        }
        succeeded = now.is_some_and(|m| m.ino() != own && m.len() > 0);
        if !succeeded {
            std::thread::sleep(LOOK);
        }
    }
}

/// Reads on in a line, of which the beginning is kept; whether it has ended.
fn next_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    loop {
        let waiting = file.fill_buf()?;
        if waiting.is_empty() {
            return Ok(false);
        }
        let end = waiting.iter().position(|byte| *byte == b'\n');
        let piece = &waiting[..end.map_or(waiting.len(), |end| end + 1)];
        let room = (MOST_LINE as usize).saturating_sub(line.len());
        line.extend_from_slice(&piece[..piece.len().min(room)]);
        let read = piece.len();
        file.consume(read);
        if end.is_some() {
            return Ok(true);
        }
    }
}

struct Journal {
    matches: Vec<String>,
    directory: Option<PathBuf>,
    fields: Fields,
    at_least: Option<Duration>,
    /// Where the last entry read is noted: the next start goes on behind it.
    cursor: PathBuf,
}

impl Journal {
    fn run(&self, output: &SourceOutput) {
        while !output.over() {
            match self.start().and_then(|child| self.read(child, output)) {
                Ok(()) => {}
                Err(error) => output.trouble(Some(error)),
            }
            std::thread::sleep(AGAIN);
        }
    }

    fn start(&self) -> Result<Child, String> {
        let mut command = Command::new("journalctl");
        command.args(["--follow", "--output=export", "--all", "--quiet"]).stdin(Stdio::null());
        match std::fs::read_to_string(&self.cursor) {
            Ok(cursor) => command.arg(format!("--after-cursor={}", cursor.trim())),
            Err(_) => command.arg("--lines=0"),
        };
        if let Some(directory) = &self.directory {
            command.arg("--directory").arg(directory);
        }
        command.args(&self.matches).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map_err(|e| format!("journalctl: {e}"))
    }

    fn read(&self, mut child: Child, output: &SourceOutput) -> Result<(), String> {
        let Some(out) = child.stdout.take() else { return Err("journalctl has no output".into()) };
        let complaints = child.stderr.take().map(|complaints| std::thread::spawn(move || last_line(complaints)));
        // A thread that waits for the journal cannot look whether to stop.
        let watcher = std::thread::spawn({
            let output = output.clone();
            move || {
                while !output.over() && child.try_wait().is_ok_and(|ended| ended.is_none()) {
                    std::thread::sleep(LOOK);
                }
                let _ = child.kill();
                let _ = child.wait();
            }
        });
        let mut reader = BufReader::new(out);
        output.trouble(None);
        let (mut noted, mut last, mut any) = (Instant::now(), None, false);
        let ended = loop {
            let mut entry = match next_entry(&mut reader) {
                Ok(Some(entry)) => entry,
                Ok(None) => break "journalctl ended; starting it again".to_owned(),
                Err(error) => break format!("what journalctl wrote cannot be read ({error}); starting it again"),
            };
            any = true;
            self.entry(&entry, output);
            last = entry.fields.remove("__CURSOR").or(last);
            // Which entries were read is noted now and then; after a kill some are read twice, and counted as duplicates.
            if noted.elapsed() > LOOK
                && let Some(cursor) = last.take()
            {
                noted = Instant::now();
                self.note(&cursor);
            }
        };
        last.iter().for_each(|cursor| self.note(cursor));
        let _ = watcher.join();
        if output.over() {
            return Ok(());
        }
        let Some(complaint) = complaints.and_then(|complaints| complaints.join().ok().flatten()) else { return Err(ended) };
        // One that no journal has leads nowhere, again and again.
        if !any && complaint.contains("cursor") && std::fs::remove_file(&self.cursor).is_ok() {
            return Err(format!("{ended}: {complaint}; where it stopped is forgotten, it goes on at the end"));
        }
        Err(format!("{ended}: {complaint}"))
    }

    fn note(&self, cursor: &str) {
        let unfinished = self.cursor.with_extension("unfinished");
        // Without the note the next start begins at the journal's end: nothing else depends on it.
        let _ = write_private(&unfinished, cursor.as_bytes()).and_then(|()| std::fs::rename(&unfinished, &self.cursor));
    }

    fn entry(&self, entry: &Entry, output: &SourceOutput) {
        let values = entry.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let message = entry.fields.get("MESSAGE").cloned().unwrap_or_default();
        let said = read_fields(values, &self.fields);
        output.said(said, self.at_least, || LogLine { text: message, entry: Some(entry.bytes.clone()) });
    }
}

/// What a program complained of last.
fn last_line(complaints: impl Read) -> Option<String> {
    let mut reader = BufReader::new(complaints);
    let (mut line, mut last) = (Vec::new(), None);
    while next_line(&mut reader, &mut line).is_ok_and(|whole| whole || !line.is_empty()) {
        last = Some(String::from_utf8_lossy(line.trim_ascii()).chars().take(200).collect());
        line.clear();
    }
    last
}

/// Writes a file for this user only.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(bytes)
}

/// One entry of the journal.
struct Entry {
    fields: HashMap<String, String>,
    /// As it came.
    bytes: Vec<u8>,
}

impl Entry {
    /// Keeps a field as it came, while that is not much.
    fn keep(&mut self, field: &[&[u8]]) {
        if self.bytes.len() + field.iter().map(|part| part.len()).sum::<usize>() <= MOST_ENTRY {
            field.iter().for_each(|part| self.bytes.extend_from_slice(part));
        }
    }
}

/// Reads an entry in Journal Export Format: lines of `NAME=value`, or of `NAME` with a 64-bit length and as many bytes; an empty line
/// ends it.
fn next_entry(reader: &mut impl BufRead) -> std::io::Result<Option<Entry>> {
    let mut entry = Entry { fields: HashMap::new(), bytes: Vec::new() };
    loop {
        let mut line = Vec::new();
        if reader.by_ref().take(MOST_FIELD).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if line.len() as u64 == MOST_FIELD && !line.ends_with(b"\n") {
            reader.skip_until(b'\n')?; // it belongs to no other field
            continue;
        }
        let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
        if text.is_empty() {
            if entry.fields.is_empty() {
                continue;
            }
            entry.keep(&[&line]);
            return Ok(Some(entry));
        }
        if let Some((name, value)) = text.split_once('=') {
            entry.fields.insert(name.to_owned(), value.to_owned());
            entry.keep(&[&line]);
            continue;
        }
        let mut length = [0; 8];
        reader.read_exact(&mut length)?;
        let whole = u64::from_le_bytes(length).saturating_add(1);
        if whole > MOST_FIELD {
            std::io::copy(&mut reader.by_ref().take(whole), &mut std::io::sink())?;
            continue;
        }
        let mut value = Vec::new();
        reader.by_ref().take(whole).read_to_end(&mut value)?;
        entry.keep(&[&line, &length, &value]);
        entry.fields.insert(text, String::from_utf8_lossy(value.trim_ascii_end()).into_owned());
    }
}

/// FNV-1a: the same from one start to the next.
fn mark(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |h: u32, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ByTrigger;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, sync_channel};

    fn output() -> (SourceOutput, Receiver<TriggerRequest>) {
        let (asked, triggers) = sync_channel(16);
        let asked = TriggerSender::new(asked, Arc::new(EventFd::new().expect("a descriptor is free")));
        (SourceOutput { name: "log".into(), source: "log", asked, heard: Arc::new(|_, _| ()), stop: Arc::default() }, triggers)
    }

    fn client(triggers: &Receiver<TriggerRequest>) -> String {
        triggers.recv_timeout(Duration::from_secs(10)).expect("a trigger comes").trigger.client.to_string()
    }

    /// Follows a log that has one line already; its triggers, and what stops it.
    fn followed(path: &Path) -> (Receiver<TriggerRequest>, Arc<AtomicBool>) {
        std::fs::write(path, "192.0.2.1:1 an old line\n").expect("it is writable");
        let (out, triggers) = output();
        let stop = Arc::clone(&out.stop);
        let log = Log::File { path: path.to_owned(), fields: Default::default(), at_least: Some(settings::Time::millis(100)) };
        let opened = Arc::new(Mutex::new(false));
        let seen = Arc::clone(&opened);
        let out = SourceOutput {
            heard: Arc::new(move |_, heard| {
                if let SourceEvent::Trouble(_, None) = heard {
                    *seen.lock().expect("unbroken") = true
                }
            }),
            ..out
        };
        follow(&log, out, Path::new("/")).expect("it starts");
        while !*opened.lock().expect("unbroken") {
            std::thread::sleep(LOOK);
        }
        (triggers, stop)
    }

    fn appended(path: &Path) -> File {
        File::options().append(true).create(true).open(path).expect("it opens")
    }

    #[test]
    fn what_a_program_still_writes_into_its_renamed_log_counts() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("slow.log");
        let (triggers, stop) = followed(&path);
        let mut old = appended(&path);
        std::fs::rename(&path, folder.path().join("slow.log.1")).expect("it can be rotated");
        old.write_all(b"192.0.2.2:2\n").expect("it is writable");
        assert_eq!(client(&triggers), "192.0.2.2:2", "there is no other file yet");
        let mut new = appended(&path);
        std::thread::sleep(LOOK * 3);
        old.write_all(b"192.0.2.3:3\n").expect("it is writable");
        assert_eq!(client(&triggers), "192.0.2.3:3", "the other file is empty");
        old.write_all(b"192.0.2.4:4\n").and_then(|()| new.write_all(b"192.0.2.5:5\n")).expect("both are writable");
        assert_eq!([client(&triggers), client(&triggers)], ["192.0.2.4:4", "192.0.2.5:5"], "in their order, and none is lost");
        stop.store(true, Ordering::Relaxed);
    }

    #[test]
    fn bytes_that_are_no_text_and_lines_without_an_end_hold_nothing_up() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("slow.log");
        let (triggers, stop) = followed(&path);
        let mut log = appended(&path);
        log.write_all(b"\xff\xfe not UTF-8\n192.0.2.2:2\n").expect("it is writable");
        assert_eq!(client(&triggers), "192.0.2.2:2");
        log.write_all(&vec![b'x'; MOST_LINE as usize])
            .and_then(|()| log.write_all(b"192.0.2.9:9 a client's words\n192.0.2.3:3\n"))
            .expect("it is writable");
        assert_eq!(client(&triggers), "192.0.2.3:3");
        stop.store(true, Ordering::Relaxed);
    }

    #[test]
    fn a_file_is_followed_through_rotation_and_truncation() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("slow.log");
        let (triggers, stop) = followed(&path);
        let append = |text: &str| appended(&path).write_all(text.as_bytes()).expect("it is writable");
        append("192.0.2.2:2 handshake=0.05s\n192.0.2.3:3 hand");
        append("shake=0.25s\n");
        assert_eq!(client(&triggers), "192.0.2.3:3", "the fast one is not slow, the line in two pieces is one");
        std::fs::rename(&path, folder.path().join("slow.log.1")).expect("it can be rotated");
        append("192.0.2.4:4\n");
        assert_eq!(client(&triggers), "192.0.2.4:4");
        std::fs::write(&path, "192.0.2.5:5\n").expect("it can be truncated");
        // The same length as before looks as if nothing had happened; what comes next is read.
        std::fs::write(&path, "").expect("it can be truncated");
        std::thread::sleep(LOOK * 3);
        append("192.0.2.6:6\n");
        let mut last = client(&triggers);
        if last == "192.0.2.5:5" {
            last = client(&triggers);
        }
        assert_eq!(last, "192.0.2.6:6");
        stop.store(true, Ordering::Relaxed);
    }

    #[test]
    fn journal_entries_are_read_with_binary_fields() {
        let mut export = b"__CURSOR=s=1;i=2\nCLIENT_ADDR=192.0.2.7\nCLIENT_PORT=40\nMESSAGE\n".to_vec();
        export.extend(9_u64.to_le_bytes());
        export.extend(b"two\nlines\n\n__CURSOR=s=1;i=3\nMESSAGE=192.0.2.8:9\n\n");
        let mut reader = &export[..];
        let first = next_entry(&mut reader).expect("it reads").expect("there is one");
        assert_eq!(first.fields.get("MESSAGE").map(String::as_str), Some("two\nlines"));
        let (out, triggers) = output();
        let journal =
            Journal { matches: vec![], directory: None, fields: Fields::default(), at_least: None, cursor: PathBuf::new() };
        journal.entry(&first, &out);
        journal.entry(&next_entry(&mut reader).expect("it reads").expect("there is another"), &out);
        assert_eq!([client(&triggers), client(&triggers)], ["192.0.2.7:40", "192.0.2.8:9"]);
        assert!(next_entry(&mut reader).expect("it reads").is_none());
    }

    #[test]
    fn what_is_too_large_to_be_read_is_no_entry_of_its_own() {
        let forged = "\n\n__CURSOR=s=9\nMESSAGE=192.0.2.9:9\n\n";
        let large = format!("{}{forged}", "a".repeat(MOST_FIELD as usize));
        let line = format!("{}MESSAGE=192.0.2.9:9", "b".repeat(MOST_FIELD as usize));
        let mut export = b"__CURSOR=s=1\nMESSAGE\n".to_vec();
        export.extend((large.len() as u64).to_le_bytes());
        export.extend_from_slice(large.as_bytes());
        export.extend_from_slice(format!("\nOTHER={line}\n\n__CURSOR=s=2\nMESSAGE=192.0.2.8:8\n\n").as_bytes());
        let mut reader = &export[..];
        let mut next = || next_entry(&mut reader).expect("it reads").map(|entry| (entry.fields, entry.bytes));
        let (fields, bytes) = next().expect("there is one");
        assert_eq!((fields.len(), bytes.as_slice()), (1, &b"__CURSOR=s=1\n\n"[..]));
        assert_eq!(next().expect("there is another").0.get("MESSAGE").map(String::as_str), Some("192.0.2.8:8"));
        assert!(next().is_none());
    }

    proptest::proptest! {
        /// Whatever journalctl writes, reading it ends, and takes no more than was written.
        #[test]
        fn no_journal_is_too_strange(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let mut reader = &bytes[..];
            let mut read = 0;
            while let Ok(Some(entry)) = next_entry(&mut reader) {
                read += entry.bytes.len();
            }
            proptest::prop_assert!(read <= bytes.len());
        }
    }

    #[test]
    fn a_line_of_a_log_of_all_requests_is_no_trigger() {
        let (out, triggers) = output();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ours = Arc::clone(&heard);
        let word = move |_: &'static str, heard: SourceEvent| {
            let word = if let SourceEvent::NotSlow = heard { "not slow" } else { "other" };
            ours.lock().expect("unbroken").push(word);
        };
        let out = SourceOutput { heard: Arc::new(word), ..out };
        let httplog =
            "haproxy[9]: 192.0.2.7:77 [26/Nov/2026:12:00:00.101] fe~ be/s 3/0/0/7/900 200 99 - - ---- 2/2/0/0/0 0/0 \"GET /\"";
        for at_least in [None, Some(Duration::from_millis(200))] {
            out.line(httplog, &Fields::default(), at_least);
        }
        assert_eq!(*heard.lock().expect("unbroken"), ["not slow", "not slow"]);
        assert!(triggers.try_recv().is_err());
        out.line("haproxy[9]: 192.0.2.7:77 [26/Nov/2026:12:00:00.101] fe~ be/s Th=900 200", &Fields::default(), None);
        assert_eq!(client(&triggers), "192.0.2.7:77");
    }

    #[test]
    fn lines_that_name_no_connection_are_counted_under_their_log() {
        let shown = Arc::new(crate::view::Shown::default());
        let metrics = Arc::default();
        let heard = crate::recording::heard(&metrics, &shown);
        let (out, triggers) = output();
        let out = SourceOutput { heard, name: "/var/log/proxy.log".into(), ..out };
        for line in ["starting", r#"{"client":"#, "192.0.2.7:77 handshake=300ms", "192.0.2.7 - - \"GET / HTTP/1.1\" 200"] {
            out.line(line, &Fields::default(), None);
        }
        assert_eq!((client(&triggers), triggers.try_recv().is_err()), ("192.0.2.7:77".into(), true));
        let count = |source: &str| {
            let label = ByTrigger { source: source.into(), outcome: "unread".into() };
            metrics.triggers.get_or_create(&label).get()
        };
        assert_eq!((count("log"), count("journal")), (3, 0));
        SourceOutput { source: "journal", ..out }.line("starting", &Fields::default(), None);
        assert_eq!((count("log"), count("journal")), (3, 1));
        let (status, _) = shown.now();
        let unread: Vec<(Vec<u64>, String)> =
            status.unread.into_iter().map(|(log, n)| (n.into_values().collect(), log)).collect();
        assert_eq!(unread, [(vec![3, 1], "/var/log/proxy.log".to_owned())]);
        let said = crate::view::lines(&shown.now().0);
        assert!(said.contains("/var/log/proxy.log: 1 line cannot be followed: it names the client's address without"), "{said}");
    }

    #[test]
    fn syslog_messages_are_triggers() {
        let free = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).expect("loopback");
        let (out, triggers) = output();
        let stop = Arc::clone(&out.stop);
        follow(&Log::Syslog { listen: free, fields: Default::default(), at_least: None }, out, Path::new("/"))
            .expect("it listens");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        sender.send_to(b"<134>Nov 25 13:00:00 haproxy[7]: 192.0.2.9:77 fe~ Th=300", free).expect("it is sent");
        assert_eq!(client(&triggers), "192.0.2.9:77");
        stop.store(true, Ordering::Relaxed);
    }
}
