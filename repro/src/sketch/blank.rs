//! The scenario without its fault: the same round trip, the same habits of both stacks.

use agent::{BeforeTls, ClientKind, ClientSpec, MOST_EXCHANGES, Speaker, TlsVersion};
use analysis::clock::Span;
use analysis::judging::run::Role;
use analysis::judging::vocabulary::{Kind, Owner, Phase};
use records::explained::{ExplainedRecord, Habits};
use records::handshake::Judged;

use super::report::USUAL_ROUND_TRIP;
use super::{CLIENT, EDGE, ROUNDS};
use crate::duration::Length;
use crate::limits::MOST_RTT;
use crate::scenario::{Bearable, Scenario, VantageSpec};
use crate::targets::{LEAST_CHAIN, MOST_CHAIN, ServerKind, TargetSpec};
use crate::vantages::Kind as Place;

/// Bytes of a server's flight beside its certificates: hellos, extensions, a signature, Finished, headers of records.
const BESIDE_CHAIN: u64 = 420;

/// A handshake takes at least so many round trips: two, and its ends' work.
const ROUNDS_OF_A_HANDSHAKE: i64 = 3;
/// Nobody is nearer than this in the lab.
const LEAST_ROUND_TRIP: Span = Span::from_micros(200);

pub(super) struct Blank {
    pub scenario: Scenario,
    pub cannot: Vec<String>,
    /// As it was measured.
    pub round_trip: Option<Span>,
}

/// Of a handshake, with what its siblings tell where it does not.
pub(super) fn of(record: &ExplainedRecord, judged: &Judged, siblings: &[&ExplainedRecord]) -> Blank {
    let mut cannot = Vec::new();
    let habits = habits(record, siblings);
    let ledger = &judged.reading.ledger;
    let usual = ledger.entries.iter().filter(|e| e.owner == Owner::Path && e.round_trip && !e.extra_round);
    // What is usual, where siblings tell; else the least that it showed itself.
    let round_trip = usual.map(|e| if e.baseline > Span::ZERO { e.baseline.min(e.span) } else { e.span }).min();
    let measured = round_trip.or_else(|| ledger.min_path());
    // Of what was so short that it was not measured, or not seen: no more than all of it took.
    let round_trip = measured.unwrap_or_else(|| {
        let most = Span::from_nanos(ledger.total.nanos() / ROUNDS_OF_A_HANDSHAKE);
        Span::from_nanos(USUAL_ROUND_TRIP.nanos()).min(most).max(LEAST_ROUND_TRIP)
    });
    if measured.is_none() {
        cannot.push(format!("no round trip could be measured: {round_trip} stands for it"));
    }

    let version = record.version.as_deref().or_else(|| siblings.iter().find_map(|s| s.version.as_deref()));
    let tls = match version {
        Some("TLS 1.3") | None => TlsVersion::V13,
        Some("TLS 1.2") => TlsVersion::V12,
        Some(older) => {
            cannot.push(format!("it was {older}, which no stack of the lab speaks: TLS 1.2 instead"));
            TlsVersion::V12
        }
    };
    let nagle = |phases: &[Phase]| {
        ledger.entries.iter().any(|e| e.owner == Owner::Protocol && e.kind == Some(Kind::Nagle) && phases.contains(&e.phase))
    };
    let client = ClientSpec {
        tls,
        ipv6: habits.ipv6,
        resume: record.resumed,
        nodelay: !nagle(&[Phase::ClientFinished, Phase::Finish]),
        ..ClientSpec::new(ClientKind::Probe)
    };
    let chain = habits.certificate_bytes.or(habits.flight_bytes.map(|flight| flight.saturating_sub(BESIDE_CHAIN)));
    let chain_bytes = chain.filter(|_| !record.resumed).map(|bytes| {
        let fits = usize::try_from(bytes).unwrap_or(MOST_CHAIN).clamp(LEAST_CHAIN, MOST_CHAIN);
        if fits < usize::try_from(bytes).unwrap_or(usize::MAX) {
            cannot.push(format!("certificates of {bytes} bytes are more than the lab's client takes: {fits}"));
        }
        fits
    });
    let before_tls = habits.before_tls.map(|plain| {
        let exchanges = u32::try_from(plain.exchanges).unwrap_or(u32::MAX);
        if exchanges > MOST_EXCHANGES {
            cannot.push(format!("{exchanges} exchanges before TLS are more than the lab has: {MOST_EXCHANGES}"));
        }
        let first = if plain.server_first { Speaker::Edge } else { Speaker::Client };
        let least = u32::from(!plain.server_first);
        BeforeTls { first, exchanges: exchanges.clamp(least, MOST_EXCHANGES) }
    });
    let edge = TargetSpec {
        chain_bytes,
        hello_retry: habits.hello_retry && tls == TlsVersion::V13,
        client_certificate: habits.client_certificate,
        before_tls,
        nodelay: !nagle(&[Phase::HelloRetry, Phase::ServerFlight]),
        ..edge(length(round_trip))
    };
    let name = record.server_name.as_deref().unwrap_or("handshake");
    Blank { scenario: scenario(&format!("like-{name}"), client, edge), cannot, round_trip: measured }
}

/// The scenario of one client and one edge.
pub(super) fn scenario(name: &str, client: ClientSpec, edge: TargetSpec) -> Scenario {
    let usable = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let mut name: String = name.chars().map(usable).collect();
    name.truncate(80);
    Scenario {
        name,
        description: String::new(),
        seed: 1,
        rounds: ROUNDS,
        baseline_rounds: 0,
        together: false,
        offloads: false,
        bearable: Bearable::default(),
        client,
        vantages: vec![VantageSpec {
            name: CLIENT.into(),
            kind: Place::Lab,
            host: None,
            provider: None,
            settings: std::collections::BTreeMap::new(),
            keep: false,
        }],
        targets: vec![edge],
        faults: std::collections::BTreeMap::new(),
        expect: None,
    }
}

/// An ordinary edge of the lab, so far away.
pub(super) fn edge(rtt: Length) -> TargetSpec {
    TargetSpec {
        name: EDGE.into(),
        role: Role::Edge,
        url: None,
        address: None,
        ca: None,
        recorder: None,
        server: ServerKind::Embedded,
        rtt: rtt.min(MOST_RTT),
        jitter: Length::default(),
        baseline_rtt: None,
        command: Vec::new(),
        processes: Vec::new(),
        files: std::collections::BTreeMap::new(),
        chain_bytes: None,
        hello_retry: false,
        client_certificate: false,
        before_tls: None,
        nodelay: true,
    }
}

/// A time as scenarios write it.
pub(super) fn length(span: Span) -> Length {
    // To a tenth of a millisecond: no path is steadier.
    let tenths = (span.at_least_zero().nanos() + 50_000) / 100_000;
    Length(std::time::Duration::from_micros(tenths.unsigned_abs() * 100))
}

/// What it shows, and what its siblings do where it was over too soon.
fn habits(record: &ExplainedRecord, siblings: &[&ExplainedRecord]) -> Habits {
    let own = record.habits.clone().unwrap_or_default();
    let of_siblings = |pick: fn(&Habits) -> Option<u64>| {
        let alike = siblings.iter().filter(|s| s.resumed == record.resumed);
        alike.filter_map(|s| s.habits.as_ref().and_then(pick)).max()
    };
    Habits {
        flight_bytes: own.flight_bytes.or_else(|| of_siblings(|h| h.flight_bytes)),
        certificate_bytes: own.certificate_bytes.or_else(|| of_siblings(|h| h.certificate_bytes)),
        ..own
    }
}
