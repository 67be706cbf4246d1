//! An agent of the fleet as a vantage: questions out, each repeated until it is answered, replies put together of their parts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use agent::{Answer, Ask, Bundle, Go, Hello, Plan, Ready};
use async_nats::connection::State;
use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt;
use tokio::task::AbortHandle;
use vantage::{Ahead, Error, PATIENCE, Vantage, how_long};

use crate::hand_over::store;
use crate::message::{Asked, KeptId, Question, Reply};
use crate::parts::{self, Assembly, Head, NoPart};
use crate::subject::{self, unique, whose};
use crate::{Fleet, Log, Name, SILENCE};

/// After so long without a reply a question is repeated.
const REPEAT: Duration = Duration::from_secs(1);
/// How often the controller says that it is alive.
const ALIVE: Duration = Duration::from_secs(2);
/// How long one that is not there is waited for.
const OPENING: Duration = Duration::from_secs(6);
/// How long taking down may take: clients are killed, groups removed.
const CLOSING: Duration = Duration::from_secs(5);
/// Between two looks at whether to stop.
const LOOK: Duration = Duration::from_millis(20);
/// After so long without its process, another of the same name is believed that it was started anew.
const SUCCESSION: Duration = Duration::from_secs(3);

/// An agent of the fleet. Dropping it ends the session.
pub struct There<'f> {
    fleet: &'f Fleet,
    line: Line,
    hello: Hello,
    ahead: Option<Ahead>,
    /// How long the clients of the plan may take.
    busy: Duration,
    /// The batch that was handed over last, and the question that it answered.
    last: (u64, u64),
    signs_of_life: AbortHandle,
}

/// One session with one agent.
struct Line {
    client: Client,
    replies: Subscriber,
    /// What the run calls it.
    vantage: String,
    agent: Name,
    session: Name,
    who: String,
    instance: Option<String>,
    number: u64,
    /// All bundles up to this number lie on our disk.
    stored: Arc<AtomicU64>,
    /// Others that replied in this session: each is said once.
    strangers: Vec<String>,
    log: Log,
}

impl<'f> There<'f> {
    pub(crate) fn open(fleet: &'f Fleet, agent: &Name, name: &str, capture: bool, stop: &AtomicBool) -> Result<Self, Error> {
        let gone = |what: String| Error::Gone { vantage: name.to_owned(), what };
        let session = unique();
        let replies = fleet.runtime.block_on(fleet.client.subscribe(subject::answers(&session)));
        let mut line = Line {
            client: fleet.client.clone(),
            replies: replies.map_err(|e| gone(format!("cannot be listened to: {e}")))?,
            vantage: name.to_owned(),
            agent: agent.clone(),
            session,
            who: fleet.who.clone(),
            instance: None,
            number: 0,
            stored: Arc::default(),
            strangers: Vec::new(),
            log: Arc::clone(&fleet.log),
        };
        let (hello, kept) = match fleet.runtime.block_on(line.ask(Asked::Open { capture }, OPENING, stop))? {
            Reply::Opened { hello, kept } => (Hello { name: name.to_owned(), ..*hello }, kept),
            Reply::Busy { with, heard_ms } => {
                let ago = Duration::from_millis(heard_ms).as_secs_f64();
                return Err(gone(format!(
                    "is busy with another run, of {with}, which was heard {ago:.1} s ago; one that is silent for {} s is given up",
                    SILENCE.as_secs()
                )));
            }
            other => {
                let never = AtomicBool::new(false);
                let _ = fleet.runtime.block_on(line.ask(Asked::Close, CLOSING, &never));
                return Err(match other {
                    Reply::Answer(Answer::Failed { why }) => Error::Failed { vantage: name.to_owned(), why },
                    other => line.unexpected("that a session begins", &other),
                });
            }
        };
        let signs_of_life = fleet.runtime.spawn(line.sign_of_life()).abort_handle();
        let mut there = Self { fleet, line, hello, ahead: None, busy: Duration::ZERO, last: (0, 0), signs_of_life };
        there.hello.check()?;
        there.ahead = vantage::Line::ahead(&mut there, stop)?;
        for id in kept {
            there.take_over(id, stop)?;
        }
        Ok(there)
    }

    /// Stores a bundle that an earlier controller did not live to store.
    fn take_over(&mut self, id: KeptId, stop: &AtomicBool) -> Result<(), Error> {
        match self.fleet.runtime.block_on(self.line.ask(Asked::Kept(id.clone()), PATIENCE, stop))? {
            Reply::Answer(Answer::Bundle(bundle)) => {
                let stored = store(&self.fleet.handed_over, &self.line.agent, &id, &bundle);
                let path = stored.map_err(|e| self.line.gone(format!("has a bundle for us that cannot be stored: {e}")))?;
                let name = &self.line.agent;
                (self.line.log)(&format!("{name}: a bundle that no earlier controller stored lies in {}", path.display()));
                self.fleet.runtime.block_on(self.line.ask(Asked::Taken(id), PATIENCE, stop)).map(drop)
            }
            // Somebody else has stored it meanwhile.
            _ => Ok(()),
        }
    }
}

impl vantage::Line for There<'_> {
    fn ask(&mut self, ask: Ask, patience: Duration, stop: &AtomicBool) -> Result<Answer, Error> {
        match self.fleet.runtime.block_on(self.line.ask(Asked::Do(ask), patience, stop))? {
            Reply::Answer(Answer::Failed { why }) => Err(Error::Failed { vantage: self.line.vantage.clone(), why }),
            Reply::Answer(answer) => Ok(answer),
            Reply::NoSession => Err(self.line.gone("was started anew, or has given this run up".into())),
            other => Err(self.line.unexpected("an answer", &other)),
        }
    }

    fn gone(&self, what: String) -> Error {
        self.line.gone(what)
    }
}

impl Vantage for There<'_> {
    fn hello(&self) -> Hello {
        self.hello.clone()
    }

    fn ahead(&self) -> Option<Ahead> {
        self.ahead
    }

    fn prepare(&mut self, plan: &Plan, stop: &AtomicBool) -> Result<Ready, Error> {
        self.busy = how_long(plan);
        vantage::Line::prepare(self, plan, stop)
    }

    fn go(&mut self, go: Go, stop: &AtomicBool) -> Result<(), Error> {
        vantage::Line::go(self, go, self.busy, stop)
    }

    fn collect(&mut self, stop: &AtomicBool) -> Result<Bundle, Error> {
        let bundle = vantage::Line::collect(self, self.busy, stop)?;
        self.last = (bundle.batch, self.line.number);
        Ok(bundle)
    }

    fn stored(&mut self, batch: u64) {
        if self.last.0 == batch {
            self.line.stored.store(self.last.1, Ordering::Relaxed);
        }
    }
}

impl Drop for There<'_> {
    fn drop(&mut self) {
        // Where this does not arrive, our silence does the same.
        if self.line.client.connection_state() == State::Connected {
            let never = AtomicBool::new(false);
            let _ = self.fleet.runtime.block_on(self.line.ask(Asked::Close, CLOSING, &never));
        }
        self.signs_of_life.abort();
    }
}

impl Line {
    /// Asks, and waits for the reply that is none of "at it".
    async fn ask(&mut self, asked: Asked, patience: Duration, stop: &AtomicBool) -> Result<Reply, Error> {
        self.number += 1;
        let begun = Instant::now();
        let (mut heard, mut assembly) = (begun, None::<Assembly>);
        let mut repeat = begun + REPEAT;
        self.say(&asked, Vec::new()).await?;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            match tokio::time::timeout(LOOK, self.replies.next()).await {
                Ok(None) => return Err(self.gone("cannot be heard any more: the connection to the server is closed".into())),
                Ok(Some(message)) => {
                    let Some((head, bytes)) = self.of_the_agent(&message) else { continue };
                    let own = self.instance.as_ref().is_none_or(|instance| *instance == head.instance);
                    if own {
                        heard = Instant::now();
                    }
                    let whole = match &mut assembly {
                        Some(parts) if parts.fits(&head) => parts.add(&head, bytes),
                        // One message more: a reply of its own, which does not disturb a larger one.
                        _ if head.of == 1 => Assembly::begin(&head).add(&head, bytes),
                        other => other.insert(Assembly::begin(&head)).add(&head, bytes),
                    };
                    match whole.map(|whole| self.read(whole)).transpose()? {
                        None => {
                            if let Some(parts) = assembly.as_mut().filter(|parts| parts.window_is_over()) {
                                let missing = parts.missing();
                                repeat = Instant::now() + REPEAT;
                                self.say(&asked, missing).await?;
                            }
                        }
                        Some(Reply::Working) => {}
                        // A namesake, or its process was started anew a moment ago: bundles that it left count, denials wait.
                        Some(Reply::NoSession) if !own && heard.elapsed() < SUCCESSION => {}
                        Some(reply) => {
                            self.instance.get_or_insert(head.instance);
                            return Ok(reply);
                        }
                    }
                }
                Err(_) => {}
            }
            let now = Instant::now();
            if now < repeat {
                continue;
            }
            if now.duration_since(heard) > SILENCE {
                return Err(self.gone(format!("has not been heard of for {} s", SILENCE.as_secs())));
            }
            // Parts that still come are no silence: a large bundle over a slow line.
            if now.duration_since(begun) > patience && (assembly.is_none() || asked == Asked::Close) {
                return Err(self.gone(format!("did not answer within {} s", patience.as_secs())));
            }
            repeat = now + REPEAT;
            let missing = assembly.as_mut().map(Assembly::missing).unwrap_or_default();
            self.say(&asked, missing).await?;
        }
    }

    fn read(&self, whole: Result<Vec<u8>, NoPart>) -> Result<Reply, Error> {
        let unreadable = |what: String| self.gone(format!("replied what cannot be read: {what}"));
        serde_json::from_slice(&whole.map_err(|e| unreadable(e.to_string()))?).map_err(|e| unreadable(e.to_string()))
    }

    /// A part of a reply to the question, from the agent itself.
    fn of_the_agent<'m>(&mut self, message: &'m Message) -> Option<(Head, &'m [u8])> {
        // The server lets nobody else publish on its subject; whoever is let loose here is somebody else.
        let from = whose(&message.subject);
        let part = parts::read(&message.payload);
        let stranger = match (&part, from) {
            (Ok((head, _)), Some(from)) if from == self.agent.as_str() && head.from == from => None,
            (Err(error), Some(from)) if from == self.agent.as_str() => Some(format!("a reply that is none: {error}")),
            _ => Some(format!("a reply from {:?}, which was not asked", from.unwrap_or_default())),
        };
        if let Some(what) = stranger {
            if !self.strangers.contains(&what) {
                (self.log)(&format!("{}: {what}; it is ignored", self.agent));
                self.strangers.push(what);
            }
            return None;
        }
        part.ok().filter(|(head, _)| head.number == self.number)
    }

    async fn say(&self, asked: &Asked, parts: Vec<u32>) -> Result<(), Error> {
        let question = Question {
            session: self.session.to_string(),
            controller: self.who.clone(),
            instance: self.instance.clone(),
            number: self.number,
            stored: self.stored.load(Ordering::Relaxed),
            parts,
            asked: asked.clone(),
        };
        let bytes = serde_json::to_vec(&question).map_err(|e| self.gone(format!("cannot be asked: {e}")))?;
        let most = self.client.max_payload();
        if bytes.len() > most {
            return Err(self.gone(format!("cannot be asked: a plan of {} bytes, and the server takes {most}", bytes.len())));
        }
        publish(&self.client, subject::ask(&self.agent), bytes).await;
        Ok(())
    }

    /// Says again and again that the controller is alive, and what it has stored.
    fn sign_of_life(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut question = Question {
            session: self.session.to_string(),
            controller: self.who.clone(),
            instance: self.instance.clone(),
            number: 0,
            stored: 0,
            parts: Vec::new(),
            asked: Asked::Alive,
        };
        let (client, to, stored) = (self.client.clone(), subject::ask(&self.agent), Arc::clone(&self.stored));
        async move {
            loop {
                tokio::time::sleep(ALIVE).await;
                question.stored = stored.load(Ordering::Relaxed);
                publish(&client, to.clone(), serde_json::to_vec(&question).unwrap_or_default()).await;
            }
        }
    }

    fn gone(&self, what: String) -> Error {
        Error::Gone { vantage: self.vantage.clone(), what }
    }

    fn unexpected(&self, wanted: &str, reply: &Reply) -> Error {
        let said = serde_json::to_string(reply).unwrap_or_default();
        self.gone(format!("answered out of turn: {wanted} was due, and it said {}", said.chars().take(80).collect::<String>()))
    }
}

/// What cannot go out now is said again later.
async fn publish(client: &Client, to: String, bytes: Vec<u8>) {
    if client.connection_state() == State::Connected {
        let _ = tokio::time::timeout(REPEAT, client.publish(to, bytes.into())).await;
    }
}
