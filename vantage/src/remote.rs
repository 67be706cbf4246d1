//! A vantage behind the pipes of a program: `ssh HOST whostalled agent --stdio`, or the same program here.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agent::{Answer, Ask, Bundle, Go, Hello, Plan, Ready};

use crate::elsewhere::{Line, how_long};
use crate::{Ahead, Error, Vantage};

/// How long the other side may take to greet: somebody may have to type a passphrase.
const GREETING: Duration = Duration::from_secs(60);
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
struct Pipe {
    name: String,
    child: Child,
    questions: Option<ChildStdin>,
    answers: Receiver<Result<Answer, String>>,
    complained: Arc<Mutex<String>>,
}

impl Remote {
    /// Starts `command`, which is to answer as [`crate::serve()`] does, and hears its greeting.
    ///
    /// # Errors
    /// If it cannot be started or does not greet, with its own last words; if it is of another release; if `stop` is set.
    pub fn start(name: &str, mut command: Command, stop: &AtomicBool) -> Result<Self, Error> {
        let gone = |what: String| Error::Gone { vantage: name.to_owned(), what };
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|e| gone(format!("cannot be reached: starting {:?}: {e}", command.get_program())))?;
        let (sender, answers) = channel();
        let mut out = BufReader::new(child.stdout.take().expect("it was piped"));
        std::thread::spawn(move || {
            loop {
                let mut line = Vec::new();
                let read = out.by_ref().take(MOST_BYTES).read_until(b'\n', &mut line);
                let answer = match read {
                    Ok(0) | Err(_) => break,
                    Ok(_) => serde_json::from_slice(&line).map_err(|e| unreadable(&line, &e)),
                };
                if sender.send(answer).is_err() {
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
        let questions = child.stdin.take();
        let mut pipe = Pipe { name: name.to_owned(), child, questions, answers, complained };
        let hello = match pipe.wait(GREETING, stop)? {
            Answer::Hello(hello) => Hello { name: name.to_owned(), ..hello },
            other => return Err(pipe.out_of_turn("a greeting", &other)),
        };
        hello.check()?;
        let ahead = pipe.ahead(stop)?;
        Ok(Self { pipe, hello, ahead, busy: Duration::ZERO })
    }
}

impl Line for Pipe {
    fn ask(&mut self, ask: Ask, patience: Duration, stop: &AtomicBool) -> Result<Answer, Error> {
        let mut line = serde_json::to_vec(&ask).map_err(|e| self.gone(format!("cannot be asked: {e}")))?;
        line.push(b'\n');
        let written = self.questions.as_mut().map(|pipe| pipe.write_all(&line).and_then(|()| pipe.flush()));
        if !matches!(written, Some(Ok(()))) {
            return Err(self.ended());
        }
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
        let deadline = Instant::now() + patience;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            match self.answers.recv_timeout(LOOK) {
                Ok(Ok(Answer::Failed { why })) => return Err(Error::Failed { vantage: self.name.clone(), why }),
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(what)) => return Err(self.gone(what)),
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.gone(format!("did not answer within {} s", patience.as_secs())));
                }
            }
        }
    }

    /// Its program has ended: how, and its last words.
    fn ended(&mut self) -> Error {
        self.questions = None;
        // Its last words may still be on the way.
        std::thread::sleep(LOOK);
        let status = match self.child.try_wait() {
            Ok(Some(status)) => format!("is gone ({status})"),
            _ => "is gone".to_owned(),
        };
        self.gone(status)
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
        self.questions = None;
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
