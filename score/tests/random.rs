//! Handshakes made by chance, several things wrong at once: sums and citations hold, and one end never names whom both ends clear.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;

use analysis::claims::Broken;
use analysis::clock::Span;
use analysis::judging::ledger::Owner;
use analysis::judging::verdict::{Judgement, LEAST_EFFECT, Verdict};
use explain::judging::{Finding, Opinion};
use explain::{Options, Sink, claims, explain};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sim::habit::{LINUX, MACOS, WINDOWS, WINDOWS_STAMPED};
use sim::host::Doing;
use sim::path::Deed;
use sim::plan::{Aim, Plan};
use sim::tls::Version;
use sim::trial::write_pcap;
use sim::{MS, Trial};

type Frames = Vec<(i64, Vec<u8>)>;

/// Opinions, and what the packets contradict so that no input may excuse it.
#[derive(Default)]
struct Heard {
    opinions: Vec<(SocketAddr, Opinion)>,
    broken: Vec<String>,
}

impl Sink for Heard {
    fn finding(&mut self, finding: Finding, _: &[PathBuf]) -> ControlFlow<()> {
        self.broken.extend(claims::broken(&finding).iter().filter(|b| b.is_arithmetic()).map(Broken::to_string));
        let client = finding.placed.handshake.endpoints.client;
        self.opinions.extend(finding.judged.ok().map(|opinion| (client, opinion)));
        ControlFlow::Continue(())
    }
    fn progress(&mut self, _: u64) {}
}

fn hear(client: Option<&Frames>, edge: Option<&Frames>) -> Heard {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = |name: &str, frames: Option<&Frames>| -> Vec<PathBuf> {
        let path = folder.path().join(name);
        frames.iter().for_each(|frames| {
            let out = std::fs::File::create(&path).expect("the folder takes files");
            write_pcap(std::io::BufWriter::new(out), frames).expect("the folder takes files");
        });
        frames.map(|_| path.clone()).into_iter().collect()
    };
    let options = Options { client_side: file("client.pcap", client), edge_side: file("edge.pcap", edge), ..Options::default() };
    let mut heard = Heard::default();
    explain(&options, &mut heard);
    heard
}

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
    // What never comes at all is another test's. From one end, a SYN-ACK with several copies gives no round trip, and a packet that
    // is late alone is taken for one that came, or for a lost one.
    let told = |(aim, deed): &(Aim, Deed)| match deed {
        Deed::Drop(_) => !matches!(aim, Aim::All | Aim::Syn | Aim::FlightAck),
        Deed::Late(_) => !matches!(aim, Aim::FlightBegin | Aim::FlightAck),
        Deed::Hold(_) => true,
    };
    let fault = (aim(), deed).prop_filter("one end can tell", told);
    prop_oneof![3 => Just(vec![]), 2 => prop::collection::vec(fault, 1..3)]
}

prop_compose! {
    /// How long each step takes: computing for the most part, sometimes asleep for long.
    fn thinks()(steps in prop::array::uniform4((50_i64..3_000, prop_oneof![5 => Just(0_i64), 2 => 10_i64..600]))) -> [sim::host::Think; 4] {
        steps.map(|(micros, asleep)| vec![(Doing::Computing, micros * 1_000), (Doing::Asleep, asleep * MS)])
    }
}

prop_compose! {
    fn plan()(
        (version, client, server, ipv6) in (0_usize..4, 0_usize..4, 0_usize..4, any::<bool>()),
        (delay, jitter, loss) in (3_000_i64..90_000, 0_i64..200, prop_oneof![4 => Just(0.0), 1 => 0.0..0.08_f64]),
        (nagle, edge_nagle, split_writes, split_flight) in any::<(bool, bool, bool, bool)>(),
        (hello_len, certificate_len, retry, early_ticket) in (400_usize..2_000, 1_000_usize..30_000, any::<bool>(), any::<bool>()),
        (out, back, thinks) in (faults(), faults(), thinks()),
        (before, ahead) in (0_usize..4, -5_000_i64..5_000),
    ) -> Plan {
        // Timestamps of 4 ms may be taken for those of 3.3.
        let habits = [LINUX, WINDOWS, WINDOWS_STAMPED, MACOS];
        let mut plan = Plan::healthy(Version::ALL[version], "edge.test");
        (plan.client, plan.server, plan.ipv6) = (habits[client], habits[server], ipv6);
        (plan.delay, plan.jitter, plan.background_loss) = (delay * 1_000, jitter * 1_000, loss);
        // From the other end, Nagle's own rule is not told from a program that waits.
        // Nor (where the answer to the server's Finished is lost) a late answer from a late Finished.
        plan.background_loss *= f64::from(u8::from(plan.manner.version != Version::Tls12));
        (plan.nagle, plan.edge_nagle) = (nagle && plan.client.minshall, edge_nagle && plan.server.minshall);
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

/// So many cases, each time the same; others, and as many as `PROPTEST_CASES` says, where that is set.
fn cases(usual: u32) -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => ProptestConfig { cases: usual, rng_seed: RngSeed::Fixed(1), ..config },
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn one_end_names_nobody_whom_both_ends_clear(plan in plan(), seed in any::<u64>()) {
        let trial = Trial::run(&plan, seed);
        let [both, client, edge] =
            [(true, true), (true, false), (false, true)].map(|(c, e)| hear(c.then_some(&trial.client), e.then_some(&trial.edge)));
        for heard in [&both, &client, &edge] {
            prop_assert!(heard.broken.is_empty(), "{:#?}", heard.broken);
            for (_, opinion) in &heard.opinions {
                let ledger = &opinion.reading.ledger;
                prop_assert_eq!(ledger.entries.iter().map(|e| e.span).sum::<Span>(), ledger.total);
            }
        }
        prop_assert!(both.opinions.len() > plan.before, "every handshake is judged: {}", both.opinions.len());
        for (place, heard) in [("client", &client), ("edge", &edge)] {
            for (who, opinion) in &heard.opinions {
                let Some((_, whole)) = both.opinions.iter().find(|(c, _)| c == who) else { continue };
                if !matches!(whole.judgement.verdict, Verdict::Healthy | Verdict::Culprit { .. }) {
                    continue;
                }
                for (owner, said) in named(&opinion.judgement).into_iter().filter(|(owner, _)| *owner != Owner::Protocol) {
                    // It took part of it, though perhaps not so much.
                    let known = excess(&whole.judgement, owner);
                    prop_assert!(
                        known >= LEAST_EFFECT,
                        "at the {place}: {} ({said} of {owner:?}), both: {} ({known})\n{:#?}\n{:#?}\n{plan:#?}",
                        opinion.judgement.verdict.label(),
                        whole.judgement.verdict.label(),
                        opinion.reading.ledger.entries,
                        whole.reading.ledger.entries,
                    );
                }
            }
        }
    }
}
