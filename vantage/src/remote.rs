//! A vantage behind the pipes of a program: `ssh HOST whostalled agent --stdio`, or the same program here.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use agent::{Answer, Ask, Bundle, Go, Hello, Plan, Ready};

use crate::elsewhere::{Line, how_long};
use crate::{Ahead, Error, Vantage};

/// How long the other side may take to greet: somebody may have to type a passphrase.
const GREETING: Duration = Duration::from_secs(60);
/// How often the other side hears that we are still there.
const BEAT: Duration = Duration::from_secs(5);
/// How long it may take to take in a question.
const TAKING_IN: Duration = Duration::from_secs(120);
/// A pipe that has room has room for so much (PIPE_BUF, pipe(7)).
const AT_ONCE: usize = 4_096;
/// Between two looks at whether to stop.
const LOOK: Duration = Duration::from_millis(20);
/// An answer is a bundle at most: packets of one batch, in base64.
const MOST_BYTES: u64 = 1 << 30;
/// Bytes of its complaints that are kept.
const COMPLAINTS: usize = 2_000;

/// A vantage elsewhere. Dropping it closes its pipe, upon which it takes down what it set and ends.
pub struct Remote {
    pipe: Pipe,
    hello: Hello,
    ahead: Option<Ahead>,
    /// How long the clients of the plan may take.
    busy: Duration,
}

/// The program that answers, and its pipes.
pub(crate) struct Pipe {
    name: String,
    child: Child,
    questions: Questions,
    lines: Receiver<Vec<u8>>,
    complained: Arc<Mutex<String>>,
}

/// Where questions go, and signs of life between them.
type Questions = Arc<Mutex<Option<ChildStdin>>>;

impl Remote {
    /// Hears the greeting of a program that was started, which is to answer as [`crate::serve()`] does, and gives it signs of life from then on.
    ///
    /// # Errors
    /// If it does not greet, with its own last words; if it is of another release; if `stop` is set.
    pub(crate) fn over(mut pipe: Pipe, stop: &AtomicBool) -> Result<Self, Error> {
        let hello = match pipe.wait(GREETING, stop)? {
            Answer::Hello(hello) => Hello { name: pipe.name.clone(), ..hello },
            other => return Err(pipe.out_of_turn("a greeting", &other)),
        };
        hello.check()?;
        beat(&pipe.questions);
        let ahead = pipe.ahead(stop)?;
        Ok(Self { pipe, hello, ahead, busy: Duration::ZERO })
    }
}

/// Gives signs of life until the questions end: an empty line now and then. Where there is no room for one, nobody would hear it.
fn beat(questions: &Questions) {
    let questions = Arc::downgrade(questions);
    std::thread::spawn(move || {
        loop {
            let Some(held) = questions.upgrade() else { break };
            match held.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                None => break,
                Some(pipe) => {
                    if has_room(pipe, Duration::ZERO).unwrap_or(false) && pipe.write_all(b"\n").is_err() {
                        break;
                    }
                }
            }
            drop(held);
            std::thread::sleep(BEAT);
        }
    });
}

/// Whether a pipe has room within so long.
fn has_room(pipe: &ChildStdin, within: Duration) -> std::io::Result<bool> {
    let timeout = PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX);
    let mut asked = [PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)];
    match poll(&mut asked, timeout) {
        Ok(n) => Ok(n > 0),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

impl Pipe {
    /// Starts `command`, which is to answer in lines.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn open(name: &str, mut command: Command) -> Result<Self, Error> {
        let gone = |what: String| Error::Gone { vantage: name.to_owned(), what };
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|e| gone(format!("cannot be reached: starting {:?}: {e}", command.get_program())))?;
        let (sender, lines) = channel();
        let mut out = BufReader::new(child.stdout.take().expect("it was piped"));
        std::thread::spawn(move || {
            loop {
                let mut line = Vec::new();
                let read = out.by_ref().take(MOST_BYTES).read_until(b'\n', &mut line);
                if matches!(read, Ok(0) | Err(_)) || sender.send(line).is_err() {
                    break;
                }
            }
        });
        let complained: Arc<Mutex<String>> = Arc::default();
        let (theirs, err) = (Arc::clone(&complained), child.stderr.take().expect("it was piped"));
        std::thread::spawn(move || {
            for line in BufReader::new(err).split(b'\n').map_while(Result::ok) {
                let mut kept = theirs.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_str(&String::from_utf8_lossy(&line));
                kept.push('\n');
                let start = kept.len().saturating_sub(COMPLAINTS);
                let start = (start..=kept.len()).find(|at| kept.is_char_boundary(*at)).unwrap_or(0);
                kept.drain(..start);
            }
        });
        let questions = Arc::new(Mutex::new(child.stdin.take()));
        Ok(Self { name: name.to_owned(), child, questions, lines, complained })
    }

    /// Says something, as far as there is room for it.
    ///
    /// # Errors
    /// If the program has ended, takes nothing in for so long, or `stop` is set.
    pub(crate) fn say(&mut self, bytes: &[u8], patience: Duration, stop: &AtomicBool) -> Result<(), Error> {
        let questions = Arc::clone(&self.questions);
        let mut questions = questions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut deadline = Instant::now() + patience;
        for part in bytes.chunks(AT_ONCE) {
            loop {
                if stop.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted);
                }
                match questions.as_ref().map(|pipe| has_room(pipe, LOOK)) {
                    Some(Ok(true)) => break,
                    Some(Ok(false)) if Instant::now() < deadline => {}
                    Some(Ok(false)) => return Err(self.gone(format!("took nothing in for {} s", patience.as_secs()))),
                    Some(Err(_)) | None => return Err(self.ended(questions.take())),
                }
            }
            if questions.as_mut().is_none_or(|pipe| pipe.write_all(part).is_err()) {
                return Err(self.ended(questions.take()));
            }
            deadline = Instant::now() + patience;
        }
        Ok(())
    }

    /// What it says next, in one line; absent: it said its last.
    ///
    /// # Errors
    /// If it says nothing for so long, or `stop` is set.
    pub(crate) fn line(&mut self, patience: Duration, stop: &AtomicBool) -> Result<Option<Vec<u8>>, Error> {
        let deadline = Instant::now() + patience;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            match self.lines.recv_timeout(LOOK) {
                Ok(line) => return Ok(Some(line)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.gone(format!("did not answer within {} s", patience.as_secs())));
                }
            }
        }
    }
}

impl Line for Pipe {
    fn ask(&mut self, ask: Ask, patience: Duration, stop: &AtomicBool) -> Result<Answer, Error> {
        let mut line = serde_json::to_vec(&ask).map_err(|e| self.gone(format!("cannot be asked: {e}")))?;
        line.push(b'\n');
        self.say(&line, TAKING_IN, stop)?;
        self.wait(patience, stop)
    }

    fn gone(&self, what: String) -> Error {
        let kept = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        let last: Vec<&str> = kept.lines().rev().filter(|line| !line.trim().is_empty()).take(2).collect();
        let what =
            if last.is_empty() { what } else { format!("{what}: {}", last.into_iter().rev().collect::<Vec<_>>().join("; ")) };
        Error::Gone { vantage: self.name.clone(), what }
    }
}

impl Pipe {
    fn wait(&mut self, patience: Duration, stop: &AtomicBool) -> Result<Answer, Error> {
        let Some(line) = self.line(patience, stop)? else { return Err(self.ended(None)) };
        match serde_json::from_slice(&line) {
            Ok(Answer::Failed { why }) => Err(Error::Failed { vantage: self.name.clone(), why }),
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.gone(unreadable(&line, &error))),
        }
    }

    /// Its program has ended: how, and its last words. Nothing can be said to it any longer.
    fn ended(&mut self, _questions: Option<ChildStdin>) -> Error {
        let how = self.how_it_ended();
        self.gone(format!("is gone {how}").trim_end().to_owned())
    }

    /// How its program ended, in brackets; nothing if it did not.
    pub(crate) fn how_it_ended(&mut self) -> String {
        // Its last words may still be on the way.
        std::thread::sleep(LOOK);
        match self.child.try_wait() {
            Ok(Some(status)) => format!("({status})"),
            _ => String::new(),
        }
    }
}

impl Vantage for Remote {
    fn hello(&self) -> Hello {
        self.hello.clone()
    }

    fn ahead(&self) -> Option<Ahead> {
        self.ahead
    }

    fn compare(&mut self, stop: &AtomicBool) -> Result<Option<Ahead>, Error> {
        self.pipe.ahead(stop)
    }

    fn prepare(&mut self, plan: &Plan, stop: &AtomicBool) -> Result<Ready, Error> {
        self.busy = how_long(plan);
        self.pipe.prepare(plan, stop)
    }

    fn go(&mut self, go: Go, stop: &AtomicBool) -> Result<(), Error> {
        self.pipe.go(go, self.busy, stop)
    }

    fn collect(&mut self, stop: &AtomicBool) -> Result<Bundle, Error> {
        self.pipe.collect(self.busy, stop)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // The end of its questions makes it take down what it set; a little later it is made to.
        self.questions.lock().unwrap_or_else(PoisonError::into_inner).take();
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unreadable(line: &[u8], error: &serde_json::Error) -> String {
    let shown: String = String::from_utf8_lossy(line).chars().take(80).collect();
    format!("said something that is no answer ({error}): {:?}", shown.trim_end())
}
