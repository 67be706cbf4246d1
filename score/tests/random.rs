//! Handshakes made by chance, several things wrong at once: sums and citations hold, and one end never names whom both ends clear.

mod heard;

use analysis::clock::Span;
use analysis::judging::ledger::Owner;
use analysis::judging::policy::LEAST_EFFECT;
use analysis::judging::verdict::{Judgement, Verdict};
use explain::judging::Opinion;
use heard::hear;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};
use sim::habit::{LINUX, MACOS, OLD_LINUX, WINDOWS, WINDOWS_STAMPED};
use sim::host::ThreadState;
use sim::path::Deed;
use sim::plan::{Aim, Plan};
use sim::tls::Version;
use sim::{MS, Trial};

/// Cases, unless `PROPTEST_CASES` says otherwise; always the same.
const CASES: usize = 300;
/// Of them, how many times one end is known to name somebody whom both ends clear, at most. It only ever becomes less.
const KNOWN: usize = 3;

fn aim() -> impl Strategy<Value = Aim> {
    let aims = [Aim::All, Aim::Syn, Aim::FlightBegin, Aim::FlightEnd, Aim::Finished, Aim::FlightAck, Aim::AfterFlightAck];
    prop::sample::select(aims.to_vec())
}

fn faults() -> impl Strategy<Value = Vec<(Aim, Deed)>> {
    let deed = prop_oneof![
        (1_u32..3).prop_map(Deed::Drop),
        (5_i64..400).prop_map(|ms| Deed::Hold(ms * MS)),
        (5_i64..400).prop_map(|ms| Deed::Late(ms * MS)),
    ];
    // What never comes at all is another test's.
    let fault = (aim(), deed).prop_filter("it can end", |(aim, deed)| !matches!((aim, deed), (Aim::All, Deed::Drop(_))));
    prop_oneof![3 => Just(vec![]), 2 => prop::collection::vec(fault, 1..3)]
}

prop_compose! {
    /// How long each step takes: computing for the most part, sometimes asleep for long.
    fn thinks()(steps in prop::array::uniform4((50_i64..3_000, prop_oneof![5 => Just(0_i64), 2 => 10_i64..600]))) -> [sim::host::Think; 4] {
        steps.map(|(micros, asleep)| vec![(ThreadState::Computing, micros * 1_000), (ThreadState::Asleep, asleep * MS)])
    }
}

prop_compose! {
    fn plan()(
        (version, client, server, ipv6) in (0_usize..4, 0_usize..5, 0_usize..5, any::<bool>()),
        (delay, jitter, loss) in (500_i64..90_000, 0_i64..200, prop_oneof![4 => Just(0.0), 1 => 0.0..0.08_f64]),
        (nagle, edge_nagle, split_writes, split_flight) in any::<(bool, bool, bool, bool)>(),
        (hello_len, certificate_len, retry, early_ticket) in (400_usize..2_000, 1_000_usize..30_000, any::<bool>(), any::<bool>()),
        (out, back, thinks) in (faults(), faults(), thinks()),
        (before, ahead) in (0_usize..4, -5_000_i64..5_000),
    ) -> Plan {
        let habits = [LINUX, OLD_LINUX, WINDOWS, WINDOWS_STAMPED, MACOS];
        let mut plan = Plan::healthy(Version::ALL[version], "edge.test");
        (plan.client, plan.server, plan.ipv6) = (habits[client], habits[server], ipv6);
        (plan.delay, plan.jitter, plan.background_loss) = (delay * 1_000, jitter * 1_000, loss);
        (plan.nagle, plan.edge_nagle) = (nagle, edge_nagle);
        plan.before = before;
        (plan.out, plan.back, plan.edge_tap.offset) = (out, back, ahead * MS);
        let manner = &mut plan.manner;
        (manner.hello_len, manner.certificate_len, manner.thinks) = (hello_len, certificate_len, thinks);
        (manner.split_writes, manner.split_flight) = (split_writes, split_flight);
        (manner.retry, manner.early_ticket) = (retry && manner.version == Version::Tls13, early_ticket);
        plan
    }
}

/// Whose a verdict says it is; the network's, be it slow or losing.
fn party(owner: Owner) -> Owner {
    match owner.side() {
        Owner::Loss => Owner::Path,
        side => side,
    }
}

fn named(judgement: &Judgement) -> Vec<(Owner, Span)> {
    let Verdict::Culprit { primary, second } = &judgement.verdict else { return Vec::new() };
    [Some(primary), second.as_ref()].into_iter().flatten().map(|c| (party(c.owner), c.excess)).collect()
}

/// How much more than usual a party took.
fn excess(judgement: &Judgement, of: Owner) -> Span {
    judgement.parts.iter().filter(|p| party(p.owner) == of).map(|p| p.excess).sum()
}

/// What one end's verdict names though both ends' clear it.
fn contradictions(one: &Opinion, both: &Opinion) -> Vec<String> {
    let (one, both) = (&one.judgement, &both.judgement);
    if !matches!(both.verdict, Verdict::Healthy | Verdict::Culprit { .. }) {
        return Vec::new();
    }
    let cleared = |(owner, _): &(Owner, Span)| *owner != Owner::Protocol && excess(both, *owner) < LEAST_EFFECT;
    let say = |(owner, said)| format!("{} ({said} of {owner:?}), both ends: {}", one.verdict.label(), both.verdict.label());
    named(one).into_iter().filter(cleared).map(say).collect()
}

#[test]
fn one_end_names_nobody_whom_both_ends_clear() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    let mut runner = TestRunner::new(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() });
    let (mut judged, mut named_any, mut wrong) = (0, 0, Vec::new());
    for case in 0..cases {
        let tree = (plan(), any::<u64>()).new_tree(&mut runner).expect("the strategy gives plans");
        let (plan, seed) = tree.current();
        let trial = Trial::run(&plan, seed);
        let [both, client, edge] =
            [(true, true), (true, false), (false, true)].map(|(c, e)| hear(c.then_some(&trial.client), e.then_some(&trial.edge)));
        for heard in [&both, &client, &edge] {
            assert!(heard.broken.is_empty(), "case {case}: {:#?}\n{plan:#?}, seed {seed}", heard.broken);
            for (_, opinion) in &heard.opinions {
                let ledger = &opinion.reading.ledger;
                assert_eq!(ledger.entries.iter().map(|e| e.span).sum::<Span>(), ledger.total, "case {case}");
            }
        }
        assert!(both.opinions.len() > plan.before, "case {case}: every handshake is judged");
        for (place, heard) in [("client", &client), ("edge", &edge)] {
            for (who, opinion) in &heard.opinions {
                let Some((_, whole)) = both.opinions.iter().find(|(c, _)| c == who) else { continue };
                judged += 1;
                named_any += usize::from(!named(&opinion.judgement).is_empty());
                wrong.extend(contradictions(opinion, whole).into_iter().map(|c| format!("case {case}, at the {place}: {c}")));
            }
        }
    }
    println!(
        "{judged} judged from one end, {named_any} named anybody, {} of them whom both ends clear:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(named_any * 20 > judged, "it names somebody now and then");
    assert!(
        wrong.len() * CASES <= KNOWN * cases,
        "{} contradictions in {cases} cases, known are {KNOWN} in {CASES}",
        wrong.len()
    );
}
