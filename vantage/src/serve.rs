//! A vantage that answers over a pipe: questions in, one JSON object a line, answers out.

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use agent::{Answer, Ask};
use capture::clock::wall;

use crate::{Error, Vantage};

/// Between two looks at whether to stop.
const LOOK: Duration = Duration::from_millis(50);

/// Answers until the questions end, or `stop` is set. The end of `questions` stops whatever goes on: the controller is gone.
///
/// # Errors
/// If answers can no longer be written.
pub fn serve(
    vantage: &mut dyn Vantage,
    questions: impl BufRead + Send + 'static,
    mut answers: impl Write,
    stop: &Arc<AtomicBool>,
) -> std::io::Result<()> {
    let mut say = |answer: &Answer| -> std::io::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        answers.write_all(&line).and_then(|()| answers.flush())
    };
    say(&Answer::Hello(vantage.hello()))?;
    let (sender, asked) = channel();
    let over = Arc::clone(stop);
    std::thread::spawn(move || {
        for line in questions.lines() {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() {
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
