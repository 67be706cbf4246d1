//! Databases that earlier versions left behind open, and their alerts go on.

use std::path::Path;

use whostalled_alerting::clock::UnixSeconds;
use whostalled_alerting::states::{Blame, KofN, Rule, Transition};
use whostalled_alerting::store::Batch;
use whostalled_alerting::{Culprit, Store};

const VERSION_1: &str = include_str!("files/store-1.sql");

fn made(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).expect("it opens").execute_batch(sql).expect("it is SQL");
}

fn second(at: i64) -> UnixSeconds {
    UnixSeconds::from_secs(at)
}

#[test]
fn an_alert_that_was_on_goes_on_and_its_message_still_waits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.db");
    made(&path, VERSION_1);
    let mut store = Store::open(&path).expect("it opens");

    let mut states = store.states().expect("they are read");
    states.sort_by(|a, b| a.0.cmp(&b.0));
    let [(login, state), (prober, quiet)] = &mut states[..] else { panic!("two states") };
    assert_eq!((login.as_str(), prober.as_str(), quiet.active.is_none()), ("login", "prober", true));
    let active = state.active.clone().expect("the alert is on");
    assert_eq!((active.since, active.blame.culprit, active.told), (second(1_795_718_610), Culprit::Edge, true));
    // Two good rounds end it: what was kept is understood, and not only read.
    let rule = Rule { fire: KofN { k: 2, n: 3 }, resolve_after: 2 };
    assert_eq!(state.round(second(1_795_718_620), None, rule, false), None);
    let over = state.round(second(1_795_718_621), None, rule, false);
    assert!(matches!(over, Some(Transition::Resolve(_, at)) if at == second(1_795_718_620)), "{over:?}");

    let incidents = store.incidents(second(1_795_718_000)).expect("they are read");
    assert_eq!((incidents.len(), incidents[0].since, incidents[0].ended), (1, second(1_795_718_610), None));
    assert_eq!(incidents[0].culprit, Culprit::Edge);
    let [receiver] = &store.awaited().expect("they are read")[..] else { panic!("one receiver") };
    let next = store.next(receiver, &[]).expect("it is read").expect("it waits");
    assert_eq!((next.attempts, next.event.since), (2, second(1_795_718_610)));
    assert_eq!(next.event.blame, Blame { ms: 0.137186, ..active.blame });
    let refused = store.refused().expect("they are read");
    assert_eq!((refused.len(), refused[0].event.key.as_str(), refused[0].at), (1, "other@here", second(1_795_718_612)));

    let messages = vec![(receiver.clone(), next.event.clone())];
    store.write(&Batch { messages, ..Batch::default() }).expect("it is written");
    store.delivered(next.id).expect("it is written");
    assert_eq!(store.waiting().expect("it is read"), 1);
}

#[test]
fn a_store_from_before_refusals_were_kept_keeps_them_now() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.db");
    made(&path, &format!("{VERSION_1}\nDROP TABLE refused;"));
    let store = Store::open(&path).expect("it opens");
    assert_eq!(store.refused().expect("it is read"), []);
    assert_eq!(store.waiting().expect("it is read"), 1);
}
