//! What counts as right, by simple rules from what was done to a handshake.

use std::collections::BTreeSet;

/// Less than this may be too little to name (milliseconds).
const LITTLE: f64 = 30.0;

/// What was done to one handshake.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Done {
    ClientStall,
    ClientStop,
    ClientStarved,
    ServerStall,
    ServerStop,
    ServerStarved,
    Detour,
    Spike,
    /// One packet late, others not: its repetition may come first.
    Late,
    Reordered,
    Loss,
    /// A SYN that never came to the edge.
    LostSyn,
    Mtu,
    Fetch,
    ClientAlert,
    ServerAlert,
    Reset,
    /// Duplicates, lost acknowledgements: nobody waits.
    Nothing,
}

/// Verdicts that count as right, best first.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Words {
    pub both: Vec<String>,
    pub edge: Vec<String>,
}

impl Done {
    fn both(self) -> &'static [&'static str] {
        match self {
            Done::ClientStall => &["client-app", "client", "client-host"],
            Done::ClientStop | Done::ClientStarved => &["client-host", "client", "client-app"],
            Done::ServerStall => &["edge-app", "edge", "edge-host"],
            Done::ServerStop | Done::ServerStarved => &["edge-host", "edge", "edge-app"],
            Done::Detour => &["path-detour", "path-delay", "path"],
            Done::Spike => &["path-delay", "path", "path-detour", "path-spike"],
            Done::Late => &["path-delay", "path", "path-detour", "path-spike", "path-reorder", "path-loss"],
            Done::Reordered => &["healthy", "path-reorder", "path-delay", "path"],
            Done::Loss | Done::LostSyn => &["path-loss", "path"],
            Done::Mtu => &["path-mtu", "path-loss", "path"],
            Done::Fetch => &["client-app", "client", "client-host", "client-network-wait", "third-party"],
            Done::ClientAlert => &["client-alert", "client-abort", "client"],
            Done::ServerAlert => &["server-alert", "server-close", "server-abort", "edge"],
            Done::Reset => &["reset-by-path", "middlebox", "path"],
            Done::Nothing => &["healthy"],
        }
    }

    fn edge_more(self) -> &'static [&'static str] {
        match self {
            Done::ServerStall | Done::ServerStop | Done::ServerStarved | Done::ServerAlert | Done::Nothing => &[],
            // The edge sees a connection that begins with the repetition: nothing is wrong with that.
            Done::LostSyn => &["inconclusive", "healthy"],
            Done::Fetch => &["inconclusive"],
            // Who reset it cannot be told where the reset came from outside.
            Done::Reset => &["client-abort", "inconclusive"],
            Done::ClientStall
            | Done::ClientStop
            | Done::ClientStarved
            | Done::Detour
            | Done::Spike
            | Done::Late
            | Done::Reordered
            | Done::Loss
            | Done::Mtu
            | Done::ClientAlert => &["inconclusive"],
        }
    }

    fn side(self) -> &'static str {
        match self {
            Done::ClientStall | Done::ClientStop | Done::ClientStarved | Done::Fetch | Done::ClientAlert => "client",
            Done::ServerStall | Done::ServerStop | Done::ServerStarved | Done::ServerAlert => "edge",
            Done::Nothing | Done::Reordered => "",
            Done::Detour | Done::Spike | Done::Late | Done::Loss | Done::LostSyn | Done::Mtu | Done::Reset => "path",
        }
    }

    fn counts(self) -> bool {
        !matches!(self, Done::Nothing | Done::Reordered)
    }
}

impl Words {
    /// Two culprits are to be named.
    pub fn is_mixed(&self) -> bool {
        self.both.iter().any(|w| w.contains('+'))
    }

    /// The two went on at the same time: one of them alone is right as well.
    pub fn either(&mut self, done: &[(Done, Option<f64>)]) {
        for (part, _) in done {
            self.both.extend(owned(part.both()));
            self.edge.extend(owned(part.both()));
        }
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

/// The words for a handshake to which `done` was done, each with the milliseconds it is known to have cost.
/// Absent: nothing that anybody has to answer for.
pub fn expected(done: &[(Done, Option<f64>)]) -> Option<Words> {
    let mut parts: Vec<(Done, Option<f64>)> = done.iter().copied().filter(|(d, _)| d.counts()).collect();
    parts.sort_by_key(|p| p.0);
    parts.dedup_by_key(|p| p.0);
    let sides: BTreeSet<&str> = parts.iter().map(|(d, _)| d.side()).collect();
    let Some((first, ms)) = parts.first().copied() else {
        let reordered = done.iter().any(|(d, _)| *d == Done::Reordered);
        return reordered.then(|| Words { both: owned(Done::Reordered.both()), edge: owned(Done::Reordered.both()) });
    };
    if parts.len() == 1 || sides.len() == 1 {
        let mut both: Vec<String> = Vec::new();
        let mut edge: Vec<String> = Vec::new();
        for (part, _) in &parts {
            both.extend(owned(part.both()));
            edge.extend(owned(part.both()));
            edge.extend(owned(part.edge_more()));
        }
        if parts.len() == 1 && ms.is_some_and(|ms| ms < LITTLE) {
            both.push("healthy".into());
            edge.push("healthy".into());
        }
        for list in [&mut both, &mut edge] {
            let mut seen = BTreeSet::new();
            list.retain(|w| seen.insert(w.clone()));
        }
        let _ = first;
        return Some(Words { both, edge });
    }
    mixed(&parts)
}

fn mixed(parts: &[(Done, Option<f64>)]) -> Option<Words> {
    let (a, b) = (parts.first()?.0, parts.iter().find(|p| p.0.side() != parts[0].0.side())?.0);
    let (x, y) = (a.both().first()?, b.both().first()?);
    let pairs = [format!("{x}+{y}"), format!("{y}+{x}"), "mixed".to_owned()];
    let mut words = Words { both: pairs.to_vec(), edge: pairs.to_vec() };
    // From the edge alone its own part is sure; another's may stay open.
    let own = [a, b].into_iter().find(|d| d.side() == "edge");
    match own {
        Some(own) => words.edge.extend(owned(own.both())),
        None => {
            for part in [a, b] {
                words.edge.extend(owned(part.both()));
            }
            words.edge.push("inconclusive".into());
        }
    }
    // A part too small to be named need not be.
    for (part, ms) in parts {
        if ms.is_some_and(|ms| ms < LITTLE) {
            for other in parts.iter().filter(|p| p.0 != *part) {
                words.both.extend(owned(other.0.both()));
                words.edge.extend(owned(other.0.both()));
            }
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_act_two_acts_and_none() {
        assert_eq!(expected(&[(Done::Nothing, None)]), None);
        let stall = expected(&[(Done::ClientStall, Some(200.0))]);
        assert_eq!(stall.as_ref().map(|w| w.both[0].as_str()), Some("client-app"));
        assert!(stall.is_some_and(|w| w.edge.contains(&"inconclusive".into()) && !w.both.contains(&"healthy".into())));
        let both = expected(&[(Done::ClientStall, Some(200.0)), (Done::Loss, Some(210.0))]);
        assert_eq!(
            both.map(|w| w.both),
            Some(vec!["client-app+path-loss".into(), "path-loss+client-app".into(), "mixed".into()])
        );
        assert!(expected(&[(Done::Loss, Some(5.0))]).is_some_and(|w| w.both.contains(&"healthy".into())));
    }
}
