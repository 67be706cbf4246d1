//! Messages to receivers: each is delivered at least once, in order, however long a receiver is away.
//!
//! What waits lies in the store; a receiver knows repetitions by the alert's key. Alertmanager forgets what it is not told again, so alerts
//! that are on are repeated. A message that a receiver refuses for good is no longer sent, and never lost in silence: it is logged,
//! counted, kept in the store and shown on the page until the receiver takes a later one of the same alert, or it is too old.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use settings::words::visible;
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::{debug, error, info, warn};

use crate::clock::UnixSeconds;
use crate::event::Event;
use crate::metrics::{ByReceiver, Delivery};
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
/// The longest wait before another attempt, in seconds.
const MOST_WAIT: u64 = 60;
/// The wait before another attempt at what the store refused.
const DIRECT_WAIT: Duration = Duration::from_secs(5);
/// Messages kept in memory while the store refuses.
const MOST_DIRECT: usize = 10_000;
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

/// What became of a message.
enum Sent {
    Taken,
    NotNow,
    Refused(String),
    /// Its receiver is no longer in the check file.
    Nobody,
}

impl Outbox {
    /// Delivers for ever.
    ///
    /// A box, so that the client of HTTP in it is compiled here once, and not again in each crate that has an outbox.
    pub fn run(self) -> LocalBoxFuture<'static, ()> {
        Box::pin(self.deliver())
    }

    async fn deliver(mut self) {
        let mut unsaved: VecDeque<(String, Event)> = VecDeque::new();
        self.show_refused();
        let (mut retry_at, mut repeated) = (Instant::now(), Instant::now());
        loop {
            let waiting = self.stored().await;
            while let Ok(message) = self.direct.try_recv() {
                unsaved.push_back(message);
                if let Some((receiver, event)) = (unsaved.len() > MOST_DIRECT).then(|| unsaved.pop_front()).flatten() {
                    self.dropped(&receiver, &event, "too many messages wait, and the store refuses them");
                }
            }
            if Instant::now() >= retry_at {
                let mut left = VecDeque::new();
                while let Some((receiver, event)) = unsaved.pop_front() {
                    match self.send(&receiver, &event, false).await {
                        Sent::NotNow => left.push_back((receiver, event)),
                        Sent::Refused(why) => self.refused(&receiver, &event, &why, None),
                        Sent::Nobody => self.dropped(&receiver, &event, NOBODY),
                        Sent::Taken => self.taken(&receiver, &event),
                    }
                }
                unsaved = left;
                retry_at = Instant::now() + if unsaved.is_empty() { Duration::ZERO } else { DIRECT_WAIT };
            }
            if repeated.elapsed() >= REPEAT {
                repeated = Instant::now();
                self.repeat().await;
            }
            let look = if waiting || !unsaved.is_empty() { LOOK } else { IDLE };
            // Whichever comes first.
            let _ = tokio::time::timeout(look, self.status.messages()).await;
        }
    }

    /// Delivers what the store has; gives whether anything waits there still.
    async fn stored(&self) -> bool {
        let due = match self.store.due(UnixSeconds::now()) {
            Ok(due) => due,
            Err(error) => {
                self.store_trouble(&error);
                return true;
            }
        };
        let mut by_receiver: HashMap<String, Vec<Waiting>> = HashMap::new();
        for waiting in due {
            by_receiver.entry(waiting.receiver.clone()).or_default().push(waiting);
        }
        // Receivers do not wait for each other, messages of one do.
        let each = by_receiver.into_iter().map(|(receiver, messages)| async move {
            let mut outcomes = Vec::new();
            for message in messages {
                let sent = self.send(&receiver, &message.event, false).await;
                let stop = matches!(sent, Sent::NotNow);
                outcomes.push((message, sent));
                if stop {
                    break;
                }
            }
            outcomes
        });
        for (message, sent) in futures_util::future::join_all(each).await.into_iter().flatten() {
            let noted = match sent {
                Sent::Taken => {
                    self.taken(&message.receiver, &message.event);
                    self.store.delivered(message.id)
                }
                Sent::NotNow => self.store.failed(message.id, UnixSeconds::now() + backoff(message.attempts)),
                Sent::Refused(why) => {
                    self.refused(&message.receiver, &message.event, &why, Some(message.id));
                    Ok(())
                }
                Sent::Nobody => {
                    self.dropped(&message.receiver, &message.event, NOBODY);
                    self.store.delivered(message.id)
                }
            };
            if let Err(error) = noted {
                self.store_trouble(&error);
            }
        }
        let Ok(waiting) = self.store.waiting() else { return true };
        self.delivery.waiting.set(waiting);
        if waiting == 0 {
            self.status.trouble("outbox", None);
        }
        self.show_refused();
        self.show_unreadable();
        waiting > 0
    }

    /// A receiver will never take this message: said, counted and kept.
    fn refused(&self, receiver: &str, event: &Event, why: &str, waiting: Option<i64>) {
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
        self.status.change(|now| {
            now.refused.retain(|r| !r.same(&new));
            now.refused.push(new);
        });
    }

    fn store_trouble(&self, error: &StoreError) {
        self.status.trouble("outbox", Some(error.to_string()));
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

    async fn repeat(&self) {
        let firing = self.status.change(|now| now.firing.values().cloned().collect::<Vec<Event>>());
        let receivers = Arc::clone(&self.receivers.borrow());
        for receiver in receivers.iter().filter(|r| r.is_told_again()) {
            for event in &firing {
                let name = receiver.name();
                if let Sent::Refused(why) = self.send(&name, event, true).await {
                    self.refused(&name, event, &why, None);
                }
            }
        }
    }

    async fn send(&self, name: &str, event: &Event, again: bool) -> Sent {
        let receivers = Arc::clone(&self.receivers.borrow());
        let Some(receiver) = receivers.iter().find(|r| r.name() == name) else { return Sent::Nobody };
        let label = ByReceiver { receiver: name.to_owned() };
        let Err(failed) = self.client.tell(receiver, event, UnixSeconds::now()).await else {
            self.delivery.delivered.get_or_create(&label).inc();
            let state = if event.resolved { "resolved" } else { "firing" };
            if again {
                debug!(receiver = name, alert = event.key, state, "told a receiver again");
            } else {
                info!(receiver = name, alert = event.key, state, "told a receiver");
            }
            return Sent::Taken;
        };
        self.delivery.failed.get_or_create(&label).inc();
        match failed {
            Failed::Refused(answer) => Sent::Refused(answer.to_string()),
            Failed::Secret(_) | Failed::Tls(_) | Failed::Client(_) | Failed::Network(_) | Failed::NotNow(_) => {
                warn!(receiver = name, alert = event.key, why = %failed, "a receiver was not told; it is tried again");
                self.status.trouble("outbox", Some(format!("{name}: {failed}")));
                Sent::NotNow
            }
        }
    }
}

fn backoff(attempts: u32) -> Duration {
    let wait = 1_u64.checked_shl(attempts).unwrap_or(MOST_WAIT).min(MOST_WAIT);
    Duration::from_secs(wait + fastrand::u64(0..=wait / 4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::culprit::Culprit;
    use crate::receiver::{self, Alertmanager};
    use crate::store::Batch;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn event(resolved: bool) -> Event {
        receiver::tests::event(Culprit::Edge, resolved.then_some(UnixSeconds::from_secs(1_800_000_050)))
    }

    /// An Alertmanager that refuses what is on and takes what is over.
    async fn picky() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = String::new();
                let mut piece = [0; 4096];
                while !request.contains("startsAt") {
                    let n = stream.read(&mut piece).await.unwrap_or(0);
                    request.push_str(&String::from_utf8_lossy(&piece[..n]));
                    if n == 0 {
                        break;
                    }
                }
                let over = request.contains("over (it was");
                let answer = if over { "HTTP/1.1 200 OK" } else { "HTTP/1.1 400 Bad Request" };
                let body = if over { "" } else { "invalid label set" };
                let answer = format!("{answer}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        format!("http://{address}")
    }

    fn outbox(path: &std::path::Path, url: String) -> (Outbox, Arc<AlertStatus>) {
        let status = Arc::new(AlertStatus::default());
        let receiver = Receiver::Alertmanager(Alertmanager { url, token: None });
        let (_, receivers) = tokio::sync::watch::channel(Arc::new(vec![receiver]));
        let (_, direct) = tokio::sync::mpsc::unbounded_channel();
        let store = Store::open(path).expect("it opens");
        let delivery = Delivery::default();
        (Outbox { store, direct, receivers, status: Arc::clone(&status), delivery, client: Client::default() }, status)
    }

    #[tokio::test]
    async fn a_message_that_is_refused_for_good_stays_visible_until_a_later_one_is_taken() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("store.db");
        let (outbox, status) = outbox(&path, picky().await);
        let receiver = outbox.receivers.borrow()[0].name();
        let tell = |resolved| {
            let messages = vec![(receiver.clone(), event(resolved))];
            Store::open(&path).expect("it opens").write(&Batch { messages, ..Batch::default() }).expect("it is written");
        };
        tell(false);
        assert!(!outbox.stored().await, "nothing waits: it would be refused again");
        let now = status.snapshot();
        let trouble = now.trouble.get("refused").expect("it is trouble");
        assert!(trouble.contains("400") && trouble.contains("invalid label set"), "{trouble}");
        let refused = &now.refused[0];
        assert!(refused.event.summary().starts_with("login from here") && refused.why.contains("invalid label set"));
        let label = ByReceiver { receiver: receiver.clone() };
        assert_eq!(outbox.delivery.refused.get_or_create(&label).get(), 1);
        assert_eq!(Store::open(&path).expect("it opens").refused().expect("it is read").len(), 1, "it outlives a restart");
        // Repeating what is on does not make it more.
        status.note(&event(false));
        outbox.repeat().await;
        assert_eq!((outbox.delivery.refused.get_or_create(&label).get(), status.snapshot().refused.len()), (1, 1));
        tell(true);
        assert!(!outbox.stored().await);
        let now = status.snapshot();
        assert!(now.refused.is_empty() && !now.trouble.contains_key("refused"), "the alert's end was taken");
    }

    #[tokio::test]
    async fn a_receiver_that_is_away_holds_up_what_comes_behind_and_nobody_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("store.db");
        // Nobody listens there.
        let (outbox, status) = outbox(&path, "http://127.0.0.1:1".into());
        let receiver = outbox.receivers.borrow()[0].name();
        let messages =
            vec![(receiver.clone(), event(false)), (receiver.clone(), event(true)), ("webhook gone".to_owned(), event(false))];
        Store::open(&path).expect("it opens").write(&Batch { messages, ..Batch::default() }).expect("it is written");
        assert!(outbox.stored().await, "two messages wait");
        assert!(status.snapshot().trouble.get("outbox").expect("it is trouble").starts_with(&receiver));
        let later = UnixSeconds::now() + Duration::from_secs(2 * MOST_WAIT);
        let due = outbox.store.due(later).expect("it is read");
        let left: Vec<(bool, u32)> = due.iter().map(|w| (w.event.resolved, w.attempts)).collect();
        assert_eq!(left, [(false, 1), (true, 0)], "in order, and the second was not tried before the first was taken");
    }

    #[test]
    fn waits_grow_to_a_minute_and_no_further() {
        for (attempts, least) in [(0, 1), (1, 2), (3, 8), (5, 32), (6, 60), (63, 60), (64, 60), (u32::MAX, 60)] {
            let wait = backoff(attempts).as_secs();
            assert!(wait >= least && wait <= least + least / 4, "{attempts}: {wait} s");
        }
    }

    #[tokio::test]
    async fn a_message_for_a_receiver_that_is_gone_is_counted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("store.db");
        let (outbox, _) = outbox(&path, "http://127.0.0.1:1".into());
        let messages = vec![("webhook gone".to_owned(), event(false))];
        Store::open(&path).expect("it opens").write(&Batch { messages, ..Batch::default() }).expect("it is written");
        assert!(!outbox.stored().await);
        assert_eq!(outbox.delivery.dropped.get_or_create(&ByReceiver { receiver: "webhook gone".into() }).get(), 1);
    }
}
