//! What must hold whatever packets come, in whatever order, cut wherever.

mod heard;

use analysis::clock::Span;
use analysis::judging::ledger::Owner;
use analysis::judging::verdict::Verdict;
use explain::judging::Opinion;
use heard::hear;
use proptest::prelude::*;
use sim::Trial;
use sim::cases::{CASES, Grade, Setup};
use sim::tls::Version;
use whostalled_score::captured::Frames;

fn setup() -> impl Strategy<Value = Setup> {
    let grades = prop::sample::select(vec![Grade::BothAndHost, Grade::Client, Grade::Server]);
    (1..=CASES, 0_usize..4, prop::sample::select(vec![50_i64, 150, 500]), any::<u32>(), grades).prop_filter_map(
        "the case makes sense",
        |(case, version, severity, seed, grade)| {
            let setup = Setup { case, severity, version: Version::ALL[version], grade, seed: u64::from(seed) };
            setup.plan().map(|_| setup)
        },
    )
}

fn run(setup: &Setup) -> Trial {
    Trial::run(&setup.plan().expect("the strategy gives cases that make sense").plan, setup.seed)
}

/// The sides that a verdict names.
fn sides(verdict: &Verdict) -> Vec<Owner> {
    match verdict {
        Verdict::Culprit { primary, second } => {
            [Some(primary), second.as_ref()].into_iter().flatten().map(|c| c.owner.side()).collect()
        }
        _ => Vec::new(),
    }
}

/// So many cases, unless `PROPTEST_CASES` says otherwise.
fn cases(usual: u32) -> ProptestConfig {
    if std::env::var_os("PROPTEST_CASES").is_some() { ProptestConfig::default() } else { ProptestConfig::with_cases(usual) }
}

proptest! {
    #![proptest_config(cases(60))]

    /// Packets in any order: every ledger still sums to its total, with no negative part.
    #[test]
    fn no_order_of_packets_changes_the_sum(setup in setup(), seed in any::<u64>()) {
        let trial = run(&setup);
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut client, mut edge) = (trial.client.clone(), trial.edge.clone());
        rng.shuffle(&mut client);
        // The edge's stay in their order of time but for a few.
        for _ in 0..3 {
            let (a, b) = (rng.usize(..edge.len()), rng.usize(..edge.len()));
            edge.swap(a, b);
        }
        let all = [hear(Some(&client), Some(&edge)), hear(None, Some(&edge)), hear(Some(&client), None)];
        prop_assume!(all.iter().any(|heard| !heard.opinions.is_empty()), "nothing was judged");
        prop_assert!(all.iter().all(|heard| heard.broken.is_empty()), "{:?}", all.iter().map(|h| &h.broken).collect::<Vec<_>>());
        for (_, opinion) in all.iter().flat_map(|heard| &heard.opinions) {
            let ledger = &opinion.reading.ledger;
            prop_assert_eq!(ledger.entries.iter().map(|e| e.span).sum::<Span>(), ledger.total);
            prop_assert!(ledger.entries.iter().all(|e| e.span > Span::ZERO && e.baseline <= e.span));
        }
    }

    /// A capture of either end that ends anywhere blames nobody whom the whole capture clears.
    #[test]
    fn a_cut_capture_never_contradicts_the_whole(setup in setup(), share in 0.0..1.0_f64, at_client in any::<bool>()) {
        let trial = run(&setup);
        let frames = if at_client { &trial.client } else { &trial.edge };
        let of = |frames| if at_client { hear(Some(frames), None) } else { hear(None, Some(frames)) }.opinions;
        let whole = of(frames);
        let cut: Frames = frames[..(frames.len() as f64 * share) as usize].to_vec();
        let both = of(&cut).into_iter().filter_map(|(client, cut)| Some((cut, &whole.iter().find(|(c, _)| *c == client)?.1)));
        let both: Vec<(Opinion, &Opinion)> = both.collect();
        prop_assume!(!both.is_empty(), "nothing to compare");
        for (opinion, of_whole) in both {
            let (cut, whole) = (&opinion.judgement, &of_whole.judgement);
            // What the whole leaves open, or ends in, contradicts nothing; nor does a part of a mixed verdict.
            let comparable = matches!(whole.verdict, Verdict::Healthy | Verdict::Culprit { .. });
            let known = sides(&whole.verdict);
            let owner_of_part = |side: Owner| whole.parts.iter().any(|p| p.owner.side() == side && p.excess > Span::ZERO);
            let blamed: Vec<Owner> = sides(&cut.verdict).into_iter().filter(|s| !known.contains(s) && !owner_of_part(*s)).collect();
            prop_assert!(!comparable || blamed.is_empty(), "{setup:?}, at the client {at_client}: cut {} whole {}\n{:#?}", cut.verdict.label(), whole.verdict.label(), opinion.reading.ledger.entries);
        }
    }
}
