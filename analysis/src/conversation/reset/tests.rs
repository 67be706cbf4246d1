//! Each witness of a reset, and each end's ways to end a connection.

use enumset::EnumSet;

use super::*;
use crate::clock::Client;
use crate::conversation::walk;
use crate::judging::ledger::Baseline;
use crate::judging::verdict::{Circumstances, Verdict, judge};
use crate::tcp::by_hand::{C, Packet, S, ack, data, syn, view};
use crate::tls::Extent;

/// What a client's capture shows up to ClientHello's answer, with these marks.
fn begun(mark: impl Fn(Packet) -> Packet) -> Vec<Packet> {
    let packets = [
        syn(C, 0.0),
        syn(S, 40.0),
        ack(C, 40.1, 0, 0),
        data(C, 41.0, 0, 500),
        ack(S, 81.0, 0, 500),
        data(S, 82.0, 0, 900).acks(500),
    ];
    packets.map(mark).to_vec()
}

fn rst(from: Side, at: f64) -> Packet {
    let (start, acks) = if from == C { (500, 900) } else { (900, 500) };
    ack(from, at, start, acks).rst()
}

/// By whom; whether by an alert; whether that is unproven.
type Who = (Owner, bool, bool);

fn who(handshake: &Handshake) -> Option<Who> {
    ended(handshake).map(|e| (e.by, e.alert, e.unproven))
}

fn at_client(packets: &[Packet]) -> Option<Who> {
    who(&Handshake::of(Some(view(packets)), None))
}

fn at_both(client: &[Packet], edge: &[Packet]) -> Option<Who> {
    who(&Handshake::of(Some(view(client)), Some(view(edge))))
}

fn with(mut packets: Vec<Packet>, more: Packet) -> Vec<Packet> {
    packets.push(more);
    packets
}

fn proven(by: Owner) -> Option<Who> {
    Some((by, false, false))
}

#[test]
fn how_long_it_had_waited_is_told_by_the_last_that_was_said() {
    let waited = |packets: Vec<Packet>| ended(&Handshake::of(Some(view(&packets)), None)).expect("it ended").waited.millis();
    let closed = with(begun(|p| p), data(C, 93.0, 500, 0).acks(900).fin());
    let said = begun(|p| p).iter().rfind(|p| p.len > 0).expect("something was said").at;
    assert_eq!(waited(closed.clone()), 93.0 - said);
    // What only passed the capture had not come: it waited since ClientHello.
    assert_eq!(waited(with(begun(|p| p), data(C, 93.0, 500, 0).acks(0).fin())), 93.0 - 41.0);
    // An acknowledgement says nothing, nor does what is sent again.
    let mut packets = begun(|p| p);
    packets.extend([ack(S, 91.0, 900, 500), data(S, 92.0, 0, 900).acks(500), data(C, 93.0, 500, 0).acks(900).fin()]);
    assert_eq!(waited(packets), 93.0 - said);
}

#[test]
fn what_goes_on_was_ended_by_nobody() {
    assert_eq!(at_client(&begun(|p| p)), None);
}

#[test]
fn fin_ends_it_and_the_first_of_several_counts() {
    let fin = |from, at| data(from, at, if from == C { 500 } else { 900 }, 0).fin();
    assert_eq!(at_client(&with(begun(|p| p), fin(S, 90.0))), proven(Owner::Edge));
    let packets = with(with(begun(|p| p), fin(C, 90.0)), fin(S, 91.0));
    assert_eq!(at_client(&packets), proven(Owner::Client));
}

#[test]
fn an_alert_counts_before_the_fin_behind_it() {
    let packets = with(with(begun(|p| p), data(C, 83.0, 500, 7).acks(900)), data(S, 84.0, 900, 0).fin());
    let mut handshake = Handshake::of(Some(view(&packets)), None);
    handshake.dialogue.client_alert = Some(Extent { start: 500, end: 507 });
    assert_eq!(who(&handshake), Some((Owner::Client, true, false)));
    // What came before it counts more.
    handshake.dialogue.client_alert = None;
    assert_eq!(who(&handshake), proven(Owner::Edge));
}

#[test]
fn an_end_that_was_captured_shows_whether_it_sent_a_reset() {
    let plain = begun(|p| p);
    // At the client, nobody else sends in its name.
    assert_eq!(at_client(&with(plain.clone(), rst(C, 90.0))), proven(Owner::Client));
    let reset = with(plain.clone(), rst(S, 90.0));
    assert_eq!(at_both(&reset, &with(plain.clone(), rst(S, 70.0))), proven(Owner::Edge));
    assert_eq!(at_both(&reset, &plain), proven(Owner::Path), "the edge never sent it");
    // Both ends got one in the other's name.
    assert_eq!(at_both(&reset, &with(plain, rst(C, 70.0))), proven(Owner::Path));
}

#[test]
fn another_ttl_is_anothers() {
    let by = |ttl: u8| at_client(&with(begun(|p| p), rst(S, 90.0).ttl(ttl)));
    assert_eq!(by(67), proven(Owner::Path));
    assert_eq!(by(61), proven(Owner::Path));
    // Routes change by a hop or two.
    for ttl in [62, 66] {
        assert_eq!(by(ttl), Some((Owner::Edge, false, true)));
    }
}

#[test]
fn a_stack_marks_its_own_resets() {
    let unproven = Some((Owner::Edge, false, true));
    let stamped = begun(|p| p.stamped(1, 1));
    assert_eq!(at_client(&with(stamped.clone(), rst(S, 90.0).stamped(90, 41))), proven(Owner::Edge));
    assert_eq!(at_client(&with(stamped, rst(S, 90.0))), unproven);
    // Without timestamps, it goes on counting its packets.
    let counted = |id: u16| at_client(&with(begun(|p| p.id(700)), rst(S, 90.0).id(id)));
    assert_eq!((counted(701), counted(715)), (proven(Owner::Edge), proven(Owner::Edge)));
    assert_eq!((counted(700), counted(716), counted(0)), (unproven, unproven, unproven));
    assert_eq!(at_client(&with(begun(|p| p), rst(S, 90.0))), unproven, "it has neither");
}

/// What is read of SYNs at these times, of `refusal` 40 ms behind the last, and of what ICMP `told`: the total, the excess, and who it was.
fn read(syns: &[f64], refusal: impl FnOnce(f64) -> Vec<Packet>, told: Option<[u8; 4]>) -> Option<(f64, f64, EnumSet<Owner>)> {
    let last = syns.last().copied().unwrap_or_default();
    let packets: Vec<Packet> = syns.iter().map(|at| syn(C, *at)).chain(refusal(last + 40.0)).collect();
    let mut handshake = Handshake::of(Some(view(&packets)), None);
    handshake.unreachable[0] = told.map(|by| (40_000_000, 7, by.into()));
    handshake.watched_until = Some(90_000_000_000);
    super::refusal(&handshake)?;
    let mut reading = walk::read(&handshake)?;
    reading.ledger.apply(&Baseline::default());
    let judgement = judge(&reading, Circumstances::of(&handshake));
    let who = match judgement.verdict {
        Verdict::Inconclusive { candidates, .. } => candidates,
        Verdict::Aborted { by, .. } => by.into(),
        other => panic!("{other:?}"),
    };
    Some((reading.ledger.total.millis(), judgement.excess.millis(), who))
}

#[test]
fn a_reset_that_answers_syn_refuses_it_and_nothing_is_waited_for_any_more() {
    let reset = |at| vec![data(S, at, 0, 0).rst()];
    assert_eq!(read(&[0.0], reset, None), Some((40.0, 0.0, Owner::Edge | Owner::Path)));
    // A SYN before it was lost.
    let (total, excess, _) = read(&[0.0, 1_000.0], reset, None).expect("it was refused");
    assert_eq!((total, excess), (1_040.0, 1_000.0));
    // A client that goes on was not refused; nor is a SYN by a reset of something else.
    assert_eq!(read(&[0.0], |at| vec![data(S, at, 0, 0).rst(), syn(C, at + 900.0)], None), None);
    assert_eq!(read(&[0.0], |at| vec![data(S, at, 0, 0).acks(500).rst()], None), None);
    // At the edge's own capture, the edge sent it.
    let refused = [syn(C, 0.0), data(S, 0.1, 0, 0).rst()];
    assert_eq!(who(&Handshake::of(None, Some(view(&refused)))), proven(Owner::Edge));
}

#[test]
fn icmp_refuses_as_well_and_says_who() {
    let by = |who: [u8; 4]| read(&[0.0], |_| vec![], Some(who)).map(|(total, _, who)| (total, who));
    assert_eq!(by([198, 51, 100, 254]), Some((40.0, Owner::Path.into())));
    let IpAddr::V4(edge) = view::<Client>(&[syn(C, 0.0)]).endpoints.server.ip() else { panic!("it is made so") };
    assert_eq!(by(edge.octets()), Some((40.0, Owner::Edge | Owner::Path)), "who translates its address says so too");
}
