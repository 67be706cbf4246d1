//! Times of the last minutes, until they go into the hourly histograms.

use std::collections::HashMap;

use crate::clock::UnixHour;
use crate::store::{RoundRecord, Times};

/// Milliseconds by check and hour, and by what took them.
#[derive(Default)]
pub(crate) struct Trends(HashMap<(String, UnixHour), HashMap<String, Vec<f32>>>);

impl Trends {
    /// Notes a round and its phases.
    pub fn note(&mut self, round: &RoundRecord) {
        let of_check = self.0.entry((round.name.clone(), UnixHour::of(round.started))).or_default();
        let mut add = |what: &str, ms: f64| match of_check.get_mut(what) {
            Some(values) => values.push(ms as f32),
            None => {
                of_check.insert(what.to_owned(), vec![ms as f32]);
            }
        };
        add("total", round.total_ms);
        let mut phases: Vec<(&str, f64)> = Vec::new();
        for (phase, _, ms) in &round.parts {
            match phases.iter_mut().find(|(p, _)| p == phase) {
                Some((_, sum)) => *sum += ms,
                None => phases.push((phase, *ms)),
            }
        }
        phases.into_iter().for_each(|(phase, ms)| add(phase, ms));
    }

    /// Gives all of them away.
    pub fn take(&mut self) -> Vec<Times> {
        let all = std::mem::take(&mut self.0).into_iter();
        let flat = all.flat_map(|((name, hour), whats)| {
            whats.into_iter().map(move |(what, ms)| Times { name: name.clone(), hour, what, ms })
        });
        flat.collect()
    }
}
