//! An agent: connects out, says who it is, and carries out what one controller at a time asks.
//!
//! Two halves: the line (async: messages, signs of life, who has the agent) and the work (this thread: one question at a time), so that an
//! agent that works still answers that it does.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agent::{Answer, Ask, ClientKind, Hello, Pcapng};
use analysis::key::Key;
use async_nats::connection::State;
use async_nats::{Client, Subscriber};
use futures_util::StreamExt;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use vantage::Vantage;

use crate::kept::Kept;
use crate::message::{Announcement, Asked, FAREWELL, KeptId, Question, Reply};
use crate::parts::{HEAD, Whole};
use crate::recorded::{Looks, Next};
use crate::server::RETRY;
use crate::session::{Do, Sessions};
use crate::subject::{self, unique};
use crate::watching::{Reports, report};
use crate::{Error, Log, Name, Server};

/// How often an agent says that it is there.
const ANNOUNCED: Duration = Duration::from_secs(5);
/// Between two looks at whether to stop, and whether the controller is silent.
const LOOK: Duration = Duration::from_millis(100);

/// What an agent is.
pub struct Serving<'a> {
    /// Its name, which the server ties to its certificate.
    pub name: Name,
    /// Groups that it belongs to.
    pub groups: Vec<Name>,
    /// Leave to run any command as a client, with its own rights.
    pub commands: bool,
    /// Where bundles wait for a controller, so that they outlive this process; absent: in memory.
    pub spool: Option<PathBuf>,
    /// Asks the recorder beside it for what it has, of the last so long, of the connections with these keys (none: it only has to be there):
    /// a capture, or why not; absent: there is none.
    pub recorder: Option<Arc<AskRecorder>>,
    /// It launches no clients: it is there for its recorder alone.
    pub recorder_only: bool,
    /// How long a controller may be silent before clients and loads are taken down: [`crate::SILENCE`].
    pub silence: Duration,
    /// Its part in watches, where it has leave to probe what controllers hand out.
    pub reports: Option<Arc<Reports>>,
    /// Makes the vantage of a session; whether the controller wants packets is told.
    pub vantage: &'a dyn Fn(bool) -> Result<Box<dyn Vantage>, vantage::Error>,
}

/// See [`Serving::recorder`].
pub type AskRecorder = dyn Fn(Duration, &[Key]) -> Result<Vec<u8>, String> + Send + Sync;

/// Answers controllers until `stop` is set.
///
/// # Errors
/// If the spool cannot be read, or the vantage cannot be made. A server that does not let us in is tried again.
pub fn serve(server: &Server, serving: &Serving<'_>, stop: &Arc<AtomicBool>, log: &Log) -> Result<(), Error> {
    log(&format!("starts as process {}", std::process::id()));
    let hello = (serving.vantage)(true)?.hello();
    let kept = Arc::new(Mutex::new(Kept::open(serving.spool.clone(), log)?));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(Error::Threads)?;
    let served = serve_on(&runtime, server, serving, hello, kept, stop, log);
    // A lookup of the server's name, or a recorder that does not answer, may take long: whoever told us to stop does not wait for it.
    runtime.shutdown_background();
    served
}

fn serve_on(
    runtime: &Runtime,
    server: &Server,
    serving: &Serving<'_>,
    hello: Hello,
    kept: Arc<Mutex<Kept>>,
    stop: &Arc<AtomicBool>,
    log: &Log,
) -> Result<(), Error> {
    let Some(client) = runtime.block_on(connected(server, serving.name.as_str(), stop, log)) else { return Ok(()) };
    let (jobs, work) = mpsc::channel();
    let (done, ended) = unbounded_channel();
    let instance = unique();
    let groups: Vec<String> = serving.groups.iter().map(ToString::to_string).collect();
    let reporting = serving.reports.as_ref().map(|reports| {
        let (client, name, log) = (client.clone(), serving.name.clone(), Arc::clone(log));
        runtime.spawn(report(client, name, groups.clone(), Arc::clone(reports), Arc::clone(stop), log))
    });
    let line = Line {
        client: client.clone(),
        name: serving.name.clone(),
        groups,
        sessions: Sessions::new(instance.clone(), serving.silence),
        looks: Looks::new(serving.silence),
        recorder: serving.recorder.clone(),
        recorder_only: serving.recorder_only,
        instance,
        hello: Hello { name: serving.name.to_string(), ..hello },
        kept: Arc::clone(&kept),
        jobs,
        session_stop: Arc::default(),
        log: Arc::clone(log),
    };
    let answering = runtime.spawn(line.answer(ended, Arc::clone(stop)));
    Worker { serving, kept, done, log: Arc::clone(log) }.work(&work);
    // The last words go out before the line is cut.
    runtime.block_on(async {
        let _ = answering.await;
        if let Some(reporting) = reporting {
            let _ = reporting.await;
        }
        let _ = tokio::time::timeout(LOOK * 10, client.flush()).await;
    });
    Ok(())
}

/// Tries until the server lets us in, or `stop` is set; says why not, each reason once in a row.
pub(crate) async fn connected(server: &Server, who: &str, stop: &AtomicBool, log: &Log) -> Option<Client> {
    let mut last = String::new();
    while !stop.load(Ordering::Relaxed) {
        let tried = tokio::select! {
            tried = server.connect(who, Arc::clone(log)) => tried,
            () = set(stop) => return None,
        };
        match tried {
            Ok(client) => return Some(client),
            Err(error) => {
                let why = error.to_string();
                if why != last {
                    log(&format!("{why}; it is tried again"));
                    last = why;
                }
            }
        }
        let _ = tokio::time::timeout(RETRY, set(stop)).await;
    }
    None
}

/// Until the flag is set.
async fn set(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(LOOK).await;
    }
}

/// What the line asks of the work.
enum Job {
    Open { session: Name, number: u64, capture: bool, stop: Arc<AtomicBool> },
    Ask { session: Name, number: u64, ask: Ask },
    Close { session: Name, number: u64 },
}

/// Work that has ended.
struct Done {
    session: Name,
    number: u64,
    whole: Arc<Whole>,
    closed: bool,
}

/// What a recorder answered.
struct Found {
    session: String,
    number: u64,
    whole: Arc<Whole>,
}

// --- The work ---

struct Worker<'a> {
    serving: &'a Serving<'a>,
    kept: Arc<Mutex<Kept>>,
    done: UnboundedSender<Done>,
    log: Log,
}

impl Worker<'_> {
    /// Until the line is gone.
    fn work(&self, jobs: &mpsc::Receiver<Job>) {
        let mut at: Option<(Box<dyn Vantage>, Arc<AtomicBool>)> = None;
        loop {
            let (session, number, reply) = match jobs.recv_timeout(LOOK) {
                Ok(Job::Open { session, number, capture, stop }) => {
                    let reply = match (self.serving.vantage)(capture) {
                        Ok(vantage) => {
                            let hello = Box::new(Hello { name: self.serving.name.to_string(), ..vantage.hello() });
                            at = Some((vantage, stop));
                            Reply::Opened { hello, kept: locked(&self.kept).of_others(&session) }
                        }
                        Err(error) => failed(error.to_string()),
                    };
                    (session, number, reply)
                }
                Ok(Job::Ask { session, number, ask }) => {
                    let reply = match &mut at {
                        Some((vantage, stop)) => Reply::Answer(self.carry_out(vantage.as_mut(), ask, stop)),
                        None => Reply::NoSession,
                    };
                    (session, number, reply)
                }
                Ok(Job::Close { session, number }) => {
                    at = None;
                    (session, number, Reply::Closed)
                }
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let (closed, is_bundle) = (matches!(reply, Reply::Closed), matches!(reply, Reply::Answer(Answer::Bundle(_))));
            let bytes =
                serde_json::to_vec(&reply).unwrap_or_else(|e| serde_json::to_vec(&failed(e.to_string())).unwrap_or_default());
            let whole = Arc::new(Whole::of(bytes));
            if is_bundle {
                let id = KeptId { session: session.to_string(), number };
                (self.log)(&format!("bundle {session}/{number} is kept ({} bytes)", whole.bytes.len()));
                if let Err(error) = locked(&self.kept).keep(id, Arc::clone(&whole)) {
                    (self.log)(&format!("bundle {session}/{number} is in memory alone: {error}"));
                }
            }
            if self.done.send(Done { session, number, whole, closed }).is_err() {
                return;
            }
        }
    }

    fn carry_out(&self, vantage: &mut dyn Vantage, ask: Ask, stop: &AtomicBool) -> Answer {
        if let Ask::Prepare(plan) = &ask {
            if self.serving.recorder_only && plan.clients.is_some() {
                let why = "it is there for its recorder alone and launches no clients (--recorder-only)".into();
                return Answer::Failed { why };
            }
            let any = plan.clients.as_ref().is_some_and(|clients| clients.client.kind == ClientKind::Command);
            if any && !self.serving.commands {
                let why = "it was started without leave to run commands as clients (--allow-command)".into();
                return Answer::Failed { why };
            }
            if !locked(&self.kept).has_room() {
                let why = "bundles that no controller has stored fill its memory; nothing more is measured until one has".into();
                return Answer::Failed { why };
            }
        }
        vantage::answer(vantage, ask, stop)
    }
}

fn failed(why: String) -> Reply {
    Reply::Answer(Answer::Failed { why })
}

fn locked(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

// --- The line ---

struct Line {
    client: Client,
    name: Name,
    groups: Vec<String>,
    instance: Name,
    hello: Hello,
    sessions: Sessions,
    looks: Looks,
    recorder: Option<Arc<AskRecorder>>,
    recorder_only: bool,
    kept: Arc<Mutex<Kept>>,
    jobs: mpsc::Sender<Job>,
    /// Stops what goes on in the session.
    session_stop: Arc<AtomicBool>,
    log: Log,
}

impl Line {
    /// Until `stop` is set.
    async fn answer(mut self, mut ended: UnboundedReceiver<Done>, stop: Arc<AtomicBool>) {
        let Some((mut asks, mut calls)) = self.listen().await else { return };
        let mut announced: Option<Instant> = None;
        let (found, mut looked) = unbounded_channel();
        let mut look = tokio::time::interval(LOOK);
        while !stop.load(Ordering::Relaxed) {
            tokio::select! {
                Some(message) = asks.next() => match serde_json::from_slice::<Question>(&message.payload) {
                    Ok(Question { session, number, parts, asked: Asked::Recorded { last_ms, keys }, .. }) => {
                        self.look_up(&found, &session, number, &parts, Duration::from_millis(last_ms), keys).await;
                    }
                    Ok(question) => self.hear(question).await,
                    Err(error) => (self.log)(&format!("a question that this release does not know: {error}")),
                },
                Some(_) = calls.next() => announced = None,
                Some(done) = ended.recv() => self.done(done).await,
                Some(look) = looked.recv() => self.looked(look).await,
                _ = look.tick() => self.look(),
            }
            if self.client.connection_state() != State::Connected {
                announced = None;
            } else if announced.is_none_or(|at| at.elapsed() >= ANNOUNCED) {
                announced = Some(Instant::now());
                self.announce().await;
            }
        }
        // Whoever works stops; the work ends when this is dropped. The controller need not wait for our silence.
        self.session_stop.store(true, Ordering::Relaxed);
        if let Some(session) = self.sessions.session().map(ToString::to_string) {
            self.say(&session, FAREWELL, &Reply::Farewell).await;
        }
    }

    async fn listen(&self) -> Option<(Subscriber, Subscriber)> {
        let asks = self.client.subscribe(subject::ask(&self.name)).await;
        let calls = self.client.subscribe(subject::CALL).await;
        match (asks, calls) {
            (Ok(asks), Ok(calls)) => Some((asks, calls)),
            (Err(error), _) | (_, Err(error)) => {
                (self.log)(&format!("cannot listen: {error}"));
                None
            }
        }
    }

    async fn hear(&mut self, question: Question) {
        for KeptId { session, number } in locked(&self.kept).forget_up_to(&question.session, question.stored) {
            (self.log)(&format!("bundle {session}/{number} is stored at the controller"));
        }
        let (session, number, controller) = (question.session.clone(), question.number, question.controller.clone());
        match self.sessions.hear(question, Instant::now()) {
            Do::Nothing => {}
            Do::Say(reply) => self.say(&session, number, &reply).await,
            Do::Repeat(whole, parts) => self.send(&session, number, &whole, &parts).await,
            Do::Hand(id, parts) => {
                let whole = locked(&self.kept).get(&id);
                match whole {
                    Some(whole) => self.send(&session, number, &whole, &parts).await,
                    None => self.say(&session, number, &Reply::NoSession).await,
                }
            }
            Do::Forget(id) => {
                if locked(&self.kept).forget(&id) {
                    (self.log)(&format!("bundle {}/{} is stored at another controller", id.session, id.number));
                }
                self.say(&session, number, &Reply::Taken).await;
            }
            Do::Open { session, number, capture } => {
                (self.log)(&format!("session {session} of {controller} begins"));
                self.session_stop = Arc::default();
                self.job(Job::Open { session, number, capture, stop: Arc::clone(&self.session_stop) });
            }
            Do::Work { session, number, ask } => self.job(Job::Ask { session, number, ask }),
            Do::Close { session, number } => self.close(session, number),
        }
    }

    /// A question for the recorder.
    async fn look_up(
        &mut self,
        found: &UnboundedSender<Found>,
        session: &str,
        number: u64,
        parts: &[u32],
        last: Duration,
        keys: Vec<Key>,
    ) {
        match self.looks.hear(session, number, Instant::now()) {
            Next::Later => {}
            Next::Wait => self.say(session, number, &Reply::Working).await,
            Next::Say(whole) => self.send(session, number, &whole, parts).await,
            Next::Ask => {
                let (found, session, recorder) = (found.clone(), session.to_owned(), self.recorder.clone());
                // It waits for another process.
                tokio::task::spawn_blocking(move || {
                    let no_recorder = || "no recorder is beside it (whostalled agent --recorder SOCKET)".to_owned();
                    let asked = recorder.ok_or_else(no_recorder).and_then(|recorder| recorder(last, &keys));
                    let reply = match asked {
                        Ok(packets) => Reply::Recorded(Pcapng(packets)),
                        Err(why) => Reply::NotRecorded { why },
                    };
                    let whole = Arc::new(Whole::of(serde_json::to_vec(&reply).unwrap_or_default()));
                    // The line may be gone.
                    let _ = found.send(Found { session, number, whole });
                });
            }
        }
    }

    async fn looked(&mut self, Found { session, number, whole }: Found) {
        self.looks.answered(&session, number, &whole);
        self.send(&session, number, &whole, &[]).await;
    }

    fn job(&self, job: Job) {
        // The work outlives the line.
        let _ = self.jobs.send(job);
    }

    fn close(&self, session: Name, number: u64) {
        self.session_stop.store(true, Ordering::Relaxed);
        self.job(Job::Close { session, number });
    }

    fn look(&mut self) {
        if let Some((session, controller)) = self.sessions.silent(Instant::now()) {
            (self.log)(&format!("{controller} has fallen silent: what session {session} set is taken down"));
            self.close(session, 0);
        }
    }

    async fn done(&mut self, done: Done) {
        let Done { session, number, whole, closed } = done;
        if self.sessions.done(&session, number, &whole) {
            self.send(session.as_str(), number, &whole, &[]).await;
        }
        if closed {
            (self.log)(&format!("session {session} is over"));
            self.sessions.closed(&session);
        }
    }

    async fn announce(&self) {
        let announcement = Announcement {
            from: self.name.to_string(),
            instance: self.instance.to_string(),
            hello: self.hello.clone(),
            groups: self.groups.clone(),
            busy: self.sessions.busy().map(str::to_owned),
            kept: locked(&self.kept).len(),
            recorder_only: self.recorder_only,
        };
        self.publish(subject::hello(&self.name), serde_json::to_vec(&announcement).unwrap_or_default()).await;
    }

    async fn say(&self, session: &str, number: u64, reply: &Reply) {
        let bytes = serde_json::to_vec(reply).unwrap_or_default();
        self.send(session, number, &Whole::of(bytes), &[]).await;
    }

    async fn send(&self, session: &str, number: u64, whole: &Whole, parts: &[u32]) {
        let Ok(session) = session.parse::<Name>() else { return };
        let to = subject::answer(&self.name, &session);
        let room = self.client.max_payload().saturating_sub(HEAD);
        for message in whole.messages(self.name.as_str(), self.instance.as_str(), number, parts, room) {
            self.publish(to.clone(), message).await;
        }
    }

    /// What cannot go out now is asked for again.
    async fn publish(&self, to: String, bytes: Vec<u8>) {
        if self.client.connection_state() == State::Connected {
            let _ = tokio::time::timeout(LOOK * 10, self.client.publish(to, bytes.into())).await;
        }
    }
}
