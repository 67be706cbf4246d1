//! Messages to receivers: each is delivered at least once, in order, however long a receiver is away.
//!
//! What waits lies in the store; a receiver knows repetitions by the alert's key. Alertmanager forgets what it is not told again, so alerts
//! that are on are repeated.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::UnboundedReceiver;

use crate::board::Board;
use crate::checks::Receiver;
use crate::event::Event;
use crate::metrics::{ByReceiver, Delivery};
use crate::store::Store;

/// Time between two looks at what waits.
const LOOK: Duration = Duration::from_millis(500);
/// The same where nothing does: who makes messages says so.
const IDLE: Duration = Duration::from_secs(5);
/// Time between two repetitions of what is on, to Alertmanager.
const REPEAT: Duration = Duration::from_secs(60);
/// Patience with a receiver.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait before another attempt, in seconds.
const MOST_WAIT: u64 = 60;
/// Messages kept in memory while the store refuses.
const MOST_DIRECT: usize = 10_000;

/// Delivers messages.
pub struct Outbox {
    /// What waits.
    pub store: Store,
    /// Messages that the store refused.
    pub direct: UnboundedReceiver<(String, Event)>,
    /// Whom to tell, as of now.
    pub receivers: tokio::sync::watch::Receiver<Arc<Vec<Receiver>>>,
    /// What is on.
    pub board: Arc<Board>,
    /// How it goes.
    pub delivery: Delivery,
    /// How to send.
    pub client: reqwest::Client,
}

impl Outbox {
    /// Delivers for ever.
    pub async fn run(mut self) {
        let mut unsaved: VecDeque<(String, Event)> = VecDeque::new();
        let mut retry_at = 0;
        let mut repeated = std::time::Instant::now();
        loop {
            let waiting = self.stored().await;
            while let Ok(message) = self.direct.try_recv() {
                unsaved.push_back(message);
                if unsaved.len() > MOST_DIRECT {
                    unsaved.pop_front();
                }
            }
            if now() >= retry_at {
                let mut left = VecDeque::new();
                while let Some((receiver, event)) = unsaved.pop_front() {
                    if !self.send(&receiver, &event).await {
                        left.push_back((receiver, event));
                    }
                }
                unsaved = left;
                retry_at = now() + if unsaved.is_empty() { 0 } else { 5 };
            }
            if repeated.elapsed() >= REPEAT {
                repeated = std::time::Instant::now();
                self.repeat().await;
            }
            let look = if waiting || !unsaved.is_empty() { LOOK } else { IDLE };
            // Whichever comes first.
            let _ = tokio::time::timeout(look, self.board.messages()).await;
        }
    }

    /// Delivers what the store has; gives whether anything waits there still.
    async fn stored(&self) -> bool {
        let due = match self.store.due(now()) {
            Ok(due) => due,
            Err(error) => {
                self.board.change(|seen| seen.trouble.insert("outbox", error));
                return true;
            }
        };
        let mut by_receiver: HashMap<String, Vec<crate::store::Waiting>> = HashMap::new();
        for waiting in due {
            by_receiver.entry(waiting.receiver.clone()).or_default().push(waiting);
        }
        // Receivers do not wait for each other, messages of one do.
        let each = by_receiver.into_iter().map(|(receiver, messages)| async move {
            let mut outcomes = Vec::new();
            for message in messages {
                let sent = self.send(&receiver, &message.event).await;
                outcomes.push((message.id, message.attempts, sent));
                if !sent {
                    break;
                }
            }
            outcomes
        });
        for (id, attempts, sent) in futures_util::future::join_all(each).await.into_iter().flatten() {
            let noted = if sent { self.store.delivered(id) } else { self.store.failed(id, now() + backoff(attempts)) };
            if let Err(error) = noted {
                self.board.change(|seen| seen.trouble.insert("outbox", error));
            }
        }
        let Ok(waiting) = self.store.waiting() else { return true };
        self.delivery.waiting.set(waiting);
        if waiting == 0 {
            self.board.change(|seen| seen.trouble.remove("outbox"));
        }
        waiting > 0
    }

    async fn repeat(&self) {
        let firing = self.board.change(|seen| seen.firing.values().cloned().collect::<Vec<Event>>());
        let receivers = Arc::clone(&self.receivers.borrow());
        for receiver in receivers.iter().filter(|r| matches!(r, Receiver::Alertmanager { .. })) {
            for event in &firing {
                self.send(&receiver.name(), event).await;
            }
        }
    }

    /// Whether the receiver took it. A receiver that is no more in the check file, or that will never take this message, counts
    /// as one that did: nobody else waits for it.
    async fn send(&self, name: &str, event: &Event) -> bool {
        let receivers = Arc::clone(&self.receivers.borrow());
        let Some(receiver) = receivers.iter().find(|r| r.name() == name) else { return true };
        let outcome = self.post(receiver, event).await;
        let label = ByReceiver { receiver: name.to_owned() };
        match outcome {
            Ok(()) => {
                self.delivery.delivered.get_or_create(&label).inc();
                true
            }
            Err((error, hopeless)) => {
                self.delivery.failed.get_or_create(&label).inc();
                self.board.change(|seen| seen.trouble.insert("outbox", format!("{name}: {error}")));
                hopeless
            }
        }
    }

    async fn post(&self, receiver: &Receiver, event: &Event) -> Result<(), (String, bool)> {
        let request = receiver.request(event, now()).map_err(|e| (e, false))?;
        let mut post = self.client.post(&request.url).timeout(TIMEOUT).json(&request.body);
        if let Some(token) = &request.token {
            post = post.bearer_auth(token);
        }
        let answer = post.send().await.map_err(|e| (e.without_url().to_string(), false))?;
        let status = answer.status();
        let words = || format!("it answered {status}");
        match status.as_u16() {
            200..=299 => Ok(()),
            // Too many, or not now, or not with this token: later, perhaps.
            401 | 403 | 404 | 408 | 429 | 500..=599 => Err((words(), false)),
            _ => Err((words(), true)),
        }
    }
}

fn backoff(attempts: u32) -> i64 {
    let wait = 1_u64.checked_shl(attempts).unwrap_or(MOST_WAIT).min(MOST_WAIT);
    i64::try_from(wait + fastrand::u64(0..=wait / 4)).unwrap_or(60)
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}
