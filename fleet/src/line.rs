//! A controller's line to one agent: questions out, each repeated until it is answered, replies put together of their parts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt;
use vantage::Error;

use crate::message::{Asked, FAREWELL, Question, Reply};
use crate::parts::{self, Assembly, Head, NoPart};
use crate::subject::{self, unique, whose};
use crate::{Fleet, Log, Name, SILENCE};

/// After so long without a reply a question is repeated.
const REPEAT: Duration = Duration::from_secs(1);
/// How often the controller says that it is alive.
const ALIVE: Duration = Duration::from_secs(2);
/// The number of the question by which a session begins.
const FIRST: u64 = 1;
/// Between two looks at whether to stop.
const LOOK: Duration = Duration::from_millis(20);
/// After so long without its process, another of the same name is believed that it was started anew; and for so long after a farewell
/// another is waited for.
const SUCCESSION: Duration = Duration::from_secs(3);

/// One session with one agent.
pub(crate) struct Line {
    pub(crate) client: Client,
    replies: Subscriber,
    /// What the run calls it.
    pub(crate) vantage: String,
    pub(crate) agent: Name,
    session: Name,
    who: String,
    instance: Option<String>,
    pub(crate) number: u64,
    /// All bundles up to this number lie on our disk.
    pub(crate) stored: Arc<AtomicU64>,
    /// When its process said that it ends.
    farewell: Option<Instant>,
    /// It has said farewell and nobody came after it, or was silent for too long: nobody need wait for it any more.
    pub(crate) dead: bool,
    /// Others that replied in this session: each is said once.
    strangers: Vec<String>,
    /// The session was begun, to which every process of that name agrees.
    begun: bool,
    /// Other processes of that name, which were told that they are not meant.
    namesakes: Vec<String>,
    pub(crate) log: Log,
}

impl Line {
    /// To `agent`, which the run calls `vantage`; nothing is asked yet.
    ///
    /// # Errors
    /// If the server cannot be asked to hand on its replies.
    pub(crate) fn to(fleet: &Fleet, agent: &Name, vantage: &str) -> Result<Self, Error> {
        let session = unique();
        let replies = fleet.runtime.block_on(fleet.client.subscribe(subject::answers(&session)));
        let gone = |what: String| Error::Gone { vantage: vantage.to_owned(), what };
        Ok(Self {
            client: fleet.client.clone(),
            replies: replies.map_err(|e| gone(format!("cannot be listened to: {e}")))?,
            vantage: vantage.to_owned(),
            agent: agent.clone(),
            session,
            who: fleet.who.clone(),
            instance: None,
            number: 0,
            stored: Arc::default(),
            farewell: None,
            dead: false,
            strangers: Vec::new(),
            begun: false,
            namesakes: Vec::new(),
            log: Arc::clone(&fleet.log),
        })
    }

    /// Asks, and waits for the reply that is none of "at it".
    pub(crate) async fn ask(&mut self, asked: Asked, patience: Duration, stop: &AtomicBool) -> Result<Reply, Error> {
        self.number += 1;
        self.begun |= matches!(asked, Asked::Open { .. });
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
                    if let Some(namesake) = self.namesake(&message) {
                        self.dismiss(namesake).await;
                    }
                    let Some((head, bytes)) = self.of_the_agent(&message) else { continue };
                    let own = self.is_own(&head);
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
                        // It may be started anew, and then has what it kept.
                        Some(Reply::Farewell) => self.farewell = self.farewell.or(Some(Instant::now())),
                        // A namesake, or its process was started anew a moment ago: bundles that it left count, denials wait.
                        Some(Reply::NoSession) if !own && self.farewell.is_none() && heard.elapsed() < SUCCESSION => {}
                        Some(reply) => {
                            self.instance.get_or_insert(head.instance);
                            return Ok(reply);
                        }
                    }
                }
                Err(_) => {}
            }
            let now = Instant::now();
            if self.farewell.is_some_and(|said| now.duration_since(said) > SUCCESSION) {
                self.dead = true;
                return Err(self.gone("was told to stop, on its own host".into()));
            }
            if now < repeat {
                continue;
            }
            if now.duration_since(heard) > SILENCE {
                self.dead = true;
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

    /// Whether a reply comes from the process that was asked.
    fn is_own(&self, head: &Head) -> bool {
        self.instance.as_ref().is_none_or(|instance| *instance == head.instance)
    }

    /// Another process of the agent's name that answers the question by which the session began, as a cloned machine or unit file does: to
    /// one message there is one answer, so that it is no process that was started anew.
    fn namesake(&self, message: &Message) -> Option<String> {
        let (head, _) = parts::read(&message.payload).ok()?;
        let is_the_agents = whose(&message.subject) == Some(self.agent.as_str()) && head.from == self.agent.as_str();
        let is_news = self.instance.is_some() && !self.is_own(&head) && !self.namesakes.contains(&head.instance);
        (self.begun && is_the_agents && head.number == FIRST && is_news).then_some(head.instance)
    }

    /// Ends the session that a namesake began too, so that it is not busy with it, and says that there is one.
    async fn dismiss(&mut self, namesake: String) {
        (self.log)(&format!(
            "two agents answer to the name {}: give each a name of its own (agent --name); the one that answered first is asked",
            self.agent
        ));
        // No question of ours has that number, so that its reply is none of ours.
        let question = self.question(Some(namesake.clone()), u64::MAX, &Asked::Close, Vec::new());
        publish(&self.client, subject::ask(&self.agent), serde_json::to_vec(&question).unwrap_or_default()).await;
        self.namesakes.push(namesake);
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
        let of_this = |head: &Head| head.number == FAREWELL && self.is_own(head) || head.number == self.number;
        part.ok().filter(|(head, _)| of_this(head))
    }

    fn question(&self, instance: Option<String>, number: u64, asked: &Asked, parts: Vec<u32>) -> Question {
        let (session, controller) = (self.session.to_string(), self.who.clone());
        let stored = self.stored.load(Ordering::Relaxed);
        Question { session, controller, instance, number, stored, parts, asked: asked.clone() }
    }

    async fn say(&self, asked: &Asked, parts: Vec<u32>) -> Result<(), Error> {
        let question = self.question(self.instance.clone(), self.number, asked, parts);
        let bytes = serde_json::to_vec(&question).map_err(|e| self.gone(format!("cannot be asked: {e}")))?;
        let most = self.client.max_payload();
        if bytes.len() > most {
            return Err(self.gone(format!("cannot be asked: a plan of {} bytes, and the server takes {most}", bytes.len())));
        }
        publish(&self.client, subject::ask(&self.agent), bytes).await;
        Ok(())
    }

    /// Says again and again that the controller is alive, and what it has stored.
    pub(crate) fn sign_of_life(&self) -> impl Future<Output = ()> + Send + 'static {
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

    pub(crate) fn gone(&self, what: String) -> Error {
        Error::Gone { vantage: self.vantage.clone(), what }
    }

    pub(crate) fn unexpected(&self, wanted: &str, reply: &Reply) -> Error {
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
