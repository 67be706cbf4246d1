//! Both sides, asked in turns; what is known of how often something happens.
//!
//! In: whose turn it is. Out: times, for the judge; counts and failures, added up.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use prober::reason::Reason;
use records::compared::{Count, Counted, Failures, Kind};

use crate::caller::{Caller, URL};
use crate::edge::Edge;
use crate::judge::Measured;
use crate::measure::{Client, Handshake, Whole};
use crate::shares::{Failing, Tally};
use crate::{Error, Options};

/// Between two handshakes: what the edge still does for the one before is not to be in the next one's time.
const SETTLE: Duration = Duration::from_millis(2);
/// A base that fails so often before it is answered once is no base; and so it is one that fails so often and works never in between.
const BASE_TRIES: u64 = 10;
/// One handshake has run into its time limit: the next ones get so many times the longest that was answered, …
const LONGEST: u32 = 5;
/// … but no less than this.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// One of the two, and who stands at the other end.
pub enum Side {
    /// An edge, and our client.
    Edge {
        /// The edge.
        edge: Edge,
        /// Our client.
        client: Box<Client>,
    },
    /// A client, which has an edge of ours.
    Client(Caller),
}

impl Side {
    /// What a word means.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn begin(word: &str, options: &Options) -> Result<Self, Error> {
        if word.contains(URL) {
            return Caller::begin(word, options).map(Self::Client);
        }
        let client = Client::new(&options.tls, options.stop.clone())?;
        Ok(Self::Edge { edge: Edge::begin(word, &options.asked, &options.stop)?, client: Box::new(client) })
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Edge { .. } => Kind::Edges,
            Self::Client(_) => Kind::Clients,
        }
    }

    /// As it was named.
    pub fn named(&self) -> String {
        match self {
            Self::Edge { edge, .. } => edge.named.clone(),
            Self::Client(caller) => caller.named.clone(),
        }
    }

    fn once(&self, counted: bool, timeout: Duration) -> io::Result<Handshake> {
        match self {
            Self::Edge { edge, client } if counted => client.counted(edge, timeout),
            Self::Edge { edge, client } => Ok(client.timed(edge, timeout)),
            Self::Client(caller) => caller.once(timeout),
        }
    }

    /// Which protocol an edge takes of several, if any.
    fn protocol(&self, timeout: Duration) -> Option<String> {
        match self {
            Self::Edge { edge, client } => client.protocol(edge, timeout),
            Self::Client(_) => None,
        }
    }

    /// Whether it is an edge of ours that has begun so lately that this failure may be of its start: whoever listens in its name, as what
    /// hands a container's port on, hangs up until it is there.
    fn may_be_starting(&self, why: &str) -> bool {
        let hangs_up =
            [Reason::TlsClosed, Reason::TlsReset, Reason::ConnectRefused].iter().any(|reason| why.starts_with(reason.name()));
        hangs_up && matches!(self, Self::Edge { edge, .. } if edge.is_new())
    }

    /// How its process ended, if it is an edge of ours that has.
    fn ended(&mut self) -> Option<String> {
        match self {
            Self::Edge { edge, .. } => edge.ended(),
            Self::Client(_) => None,
        }
    }
}

/// How long is waited.
struct Patience {
    most: Duration,
    longest: Duration,
    was_lost: bool,
}

impl Patience {
    /// A handshake that hangs is not waited for again and again until the budget has gone. It is the same for both.
    fn now(&self) -> Duration {
        let is_known = self.was_lost && !self.longest.is_zero();
        if is_known { self.most.min((self.longest * LONGEST).max(LEAST_PATIENCE)) } else { self.most }
    }

    /// Why a handshake failed that was given less than most are.
    fn told(&self, took: Duration, why: String) -> String {
        let given = self.now();
        if took < given || given >= self.most {
            return why;
        }
        let [given, most] = [given, self.most].map(|time| time.as_secs_f64());
        format!("{why} (given {given:.1} s, not {most} s: one before had run into its time limit)")
    }

    fn learn(&mut self, took: Duration, handshake: &Handshake) {
        match handshake {
            Handshake::Whole(_) => self.longest = self.longest.max(took),
            _ => self.was_lost |= took >= self.now(),
        }
    }
}

/// One side, asked again and again.
pub struct Asking<'a> {
    side: Side,
    options: &'a Options,
    patience: Patience,
    /// Failures since it was answered last.
    failed: u64,
    agreed: BTreeSet<String>,
    /// The protocol that it takes of several.
    protocol: Option<String>,
}

impl<'a> Asking<'a> {
    /// Begins; nobody is asked yet.
    pub fn begin(side: Side, options: &'a Options) -> Self {
        let patience = Patience { most: options.timeout, longest: Duration::ZERO, was_lost: false };
        Self { side, options, patience, failed: 0, agreed: BTreeSet::new(), protocol: None }
    }

    /// One handshake.
    ///
    /// # Errors
    /// If the host gives no resources, or somebody wants it to end.
    pub fn once(&mut self, counted: bool) -> Result<Handshake, Error> {
        self.options.stop.check()?;
        let begun = Instant::now();
        let handshake = self.side.once(counted, self.patience.now())?;
        let took = begun.elapsed();
        self.options.stop.check()?;
        let handshake = match handshake {
            Handshake::Failed(why) => Handshake::Failed(self.patience.told(took, why)),
            other => other,
        };
        self.patience.learn(took, &handshake);
        match &handshake {
            Handshake::Whole(whole) => {
                self.failed = 0;
                self.agreed.insert(whole.agreed.join(", "));
            }
            Handshake::Failed(_) => self.failed += 1,
            Handshake::Spoiled => {}
        }
        Ok(handshake)
    }

    /// The first one, until it is answered, if it ever is: a session is got, caches are filled. Else why not.
    ///
    /// # Errors
    /// As [`Asking::once`].
    pub fn first(&mut self) -> Result<Option<String>, Error> {
        let (mut last, mut tries) = (None, 0);
        while tries < BASE_TRIES {
            tries += 1;
            match self.once(true)? {
                Handshake::Whole(_) => {
                    self.protocol = self.side.protocol(self.patience.now());
                    return Ok(None);
                }
                Handshake::Failed(why) => {
                    let ended = self.side.ended();
                    if ended.is_none() && self.side.may_be_starting(&why) {
                        tries -= 1;
                        std::thread::sleep(SETTLE);
                    }
                    last = Some(ended.map_or(why, |status| format!("its process ended ({status})")));
                }
                Handshake::Spoiled => {}
            }
            if self.patience.was_lost && tries > 1 {
                break;
            }
        }
        Ok(last)
    }

    /// What was agreed on: of several, all.
    pub fn agreed(&self) -> Vec<String> {
        let all: Vec<&str> = self.agreed.iter().map(String::as_str).collect();
        let mut agreed = match all[..] {
            [] => Vec::new(),
            [one] => one.split(", ").map(str::to_owned).collect(),
            _ => vec![all.join(" or ")],
        };
        agreed.extend(self.protocol.clone());
        agreed
    }

    /// What it is called.
    pub fn named(&self) -> String {
        self.side.named()
    }
}

/// Both.
pub struct Both<'a> {
    base: Asking<'a>,
    candidate: Asking<'a>,
    tallies: BTreeMap<Counted, Tally>,
    failing: Failing,
    counted: u64,
    ended: Option<String>,
}

impl<'a> Both<'a> {
    /// Asks both for the first time.
    ///
    /// # Errors
    /// If the base does not work, or the host gives no resources.
    pub fn of(base: Side, candidate: Side, options: &'a Options) -> Result<Self, Error> {
        let (mut base, mut candidate) = (Asking::begin(base, options), Asking::begin(candidate, options));
        if let Some(why) = base.first()? {
            return Err(Error::Base { base: base.named(), why });
        }
        candidate.first()?;
        Ok(Self { base, candidate, tallies: BTreeMap::new(), failing: Failing::default(), counted: 0, ended: None })
    }

    /// Asks both in this order, `true` for the candidate; what two of each took, if all were answered.
    ///
    /// # Errors
    /// If the base does not work any more, the host gives no resources, or somebody wants it to end.
    pub fn block(&mut self, order: &[bool], counted: bool) -> Result<Option<Measured>, Error> {
        let mut whole: [Vec<Whole>; 2] = Default::default();
        let mut failed: [Vec<String>; 2] = Default::default();
        let mut spoiled = false;
        for of_candidate in order {
            std::thread::sleep(SETTLE);
            let i = usize::from(*of_candidate);
            let asking = if *of_candidate { &mut self.candidate } else { &mut self.base };
            match asking.once(counted)? {
                Handshake::Whole(one) => whole[i].push(one),
                Handshake::Spoiled => spoiled = true,
                Handshake::Failed(why) => {
                    let ended = asking.side.ended().map(|status| format!("its process ended ({status})"));
                    if *of_candidate && ended.is_some() {
                        self.ended.clone_from(&ended);
                    } else if !of_candidate && (ended.is_some() || asking.failed >= BASE_TRIES) {
                        return Err(Error::Base { base: asking.named(), why: ended.unwrap_or(why) });
                    }
                    failed[i].push(ended.unwrap_or(why));
                }
            }
            // One is lost: what the others know is shared, so that both are given the same time.
            let was_lost = self.base.patience.was_lost || self.candidate.patience.was_lost;
            let longest = self.base.patience.longest.max(self.candidate.patience.longest);
            for asking in [&mut self.base, &mut self.candidate] {
                (asking.patience.was_lost, asking.patience.longest) = (was_lost, longest);
            }
            if self.ended.is_some() {
                break;
            }
        }
        if self.ended.is_none() && !spoiled {
            self.failing.push(order.len() as u64 / 2, &failed[0], &failed[1]);
        }
        let [base, candidate] = whole;
        if spoiled || failed.iter().any(|failed| !failed.is_empty()) {
            return Ok(None);
        }
        self.tally(&base, &candidate);
        self.counted += base.len() as u64;
        let times = |all: Vec<Whole>| <[_; 2]>::try_from(all.into_iter().map(|one| one.times).collect::<Vec<_>>()).ok();
        Ok(times(base).zip(times(candidate)).map(|(base, candidate)| Measured { base, candidate }))
    }

    fn tally(&mut self, base: &[Whole], candidate: &[Whole]) {
        let kinds: BTreeSet<Counted> =
            base.iter().chain(candidate).flat_map(|one| one.counts.iter().map(|(what, _)| *what)).collect();
        for what in kinds {
            let values = |all: &[Whole]| -> Vec<u64> {
                let of = |one: &Whole| one.counts.iter().find(|(counted, _)| *counted == what).map(|(_, n)| *n);
                all.iter().filter_map(of).collect()
            };
            let tally = self.tallies.entry(what).or_insert_with(|| Tally::new(what));
            tally.push(&values(base), &values(candidate));
        }
    }

    fn judged(&self) -> usize {
        self.tallies.keys().filter(|what| what.cost(0).is_some()).count()
    }

    /// Handshakes of each that were counted.
    pub fn counted(&self) -> u64 {
        self.counted
    }

    /// Whether more handshakes may show that something happens more often.
    pub fn is_open(&self) -> bool {
        self.failing.is_open() || self.tallies.values().any(|tally| tally.is_open(self.judged()))
    }

    /// Why the candidate failed, if it does more often than the base.
    pub fn failed(&self) -> Option<String> {
        let more = || self.failing.is_more().then(|| self.failures().candidate_why.unwrap_or_default());
        self.ended.clone().or_else(more)
    }

    /// What failed.
    pub fn failures(&self) -> Failures {
        self.failing.failures()
    }

    /// What was counted.
    pub fn counts(&self) -> Vec<Count> {
        self.tallies.values().map(|tally| tally.count(self.judged())).collect()
    }

    /// What was agreed on, with each.
    pub fn agreed(&self) -> [Vec<String>; 2] {
        [self.base.agreed(), self.candidate.agreed()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_given_less_time_is_told_so() {
        let most = Duration::from_secs(10);
        let mut patience = Patience { most, longest: Duration::ZERO, was_lost: false };
        let why = || "timeout".to_owned();
        patience.learn(Duration::from_millis(300), &Handshake::Whole(Whole::default()));
        assert_eq!(patience.told(most, why()), "timeout", "it was given all of it");
        patience.learn(most, &Handshake::Failed(why()));
        let said = patience.told(Duration::from_millis(1_500), why());
        assert!(said.starts_with("timeout (given 1.5 s, not 10 s: "), "{said}");
        assert_eq!(patience.told(Duration::from_millis(20), "tls_closed".into()), "tls_closed", "that was not for want of time");
    }
}
