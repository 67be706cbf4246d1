//! From a round to whose fault it was, if anybody's. Pure.
//!
//! The prober's own time is taken out first: what remains is judged by the same rules as everywhere. Then the thresholds of the
//! check say whether it matters.

use alerting::states::Blame;
use alerting::{Culprit, Family};
use analysis::clock::Span;
use analysis::conversation::socket;
use analysis::judging::ledger::{Baseline, Ledger, Owner, Phase};
use analysis::judging::policy;
use analysis::judging::verdict::{Circumstances, Judgement, Reading, Verdict, judge};
use prober::{Reason, Report};
use serde::{Deserialize, Serialize};
use settings::Time;

use crate::checks::{Gate, Thresholds};

/// In which an answer that was lost is repeated twice, and would have come: kernels wait 200 ms and a round trip at first, then twice that.
/// Three copies that are all lost, behind an acknowledgement that came through, are no loss that comes and goes.
const TWICE_REPEATED: Span = Span::from_millis(800);

/// What is known of a path.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct Usual {
    /// Its least round trip lately.
    pub round_trip: Option<Span>,
    /// Rounds behind it.
    pub rounds: u32,
}

/// A round as it is understood.
#[derive(Clone, Debug)]
pub struct Opinion {
    /// Where all the time went.
    pub reading: Reading,
    /// The verdict on all of it, the prober included.
    pub judgement: Judgement,
    /// The verdict without the prober.
    pub target: Judgement,
    /// The latter in one sentence.
    pub sentence: String,
    /// How the prober was.
    pub health: Health,
}

/// How the prober was during a round.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Health {
    /// Its thread waited so long for a CPU, in milliseconds.
    pub run_delay_ms: f64,
    /// The edge's bytes waited so long in our kernel, at most.
    pub data_waiting_ms: f64,
    /// The round began so late.
    pub lateness_ms: f64,
    /// The latest handshake with ourselves took so long; absent if there was none.
    pub reference_ms: Option<f64>,
    /// Somebody set the clock.
    pub clock_stepped: bool,
    /// Why it is too sick to judge others; absent if it is not.
    pub sick: Option<String>,
}

/// What is known of the prober beside a round.
#[derive(Clone, Copy, Default, Debug)]
pub struct Beside {
    /// It began so much later than it should.
    pub late: Span,
    /// The latest handshake with ourselves took so long.
    pub reference: Option<Span>,
    /// How long the round may take: its timer ends it then.
    pub timeout: Option<Span>,
}

/// Judges a round.
pub fn judge_round(report: &Report, usual: Usual, gate: &Gate, beside: Beside) -> Opinion {
    let mut reading = socket::read(&report.trace);
    // One round cannot settle what alerts are made of: so many of the last ones do.
    socket::round_after_round(&mut reading);
    let baseline = Baseline {
        path: Baseline::of_path(usual.round_trip),
        client_cpu: policy::PROBER_WORK,
        client_unsplit: policy::PROBER_WORK,
        ..Baseline::default()
    };
    reading.ledger.apply(&baseline);
    let path_unknown = (usual.rounds as usize) < policy::ENOUGH;
    let ended_by = report.reason.and_then(Reason::ended);
    let circumstances = Circumstances { path_unknown, ended_by, ..Circumstances::default() };
    let judgement = judge(&reading, circumstances);
    let without = socket::without_client(&reading);
    let target = judge(&without, circumstances);
    let sentence = socket::sentence(&report.trace, &without, &target);
    let health = health(report, &reading, gate, beside);
    Opinion { reading, judgement, target, sentence, health }
}

fn health(report: &Report, reading: &Reading, gate: &Gate, beside: Beside) -> Health {
    let Beside { late: lateness, reference, timeout } = beside;
    let ms = |span: Span| span.millis();
    let run_delay = reading.ledger.of(Owner::ClientHost);
    let waits = report.trace.exchanges.iter().filter_map(|e| e.answer).filter_map(|a| Some(a.read - a.at_kernel?));
    let waiting = waits.max().unwrap_or_default();
    let over = |span: Span, limit: Time| span.nanos() > limit.nanos();
    // A timer that fires late was not served: the prober, or its machine, stood still.
    let overslept = timeout.map_or(Span::ZERO, |timeout| reading.ledger.total - timeout);
    let sick = match () {
        () if report.clock_stepped => Some("somebody set this machine's clock".to_owned()),
        () if over(run_delay, gate.run_delay) => Some(format!("its thread waited {run_delay} for a CPU")),
        () if over(waiting, gate.data_waiting) => Some(format!("the edge's bytes waited {waiting} in our kernel")),
        () if over(overslept, gate.lateness) => {
            Some(format!("its timer of {} fired {overslept} late", timeout.unwrap_or_default()))
        }
        () if over(lateness, gate.lateness) => Some(format!("the round began {lateness} late")),
        () if reference.is_some_and(|r| over(r, gate.reference)) => {
            Some(format!("a handshake with ourselves over loopback took {}", reference.unwrap_or_default()))
        }
        () if report.reason == Some(Reason::Prober) => Some(report.detail.clone().unwrap_or_default()),
        () => None,
    };
    Health {
        run_delay_ms: ms(run_delay),
        data_waiting_ms: ms(waiting),
        lateness_ms: ms(lateness),
        reference_ms: reference.map(ms),
        clock_stepped: report.clock_stepped,
        sick,
    }
}

/// Whose fault it was, by the check's thresholds; absent if nobody's.
pub fn blame(report: &Report, opinion: &Opinion, thresholds: &Thresholds, bad_status: bool) -> Option<Blame> {
    let ledger = target_ledger(&opinion.reading.ledger);
    if let Some(reason) = report.reason {
        let culprit = match (reason, &opinion.target.verdict) {
            (Reason::Prober, _) => Culprit::Prober,
            (Reason::DnsNoAddress | Reason::DnsTimeout | Reason::DnsFailed, _) => Culprit::Resolver,
            // Neither side is at fault for what both do not share.
            (Reason::TlsIncompatible, _) => Culprit::Protocol,
            (reason, _) if reason.is_edges_word() => Culprit::Edge,
            (Reason::RequestTimeout | Reason::TlsTimeout, _) if silent(report).is_some() => Culprit::Edge,
            (_, Verdict::Culprit { primary, .. }) => side(primary.owner),
            _ => Culprit::Inconclusive,
        };
        let detail = report.detail.clone().unwrap_or_default();
        // Where somebody said what was wrong, time has nothing to add.
        let more = match silent(report).filter(|_| matches!(reason, Reason::RequestTimeout | Reason::TlsTimeout)) {
            Some((asked, acked, waited)) => format!(
                " The edge's kernel acknowledged {asked} after {acked}, and nothing came for {waited}: an answer that was lost would \
                 have been retransmitted twice. Its program, or what is behind it, does not answer."
            ),
            None if reason.is_timeout() => format!(" {}", opinion.sentence),
            None => String::new(),
        };
        let sentence = format!("{}.{more}", reason.said(&detail));
        let (phase, words) = (reason.name().into(), reason.words().into());
        return Some(Blame { culprit, family: Family::Failing, phase, words, ms: 0.0, sentence, pattern: None });
    }
    if bad_status {
        let status = report.response.as_ref().map_or(0, |r| r.status);
        let sentence = format!("The edge answered with status {status}.");
        let (phase, words) = (Reason::HttpStatus.name().into(), format!("HTTP status {status}"));
        return Some(Blame { culprit: Culprit::Edge, family: Family::Failing, phase, words, ms: 0.0, sentence, pattern: None });
    }
    let limit = |owner: Owner| {
        let own = match owner {
            Owner::Edge | Owner::EdgeApp | Owner::EdgeHost => thresholds.edge,
            Owner::Path => thresholds.path,
            Owner::Loss => thresholds.loss,
            Owner::Resolver => thresholds.resolver,
            Owner::Client | Owner::ClientApp | Owner::ClientHost | Owner::Protocol | Owner::Unattributed => None,
        };
        own.unwrap_or(thresholds.culprit())
    };
    let parts = &opinion.target.parts;
    let worst = |owner: Owner| {
        let of_owner = ledger.entries.iter().filter(|e| e.owner == owner).max_by_key(|e| e.excess());
        of_owner.map_or(Phase::ServerFlight, |e| e.phase)
    };
    let make = |culprit: Culprit, phase: Phase, ms: f64, sentence: String| {
        let (phase, words) = (phase.label().into(), phase.words().into());
        Some(Blame { culprit, family: Family::Slow, phase, words, ms, sentence, pattern: None })
    };
    match &opinion.target.verdict {
        Verdict::Culprit { primary, .. } if primary.excess.nanos() >= limit(primary.owner).nanos() => {
            return make(side(primary.owner), worst(primary.owner), primary.excess.millis(), opinion.sentence.clone());
        }
        Verdict::Inconclusive { excess, .. } if excess.nanos() >= thresholds.culprit().nanos() => {
            let owner = parts.first().map_or(Owner::Unattributed, |p| p.owner);
            return make(Culprit::Inconclusive, worst(owner), excess.millis(), opinion.sentence.clone());
        }
        _ => {}
    }
    let culprit = parts.first().map_or(Culprit::Inconclusive, |p| side(p.owner));
    for (name, limit) in &thresholds.phase {
        let of_phase = ledger.entries.iter().filter(|e| e.phase.label() == name);
        let span: Span = of_phase.clone().map(|e| e.span).sum();
        if span.nanos() > limit.nanos() {
            let phase = of_phase.map(|e| e.phase).next().unwrap_or(Phase::ServerFlight);
            let over = format!("The phase {name} took {span}, more than {} ms. {}", limit.0.as_millis(), opinion.sentence);
            return make(culprit, phase, span.millis(), over);
        }
    }
    let total = thresholds.total.filter(|limit| ledger.total.nanos() > limit.nanos())?;
    let over = format!("All of it took {}, more than {} ms. {}", ledger.total, total.0.as_millis(), opinion.sentence);
    make(culprit, Phase::ServerFlight, ledger.total.millis(), over)
}

/// That the edge was asked something and says nothing, for longer than lost answers could explain: what it was asked, when its kernel
/// acknowledged that, and how long nothing came since.
fn silent(report: &Report) -> Option<(&'static str, Span, Span)> {
    let trace = &report.trace;
    let request = trace.exchanges.last().filter(|e| e.answer.is_none())?;
    let asked = match request.phase {
        Phase::Request => "the request",
        Phase::ServerFlight => "ClientHello",
        _ => return None,
    };
    let left = request.sent.left.first()?;
    let acked = request.sent.acked?;
    let waited = trace.ended - acked;
    // What came out of order is behind something that was lost.
    (!trace.out_of_order && waited >= TWICE_REPEATED).then_some((asked, acked - *left, waited))
}

fn target_ledger(ledger: &Ledger) -> Ledger {
    let entries: Vec<_> = ledger.entries.iter().filter(|e| e.owner.side() != Owner::Client).cloned().collect();
    Ledger { total: entries.iter().map(|e| e.span).sum(), entries }
}

/// An owner as alerts name it, without what tells app from host. The client is ourselves.
pub fn side(owner: Owner) -> Culprit {
    match owner {
        Owner::Resolver => Culprit::Resolver,
        Owner::ClientApp | Owner::ClientHost | Owner::Client => Culprit::Prober,
        Owner::Path => Culprit::Path,
        Owner::Loss => Culprit::Loss,
        Owner::EdgeHost | Owner::EdgeApp | Owner::Edge => Culprit::Edge,
        Owner::Protocol => Culprit::Protocol,
        Owner::Unattributed => Culprit::Inconclusive,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use prober::tls::{TlsOptions, config};
    use prober::{Family, Lookup, Pauses, Route, Target, probe};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// An edge that has TLS 1.0 with RSA key exchange, and refuses every ClientHello without.
    async fn old_edge() -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            let hello = [&[2, 0, 0, 38, 3, 1][..], &[0; 32], &[0, 0, 0x2f, 0]].concat();
            let agrees = [&[22, 3, 1, 0, 42][..], &hello, &[22, 3, 1, 0, 4, 14, 0, 0, 0]].concat();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut heard = [0; 4096];
                let Ok(n) = stream.read(&mut heard).await else { continue };
                let offers = heard[..n].windows(4).any(|suites| suites == [0x00, 0x2f, 0x00, 0x35]);
                // Whoever hung up hears nothing.
                let _ = stream.write_all(if offers { &agrees } else { &[21, 3, 1, 0, 2, 2, 70] }).await;
            }
        });
        address
    }

    fn accepting() -> tokio_rustls::TlsAcceptor {
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let key = rustls_pki_types::PrivateKeyDer::Pkcs8(pair.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
        let tls = tls.with_no_client_auth().with_single_cert(vec![pair.cert.der().clone()], key).expect("a chain");
        tokio_rustls::TlsAcceptor::from(Arc::new(tls))
    }

    /// A server behind TLS that answers each ClientHello late, then takes a request and says nothing.
    async fn mute_edge(late: Duration) -> std::net::SocketAddr {
        let (listener, acceptor) = (TcpListener::bind("127.0.0.1:0").await.expect("loopback"), accepting());
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::time::sleep(late).await;
                held.push(acceptor.accept(stream).await);
            }
        });
        address
    }

    /// A target that is asked for `/`, or only shaken hands with.
    fn target(address: std::net::SocketAddr, ask: bool, timeout: Duration) -> Target {
        let options = TlsOptions { insecure: true, ..TlsOptions::default() };
        Target {
            host: "localhost".into(),
            port: address.port(),
            connect_to: None,
            address: Some(address),
            server_name: None,
            family: Family::Any,
            tls: Some(Arc::new(config(&options).expect("nothing is read"))),
            request: ask.then(|| prober::HttpRequest { path: "/".into(), ..prober::HttpRequest::default() }),
            timeout,
            pauses: Pauses::default(),
            route: Route::default(),
        }
    }

    async fn judged(target: &Target) -> (Report, Opinion) {
        let report = probe(target, &Lookup::new(&[]).expect("a resolver")).await;
        let opinion = judge_round(&report, Usual::default(), &Gate::default(), Beside::default());
        (report, opinion)
    }

    #[tokio::test]
    async fn silence_behind_an_acknowledged_clienthello_is_the_edges() {
        let address = mute_edge(Duration::from_secs(60)).await;
        let (report, opinion) = judged(&target(address, false, Duration::from_millis(1_500))).await;
        assert_eq!(report.reason, Some(Reason::TlsTimeout));
        let found = blame(&report, &opinion, &Thresholds::default(), false).expect("it failed");
        assert_eq!((found.culprit, found.family), (Culprit::Edge, alerting::Family::Failing), "{}", found.sentence);
        assert!(found.sentence.contains("acknowledged ClientHello"), "{}", found.sentence);
        // So soon it may be the answer that was lost.
        let (report, opinion) = judged(&target(address, false, Duration::from_millis(500))).await;
        let found = blame(&report, &opinion, &Thresholds::default(), false).expect("it failed");
        assert_ne!(found.culprit, Culprit::Edge, "{}", found.sentence);
    }

    #[tokio::test]
    async fn a_timer_that_fired_late_was_not_served() {
        let address = mute_edge(Duration::from_secs(60)).await;
        let (report, opinion) = judged(&target(address, false, Duration::from_millis(800))).await;
        // However this host fares: only the timer counts.
        let never = Time(Duration::from_secs(3_600));
        let gate = Gate { lateness: Time::millis(300), run_delay: never, data_waiting: never, ..Gate::default() };
        let sick = |timeout: Option<Span>| {
            judge_round(&report, Usual::default(), &gate, Beside { timeout, ..Beside::default() }).health.sick
        };
        let took = opinion.reading.ledger.total;
        assert_eq!((sick(None), sick(Some(took - Span::from_millis(300)))), (None, None));
        let said = sick(Some(took - Span::from_millis(301))).expect("it went on for longer");
        assert!(said.contains("fired 301 ms late"), "{said}");
    }

    #[tokio::test]
    async fn each_limit_is_for_its_owner_its_phase_or_all() {
        let address = mute_edge(Duration::from_millis(400)).await;
        let (report, opinion) = judged(&target(address, false, Duration::from_secs(20))).await;
        assert!(report.kernel_timestamps, "this kernel stamps nothing, so nobody acknowledges");
        let ms = |ms: u64| Time(Duration::from_millis(ms));
        let of = |thresholds: Thresholds| blame(&report, &opinion, &thresholds, false).map(|b| (b.culprit, b.family, b.phase));
        let edge = |phase: &str| Some((Culprit::Edge, alerting::Family::Slow, phase.to_owned()));
        let far = || Thresholds { culprit: Some(ms(60_000)), ..Thresholds::default() };
        assert_eq!(of(Thresholds::default()), edge("server_flight"), "{}", opinion.sentence);
        assert_eq!(of(Thresholds { edge: Some(ms(60_000)), ..Thresholds::default() }), None, "the edge has a limit of its own");
        assert_eq!(
            of(Thresholds { path: Some(ms(1)), loss: Some(ms(1)), resolver: Some(ms(1)), ..far() }),
            None,
            "others' limits"
        );
        assert_eq!(of(far()), None);
        assert_eq!(of(Thresholds { edge: Some(ms(200)), ..far() }), edge("server_flight"));
        assert_eq!(of(Thresholds { phase: [("server_flight".to_owned(), ms(200))].into(), ..far() }), edge("server_flight"));
        assert_eq!(of(Thresholds { phase: [("connect".to_owned(), ms(60_000))].into(), ..far() }), None);
        assert_eq!(of(Thresholds { total: Some(ms(200)), ..far() }), edge("server_flight"));
        let status = blame(&report, &opinion, &far(), true).expect("a status is bad whatever the time");
        assert_eq!(
            (status.culprit, status.family, status.phase.as_str()),
            (Culprit::Edge, alerting::Family::Failing, "http_status")
        );
    }

    #[tokio::test]
    async fn an_edge_that_has_the_request_and_says_nothing_is_to_blame_once_lost_answers_are_ruled_out() {
        let address = mute_edge(Duration::ZERO).await;
        for (timeout, culprit) in [(400, Culprit::Inconclusive), (1_600, Culprit::Edge)] {
            let (report, opinion) = judged(&target(address, true, Duration::from_millis(timeout))).await;
            assert!(report.kernel_timestamps, "this kernel stamps nothing, so nobody acknowledges");
            let blame = blame(&report, &opinion, &Thresholds::default(), false).expect("it failed");
            assert_eq!((blame.culprit, blame.phase.as_str()), (culprit, "request_timeout"), "{timeout} ms: {}", blame.sentence);
        }
    }

    #[tokio::test]
    async fn what_both_sides_do_not_share_is_no_sides_fault() {
        let (report, opinion) = judged(&target(old_edge().await, false, Duration::from_secs(20))).await;
        let blame = blame(&report, &opinion, &Thresholds::default(), false).expect("it failed");
        assert_eq!((blame.culprit, blame.phase.as_str()), (Culprit::Protocol, "tls_incompatible"), "{}", blame.sentence);
        assert!(blame.sentence.contains("TLS 1.0 at most (TLS_RSA_WITH_AES_128_CBC_SHA)"), "{}", blame.sentence);
        assert_ne!(opinion.target.verdict.label().split('/').next(), Some("edge"), "{:?}", opinion.target.verdict);
    }
}
