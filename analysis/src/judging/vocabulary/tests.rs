//! The tables: nothing is forgotten, labels are what serde writes, and `docs/verdicts.md` says the same.

use std::collections::BTreeSet;

use enumset::EnumSet;
use serde::Serialize;

use super::*;

const DOCS: &str = include_str!("../../../../docs/verdicts.md");

fn written<T: Serialize>(value: &T) -> String {
    let json = serde_json::to_string(value).expect("a unit variant serialises");
    json.trim_matches('"').to_owned()
}

#[test]
fn labels_are_what_serde_writes_and_reads() {
    for owner in EnumSet::<Owner>::all() {
        assert_eq!((written(&owner).as_str(), owner.label().parse()), (owner.label(), Ok(owner)));
    }
    for kind in Kind::ALL {
        assert_eq!((written(kind).as_str(), kind.label().parse()), (kind.label(), Ok(*kind)));
    }
    for phase in Phase::ALL {
        assert_eq!((written(phase).as_str(), phase.label().parse()), (phase.label(), Ok(*phase)));
    }
    for missing in EnumSet::<Missing>::all() {
        assert_eq!(written(&missing), missing.label());
    }
}

#[test]
fn no_two_rows_have_the_same_words() {
    fn distinct(words: impl Iterator<Item = &'static str>) {
        let words: Vec<&str> = words.collect();
        let set: BTreeSet<&str> = words.iter().copied().filter(|w| !w.is_empty()).collect();
        assert_eq!(set.len(), words.len(), "{words:?}");
    }
    distinct(EnumSet::<Owner>::all().iter().map(Owner::words));
    distinct(Kind::ALL.iter().map(|k| k.words()));
    distinct(Phase::ALL.iter().map(|p| p.words()));
    distinct(EnumSet::<Missing>::all().iter().map(Missing::words));
}

#[test]
fn each_kind_has_owners_and_says_nothing_of_others() {
    for kind in Kind::ALL {
        assert!(!kind.owners().is_empty() && !kind.owners().contains(Owner::Unattributed), "{kind:?}");
        let sides: EnumSet<Owner> = kind.owners().iter().map(Owner::side).collect();
        for owner in EnumSet::<Owner>::all() {
            match kind.clause(owner) {
                Clause::Nothing => {}
                Clause::Doing(_) => {
                    assert!(sides.contains(owner.side()) && matches!(owner.side(), Owner::Client | Owner::Edge), "{kind:?}");
                }
                Clause::Whole(text) => assert!(sides.contains(owner.side()) && text.contains("{span}"), "{kind:?}"),
            }
        }
    }
}

#[test]
fn sides_are_their_own() {
    for owner in EnumSet::<Owner>::all() {
        assert_eq!(owner.side().side(), owner.side());
        assert!(owner.label().starts_with(owner.side().label()), "{owner:?}");
    }
}

#[test]
fn what_no_owner_can_have_is_refused_with_what_could_be_meant() {
    for known in ["client_host/cpu_starved", "path/detour + client", "client/asleep", "edge/zero_window", "protocol", "aborted"] {
        assert_eq!(Label::check(known), Ok(()), "{known}");
    }
    let wrong = |text: &str| Label::check(text).expect_err(text).to_string();
    assert_eq!(
        wrong("path/asleep"),
        "path is never \"asleep\", which client_app, edge_app may have; path may have detour, delay, mtu_blackhole, receive_window"
    );
    assert!(wrong("client_app/cpu_starved").contains("which client_host, edge_host may have"));
    assert!(wrong("clinet").starts_with("\"clinet\" is no owner; owners are resolver, client_app,"));
    assert_eq!(wrong("loss/bakc"), "\"bakc\" is no kind; loss may have out, back");
    assert_eq!(wrong("unattributed/delay + path").split(';').next_back(), Some(" unattributed has no kinds"));
    // No verdict has three culprits, and none is healthy beside one.
    assert!(wrong("path + loss + edge").contains("\"loss + edge\" is no owner"));
    assert!(wrong("healthy + path").contains("\"healthy\" is no owner"));
    assert!(wrong("").contains("is no owner"));
}

/// The rows of the table under a heading: their cells.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = DOCS.split_once(&format!("## {heading}\n")).expect("the heading is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_documented_owners_and_kinds_are_the_tables() {
    let (mut documented, mut owner) = (BTreeSet::new(), "");
    for row in table("Owners") {
        owner = quoted(row[0]).first().copied().unwrap_or(owner);
        documented.extend(quoted(row[1]).into_iter().map(|kind| (owner, kind)));
        documented.insert((owner, ""));
    }
    let all = EnumSet::<Owner>::all() - Owner::Unattributed;
    let bare = all.iter().map(|owner| (owner.label(), ""));
    let of_kinds = Kind::ALL.iter().flat_map(|kind| kind.owners().iter().map(|owner| (owner.label(), kind.label())));
    let ours: BTreeSet<(&str, &str)> = bare.chain(of_kinds).collect();
    assert_eq!(documented, ours);
}

#[test]
fn the_documented_phases_and_questions_are_the_tables() {
    let (_, phases) = DOCS.split_once("## Phases\n").expect("the heading is there");
    let phases = phases.split("\n## ").next().unwrap_or_default();
    assert_eq!(quoted(phases), Phase::ALL.iter().map(|p| p.label()).collect::<Vec<_>>());
    let documented: BTreeSet<&str> = table("Inconclusive").iter().flat_map(|row| quoted(row[0])).collect();
    assert_eq!(documented, EnumSet::<Missing>::all().iter().map(Missing::label).collect());
}

#[test]
fn a_verdict_is_shown_in_words_and_no_label_is_left() {
    for (label, words) in [
        ("healthy", "healthy"),
        ("inconclusive", "inconclusive"),
        ("edge_app + client_app", "edge app and client app"),
        ("aborted/edge", "ended by the edge"),
        ("long_path", "long path"),
    ] {
        assert_eq!(in_words(label), words);
    }
    for kind in Kind::ALL {
        for owner in kind.owners() {
            let label = Label { owner, kind: Some(*kind) };
            assert_eq!(in_words(&label.to_string()), format!("{}, {}", owner.words(), kind.words()));
        }
    }
}
