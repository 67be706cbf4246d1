//! From ledgers made by hand to verdicts: each number of the rules, and what only just misses it.

use enumset::EnumSet;
use whostalled_analysis::clock::Span;
use whostalled_analysis::conversation::milestone::Milestone;
use whostalled_analysis::judging::ledger::{Baseline, Entry, Kind, Ledger, Missing, Owner, Phase};
use whostalled_analysis::judging::policy;
use whostalled_analysis::judging::verdict::{
    Circumstances, Culprit, End, Ended, Grade, Judgement, Reading, Verdict, decide, floor, judge,
};

fn us(micros: i64) -> Span {
    Span::from_micros(micros)
}

fn part(owner: Owner, micros: i64) -> Entry {
    Entry::new(Phase::ServerFlight, owner, None, us(micros), Span::ZERO)
}

fn open(micros: i64, candidates: EnumSet<Owner>, missing: Missing) -> Entry {
    Entry { candidates, missing: missing.into(), ..part(Owner::Unattributed, micros) }
}

fn round(micros: i64, excess: i64) -> Entry {
    Entry { baseline: us(micros - excess), ..Entry::round_trip(Phase::Connect, us(micros), Span::ZERO) }
}

fn reading(end: End, entries: &[Entry]) -> Reading {
    let ledger = Ledger { total: entries.iter().map(|e| e.span).sum(), entries: entries.to_vec() };
    Reading { grade: Grade::BothEnds { host: false }, ledger, end }
}

fn complete(entries: &[Entry]) -> Judgement {
    judge(&reading(End::Complete, entries), Circumstances::default())
}

fn label(entries: &[Entry]) -> String {
    complete(entries).verdict.label()
}

/// Of one that stopped behind ClientHello, and was ended so.
fn stopped(entries: &[Entry], ended_by: Option<Ended>) -> Judgement {
    let circumstances = Circumstances { ended_by, ..Circumstances::default() };
    judge(&reading(End::Stopped { after: Milestone::ClientHello }, entries), circumstances)
}

fn quietly(by: Owner) -> Option<Ended> {
    Some(Ended { by, alert: false, unproven: false, waited: us(3_000_000) })
}

#[test]
fn below_the_floor_nothing_is_wrong() {
    assert_eq!(policy::LEAST_EFFECT, Span::from_millis(12));
    assert_eq!(label(&[part(Owner::Edge, 11_999)]), "healthy");
    assert_eq!(label(&[part(Owner::Edge, 12_000)]), "edge");
    // Small excesses of several owners are what handshakes are like.
    let owners = [Owner::Edge, Owner::Client, Owner::Path, Owner::Loss];
    assert_eq!(label(&owners.map(|owner| part(owner, 11_900))), "healthy");
    // What lies within the baseline is no excess.
    assert_eq!(label(&[round(80_000, 11_999)]), "healthy");
    assert_eq!(label(&[round(80_000, 12_000)]), "path/delay");
}

#[test]
fn the_floor_is_four_standard_deviations_of_all_stretches_together() {
    let spread = |spreads: &[i64], edge: i64| {
        let mut entries: Vec<Entry> = spreads.iter().map(|s| Entry { spread: us(*s), ..round(40_000, 0) }).collect();
        entries.push(part(Owner::Edge, edge));
        (floor(&reading(End::Complete, &entries).ledger), label(&entries))
    };
    assert_eq!(spread(&[2_000, 2_000], 12_000), (Span::from_millis(12), "edge".into()), "four times 2.8 is less than 12");
    assert_eq!(spread(&[3_000, 4_000], 19_999), (Span::from_millis(20), "healthy".into()));
    assert_eq!(spread(&[3_000, 4_000], 20_000), (Span::from_millis(20), "edge".into()));
    assert_eq!(spread(&[6_000, 8_000], 39_999).1, "healthy");
}

#[test]
fn what_is_no_tls_is_slow_only_beyond_an_ordinary_round_trip() {
    let of = |micros| judge(&reading(End::NotTls, &[part(Owner::Edge, micros)]), Circumstances::default()).verdict.label();
    assert_eq!((of(49_999), of(50_000)), ("healthy".into(), "edge".into()));
}

fn decided(parts: &[(Owner, i64)]) -> String {
    let culprit = |(owner, ms): &(Owner, i64)| Culprit { owner: *owner, kind: None, excess: us(ms * 1_000), error: Span::ZERO };
    let parts: Vec<Culprit> = parts.iter().map(culprit).collect();
    decide(&parts, policy::LEAST_EFFECT, EnumSet::empty(), EnumSet::empty()).label()
}

#[test]
fn sixty_per_cent_make_a_culprit() {
    let rest = |first, a, b| [(Owner::Client, first), (Owner::Path, a), (Owner::Loss, b), (Owner::Edge, 5)];
    assert_eq!(decided(&rest(60, 18, 17)), "client");
    assert_eq!(decided(&rest(59, 18, 18)), "inconclusive");
}

#[test]
fn a_second_is_named_from_a_fifth_or_from_a_tenth_of_a_second() {
    assert_eq!(decided(&[(Owner::Client, 80), (Owner::Path, 20)]), "client + path");
    assert_eq!(decided(&[(Owner::Client, 81), (Owner::Path, 19)]), "client");
    assert_eq!(decided(&[(Owner::Loss, 1_000), (Owner::Edge, 100)]), "loss + edge");
    assert_eq!(decided(&[(Owner::Loss, 1_000), (Owner::Edge, 99)]), "loss");
    assert_eq!(decided(&[(Owner::Client, 40), (Owner::Path, 11)]), "client", "it is below the floor");
    assert_eq!(decided(&[(Owner::Client, 40), (Owner::Path, 12)]), "client + path");
    assert_eq!(decided(&[(Owner::Loss, 1_000), (Owner::Unattributed, 200)]), "loss", "nobody is no second");
}

#[test]
fn two_together_need_seven_tenths() {
    assert_eq!(decided(&[(Owner::Client, 36), (Owner::Path, 34), (Owner::Loss, 30)]), "client + path");
    assert_eq!(decided(&[(Owner::Client, 35), (Owner::Path, 34), (Owner::Loss, 31)]), "inconclusive");
}

#[test]
fn who_is_certain_is_named_though_more_is_open() {
    assert_eq!(decided(&[(Owner::Unattributed, 60), (Owner::Client, 40)]), "client");
    assert_eq!(decided(&[(Owner::Unattributed, 61), (Owner::Client, 39)]), "inconclusive");
    assert_eq!(decided(&[(Owner::Unattributed, 12), (Owner::Client, 11)]), "inconclusive", "it is below the floor");
    assert_eq!(decided(&[(Owner::Unattributed, 13), (Owner::Client, 12)]), "client");
    // Ahead, and not by enough: what is open may make another as large.
    assert_eq!(decided(&[(Owner::Client, 55), (Owner::Unattributed, 45)]), "client");
    assert_eq!(decided(&[(Owner::Client, 39), (Owner::Unattributed, 31), (Owner::Path, 30)]), "inconclusive");
}

#[test]
fn what_the_protocols_demand_is_named_where_all_else_is_below_the_floor() {
    let nagle = |client| {
        let protocol = Entry { kind: Some(Kind::Nagle), ..part(Owner::Protocol, 80_000) };
        label(&[protocol, part(Owner::Client, client)])
    };
    assert_eq!((nagle(0), nagle(11_999), nagle(12_000)), ("protocol/nagle".into(), "protocol/nagle".into(), "client".into()));
}

#[test]
fn candidates_leave_out_nobody_and_parts_beside_their_whole() {
    let entries = [
        open(50_000, Owner::Edge | Owner::EdgeHost | Owner::Path, Missing::EdgeCapture),
        open(20_000, Owner::Protocol | Owner::Loss, Missing::EdgeIpId),
    ];
    let judgement = complete(&entries);
    let (candidates, missing) = (Owner::Edge | Owner::Path | Owner::Loss, Missing::EdgeCapture | Missing::EdgeIpId);
    assert_eq!(judgement.verdict, Verdict::Inconclusive { candidates, missing, excess: us(70_000) });
    // A round trip that one end saw grow may be a host's.
    let grown =
        Entry { candidates: Owner::Path | Owner::ClientHost, missing: Missing::ClientCapture.into(), ..round(80_000, 30_000) };
    assert_eq!(complete(&[grown]).candidates, Owner::Path | Owner::ClientHost);
}

#[test]
fn whoever_ended_it_in_its_own_time_aborted_it() {
    let silence = [round(40_000, 0), part(Owner::Client, 3_000_000)];
    let aborted = |by| Verdict::Aborted { by, after: Milestone::ClientHello };
    assert_eq!(stopped(&silence, quietly(Owner::Client)).verdict, aborted(Owner::Client));
    // Who gave up waiting for the other, or for the network, did not end it.
    assert_eq!(stopped(&silence, quietly(Owner::Edge)).verdict.label(), "client");
    let lost = [round(40_000, 0), part(Owner::Loss, 3_000_000)];
    assert_eq!(stopped(&lost, quietly(Owner::Client)).verdict.label(), "loss");
    let slow = [part(Owner::Loss, 3_000_000), part(Owner::Client, 20_000)];
    assert_eq!(stopped(&slow, quietly(Owner::Client)).verdict.label(), "loss", "its last stretch was not what took so long");
    // Where the last stretch may have been its own.
    let open_end = |candidates| [round(40_000, 0), open(3_000_000, candidates, Missing::ClientCapture)];
    assert_eq!(stopped(&open_end(Owner::Client | Owner::Path), quietly(Owner::Client)).verdict, aborted(Owner::Client));
    assert_eq!(stopped(&open_end(Owner::ClientApp.into()), quietly(Owner::Client)).verdict, aborted(Owner::Client));
    assert_eq!(stopped(&open_end(Owner::Edge | Owner::Path), quietly(Owner::Client)).verdict.label(), "inconclusive");
    // What was quick was no wait for anybody.
    assert_eq!(stopped(&[round(40_000, 0)], quietly(Owner::Edge)).verdict, aborted(Owner::Edge));
    // Who had not even waited for a round trip gave up nothing, whatever came afterwards.
    let soon = |waited| Some(Ended { by: Owner::Client, alert: false, unproven: false, waited: us(waited) });
    assert_eq!(stopped(&lost, soon(51_999)).verdict, aborted(Owner::Client));
    assert_eq!(stopped(&lost, soon(52_000)).verdict.label(), "loss");
    // An alert says so, and the path stops nobody by waiting.
    let alert = Some(Ended { by: Owner::Client, alert: true, unproven: false, waited: us(3_000_000) });
    assert_eq!(stopped(&lost, alert).verdict, aborted(Owner::Client));
    assert_eq!(stopped(&lost, quietly(Owner::Path)).verdict, aborted(Owner::Path));
}

#[test]
fn a_reset_that_nothing_proves_may_be_the_paths() {
    let of = |by| {
        let judgement = stopped(&[round(40_000, 0)], Some(Ended { by, alert: false, unproven: true, waited: Span::ZERO }));
        (judgement.verdict.label(), judgement.candidates, judgement.missing)
    };
    assert_eq!(of(Owner::Edge), ("inconclusive".into(), Owner::Edge | Owner::Path, Missing::EdgeCapture.into()));
    assert_eq!(of(Owner::Client), ("inconclusive".into(), Owner::Client | Owner::Path, Missing::ClientCapture.into()));
}

#[test]
fn what_nobody_ended_may_have_gone_on_behind_the_capture() {
    let of = |after| {
        let judgement = judge(&reading(End::Stopped { after }, &[round(40_000, 0)]), Circumstances::default());
        assert_eq!((judgement.verdict.label(), judgement.missing), ("inconclusive".into(), Missing::LongerCapture.into()));
        judgement.candidates
    };
    assert_eq!(of(Milestone::ClientHello), Owner::Edge | Owner::Path | Owner::Loss);
    assert_eq!(of(Milestone::ServerFlightEnd), Owner::Client | Owner::Path | Owner::Loss);
    // A completed one that anybody ended later is healthy all the same.
    let circumstances = Circumstances { ended_by: quietly(Owner::Edge), ..Circumstances::default() };
    assert_eq!(judge(&reading(End::Complete, &[round(40_000, 0)]), circumstances).verdict, Verdict::Healthy);
}

#[test]
fn a_capture_that_lost_packets_convicts_only_a_client_that_it_saw() {
    let lossy = Circumstances { capture_incomplete: true, ..Circumstances::default() };
    let of = |end, entries: &[Entry]| {
        let judgement = judge(&reading(end, entries), lossy);
        (judgement.verdict.label(), judgement.missing.contains(Missing::LosslessCapture))
    };
    assert_eq!(of(End::Complete, &[part(Owner::Client, 90_000)]), ("client".into(), false));
    assert_eq!(of(End::Complete, &[part(Owner::Loss, 90_000)]), ("inconclusive".into(), true));
    assert_eq!(of(End::Complete, &[part(Owner::Edge, 90_000)]), ("inconclusive".into(), true));
    assert_eq!(of(End::Complete, &[part(Owner::Client, 60_000), part(Owner::Path, 40_000)]), ("inconclusive".into(), true));
    assert_eq!(of(End::Complete, &[part(Owner::Client, 1_000)]), ("healthy".into(), false));
    let stopped = End::Stopped { after: Milestone::ClientHello };
    assert_eq!(of(stopped, &[part(Owner::Client, 90_000)]), ("inconclusive".into(), true));
}

#[test]
fn a_lone_handshake_over_a_long_path_is_not_called_healthy() {
    let of = |micros| {
        let circumstances = Circumstances { path_unknown: true, ..Circumstances::default() };
        let judgement = judge(&reading(End::Complete, &[round(micros, 0), round(micros + 1_000, 1_000)]), circumstances);
        (judgement.verdict.label(), judgement.candidates, judgement.excess)
    };
    assert_eq!(of(49_999).0, "healthy");
    assert_eq!(of(50_000), ("inconclusive".into(), Owner::Path.into(), us(1_000)));
}

#[test]
fn a_clock_in_doubt_names_nobody() {
    let circumstances = Circumstances { clock_in_doubt: true, ..Circumstances::default() };
    let judgement = judge(&reading(End::Complete, &[part(Owner::Loss, 900_000)]), circumstances);
    assert_eq!((judgement.verdict.label(), judgement.missing), ("inconclusive".into(), Missing::SteadyClock.into()));
}

#[test]
fn a_round_that_a_protocol_asked_for_is_as_long_as_any_other() {
    // What is beyond is the path's; seen from one end it may be an acknowledgement that was put off.
    let split = |micros: i64, one_end: bool| {
        let candidates = if one_end { Owner::Path | Owner::ClientHost } else { EnumSet::empty() };
        let extra = Entry {
            extra_round: true,
            candidates,
            ..Entry::new(Phase::Finish, Owner::Protocol, Kind::Nagle, us(micros), Span::ZERO)
        };
        let mut ledger = reading(End::Complete, &[round(40_000, 0), extra]).ledger;
        ledger.apply(&Baseline { path: Baseline::of_path(Some(us(40_000))), ..Baseline::default() });
        assert_eq!(ledger.entries.iter().map(|e| e.span).sum::<Span>(), ledger.total);
        ledger.entries[1..].iter().map(|e| (e.owner, e.span)).collect::<Vec<_>>()
    };
    assert_eq!(split(42_000, false), [(Owner::Protocol, us(42_000))], "four standard deviations of half a millisecond");
    assert_eq!(split(42_001, false), [(Owner::Protocol, us(40_000)), (Owner::Path, us(2_001))]);
    assert_eq!(split(100_000, true), [(Owner::Protocol, us(100_000))]);
    assert_eq!(split(100_001, true), [(Owner::Protocol, us(40_000)), (Owner::Path, us(60_001))]);
}
