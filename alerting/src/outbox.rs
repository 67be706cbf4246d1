//! Messages to receivers: each is delivered at least once, in order, however long a receiver is away.
//!
//! What waits lies in the store; a receiver knows repetitions by the alert's key. Alertmanager forgets what it is not told again, so alerts
//! that are on are repeated. A message that a receiver refuses for good is no longer sent, and never lost in silence: it is logged,
//! counted, kept in the store and shown on the page until the receiver takes a later one of the same alert, or it is too old.
//!
//! Each receiver has its own [`Queue`], and one request under way at most: its messages keep their order, and it holds up nobody else.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use settings::words::visible;
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::{debug, error, info, warn};

use crate::clock::UnixSeconds;
use crate::event::Event;
use crate::metrics::{ByReceiver, Delivery};
use crate::queue::Queue;
use crate::receiver::Receiver;
use crate::sending::{Client, Failed};
use crate::status::AlertStatus;
use crate::store::{Refused, Store, StoreError, Waiting};

/// Time between two looks at what waits.
const LOOK: Duration = Duration::from_millis(500);
/// The same where nothing does: who makes messages says so.
const IDLE: Duration = Duration::from_secs(5);
/// Time between two repetitions of what is on, to Alertmanager.
const REPEAT: Duration = Duration::from_secs(60);
/// Alerts that are repeated in one request.
const MOST_TOGETHER: usize = 500;
/// Why a message goes to nobody.
const NOBODY: &str = "this receiver is no longer in the check file";

/// Delivers messages.
pub struct Outbox {
    /// What waits.
    pub store: Store,
    /// Messages that the store refused.
    pub direct: UnboundedReceiver<(String, Event)>,
    /// Whom to tell, as of now.
    pub receivers: tokio::sync::watch::Receiver<Arc<Vec<Receiver>>>,
    /// What is on.
    pub status: Arc<AlertStatus>,
    /// How it goes.
    pub delivery: Delivery,
    /// How to send.
    pub client: Client,
}

/// What is said to a receiver.
enum Work {
    /// The store's next message.
    Stored(Waiting),
    /// One that the store refused.
    Direct(Event),
    /// All that is on, again.
    Again(Vec<Event>),
}

/// What became of it.
enum Sent {
    Taken,
    /// Why not, and how long it wants to be left alone.
    NotNow(String, Option<Duration>),
    Refused(String),
}

type Queues = BTreeMap<String, Queue>;

impl Outbox {
    /// Delivers for ever.
    ///
    /// A box, so that the client of HTTP in it is compiled here once, and not again in each crate that has an outbox.
    pub fn run(self) -> LocalBoxFuture<'static, ()> {
        Box::pin(self.deliver())
    }

    async fn deliver(self) {
        let Self { store, mut direct, receivers, status, delivery, client } = self;
        let desk = Desk { store, receivers, status, delivery, client, refusing: RefCell::default() };
        let mut queues = Queues::new();
        let mut under_way = FuturesUnordered::new();
        let mut look_at = Instant::now();
        loop {
            while let Ok((receiver, event)) = direct.try_recv() {
                desk.keep(&mut queues, receiver, event);
            }
            if Instant::now() >= look_at {
                let waits = desk.look(&mut queues);
                look_at = Instant::now() + if waits { LOOK } else { IDLE };
            }
            for receiver in desk.receivers.borrow().iter() {
                let queue = queues.entry(receiver.name()).or_insert_with(|| Queue::new(Instant::now()));
                if let Some(work) = desk.next(receiver, queue, Instant::now()) {
                    queue.busy = true;
                    under_way.push(desk.work(receiver.clone(), work));
                }
            }
            desk.show_trouble(&queues);
            tokio::select! {
                Some((name, work, sent)) = under_way.next() => {
                    desk.ended(&name, queues.entry(name.clone()).or_insert_with(|| Queue::new(Instant::now())), work, sent);
                    if under_way.is_empty() {
                        look_at = Instant::now();
                    }
                }
                () = desk.status.messages() => look_at = Instant::now(),
                () = tokio::time::sleep_until(look_at.into()) => {}
            }
        }
    }
}

/// Where messages are taken from queues, sent, and noted.
struct Desk {
    store: Store,
    receivers: tokio::sync::watch::Receiver<Arc<Vec<Receiver>>>,
    status: Arc<AlertStatus>,
    delivery: Delivery,
    client: Client,
    /// Why the store refuses.
    refusing: RefCell<Option<String>>,
}

impl Desk {
    /// Keeps a message that the store refused.
    fn keep(&self, queues: &mut Queues, receiver: String, event: Event) {
        // Where the store cannot be read, nothing of it comes before.
        let behind = self.store.last(&receiver).ok().flatten();
        let queue = queues.entry(receiver.clone()).or_insert_with(|| Queue::new(Instant::now()));
        if let Some(oldest) = queue.push(event, behind) {
            self.dropped(&receiver, &oldest, "too many messages wait, and the store refuses them");
        }
    }

    /// Looks over all queues; gives whether anything waits.
    fn look(&self, queues: &mut Queues) -> bool {
        let known: Vec<String> = self.receivers.borrow().iter().map(Receiver::name).collect();
        for (name, queue) in queues.iter_mut().filter(|(name, _)| !known.contains(name)) {
            queue.drain().for_each(|event| self.dropped(name, &event, NOBODY));
        }
        queues.retain(|name, queue| queue.busy || known.contains(name));
        // The row of a request under way stays until that is over: its number would be another message's.
        let busy = queues.iter().filter(|(_, queue)| queue.busy).map(|(name, _)| name.clone());
        let spared: Vec<String> = known.iter().cloned().chain(busy).collect();
        let waiting = match self.drop_nobodys(&spared).and_then(|()| self.store.waiting()) {
            Ok(waiting) => waiting,
            Err(error) => {
                self.store_trouble(&error);
                return true;
            }
        };
        self.delivery.waiting.set(waiting);
        if queues.values().all(|queue| queue.done.is_empty()) {
            self.refusing.replace(None);
        }
        self.show_refused();
        self.show_unreadable();
        waiting > 0 || queues.values().any(Queue::waits)
    }

    /// Drops messages to receivers that are no more, but for those that are `spared`.
    fn drop_nobodys(&self, spared: &[String]) -> Result<(), StoreError> {
        for receiver in self.store.awaited()?.into_iter().filter(|receiver| !spared.contains(receiver)) {
            while let Some(Waiting { id, event, .. }) = self.store.next(&receiver, &[])? {
                self.store.delivered(id)?;
                self.dropped(&receiver, &event, NOBODY);
            }
        }
        Ok(())
    }

    /// What is to be said to a receiver now, if anything is.
    fn next(&self, receiver: &Receiver, queue: &mut Queue, now: Instant) -> Option<Work> {
        if !queue.is_free(now) {
            return None;
        }
        // Before what is new: it would take for over what it is not told again.
        if now.saturating_duration_since(queue.repeated) >= REPEAT {
            let on: Vec<Event> = self.status.change(|now| now.firing.values().cloned().collect());
            // Of whom nothing is to be told again, nobody would know whether it is there.
            if !on.is_empty() && receiver.again(&[], UnixSeconds::now()).is_some() {
                return Some(Work::Again(on));
            }
            queue.repeated = now;
        }
        queue.done.retain(|id| self.store.delivered(*id).is_err());
        let stored = self.store.next(&receiver.name(), &queue.done).unwrap_or_else(|error| {
            self.store_trouble(&error);
            None
        });
        if let Some(event) = queue.next(stored.as_ref().map(|waiting| waiting.id)) {
            return Some(Work::Direct(event));
        }
        if stored.is_none() {
            queue.trouble = None;
        }
        stored.map(Work::Stored)
    }

    async fn work(&self, receiver: Receiver, work: Work) -> (String, Work, Sent) {
        let sent = match &work {
            Work::Stored(Waiting { event, .. }) | Work::Direct(event) => self.send(&receiver, event, false).await,
            Work::Again(events) => self.again(&receiver, events).await,
        };
        (receiver.name(), work, sent)
    }

    /// Notes what became of it.
    fn ended(&self, receiver: &str, queue: &mut Queue, work: Work, sent: Sent) {
        queue.busy = false;
        match &sent {
            Sent::Taken | Sent::Refused(_) => queue.reached(),
            Sent::NotNow(why, asked) => {
                let attempts = if let Work::Stored(waiting) = &work { waiting.attempts } else { 0 };
                queue.missed(Instant::now(), attempts, why.clone(), *asked);
            }
        }
        match (work, sent) {
            (Work::Stored(Waiting { id, .. }), Sent::NotNow(..)) => self.noted(self.store.failed(id)),
            (Work::Stored(Waiting { id, event, .. }), Sent::Taken) => {
                self.taken(receiver, &event);
                queue.passed(id);
                let noted = self.store.delivered(id);
                queue.done.extend(noted.is_err().then_some(id));
                self.noted(noted);
            }
            (Work::Stored(Waiting { id, event, .. }), Sent::Refused(why)) => {
                queue.passed(id);
                let kept = self.refused(receiver, &event, &why, Some(id));
                queue.done.extend((!kept).then_some(id));
            }
            (Work::Direct(event), Sent::NotNow(..)) => queue.put_back(event),
            (Work::Direct(event), Sent::Taken) => self.taken(receiver, &event),
            (Work::Direct(event), Sent::Refused(why)) => drop(self.refused(receiver, &event, &why, None)),
            (Work::Again(_), Sent::NotNow(..)) => {}
            (Work::Again(_), Sent::Taken | Sent::Refused(_)) => queue.repeated = Instant::now(),
        }
    }

    fn noted(&self, noted: Result<(), StoreError>) {
        if let Err(error) = noted {
            self.store_trouble(&error);
        }
    }

    /// A receiver will never take this message: said, counted and kept; whether the store has it.
    fn refused(&self, receiver: &str, event: &Event, why: &str, waiting: Option<i64>) -> bool {
        let mut new =
            Refused { receiver: receiver.into(), event: event.clone(), why: why.into(), at: UnixSeconds::now(), kept: true };
        let known = self.status.change(|now| now.refused.iter().any(|r| r.same(&new) && r.why == new.why));
        if waiting.is_some() || !known {
            error!(receiver, why, alert = %visible(&event.summary()), "a receiver refused a message for good");
            self.delivery.refused.get_or_create(&ByReceiver { receiver: receiver.to_owned() }).inc();
        }
        if let Err(error) = self.store.refuse(&new, waiting) {
            new.kept = false; // shown all the same
            self.store_trouble(&error);
        }
        let kept = new.kept;
        self.status.change(|now| {
            now.refused.retain(|r| !r.same(&new));
            now.refused.push(new);
        });
        kept
    }

    fn store_trouble(&self, error: &StoreError) {
        self.refusing.replace(Some(error.to_string()));
    }

    /// Says whom nobody reaches, and why.
    fn show_trouble(&self, queues: &Queues) {
        let said = queues.iter().filter_map(|(name, queue)| Some(format!("{name}: {}", queue.trouble.as_ref()?)));
        let said: Vec<String> = self.refusing.borrow().clone().into_iter().chain(said).collect();
        self.status.trouble("outbox", (!said.is_empty()).then(|| said.join("; ")));
    }

    /// A receiver took a message: what it refused of the same alert before counts no longer.
    fn taken(&self, receiver: &str, event: &Event) {
        self.status.change(|now| now.refused.retain(|r| r.receiver != receiver || r.event.key != event.key));
    }

    fn dropped(&self, receiver: &str, event: &Event, why: &str) {
        error!(receiver, why, alert = %visible(&event.summary()), "a message was dropped");
        self.delivery.dropped.get_or_create(&ByReceiver { receiver: receiver.to_owned() }).inc();
    }

    /// Puts what was refused into the status.
    fn show_refused(&self) {
        let mut unkept = self.status.change(|now| now.refused.iter().filter(|r| !r.kept).cloned().collect::<Vec<_>>());
        unkept.retain(|r| self.store.refuse(r, None).is_err());
        let Ok(mut refused) = self.store.refused() else { return };
        refused.extend(unkept);
        self.delivery.refused_now.set(i64::try_from(refused.len()).unwrap_or(i64::MAX));
        let trouble = refused.last().map(|last| {
            let (n, by, why) = (refused.len(), &last.receiver, &last.why);
            format!("{n} of the alerts' messages were refused for good, the last by {by}: {why}")
        });
        self.status.trouble("refused", trouble);
        self.status.change(|now| now.refused = refused);
    }

    /// Says what of the store cannot be read: who was to be told is not.
    fn show_unreadable(&self) {
        let Ok(unreadable) = self.store.unreadable() else { return };
        self.delivery.unreadable.set(i64::try_from(unreadable.len()).unwrap_or(i64::MAX));
        let trouble = unreadable.last().map(|last| {
            let of = last.receiver.as_ref().map_or_else(|| last.table.clone(), |name| format!("a message to {name}"));
            format!("{} rows of the store cannot be read and were set aside, the last ({of}): {}", unreadable.len(), last.why)
        });
        self.status.trouble("unreadable", trouble);
    }

    /// Tells a receiver again of all that is on; of what it refuses together, it is told one by one.
    async fn again(&self, receiver: &Receiver, events: &[Event]) -> Sent {
        for together in events.chunks(MOST_TOGETHER) {
            let Some(request) = receiver.again(together, UnixSeconds::now()) else { return Sent::Taken };
            let asked = match request {
                Ok(request) => self.client.ask(receiver, &request).await,
                Err(secret) => Err(secret.into()),
            };
            match (self.judged(&receiver.name(), together, asked, true), together) {
                (Sent::Taken, _) => {}
                (not_now @ Sent::NotNow(..), _) => return not_now,
                (Sent::Refused(why), [alone]) => drop(self.refused(&receiver.name(), alone, &why, None)),
                (Sent::Refused(_), _) => {
                    for event in together {
                        match self.send(receiver, event, true).await {
                            Sent::Taken => {}
                            not_now @ Sent::NotNow(..) => return not_now,
                            Sent::Refused(why) => drop(self.refused(&receiver.name(), event, &why, None)),
                        }
                    }
                }
            }
        }
        Sent::Taken
    }

    async fn send(&self, receiver: &Receiver, event: &Event, again: bool) -> Sent {
        let told = self.client.tell(receiver, event, UnixSeconds::now()).await;
        self.judged(&receiver.name(), std::slice::from_ref(event), told, again)
    }

    fn judged(&self, name: &str, events: &[Event], told: Result<(), Failed>, again: bool) -> Sent {
        let label = ByReceiver { receiver: name.to_owned() };
        let Err(failed) = told else {
            self.delivery.delivered.get_or_create(&label).inc_by(events.len() as u64);
            for event in events {
                let state = if event.resolved { "resolved" } else { "firing" };
                if again {
                    debug!(receiver = name, alert = event.key, state, "told a receiver again");
                } else {
                    info!(receiver = name, alert = event.key, state, "told a receiver");
                }
            }
            return Sent::Taken;
        };
        self.delivery.failed.get_or_create(&label).inc();
        match failed {
            Failed::Refused(answer) => Sent::Refused(answer.to_string()),
            Failed::Secret(_) | Failed::Tls(_) | Failed::Client(_) | Failed::Network(_) | Failed::NotNow(_) => {
                let alert = events.first().map(|event| event.key.as_str());
                warn!(receiver = name, alert, why = %failed, "a receiver was not told; it is tried again");
                let asked = if let Failed::NotNow(answer) = &failed { answer.retry_after } else { None };
                Sent::NotNow(failed.to_string(), asked)
            }
        }
    }
}

#[cfg(test)]
mod tests;
