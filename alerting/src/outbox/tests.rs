use super::*;
use crate::culprit::Culprit;
use crate::receiver::{self, Alertmanager, Format, Webhook};
use crate::store::Batch;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn event(resolved: bool) -> Event {
    receiver::tests::event(Culprit::Edge, resolved.then_some(UnixSeconds::from_secs(1_800_000_050)))
}

fn keyed(key: &str) -> Event {
    Event { key: key.into(), check: key.into(), ..event(false) }
}

/// Somebody who takes messages: gives its address and what it is told. It answers what `answer` makes of the body; nothing where that
/// gives nothing.
async fn taker(answer: impl Fn(&str) -> Option<&'static str> + 'static + Send) -> (String, UnboundedReceiver<Value>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("it is bound");
    let (heard, told) = unbounded_channel();
    tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut request, mut piece) = (String::new(), vec![0; 64 << 10]);
            let body = loop {
                let body = request.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str::<Value>(body).ok());
                if let Some(body) = body {
                    break Some(body);
                }
                match stream.read(&mut piece).await.unwrap_or(0) {
                    0 => break None,
                    n => request.push_str(&String::from_utf8_lossy(&piece[..n])),
                }
            };
            let Some(body) = body else { continue };
            match answer(&body.to_string()) {
                Some(answer) => {
                    let said = format!("HTTP/1.1 {answer}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
                    let _ = stream.write_all(said.as_bytes()).await;
                }
                None => silent.push(stream),
            }
            let _ = heard.send(body);
        }
    });
    (format!("http://{address}"), told)
}

fn alertmanager(url: String) -> Receiver {
    Receiver::Alertmanager(Alertmanager { url, token: None })
}

fn webhook(url: &str) -> Receiver {
    Receiver::Webhook(Webhook { url: url.into(), token: None, format: Format::Own })
}

/// An outbox, and what its receivers and its store are reached by.
struct Place {
    _folder: tempfile::TempDir,
    path: std::path::PathBuf,
    status: Arc<AlertStatus>,
    delivery: Delivery,
    direct: UnboundedSender<(String, Event)>,
    outbox: Option<Outbox>,
}

impl Place {
    fn of(receivers: Vec<Receiver>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("store.db");
        let (status, delivery) = (Arc::new(AlertStatus::default()), Delivery::default());
        let (_, receivers) = tokio::sync::watch::channel(Arc::new(receivers));
        let (direct_out, direct) = unbounded_channel();
        let outbox = Outbox {
            store: Store::open(&path).expect("it opens"),
            direct,
            receivers,
            status: Arc::clone(&status),
            delivery: delivery.clone(),
            client: Client::default(),
        };
        Self { _folder: folder, path, status, delivery, direct: direct_out, outbox: Some(outbox) }
    }

    /// Its desk, to be asked by hand.
    fn desk(&mut self) -> Desk {
        let Outbox { store, receivers, status, delivery, client, .. } = self.outbox.take().expect("once");
        Desk { store, receivers, status, delivery, client, refusing: RefCell::default() }
    }

    fn store(&self) -> Store {
        Store::open(&self.path).expect("it opens")
    }

    fn write(&self, messages: Vec<(String, Event)>) {
        self.store().write(&Batch { messages, ..Batch::default() }).expect("it is written");
        self.status.messages_wait();
    }

    fn counted(
        &self,
        what: &prometheus_client::metrics::family::Family<ByReceiver, prometheus_client::metrics::counter::Counter>,
        receiver: &str,
    ) -> u64 {
        what.get_or_create(&ByReceiver { receiver: receiver.to_owned() }).get()
    }

    /// Delivers until `over`.
    async fn deliver(&mut self, over: impl AsyncFnOnce(&Self)) {
        let delivering = self.outbox.take().expect("once").run();
        tokio::select! {
            () = delivering => {}
            done = tokio::time::timeout(PATIENCE, over(self)) => done.expect("it does not take so long"),
        }
    }

    async fn until(&self, what: impl Fn() -> bool) {
        while !what() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn keys(told: &mut UnboundedReceiver<Value>, n: usize) -> Vec<String> {
    let mut keys = Vec::new();
    for _ in 0..n {
        let body = told.recv().await.expect("it is told");
        keys.push(format!("{} {}", body["check"].as_str().unwrap_or_default(), body["status"].as_str().unwrap_or_default()));
    }
    keys
}

#[tokio::test]
async fn a_message_that_is_refused_for_good_stays_visible_until_a_later_one_is_taken() {
    let picky = |body: &str| Some(if body.contains("over (it was") { "200 OK" } else { "400 Bad Request" });
    let (url, _told) = taker(picky).await;
    let receiver = alertmanager(url);
    let name = receiver.name();
    let mut place = Place::of(vec![receiver]);
    place.write(vec![(name.clone(), event(false))]);
    place
        .deliver(async |place| {
            place.until(|| place.status.snapshot().trouble.contains_key("refused")).await;
            let now = place.status.snapshot();
            assert!(now.trouble["refused"].contains("400"), "{now:?}");
            assert!(now.refused[0].event.summary().starts_with("login from here"));
            assert_eq!(place.counted(&place.delivery.refused, &name), 1);
            assert_eq!(place.store().refused().expect("it is read").len(), 1, "it outlives a restart");
            assert_eq!(place.store().waiting().expect("it is read"), 0, "it would be refused again");
            place.write(vec![(name.clone(), event(true))]);
            place.until(|| place.status.snapshot().refused.is_empty()).await;
            place.until(|| !place.status.snapshot().trouble.contains_key("refused")).await;
        })
        .await;
}

#[tokio::test]
async fn a_receiver_that_is_away_holds_up_what_comes_behind_and_nobody_else() {
    let (url, mut told) = taker(|_| Some("200 OK")).await;
    // Nobody listens at the first.
    let receivers = vec![webhook("http://127.0.0.1:1"), webhook(&url)];
    let (away, there) = (receivers[0].name(), receivers[1].name());
    let mut place = Place::of(receivers);
    let many = (0..1_200).map(|n| (away.clone(), keyed(&n.to_string())));
    place.write(many.chain([("webhook gone".to_owned(), event(false)), (there.clone(), keyed("new"))]).collect());
    place
        .deliver(async |place| {
            assert_eq!(keys(&mut told, 1).await, ["new firing"]);
            place.until(|| place.counted(&place.delivery.failed, &away) > 0).await;
            assert_eq!(place.counted(&place.delivery.dropped, "webhook gone"), 1);
            place.until(|| place.status.snapshot().trouble.get("outbox").is_some_and(|t| t.starts_with(&away))).await;
            place.until(|| place.store().awaited().is_ok_and(|names| names == [away.as_str()])).await;
        })
        .await;
    let next = place.store().next(&away, &[]).expect("it is read").expect("it waits");
    assert_eq!(next.event.key, "0", "in order: nothing behind the first was tried");
}

#[tokio::test]
async fn a_receiver_that_says_nothing_holds_up_nobody_else() {
    let (silent, _kept) = taker(|_| None).await;
    let (url, mut told) = taker(|_| Some("200 OK")).await;
    let receivers = vec![alertmanager(silent), webhook(&url)];
    let names: Vec<String> = receivers.iter().map(Receiver::name).collect();
    let mut place = Place::of(receivers);
    place.write(names.iter().map(|name| (name.clone(), keyed("first"))).collect());
    place
        .deliver(async |place| {
            assert_eq!(keys(&mut told, 1).await, ["first firing"]);
            // The other has its request still, and is asked nothing else.
            for n in 0..20 {
                place.write(names.iter().map(|name| (name.clone(), keyed(&n.to_string()))).collect());
                assert_eq!(keys(&mut told, 1).await, [format!("{n} firing")]);
            }
            place.until(|| place.store().awaited().is_ok_and(|names| names.len() == 1)).await;
            assert_eq!(place.counted(&place.delivery.failed, &names[0]), 0, "one is patient with it still");
        })
        .await;
}

#[tokio::test]
async fn what_the_store_refuses_keeps_its_order_too() {
    // It refuses the first time it is asked.
    let first = std::sync::atomic::AtomicBool::new(true);
    let answer = move |_: &str| match first.swap(false, std::sync::atomic::Ordering::Relaxed) {
        true => Some("503 Away"),
        false => Some("200 OK"),
    };
    let (url, mut told) = taker(answer).await;
    let receiver = webhook(&url);
    let name = receiver.name();
    let mut place = Place::of(vec![receiver]);
    for resolved in [false, true] {
        place.direct.send((name.clone(), event(resolved))).expect("it is there");
    }
    place.deliver(async |_| assert_eq!(keys(&mut told, 3).await, ["login firing", "login firing", "login resolved"])).await;
}

#[tokio::test]
async fn what_a_store_cannot_be_told_of_is_not_said_twice() {
    let (url, mut told) = taker(|_| Some("200 OK")).await;
    let receiver = webhook(&url);
    let name = receiver.name();
    let mut place = Place::of(vec![receiver]);
    place.write(vec![(name.clone(), keyed("a")), (name.clone(), keyed("b"))]);
    let of_outbox = &place.outbox.as_ref().expect("it is there").store;
    of_outbox.connection().execute_batch("PRAGMA query_only = ON").expect("as on a disk that is full");
    place
        .deliver(async |place| {
            assert_eq!(keys(&mut told, 2).await, ["a firing", "b firing"]);
            place.write(vec![(name.clone(), keyed("c"))]);
            assert_eq!(keys(&mut told, 1).await, ["c firing"]);
        })
        .await;
}

#[tokio::test]
async fn what_is_on_is_told_again_together_and_one_by_one_where_that_is_refused() {
    let picky = |body: &str| Some(if body.contains("\"bad\"") { "400 Bad Request" } else { "200 OK" });
    let (url, mut told) = taker(picky).await;
    let receiver = alertmanager(url);
    let name = receiver.name();
    let mut place = Place::of(vec![receiver]);
    let desk = place.desk();
    let receiver = desk.receivers.borrow()[0].clone();
    let now = Instant::now();
    let mut queue = Queue::new(now);
    assert!(desk.next(&receiver, &mut queue, now).is_none(), "nothing is on");
    for key in ["a", "b"] {
        place.status.note(&keyed(key));
    }
    assert!(desk.next(&receiver, &mut queue, now).is_none(), "it was told not long ago");
    let mut again = async |wanted: &[usize]| {
        queue.repeated = now;
        let work = desk.next(&receiver, &mut queue, now + 2 * REPEAT).expect("it is time");
        let (_, work, sent) = desk.work(receiver.clone(), work).await;
        desk.ended(&name, &mut queue, work, sent);
        let lengths: Vec<usize> =
            std::iter::from_fn(|| told.try_recv().ok()).map(|body| body.as_array().map_or(0, Vec::len)).collect();
        assert_eq!(lengths, wanted);
    };
    again(&[2]).await;
    place.status.note(&keyed("bad"));
    again(&[3, 1, 1, 1]).await;
    let refused = place.status.snapshot().refused;
    assert_eq!((refused.len(), refused[0].event.key.as_str()), (1, "bad"));
    // It is said no more often than it changes.
    again(&[3, 1, 1, 1]).await;
    assert_eq!(place.counted(&place.delivery.refused, &name), 1);
}

#[tokio::test]
async fn a_receiver_that_is_away_is_not_there_because_nothing_is_to_be_told_it_again() {
    let receiver = webhook("http://127.0.0.1:1");
    let name = receiver.name();
    let mut place = Place::of(vec![receiver.clone()]);
    place.status.note(&keyed("a"));
    place.write(vec![(name.clone(), keyed("a"))]);
    let desk = place.desk();
    let mut now = Instant::now();
    let mut queue = Queue::new(now);
    for n in 1..4 {
        let work = desk.next(&receiver, &mut queue, now).expect("it waits");
        let (_, work, sent) = desk.work(receiver.clone(), work).await;
        desk.ended(&name, &mut queue, work, sent);
        now += 2 * REPEAT;
        assert!(queue.trouble.is_some(), "nobody is there");
        assert_eq!(place.counted(&place.delivery.failed, &name), n, "each was an attempt");
    }
}

#[tokio::test]
async fn what_is_on_its_way_to_somebody_who_is_no_more_keeps_its_number_until_that_is_over() {
    let (url, _told) = taker(|_| Some("200 OK")).await;
    let before = webhook(&url);
    let mut place = Place::of(vec![before.clone()]);
    place.write(vec![(before.name(), keyed("a")), (before.name(), keyed("b"))]);
    let mut desk = place.desk();
    let mut queues = Queues::from([(before.name(), Queue::new(Instant::now()))]);
    let queue = queues.get_mut(&before.name()).expect("it is there");
    let work = desk.next(&before, queue, Instant::now()).expect("it waits");
    queue.busy = true;
    // Another check file, and its new receiver hears of what is on.
    let next = webhook("http://127.0.0.1:1/other");
    desk.receivers = tokio::sync::watch::channel(Arc::new(vec![next.clone()])).1;
    desk.look(&mut queues);
    place.write(vec![(next.name(), keyed("a"))]);
    let (name, work, sent) = desk.work(before.clone(), work).await;
    desk.ended(&name, queues.get_mut(&name).expect("it is there"), work, sent);
    assert!(place.store().next(&next.name(), &[]).expect("it is read").is_some(), "nobody took that one");
    desk.look(&mut queues);
    assert_eq!(place.store().awaited().expect("it is read"), [next.name()]);
    assert_eq!(place.counted(&place.delivery.dropped, &before.name()), 1, "what was not on its way");
    assert!(!queues.contains_key(&before.name()));
}
