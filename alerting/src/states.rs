//! From rounds to alerts: `k` of `n`, hysteresis, flap damping, maintenance.
//!
//! Pure. A round that the gate keeps out changes nothing. An alert whose culprit changes stays the same alert with another text: the
//! key is check and vantage, never the culprit. Where a receiver's labels have the culprit, it hears that the alert of before is over.

use std::collections::VecDeque;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::UnixSeconds;
use crate::culprit::Culprit;
use crate::family::Family;
use crate::pattern::Pattern;

/// In which alerts that come again count as flapping.
const FLAP_WINDOW: Duration = Duration::from_secs(3_600);
/// An alert that flaps must be good for at most so many times as long.
const MOST_PATIENCE: u32 = 8;
/// What comes again is over when it was missed so often in a row: by chance that happens to one in twenty of those that have no order.
const MISSED: u32 = 3;

/// `k` of the last `n` rounds.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct KofN {
    /// Bad rounds needed …
    pub k: u32,
    /// … among this many last rounds.
    pub n: u32,
}

/// What a round says, for alerting.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Blame {
    /// Whose fault.
    pub culprit: Culprit,
    /// What kind of trouble it is.
    #[serde(default)]
    pub family: Family,
    /// Which phase most of it was in, or the reason of a failure: its label.
    pub phase: String,
    /// The same in words for people; empty in records of before there were any.
    #[serde(default)]
    pub words: String,
    /// How much beyond the baseline, in milliseconds; 0 where something failed rather than took long.
    pub ms: f64,
    /// The evidence, in one sentence.
    pub sentence: String,
    /// What the rounds of the check show together; such a round alerts by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
}

impl Blame {
    /// The phase or the reason, in words for people.
    pub fn in_words(&self) -> String {
        if self.words.is_empty() { self.phase.replace('_', " ") } else { self.words.clone() }
    }

    /// What is wrong, in words for people.
    pub const fn trouble(&self) -> &'static str {
        match (self.culprit, self.family) {
            (Culprit::Edge, Family::Slow) => "the edge is slow",
            (Culprit::Edge, Family::Failing) => "the edge fails",
            (Culprit::Resolver, Family::Slow) => "name lookups are slow",
            (Culprit::Resolver, Family::Failing) => "name lookups fail",
            (culprit, _) => culprit.words(),
        }
    }

    /// Whether both are told by the same alert: the same family, and the same culprit.
    pub fn same_alert(&self, other: &Self) -> bool {
        (self.culprit, self.family) == (other.culprit, other.family)
    }

    /// Whether it says more than `other`, of the same alert: it is worse, or has a pattern that tells more.
    fn says_more(&self, other: &Self) -> bool {
        let kind = |blame: &Self| blame.pattern.map(|p| p.kind);
        self.same_alert(other) && (self.ms > other.ms || kind(self) > kind(other))
    }
}

/// An alert that is on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Active {
    /// Since when (the first bad round): wall clock, seconds since the Unix epoch.
    pub since: UnixSeconds,
    /// What is wrong, as last said.
    pub blame: Blame,
    /// Whether receivers were told: not in maintenance.
    pub told: bool,
    /// Rounds since then, and bad ones among them: the impact.
    pub rounds: u32,
    /// Bad rounds.
    pub bad: u32,
}

/// The state of a check.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct State {
    /// The last rounds, oldest first: when (wall clock, seconds since the Unix epoch), and what was wrong.
    recent: VecDeque<(UnixSeconds, Option<Blame>)>,
    /// The alert, if one is on.
    pub active: Option<Active>,
    /// Good rounds in a row.
    good: u32,
    /// When alerts began lately, on the same clock.
    fired: VecDeque<UnixSeconds>,
    /// Rounds since maintenance: of those before, nobody is told.
    #[serde(default = "always")]
    awake: u32,
    /// From where receivers know the alert that is on: its key has it, whatever the place is called by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vantage: Option<String>,
}

/// Before there was a count, no maintenance was known to have been.
fn always() -> u32 {
    u32::MAX
}

/// What receivers should hear.
#[derive(Clone, PartialEq, Debug)]
pub enum Transition {
    /// It began.
    Fire(Active),
    /// Another culprit now, or another family; and what it was before.
    Change(Active, Blame),
    /// It is over, since then.
    Resolve(Active, UnixSeconds),
}

impl Transition {
    /// The alert that it is about, and since when that is over.
    #[must_use]
    pub fn into_parts(self) -> (Active, Option<UnixSeconds>) {
        match self {
            Transition::Fire(active) | Transition::Change(active, _) => (active, None),
            Transition::Resolve(active, over) => (active, Some(over)),
        }
    }

    /// What the alert was about before, if that is another thing now.
    pub fn before(&self) -> Option<&Blame> {
        match self {
            Transition::Change(_, before) => Some(before),
            Transition::Fire(_) | Transition::Resolve(..) => None,
        }
    }

    /// What happened, in a word.
    pub fn word(&self) -> &'static str {
        match self {
            Transition::Fire(_) => "firing",
            Transition::Change(..) => "changed",
            Transition::Resolve(..) => "resolved",
        }
    }
}

/// How a check alerts.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Alert when.
    pub fire: KofN,
    /// Over after so many good rounds.
    pub resolve_after: u32,
}

impl State {
    /// Takes a round that passed the gate; gives what to tell. `resting`: in maintenance nobody is told, and behind it of what was bad then
    /// only once it is as bad again.
    ///
    /// ```
    /// use whostalled_alerting::clock::UnixSeconds;
    /// use whostalled_alerting::states::{Blame, KofN, Rule, State, Transition};
    /// use whostalled_alerting::{Culprit, Family};
    ///
    /// let (phase, words) = ("server_flight".into(), "ClientHello to server flight".into());
    /// let slow = Blame { culprit: Culprit::Edge, family: Family::Slow, phase, words, ms: 312.0, sentence: "The edge took 312 ms.".into(), pattern: None };
    /// let rule = Rule { fire: KofN { k: 2, n: 3 }, resolve_after: 3 };
    /// let mut state = State::default();
    /// assert_eq!(state.round(UnixSeconds::from_secs(0), Some(slow.clone()), rule, false), None);
    /// assert!(matches!(state.round(UnixSeconds::from_secs(30), Some(slow), rule, false), Some(Transition::Fire(_))));
    /// ```
    pub fn round(&mut self, at: UnixSeconds, blame: Option<Blame>, rule: Rule, resting: bool) -> Option<Transition> {
        self.good = if blame.is_some() { 0 } else { self.good + 1 };
        self.awake = if resting { 0 } else { self.awake.saturating_add(1) };
        self.recent.push_back((at, blame.clone()));
        while self.recent.len() > rule.fire.n as usize {
            self.recent.pop_front();
        }
        // A time that lies ahead is one of a clock that was set back since.
        self.fired.retain(|t| at.since(*t) <= FLAP_WINDOW && t.since(at) <= FLAP_WINDOW);
        let patience = rule.resolve_after.saturating_mul((self.fired.len() as u32).clamp(1, MOST_PATIENCE));
        let gap = self.active.as_ref().and_then(|active| active.blame.pattern).map_or(0, |pattern| pattern.gap);
        let patience = patience.max(MISSED.saturating_mul(gap));
        let tells = !resting && self.is_bad_awake(rule);
        match &mut self.active {
            None => self.begin(at, rule, tells),
            Some(active) => {
                active.rounds = active.rounds.saturating_add(1);
                active.bad += u32::from(blame.is_some());
                if let Some(worse) = blame.filter(|b| b.says_more(&active.blame)) {
                    active.blame = worse;
                }
                if self.good >= patience {
                    let active = self.active.take()?;
                    let over = self.recent.iter().rev().take(self.good as usize).map(|(at, _)| *at).next_back().unwrap_or(at);
                    self.recent.clear();
                    return active.told.then_some(Transition::Resolve(active, over));
                }
                if tells && !active.told {
                    active.told = true;
                    return Some(Transition::Fire(active.clone()));
                }
                self.changed(rule)
            }
        }
    }

    /// Whether nothing was wrong lately and no alert is on.
    pub fn quiet(&self) -> bool {
        self.active.is_none() && self.recent.iter().all(|(_, blame)| blame.is_none()) && self.fired.is_empty()
    }

    /// The last rounds, latest first, but for those up to maintenance.
    fn awake(&self) -> impl DoubleEndedIterator<Item = &Option<Blame>> {
        self.recent.iter().rev().take(self.awake as usize).map(|(_, blame)| blame)
    }

    /// Whether the last round was bad, and `k` of the last `n`, all behind maintenance; or it shows a pattern.
    fn is_bad_awake(&self, rule: Rule) -> bool {
        let last = self.recent.back().and_then(|(_, blame)| blame.as_ref());
        last.is_some_and(|b| b.pattern.is_some() || self.awake().flatten().count() >= rule.fire.k as usize)
    }

    fn begin(&mut self, at: UnixSeconds, rule: Rule, tells: bool) -> Option<Transition> {
        let bad: Vec<&(UnixSeconds, Option<Blame>)> = self.recent.iter().filter(|(_, blame)| blame.is_some()).collect();
        let patterned = self.recent.back().and_then(|(_, blame)| blame.as_ref()).filter(|blame| blame.pattern.is_some());
        let blame = match patterned {
            Some(blame) => blame.clone(),
            None if bad.len() < rule.fire.k as usize => return None,
            None => Self::leading(self.recent.iter().rev().map(|(_, blame)| blame))?,
        };
        let since = bad.first().map_or(at, |(at, _)| *at);
        let (rounds, bad) = (self.recent.len() as u32, bad.len() as u32);
        let active = Active { since, blame, told: tells, rounds, bad };
        self.active = Some(active.clone());
        self.fired.push_back(at);
        tells.then_some(Transition::Fire(active))
    }

    /// Another culprit, or another family, in `k` of the last `n` rounds; none of those up to maintenance.
    fn changed(&mut self, rule: Rule) -> Option<Transition> {
        let leading = Self::leading(self.awake())?;
        let times = self.awake().flatten().filter(|b| b.same_alert(&leading)).count();
        let active = self.active.as_mut()?;
        if leading.same_alert(&active.blame) || times < rule.fire.k as usize || !active.told {
            return None;
        }
        let before = std::mem::replace(&mut active.blame, leading);
        Some(Transition::Change(active.clone(), before))
    }

    /// The latest word on whoever is blamed most often, of rounds that come latest first.
    fn leading<'a>(rounds: impl Iterator<Item = &'a Option<Blame>>) -> Option<Blame> {
        let blames: Vec<&Blame> = rounds.flatten().collect();
        let votes = |blame: &Blame| blames.iter().filter(|b| b.same_alert(blame)).count();
        blames.iter().max_by_key(|b| votes(b)).map(|most| {
            let said = blames.iter().rev().filter(|b| b.same_alert(most));
            (**said.max_by(|a, b| a.ms.total_cmp(&b.ms)).unwrap_or(most)).clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::PatternKind;
    use proptest::prelude::*;

    const RULE: Rule = Rule { fire: KofN { k: 3, n: 5 }, resolve_after: 2 };

    fn blame(culprit: Culprit) -> Option<Blame> {
        let (phase, words) = ("server_flight".into(), String::new());
        Some(Blame { culprit, family: Family::Slow, phase, words, ms: 200.0, sentence: String::new(), pattern: None })
    }

    fn second(at: i64) -> UnixSeconds {
        UnixSeconds::from_secs(at)
    }

    fn play(state: &mut State, start: i64, rounds: &str) -> Vec<(i64, String)> {
        let mut said = Vec::new();
        for (i, c) in rounds.chars().enumerate() {
            let blame = match c {
                'e' => blame(Culprit::Edge),
                'p' => blame(Culprit::Path),
                _ => None,
            };
            let at = start + i as i64;
            said.extend(state.round(second(at), blame, RULE, false).map(|t| match t {
                Transition::Fire(a) => (at, format!("fire {} since {}", a.blame.culprit, a.since.secs())),
                Transition::Change(a, before) => (at, format!("change {} from {}", a.blame.culprit, before.culprit)),
                Transition::Resolve(_, over) => (at, format!("resolve {}", over.secs())),
            }));
        }
        said
    }

    #[test]
    fn three_of_five_fire_and_two_good_ones_end_it() {
        let said = play(&mut State::default(), 0, ".e.ee..");
        assert_eq!(said, [(4, "fire edge since 1".into()), (6, "resolve 5".into())]);
        assert!(play(&mut State::default(), 0, "e..e..e..e..").is_empty(), "one of three is no three of five");
    }

    #[test]
    fn another_culprit_is_the_same_alert_with_another_text() {
        let said = play(&mut State::default(), 0, "eeepppp..");
        assert_eq!(said[0].1, "fire edge since 0");
        assert_eq!(said[1].1, "change path from edge");
        assert_eq!(said.len(), 3);
    }

    #[test]
    fn a_pattern_alerts_by_itself_and_is_over_when_it_was_missed_three_times() {
        let every_fourth = Pattern { kind: PatternKind::EveryNth, gap: 4 };
        let fails = |pattern| blame(Culprit::Edge).map(|b| Blame { pattern, ms: 0.0, ..b });
        let mut state = State::default();
        assert_eq!(state.round(second(0), fails(None), RULE, false), None, "one of five");
        for at in 1..4 {
            assert_eq!(state.round(second(at), None, RULE, false), None);
        }
        let fired = state.round(second(4), fails(Some(every_fourth)), RULE, false);
        assert!(
            matches!(fired, Some(Transition::Fire(a)) if a.blame.pattern == Some(every_fourth)),
            "two of five, and a pattern"
        );
        let good: Vec<i64> = (5..20).filter(|at| state.round(second(*at), None, RULE, false).is_some()).collect();
        assert_eq!(good, [16], "twelve good rounds in a row, and no two");
    }

    #[test]
    fn flapping_asks_for_more_patience_each_time() {
        let mut state = State::default();
        let said = play(&mut state, 0, &"eee..".repeat(6));
        let fires = said.iter().filter(|(_, s)| s.starts_with("fire")).count();
        assert_eq!(fires, 2, "after the second it waits for more than six rounds show: {said:?}");
    }

    #[test]
    fn in_maintenance_nobody_is_told_until_it_ends() {
        let mut state = State::default();
        for at in 0..6 {
            assert_eq!(state.round(second(at), blame(Culprit::Edge), RULE, true), None);
        }
        for at in 6..8 {
            assert_eq!(state.round(second(at), blame(Culprit::Edge), RULE, false), None, "it may be getting well");
        }
        assert!(
            matches!(state.round(second(8), blame(Culprit::Edge), RULE, false), Some(Transition::Fire(a)) if a.since == second(0)),
            "since the first bad round, maintenance or not"
        );
        let mut quiet = State::default();
        for at in 0..4 {
            quiet.round(second(at), blame(Culprit::Edge), RULE, true);
        }
        assert!(
            (4..9).all(|at| quiet.round(second(at), None, RULE, true).is_none()),
            "what nobody heard of need not be called over"
        );
    }

    #[test]
    fn what_was_bad_in_maintenance_alone_is_told_to_nobody_behind_it() {
        // `r`: bad, in maintenance.
        for rounds in ["rrrr....", "rrrre....", "rr.rree...", "rre.e.....", "rrr.e.e..."] {
            let mut state = State::default();
            let said: Vec<Transition> = (0..)
                .zip(rounds.chars())
                .filter_map(|(at, c)| {
                    let blamed = if c == '.' { None } else { blame(Culprit::Edge) };
                    state.round(second(at), blamed, RULE, c == 'r')
                })
                .collect();
            assert_eq!(said, [], "{rounds}");
            assert!(state.active.is_none(), "{rounds}: and it ends");
        }
    }

    #[test]
    fn in_maintenance_an_alert_that_is_on_does_not_become_another_and_behind_it_only_by_what_comes_then() {
        let mut state = State::default();
        for at in 0..3 {
            state.round(second(at), blame(Culprit::Edge), RULE, false);
        }
        for at in 3..9 {
            assert_eq!(state.round(second(at), blame(Culprit::Path), RULE, true), None);
        }
        assert_eq!(state.round(second(9), None, RULE, false), None);
        assert!(
            matches!(state.round(second(10), None, RULE, false), Some(Transition::Resolve(a, _)) if a.blame.culprit == Culprit::Edge)
        );
    }

    #[test]
    fn patience_without_bound_is_patience_and_not_none() {
        let rule = Rule { resolve_after: u32::MAX / 4, ..RULE };
        // Flaps do not happen with it; what was kept of others may be there.
        let mut state = State { fired: (0..7).map(second).collect(), ..State::default() };
        let said =
            (0..40).filter_map(|at| state.round(second(at), (at < 3).then(|| blame(Culprit::Edge)).flatten(), rule, false));
        assert_eq!(said.count(), 1, "it begins, and does not end");
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_flap() {
        let mut state = State::default();
        let hours = 3_600 * 5;
        play(&mut state, hours, &"eee..".repeat(3));
        let said = play(&mut state, 0, "eee..");
        assert_eq!(said.last().map(|(_, s)| s.starts_with("resolve")), Some(true), "as patient as with the first: {said:?}");
    }

    proptest! {
        /// Fire and resolve take turns, whatever comes.
        #[test]
        fn every_alert_is_resolved_before_the_next(rounds in "[.ep]{0,200}") {
            let mut on = false;
            for (_, said) in play(&mut State::default(), 0, &rounds) {
                match said.split(' ').next() {
                    Some("fire") => { prop_assert!(!on); on = true; }
                    Some("resolve") => { prop_assert!(on); on = false; }
                    _ => prop_assert!(on),
                }
            }
        }
    }
}
