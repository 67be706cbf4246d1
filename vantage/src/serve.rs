//! A vantage that answers over a pipe: questions in, one JSON object a line, answers out.

use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agent::{Answer, Ask};
use capture::clock::wall;

use crate::{Error, Vantage};

/// Between two looks at whether to stop.
const LOOK: Duration = Duration::from_millis(50);

/// Answers until the questions end, or `stop` is set. The end of `questions` stops whatever goes on: the controller is gone. So does a
/// `silence` of it, where one is named: an empty line asks for nothing and breaks it.
///
/// # Errors
/// If answers can no longer be written.
pub fn serve(
    vantage: &mut dyn Vantage,
    questions: impl BufRead + Send + 'static,
    answers: impl Write + Send + 'static,
    silence: Option<Duration>,
    stop: &Arc<AtomicBool>,
) -> std::io::Result<()> {
    let say = speaker(answers, stop);
    say(&Answer::Hello(vantage.hello()))?;
    let last = Arc::new(Mutex::new(Instant::now()));
    let (heard, over) = (Arc::clone(&last), Arc::clone(stop));
    if let Some(silence) = silence {
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK);
                if last.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > silence {
                    over.store(true, Ordering::Relaxed);
                }
            }
        });
    }
    let (sender, asked) = channel();
    let over = Arc::clone(stop);
    std::thread::spawn(move || {
        for line in questions.lines() {
            let Ok(line) = line else { break };
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            if !line.is_empty() && sender.send(line).is_err() {
                break;
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    loop {
        let line: String = match asked.recv_timeout(LOOK) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) if !stop.load(Ordering::Relaxed) => continue,
            Err(_) => return Ok(()),
        };
        let answer = match serde_json::from_str(&line) {
            Ok(ask) => answer(vantage, ask, stop),
            Err(e) => Answer::Failed { why: format!("this is no question that this release knows: {e}") },
        };
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        say(&answer)?;
    }
}

/// Writes answers, each until it is taken or `stop` is set: a connection that broke without a word takes nothing, and says nothing either.
fn speaker(mut answers: impl Write + Send + 'static, stop: &Arc<AtomicBool>) -> impl Fn(&Answer) -> std::io::Result<()> {
    let (lines, to_write) = channel::<Vec<u8>>();
    let (done, written) = channel();
    std::thread::spawn(move || {
        for line in to_write {
            if done.send(answers.write_all(&line).and_then(|()| answers.flush())).is_err() {
                break;
            }
        }
    });
    let stop = Arc::clone(stop);
    let ended = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
    move |answer| {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        lines.send(line).map_err(|_| ended())?;
        loop {
            match written.recv_timeout(LOOK) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Timeout) if !stop.load(Ordering::Relaxed) => {}
                Err(_) => return Err(ended()),
            }
        }
    }
}

/// Does what is asked of a vantage; what cannot be done is an answer, too.
pub fn answer(vantage: &mut dyn Vantage, ask: Ask, stop: &AtomicBool) -> Answer {
    let answered: Result<Answer, Error> = match ask {
        Ask::Prepare(plan) => vantage.prepare(&plan, stop).map(Answer::Ready),
        Ask::Go(go) => vantage.go(go, stop).map(|()| Answer::Gone),
        Ask::Collect => vantage.collect(stop).map(|bundle| Answer::Bundle(Box::new(bundle))),
        Ask::Time => Ok(Answer::Time { now_ns: wall() }),
    };
    answered.unwrap_or_else(|e| Answer::Failed { why: e.to_string() })
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, PipeReader, PipeWriter, pipe};

    use agent::{Bundle, Clock, ClockError, Go, Hello, Permits, Plan, Ready};

    use super::*;

    /// A vantage that does nothing, and whose bundle does not fit a pipe.
    struct Idle;

    impl Vantage for Idle {
        fn hello(&self) -> Hello {
            let permits = Permits { quotas: false, real_time: false, no_packets: None };
            crate::host::hello("idle", Clock { source: "x".into(), error: ClockError::Unknown }, permits)
        }

        fn prepare(&mut self, plan: &Plan, _: &AtomicBool) -> Result<Ready, Error> {
            Ok(Ready { batch: plan.batch, clients: 0, losses: agent::Losses::default() })
        }

        fn go(&mut self, _: Go, stop: &AtomicBool) -> Result<(), Error> {
            crate::pause(Duration::from_secs(600), stop)
        }

        fn collect(&mut self, _: &AtomicBool) -> Result<Bundle, Error> {
            Err(Error::Missing("x".repeat(1 << 20)))
        }
    }

    /// Whether it ends by itself within a minute, hearing an empty line so often and this question first.
    fn ends(silence: Option<Duration>, every: Option<Duration>, question: &str) -> bool {
        let ((questions, mut ask), (heard, answers)): ((PipeReader, PipeWriter), _) =
            (pipe().expect("a pipe"), pipe().expect("a pipe"));
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stop);
        let served = std::thread::spawn(move || serve(&mut Idle, BufReader::new(questions), answers, silence, &theirs));
        ask.write_all(question.as_bytes()).expect("it listens");
        let begun = Instant::now();
        while !served.is_finished()
            && begun.elapsed() < if every.is_some() { Duration::from_secs(1) } else { Duration::from_secs(60) }
        {
            if every.is_some() {
                ask.write_all(b"\n").expect("it listens");
            }
            std::thread::sleep(every.unwrap_or(LOOK));
        }
        let ended = served.is_finished();
        drop((ask, heard));
        let _ = served.join().expect("it does not panic");
        ended
    }

    #[test]
    fn what_hears_nothing_ends_whatever_it_does() {
        let silence = Some(Duration::from_millis(300));
        for question in ["", "{\"ask\":\"time\"}\n", "{\"ask\":\"go\",\"with\":{}}\n", "{\"ask\":\"collect\"}\n"] {
            assert!(ends(silence, None, question), "{question}");
        }
        // A busy machine may be silent for so long, but not each time.
        let lives = (0..5).any(|_| !ends(silence, Some(LOOK), ""));
        assert!(lives, "an empty line now and then is enough");
        assert!(!ends(None, Some(Duration::from_millis(900)), ""), "nobody told it to");
    }
}
