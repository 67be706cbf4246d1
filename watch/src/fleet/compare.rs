//! From what each vantage says of each check to what is said of the check, and of vantages themselves. Pure.
//!
//! In: for each check, whether each vantage finds it good or bad, or is not known to. Out: who sees a fault, whose fault that makes it.
//! A vantage that is not heard of, or is too sick to judge, says neither: it is in no number.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alerting::Culprit;
use alerting::event::listed;
use alerting::states::Blame;

/// With fewer vantages that all see a fault, what they share may be their own access rather than the edge.
const ENOUGH: usize = 3;

/// What a vantage says of a check.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Is {
    /// As usual.
    Good,
    /// Bad: its alert of its own is on.
    Bad(Blame),
    /// Not known: not heard of, too sick to judge, or nothing judged yet.
    Unknown {
        /// When it was last known, it was bad.
        was_bad: bool,
    },
}

/// What each vantage says of one check.
pub(crate) type Row<'a> = Vec<(&'a str, Is)>;

/// What is said of a check.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Said {
    /// Vantages that find it bad, by name.
    pub(crate) bad: Vec<String>,
    /// Vantages that find it as usual.
    pub(crate) good: usize,
    /// Vantages that are not known to find it either.
    pub(crate) unknown: usize,
    /// Those among them that found it bad when they were last known: silence ends no alert.
    pub(crate) were_bad: usize,
    /// Whose fault, if anybody finds it bad.
    pub(crate) blame: Option<Blame>,
}

/// Vantages that are bad against all their targets (two at least) while others find most of those as usual: it is their own host or access.
/// What is said of each.
pub(crate) fn own_faults(rows: &BTreeMap<&str, Row<'_>>) -> BTreeMap<String, Blame> {
    let mut targets: HashMap<&str, (usize, usize)> = HashMap::new();
    for (vantage, is) in rows.values().flatten() {
        let (good, bad) = targets.entry(vantage).or_default();
        match is {
            Is::Good => *good += 1,
            Is::Bad(_) => *bad += 1,
            Is::Unknown { .. } => {}
        }
    }
    let suspects: BTreeMap<&str, usize> = targets
        .into_iter()
        .filter(|(_, (good, bad))| *good == 0 && *bad >= 2)
        .map(|(vantage, (_, bad))| (vantage, bad))
        .collect();
    let mut fine_elsewhere: BTreeMap<&str, usize> = BTreeMap::new();
    let mut worst: BTreeMap<&str, &Blame> = BTreeMap::new();
    for row in rows.values() {
        let good = row.iter().filter(|(_, is)| *is == Is::Good).count();
        let bad = row.iter().filter(|(_, is)| matches!(is, Is::Bad(_))).count();
        for (vantage, is) in row {
            let Is::Bad(blame) = is else { continue };
            if !suspects.contains_key(vantage) {
                continue;
            }
            if worst.get(vantage).is_none_or(|w| w.ms < blame.ms) {
                worst.insert(vantage, blame);
            }
            // Itself is among the bad.
            if good > bad - 1 {
                *fine_elsewhere.entry(vantage).or_default() += 1;
            }
        }
    }
    let own = suspects.into_iter().filter_map(|(vantage, all)| {
        let fine = *fine_elsewhere.get(vantage)?;
        let worst = *worst.get(vantage)?;
        (fine * 2 > all).then(|| {
            let sentence = format!(
                "All {all} targets are bad from {vantage}, and most other vantages find {fine} of them as usual: it is its host or its access. \
                 {}",
                worst.sentence
            );
            (vantage.to_owned(), Blame { culprit: Culprit::Access, sentence, ..worst.clone() })
        })
    });
    own.collect()
}

/// What is said of a check. Vantages whose own fault it is are in no number.
pub(crate) fn judge(row: &Row<'_>, own: &BTreeSet<&str>) -> Said {
    let counted = || row.iter().filter(|(vantage, _)| !own.contains(vantage));
    let bad: Vec<(&str, &Blame)> = counted()
        .filter_map(|(vantage, is)| match is {
            Is::Bad(blame) => Some((*vantage, blame)),
            Is::Good | Is::Unknown { .. } => None,
        })
        .collect();
    let good = counted().filter(|(_, is)| *is == Is::Good).count();
    let unknown = counted().filter(|(_, is)| matches!(is, Is::Unknown { .. })).count();
    let were_bad = counted().filter(|(_, is)| *is == Is::Unknown { was_bad: true }).count();
    let names: Vec<String> = bad.iter().map(|(vantage, _)| (*vantage).to_owned()).collect();
    Said { blame: shared(&bad, &names, good), bad: names, good, unknown, were_bad }
}

/// Whose fault it is, by who sees it.
fn shared(bad: &[(&str, &Blame)], names: &[String], good: usize) -> Option<Blame> {
    let mut votes: BTreeMap<Culprit, usize> = BTreeMap::new();
    for (_, blame) in bad {
        *votes.entry(blame.culprit).or_default() += 1;
    }
    let most = votes.values().max()?;
    let leading = *votes.iter().find(|(_, n)| *n == most)?.0;
    let (vantage, worst) = bad.iter().filter(|(_, b)| b.culprit == leading).max_by(|(_, a), (_, b)| a.ms.total_cmp(&b.ms))?;
    let known = bad.len() + good;
    let (culprit, sentence) = match leading {
        // One alone: nothing to compare with.
        _ if known == 1 => (leading, worst.sentence.clone()),
        Culprit::Path | Culprit::Loss | Culprit::Access | Culprit::Inconclusive if good == 0 && known >= ENOUGH => {
            let said =
                format!("All {known} vantages see it: it is the edge, or what is next to it. From {vantage}: {}", worst.sentence);
            (Culprit::Edge, said)
        }
        _ if good == 0 => (leading, format!("All {known} vantages see it. From {vantage}: {}", worst.sentence)),
        _ => {
            // Who cannot be told from one end is not the edge as such if others are answered as usual.
            let culprit = if leading == Culprit::Inconclusive { Culprit::Path } else { leading };
            let where_else = match culprit {
                Culprit::Path | Culprit::Loss => "it is their path",
                Culprit::Edge | Culprit::Certificate => "it is the site of the edge that they reach, or their path",
                Culprit::Resolver | Culprit::Protocol | Culprit::Access | Culprit::Prober | Culprit::Inconclusive => {
                    "it is on their side"
                }
            };
            let said = format!(
                "Seen from {} alone, {} of {known} vantages: {where_else}. From {vantage}: {}",
                listed(names),
                bad.len(),
                worst.sentence
            );
            (culprit, said)
        }
    };
    Some(Blame { culprit, sentence, ..(*worst).clone() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use alerting::Family;

    use super::*;

    const VANTAGES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

    fn blame(culprit: Culprit) -> Blame {
        Blame {
            culprit,
            family: Family::Slow,
            phase: "connect".into(),
            words: String::new(),
            ms: 80.0,
            sentence: "80 ms more.".into(),
            pattern: None,
        }
    }

    /// A letter for each vantage: `.` good, `?` unknown, `!` unknown and bad before, else who is blamed.
    fn row(letters: &str) -> Row<'static> {
        let is = |letter: char| match letter {
            '.' => Is::Good,
            '?' => Is::Unknown { was_bad: false },
            '!' => Is::Unknown { was_bad: true },
            'p' => Is::Bad(blame(Culprit::Path)),
            'e' => Is::Bad(blame(Culprit::Edge)),
            'i' => Is::Bad(blame(Culprit::Inconclusive)),
            'x' => Is::Bad(blame(Culprit::Access)),
            other => panic!("{other}"),
        };
        VANTAGES.into_iter().zip(letters.chars().map(is)).collect()
    }

    fn said(letters: &str) -> Said {
        judge(&row(letters), &BTreeSet::new())
    }

    fn culprit(letters: &str) -> Option<Culprit> {
        said(letters).blame.map(|blame| blame.culprit)
    }

    fn own(rows: &[&str]) -> Vec<String> {
        let names: Vec<String> = (0..rows.len()).map(|n| format!("check {n}")).collect();
        let rows = names.iter().map(String::as_str).zip(rows.iter().map(|letters| row(letters))).collect();
        own_faults(&rows).into_keys().collect()
    }

    #[test]
    fn a_path_of_some_an_edge_of_all() {
        assert_eq!(culprit("......"), None);
        assert_eq!(culprit(".p.p.."), Some(Culprit::Path));
        assert_eq!(culprit("pppppp"), Some(Culprit::Edge), "what all have in common");
        assert_eq!(culprit("pp????"), Some(Culprit::Path), "two may share an access");
        assert_eq!(culprit("eeeee."), Some(Culprit::Edge));
        assert_eq!(culprit("i....."), Some(Culprit::Path), "others are answered as usual");
        assert_eq!(culprit("i?????"), Some(Culprit::Inconclusive), "nobody to compare with");
        assert_eq!(culprit("xxx???"), Some(Culprit::Edge));
        assert_eq!(culprit("ppe..."), Some(Culprit::Path), "what most say");
    }

    #[test]
    fn who_sees_it_is_named_and_who_is_not_heard_of_counts_nowhere() {
        let said = said(".p?p!.");
        assert_eq!((said.bad.join(" "), said.good, said.unknown, said.were_bad), ("b d".into(), 2, 2, 1));
        let sentence = said.blame.expect("it is bad").sentence;
        assert!(sentence.contains("Seen from b and d alone, 2 of 4 vantages: it is their path"), "{sentence}");
    }

    #[test]
    fn who_is_bad_everywhere_while_others_are_well_is_at_fault_itself() {
        assert_eq!(own(&["p.....", "p.....", "e....."]), ["a"]);
        assert_eq!(own(&["p.....", "......", "p....."]), [""; 0], "one target is as usual");
        assert_eq!(own(&["p....."]), [""; 0], "one target is no other to compare with");
        assert_eq!(own(&["pppppp", "eeeeee"]), [""; 0], "two edges that fail for all");
        assert_eq!(own(&["pp....", "pp...."]), ["a", "b"]);
        assert_eq!(own(&["p?????", "p?????"]), [""; 0], "nobody else is heard of");
        assert_eq!(own(&["p.....", "p.....", "pppppp"]), ["a"], "and one of three fails for all");
    }

    #[test]
    fn whose_own_fault_it_is_counts_nowhere() {
        let said = judge(&row("p.p..."), &BTreeSet::from(["a"]));
        assert_eq!((said.bad.join(" "), said.good), ("c".into(), 4));
    }

    proptest! {
        /// Whoever is silent can neither make an alert nor end one.
        #[test]
        fn silence_changes_no_number_but_its_own(letters in "[.pei]{6}", silent in 0usize..6) {
            let before = said(&letters);
            let mut quiet: Vec<char> = letters.chars().collect();
            let was_bad = quiet[silent] != '.';
            quiet[silent] = if was_bad { '!' } else { '?' };
            let after = said(&quiet.into_iter().collect::<String>());
            prop_assert_eq!(after.bad.len() + after.were_bad, before.bad.len());
            prop_assert!(after.bad.len() <= before.bad.len() && after.good <= before.good);
            prop_assert_eq!(after.bad.is_empty(), after.blame.is_none());
        }

        /// A vantage is never at fault where all others say the same as it.
        #[test]
        fn what_all_see_is_nobodys_own_fault(checks in 2usize..5) {
            let rows = vec!["pppppp"; checks];
            prop_assert!(own(&rows).is_empty());
        }
    }
}
