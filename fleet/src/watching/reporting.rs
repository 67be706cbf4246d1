//! An agent's line to the controllers of a watch: fetches checks, sends batches until they are stored, says that it lives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agent::BatchId;
use async_nats::Client;
use async_nats::connection::State;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;

use super::following::Following;
use super::message::{Acknowledgement, Offer, rounds};
use super::reports::Reports;
use crate::message::KeptId;
use crate::parts::read;
use crate::serving::connected;
use crate::subject;
use crate::{Log, Name, Server};

/// Between two looks at what is due: what is new is said at once, this is for what is to be said again.
const LOOK: Duration = Duration::from_secs(1);
/// An agent that has nothing to report says that it lives.
const ALIVE: Duration = Duration::from_secs(10);
/// A batch is repeated after this, then after twice as long, …
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// … up to this.
const LAST_WAIT: Duration = Duration::from_secs(60);
/// After the server is back, agents begin to send within this, each at a time of its own: what waits at thousands does not come at once.
const SPREAD: Duration = Duration::from_secs(5);
/// How long one message may take to go out.
const PUBLISH: Duration = Duration::from_secs(1);

/// Connects as the agent `name` and says what `reports` has, until `stop` is set: an agent of watches alone.
pub fn attend(
    server: &Server,
    name: Name,
    groups: Vec<String>,
    reports: Arc<Reports>,
    stop: Arc<AtomicBool>,
    log: Log,
) -> BoxFuture<'_, ()> {
    // A box: the client of NATS is compiled here once, and not again where this is waited for.
    Box::pin(async move {
        if let Some(client) = connected(server, name.as_str(), &stop, &log).await {
            report(client, name, groups, reports, stop, log).await;
        }
    })
}

/// Says what `reports` has, until `stop` is set.
pub(crate) async fn report(
    client: Client,
    name: Name,
    groups: Vec<String>,
    reports: Arc<Reports>,
    stop: Arc<AtomicBool>,
    log: Log,
) {
    let subscribed = async {
        let offers = client.subscribe(subject::CHECKS).await?;
        let parts = client.subscribe(subject::checks(name.as_str())).await?;
        let stored = client.subscribe(subject::stored(name.as_str())).await?;
        Ok::<_, async_nats::SubscribeError>((offers, parts, stored))
    };
    let (mut offers, mut parts, mut stored) = match subscribed.await {
        Ok(subscribed) => subscribed,
        Err(error) => return log(&format!("cannot listen to controllers of a watch: {error}")),
    };
    let following = Following::new(reports.revision());
    let line = Line { client, name, groups, reports: Arc::clone(&reports) };
    let mut line = Sending { line, following, sent: BTreeMap::new(), alive: None, held: None, connected: true };
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        tokio::select! {
            Some(message) = offers.next() => match serde_json::from_slice::<Offer>(&message.payload) {
                Ok(offer) => {
                    reports.heard(&offer.controller, now);
                    line.following.offered(offer, now);
                }
                Err(error) => log(&format!("an offer of checks that this release does not know: {error}")),
            },
            Some(message) = parts.next() => {
                let checks = read(&message.payload).ok().and_then(|(head, bytes)| line.following.part(&head, bytes, now));
                if let Some(checks) = checks {
                    reports.follow(checks);
                }
            }
            Some(message) = stored.next() => if let Ok(said) = serde_json::from_slice::<Acknowledgement>(&message.payload) {
                reports.stored(&said.controller, &said.upto, now);
            },
            () = reports.news() => {}
            _ = look.tick() => {}
        }
        line.say(Instant::now()).await;
    }
}

struct Line {
    client: Client,
    name: Name,
    groups: Vec<String>,
    reports: Arc<Reports>,
}

struct Sending {
    line: Line,
    following: Following,
    /// Batches under way: when they were sent, and when they will be again.
    sent: BTreeMap<KeptId, (Instant, Duration)>,
    /// When anything was said last.
    alive: Option<Instant>,
    /// Nothing is sent before.
    held: Option<Instant>,
    connected: bool,
}

impl Sending {
    async fn say(&mut self, now: Instant) {
        let connected = self.line.client.connection_state() == State::Connected;
        if connected && !self.connected {
            self.sent.clear();
            self.held = Some(now + spread(&self.line.name));
        }
        self.connected = connected;
        if !connected || self.held.is_some_and(|until| now < until) {
            return;
        }
        if let Some(fetch) = self.following.wanted(now) {
            self.line.publish(subject::fetch(&self.line.name), serde_json::to_vec(&fetch).unwrap_or_default()).await;
        }
        let due = self.line.reports.due(now);
        self.sent.retain(|id, _| due.iter().any(|due| due.id == *id));
        for due in due {
            let wait = match self.sent.get(&due.id) {
                Some((at, wait)) if now - *at < *wait => continue,
                Some((_, wait)) => LAST_WAIT.min(*wait * 2),
                None => FIRST_WAIT,
            };
            let id = |id: KeptId| BatchId { epoch: id.session, number: id.number };
            let after = due.after.clone().map(id);
            self.line.say(Some((id(due.id.clone()), after, due.bytes()))).await;
            self.sent.insert(due.id, (now, wait));
            self.alive = Some(now);
        }
        if self.alive.is_none_or(|at| now - at >= ALIVE) {
            self.line.say(None).await;
            self.alive = Some(now);
        }
    }
}

impl Line {
    async fn say(&self, batch: Option<(BatchId, Option<BatchId>, &[u8])>) {
        let message = rounds(self.reports.now(), self.reports.wellbeing(&self.groups), batch);
        self.publish(subject::rounds(&self.name), message).await;
    }

    /// What cannot go out now is said again.
    async fn publish(&self, to: String, bytes: Vec<u8>) {
        let _ = tokio::time::timeout(PUBLISH, self.client.publish(to, bytes.into())).await;
    }
}

/// A time of its own for each name.
fn spread(name: &Name) -> Duration {
    let hash = name
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    SPREAD.mul_f64((hash >> 11) as f64 / (1_u64 << 53) as f64)
}
