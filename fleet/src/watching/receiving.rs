//! A controller's end of a watch: hands out checks, takes rounds, says what is stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use agent::{Delivered, Handout, Stored};
use async_nats::Client;
use async_nats::connection::State;
use futures_util::StreamExt;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use super::message::{Acknowledgement, Fetch, Offer, delivered};
use crate::parts::{HEAD, Whole};
use crate::serving::connected;
use crate::subject::{self, whose};
use crate::{Error, Log, Server};

/// How often the checks are offered.
const OFFERED: Duration = Duration::from_secs(30);
/// Between two looks at whether to stop and whether the server is there.
const LOOK: Duration = Duration::from_millis(200);
/// How long one message may take to go out.
const PUBLISH: Duration = Duration::from_secs(1);

/// What a controller brings.
pub struct Receiving {
    /// Its name, by which agents know whose store has what.
    pub controller: String,
    /// The checks, as they change.
    pub checks: watch::Receiver<Arc<Handout>>,
    /// Takes what agents say. What finds no room is dropped: the agent says it again.
    pub delivered: SyncSender<Delivered>,
    /// What lies in the store.
    pub stored: UnboundedReceiver<Stored>,
    /// Is told when the server is reached (nothing), and when it no longer is.
    pub reached: Box<dyn Fn(Option<String>) + Send + Sync>,
}

/// Serves agents until `stop` is set or nobody takes what they say. A server that cannot be reached is tried again.
///
/// # Errors
/// If this host has no room for it.
pub fn receive(server: &Server, receiving: Receiving, stop: &AtomicBool, log: &Log) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Threads)?;
    runtime.block_on(async {
        (receiving.reached)(Some(format!("{} is not reached yet", server.shown())));
        let Some(client) = connected(server, &receiving.controller, stop, log).await else { return };
        (receiving.reached)(None);
        let mut intake = Intake { client, server: server.shown(), whole: None, receiving, log: Arc::clone(log) };
        intake.serve(stop).await;
        let _ = tokio::time::timeout(PUBLISH, intake.client.flush()).await;
    });
    Ok(())
}

struct Intake {
    client: Client,
    server: String,
    /// The checks, ready to be sent.
    whole: Option<Arc<Whole>>,
    receiving: Receiving,
    log: Log,
}

impl Intake {
    async fn serve(&mut self, stop: &AtomicBool) {
        let subscribed = async {
            let rounds = self.client.subscribe(subject::all_rounds()).await?;
            Ok::<_, async_nats::SubscribeError>((rounds, self.client.subscribe(subject::fetches()).await?))
        };
        let (mut rounds, mut fetches) = match subscribed.await {
            Ok(subscribed) => subscribed,
            Err(error) => return (self.log)(&format!("cannot listen to agents: {error}")),
        };
        let (mut offered, mut up): (Option<Instant>, bool) = (None, true);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.load(Ordering::Relaxed) {
            tokio::select! {
                Some(message) = rounds.next() => if !self.take(&message.subject, &message.payload) { return },
                Some(message) = fetches.next() => self.hand_out(&message.subject, &message.payload).await,
                Some(stored) = self.receiving.stored.recv() => self.acknowledge(stored).await,
                _ = look.tick() => {}
            }
            let now_up = self.client.connection_state() == State::Connected;
            if now_up != up {
                up = now_up;
                (self.receiving.reached)((!up).then(|| format!("{} is away", self.server)));
                // Agents that came back with the server hear at once whose checks they follow.
                offered = None;
            }
            if self.receiving.checks.has_changed().unwrap_or(false) || self.whole.is_none() {
                let checks = Arc::clone(&self.receiving.checks.borrow_and_update());
                self.whole = Some(Arc::new(Whole::of(checks.bytes.clone())));
                offered = None;
            }
            if up && offered.is_none_or(|at| at.elapsed() >= OFFERED) {
                offered = Some(Instant::now());
                self.offer().await;
            }
        }
    }

    /// Passes on what an agent said; false if nobody takes it any more.
    fn take(&self, subject: &str, payload: &[u8]) -> bool {
        let Some(agent) = whose(subject) else { return true };
        match delivered(agent, payload) {
            Ok(delivered) => !matches!(self.receiving.delivered.try_send(delivered), Err(TrySendError::Disconnected(_))),
            Err(error) => {
                (self.log)(&format!("on {subject}: {error}; it is ignored"));
                true
            }
        }
    }

    async fn offer(&self) {
        let Some(whole) = &self.whole else { return };
        let offer = Offer { controller: self.receiving.controller.clone(), sha256: whole.sha256.clone() };
        self.publish(subject::CHECKS.into(), serde_json::to_vec(&offer).unwrap_or_default()).await;
    }

    async fn hand_out(&self, subject: &str, payload: &[u8]) {
        let (Some(agent), Ok(fetch)) = (whose(subject), serde_json::from_slice::<Fetch>(payload)) else {
            return (self.log)(&format!("on {subject}: a question for checks that this release does not know"));
        };
        let ours = fetch.of.is_none_or(|of| of == self.receiving.controller);
        let Some(whole) = self.whole.as_ref().filter(|_| ours) else { return };
        let room = self.client.max_payload().saturating_sub(HEAD);
        for message in whole.messages(&self.receiving.controller, "", 0, &fetch.parts, room) {
            self.publish(subject::checks(agent), message).await;
        }
    }

    async fn acknowledge(&self, Stored { agent, upto }: Stored) {
        let said = Acknowledgement { controller: self.receiving.controller.clone(), upto };
        self.publish(subject::stored(&agent), serde_json::to_vec(&said).unwrap_or_default()).await;
    }

    /// What cannot go out now is asked for again.
    async fn publish(&self, to: String, bytes: Vec<u8>) {
        if self.client.connection_state() == State::Connected {
            let _ = tokio::time::timeout(PUBLISH, self.client.publish(to, bytes.into())).await;
        }
    }
}
