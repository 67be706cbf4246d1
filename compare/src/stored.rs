//! A comparison with what was stored: how often, and nothing else. Times of another day, or of another machine, are no measure.
//!
//! In: what was stored, and one that is there. Out: counts and failures, by how often they came.

use std::collections::BTreeMap;

use records::compared::{Compared, Conditions, Count, Counted, Failures, LeftOut};

use crate::both::{Asking, Side};
use crate::evidence::Alpha;
use crate::measure::Handshake;
use crate::shares::{COUNTS, FAILURES, LIKELY, fisher, with_stored};
use crate::{COUNTED, Error, Options, begun, outcome};

/// Where something is open after the first [`COUNTED`], so many more.
const FURTHER: u64 = 48;
/// It is looked at twice.
const LOOKS: f64 = 2.0;
/// Handshakes of a file, and costs of one count: no comparison comes to more, and a file may be anybody's.
const MOST: u64 = 100_000;
const MOST_COSTS: usize = 100;

/// Compares an edge or a client with what was stored of one.
///
/// # Errors
/// If it cannot be had, or what was stored is no base for it.
pub fn compare_with_stored(stored: &Compared, candidate: &str, options: &Options) -> Result<Compared, Error> {
    let mut failures = usable(stored, &options.conditions())?;
    let candidate = Side::begin(candidate, options)?;
    if stored.kind != candidate.kind() {
        return Err(Error::Unlike);
    }
    let mut compared = begun(stored.candidate.clone(), &candidate, options);
    compared.base_machine = Some(stored.machine.clone());
    compared.times_left_out = Some(LeftOut::StoredBase);
    let mut asking = Asking::begin(candidate, options);
    asking.first()?;
    let mut seen: BTreeMap<Counted, BTreeMap<u64, u64>> = BTreeMap::new();
    for further in [COUNTED, FURTHER] {
        for _ in 0..further {
            match asking.once(true)? {
                Handshake::Whole(whole) => {
                    for (what, value) in whole.counts {
                        *seen.entry(what).or_default().entry(value).or_insert(0) += 1;
                    }
                }
                Handshake::Failed(why) => {
                    failures.candidate += 1;
                    failures.candidate_why = Some(why);
                }
                Handshake::Spoiled => continue,
            }
            failures.of_candidate += 1;
        }
        judge(stored, &seen, &mut failures, &mut compared);
        if !compared.counts.iter().any(|count| count.change == records::compared::Change::Open) && !failures.open {
            break;
        }
    }
    compared.candidate.agreed = asking.agreed();
    compared.failures = Some(failures);
    compared.outcome = outcome(&compared);
    Ok(compared)
}

fn judge(stored: &Compared, seen: &BTreeMap<Counted, BTreeMap<u64, u64>>, failures: &mut Failures, compared: &mut Compared) {
    let judged = seen.keys().filter(|what| what.cost(0).is_some()).count().max(1);
    let alpha = Alpha(COUNTS / judged as f64 / LOOKS);
    let of = |what: Counted| stored.counts.iter().find(|count| count.what == what);
    compared.counts = seen.iter().map(|(what, values)| with_stored(of(*what), *what, values, alpha)).collect();
    let chance = fisher((failures.base, failures.of_base), (failures.candidate, failures.of_candidate));
    // Who is never answered fails, however little is known of the base but that it was answered.
    let never = failures.candidate == failures.of_candidate && failures.base < failures.of_base;
    if never || chance <= FAILURES / LOOKS {
        compared.failed.clone_from(&failures.candidate_why);
        compared.times_left_out = Some(LeftOut::CandidateFails);
    }
    failures.open = compared.failed.is_none() && failures.candidate > 0 && chance <= LIKELY;
}

/// What failed of the base, if what was stored can be one, and was asked as the candidate will be.
fn usable(stored: &Compared, now: &Conditions) -> Result<Failures, Error> {
    let refused = |why: &str| Err(Error::Stored(why.to_owned()));
    if let Some(why) = &stored.failed {
        return refused(&format!("it is a comparison whose candidate failed ({why}); give one that works"));
    }
    if stored.counts.iter().all(|count| count.candidate_values.is_empty()) {
        return refused("nothing was counted in it; write it anew with --save");
    }
    let Some((then, known)) = stored.asked.as_ref().zip(stored.failures.as_ref()) else {
        return refused(
            "it does not say how the edge was asked and how often it failed (a program of before wrote it); write it anew with --save",
        );
    };
    let is_too_many = |count: &Count| {
        let times = count.candidate_values.iter().fold(0_u64, |sum, one| sum.saturating_add(one.times));
        times > MOST || (count.what.cost(0).is_some() && count.candidate_values.len() > MOST_COSTS)
    };
    if known.candidate > known.of_candidate || known.of_candidate > MOST || stored.counts.iter().any(is_too_many) {
        return refused("its numbers of handshakes are none that a comparison comes to; write it anew with --save");
    }
    let only = |only: &Option<String>| only.clone().unwrap_or_else(|| "any version".into());
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "its own".into());
    let all = [
        ("--tls12, --tls13", only(&then.only), only(&now.only)),
        ("--resume", yes(then.resume), yes(now.resume)),
        ("--name", name(&then.name), name(&now.name)),
        ("--path", then.path.clone(), now.path.clone()),
        ("--cert", yes(then.certificate), yes(now.certificate)),
    ];
    match all.into_iter().find(|(_, then, now)| then != now) {
        Some((option, then, now)) => refused(&format!(
            "it was asked in another way ({option}: {then} then, {now} now); ask alike, or write it anew with --save"
        )),
        // The one that was stored is its candidate.
        None => Ok(Failures {
            of_base: known.of_candidate,
            base: known.candidate,
            base_why: known.candidate_why.clone(),
            ..Failures::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use records::compared::{Change, Kind, Subject, Times};

    use super::*;
    use crate::nothing_yet;

    fn asked() -> Conditions {
        Conditions { only: None, resume: false, name: None, path: "/".into(), certificate: false }
    }

    fn base() -> Compared {
        let subject = Subject { name: "edge".into(), agreed: Vec::new() };
        let values = vec![Times { value: 2, times: 12 }];
        let count = Count {
            what: Counted::RoundTrips,
            base: Some(2),
            candidate: Some(2),
            base_values: values.clone(),
            candidate_values: values,
            change: Change::Same,
        };
        let failures = Failures { of_base: 12, of_candidate: 12, candidate: 1, ..Failures::default() };
        let nothing = nothing_yet(Kind::Edges, [subject.clone(), subject], asked());
        Compared { counts: vec![count], failures: Some(failures), ..nothing }
    }

    #[test]
    fn what_is_no_base_is_refused_with_a_reason() {
        let refused = |stored: Compared, now: &Conditions| usable(&stored, now).expect_err("it is no base").to_string();
        let failures = usable(&base(), &asked()).expect("it is a base");
        assert_eq!((failures.of_base, failures.base, failures.of_candidate), (12, 1, 0));
        assert!(refused(Compared { failed: Some("tls_closed".into()), ..base() }, &asked()).contains("tls_closed"));
        assert!(refused(Compared { counts: Vec::new(), ..base() }, &asked()).contains("nothing was counted"));
        let mut null = base();
        null.counts.iter_mut().for_each(|count| {
            count.candidate_values.clear();
        });
        assert!(refused(null, &asked()).contains("nothing was counted"));
        assert!(refused(Compared { asked: None, ..base() }, &asked()).contains("--save"));
        assert!(refused(Compared { failures: None, ..base() }, &asked()).contains("--save"));
        // Numbers that somebody made up: their table would not fit into memory, or less than nothing is left.
        let failing = |candidate, of_candidate| Compared {
            failures: Some(Failures { candidate, of_candidate, ..Failures::default() }),
            ..base()
        };
        let often = |values: &[(u64, u64)]| {
            let mut made_up = base();
            made_up.counts[0].candidate_values =
                values.iter().map(|(value, times)| Times { value: *value, times: *times }).collect();
            made_up
        };
        let many: Vec<(u64, u64)> = (0..2_000).map(|value| (value, 1)).collect();
        for made_up in
            [failing(2, 1), failing(0, u64::MAX), often(&[(2, 1 << 40)]), often(&[(2, u64::MAX), (3, 1)]), often(&many)]
        {
            assert!(refused(made_up, &asked()).contains("numbers of handshakes"));
        }
        let others = [
            (Conditions { only: Some("TLS 1.2".into()), ..asked() }, "--tls12"),
            (Conditions { resume: true, ..asked() }, "--resume"),
            (Conditions { name: Some("edge.test".into()), ..asked() }, "--name"),
            (Conditions { path: "/x".into(), ..asked() }, "--path"),
            (Conditions { certificate: true, ..asked() }, "--cert"),
        ];
        for (now, option) in others {
            assert!(refused(base(), &now).contains(option), "{option}");
        }
    }
}
