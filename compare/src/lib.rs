//! Two edges, or two builds of a client, compared: what a change costs, by counts, and what it costs in time, by owner.
//!
//! ```text
//! edge (a URL, or a command) ─┬─ relay ─► counts ──┬─► pairs A B ──┬─► shares ─► Count, Failures    how often: see `shares`
//!                             └─ measure ─┐        │               │
//! client (a command) ── caller ◄► answering ───────┴─► blocks A B B A ─► judge ─► Difference       how long: see `evidence`
//! ```
//! In: two words, and how long it may take. Out: [`Compared`]. Whether A or B begins a block is drawn by chance: then each difference
//! is as likely above the median as below it, however the machine is used meanwhile, and whatever comes of going first.
#![forbid(unsafe_code)]

mod answering;
mod both;
mod caller;
pub mod costs;
mod counts;
pub mod edge;
mod evidence;
pub mod judge;
mod machine;
mod measure;
pub mod processes;
mod relay;
mod shares;
mod stored;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use prober::tls::{Only, TlsOptions};
use records::FORMAT;
use records::compared::{Change, Compared, Conditions, Found, Kind, LeftOut, Outcome, Subject};

use both::{Both, Side};
use edge::Asked;
use judge::{Judge, Sizes};
pub use machine::fingerprint;
pub use stored::compare_with_stored;

/// Handshakes of each that are counted, at least: of what happens to one in five, hardly ever none is among them.
const COUNTED: u64 = 12;
/// The same where timed handshakes will not add to them: a stored base is to say how often.
const COUNTED_ALONE: u64 = 48;
/// And at most, while it is not clear whether a count got worse, …
const MOST_COUNTED: u64 = 200;
/// … or until so much time has passed.
const COUNTING: Duration = Duration::from_secs(30);

/// Why nothing can be compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a URL nor a command.
    #[error(
        "{word:?} is neither an edge nor a client: give a URL (https://…), a command with {{port}} where the port goes that it is to \
         listen on, or a client's command with {{url}} where the address goes that it is to ask"
    )]
    NoEdge {
        /// What was given.
        word: String,
    },
    /// An edge and a client.
    #[error("one of the two is an edge and one a client ({{url}} in its command): compare what is alike")]
    Unlike,
    /// A URL that cannot be used.
    #[error("{url}: {why}")]
    Url {
        /// The URL.
        url: String,
        /// Why.
        why: String,
    },
    /// A command that gives no edge.
    #[error("{command}: {why}")]
    Start {
        /// The command.
        command: String,
        /// Why.
        why: String,
    },
    /// The base does not work: there is nothing to compare with.
    #[error("the base fails: {why} ({base}); compare needs one that works")]
    Base {
        /// The base.
        base: String,
        /// Why.
        why: String,
    },
    /// A stored base that cannot be compared with.
    #[error("the stored base: {0}")]
    Stored(String),
    /// Somebody wants it to end.
    #[error("stopped")]
    Stopped,
    /// The host gives no resources.
    #[error("this host: {0}")]
    Host(#[from] io::Error),
}

/// How to compare.
#[derive(Clone, Debug)]
pub struct Options {
    /// How to speak TLS.
    pub tls: TlsOptions,
    /// Names and paths.
    pub asked: Asked,
    /// How long times may be compared; zero: counts alone.
    pub budget: Duration,
    /// A handshake may take so long.
    pub timeout: Duration,
    /// What is worth a word.
    pub sizes: Sizes,
    /// Set if it is to end before it is clear.
    pub stop: Stop,
}

impl Options {
    fn conditions(&self) -> Conditions {
        let only = self.tls.only.map(|only| match only {
            Only::Tls12 => "TLS 1.2".to_owned(),
            Only::Tls13 => "TLS 1.3".to_owned(),
        });
        Conditions {
            only,
            resume: self.tls.resume,
            name: self.asked.name.clone(),
            path: self.asked.path.clone(),
            certificate: self.tls.certificate.is_some(),
        }
    }
}

/// Whether somebody wants it all to end: what was started is stopped then.
#[derive(Clone, Default, Debug)]
pub struct Stop(pub Arc<AtomicBool>);

impl Stop {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn check(&self) -> Result<(), Error> {
        if self.is_set() { Err(Error::Stopped) } else { Ok(()) }
    }
}

/// How far it has come, for whoever watches.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Blocks so far.
    pub blocks: usize,
    /// Time so far.
    pub elapsed: Duration,
    /// Parts that are still open.
    pub open: usize,
}

/// Compares two edges, or two clients.
///
/// # Errors
/// If one cannot be had, or the base does not work.
pub fn compare(base: &str, candidate: &str, options: &Options, mut watch: impl FnMut(Progress)) -> Result<Compared, Error> {
    let base = Side::begin(base, options)?;
    let candidate = Side::begin(candidate, options)?;
    if base.kind() != candidate.kind() {
        return Err(Error::Unlike);
    }
    let mut compared = begun(Subject { name: base.named(), agreed: Vec::new() }, &candidate, options);
    let mut both = Both::of(base, candidate, options)?;
    count(&mut both, if options.budget.is_zero() { COUNTED_ALONE } else { COUNTED })?;
    compared.failed = both.failed();
    match compared.failed {
        Some(_) => compared.times_left_out = Some(LeftOut::CandidateFails),
        None if options.budget.is_zero() => compared.times_left_out = Some(LeftOut::NotAsked),
        None => times(&mut both, options, &mut compared, &mut watch)?,
    }
    compared.counts = both.counts();
    compared.failures = Some(both.failures());
    [compared.base.agreed, compared.candidate.agreed] = both.agreed();
    compared.outcome = outcome(&compared);
    Ok(compared)
}

fn begun(base: Subject, candidate: &Side, options: &Options) -> Compared {
    let named = Subject { name: candidate.named(), agreed: Vec::new() };
    nothing_yet(candidate.kind(), [base, named], options.conditions())
}

/// A comparison of which nothing is known yet.
fn nothing_yet(kind: Kind, [base, candidate]: [Subject; 2], asked: Conditions) -> Compared {
    Compared {
        format: FORMAT,
        kind,
        base,
        candidate,
        machine: fingerprint(),
        base_machine: None,
        asked: Some(asked),
        counts: Vec::new(),
        on_wire: None,
        costs: Vec::new(),
        failures: None,
        failed: None,
        differences: Vec::new(),
        times_left_out: None,
        blocks: Vec::new(),
        spoiled: 0,
        outcome: Outcome::NoRegression,
    }
}

/// Counts in pairs, so many at least and until nothing is open.
fn count(both: &mut Both<'_>, least: u64) -> Result<(), Error> {
    let begun = Instant::now();
    for pairs in 1..=MOST_COUNTED {
        let candidate_first = fastrand::bool();
        both.block(&[candidate_first, !candidate_first], true)?;
        let late = pairs >= COUNTED && begun.elapsed() > COUNTING;
        if both.failed().is_some() || late || (both.counted() >= least && !both.is_open()) {
            break;
        }
    }
    Ok(())
}

fn times(both: &mut Both<'_>, options: &Options, compared: &mut Compared, watch: &mut impl FnMut(Progress)) -> Result<(), Error> {
    let begun = Instant::now();
    let mut judge = Judge::new(options.sizes);
    while begun.elapsed() < options.budget && !(judge.is_clear() && (judge.is_slower() || !both.is_open())) {
        let candidate_first = fastrand::bool();
        match both.block(&[true, false, false, true].map(|outer| outer == candidate_first), false)? {
            Some(measured) => judge.push(measured),
            None => compared.spoiled += 1,
        }
        compared.failed = both.failed();
        if compared.failed.is_some() {
            break;
        }
        watch(Progress { blocks: judge.seen(), elapsed: begun.elapsed(), open: judge.open() });
    }
    (compared.differences, compared.blocks) = judge.found();
    if compared.differences.is_empty() {
        let why = if compared.failed.is_some() { LeftOut::CandidateFails } else { LeftOut::NoTime };
        compared.times_left_out = Some(why);
    }
    Ok(())
}

/// What it comes to: what got worse for sure, else what nobody can tell.
fn outcome(compared: &Compared) -> Outcome {
    let found = |wanted: Found| compared.differences.iter().any(|d| d.found == wanted);
    let change = |wanted: Change| compared.counts.iter().any(|count| count.change == wanted && count.what.cost(0).is_some());
    if compared.failed.is_some() || found(Found::Slower) || found(Found::SlowerAtTimes) || change(Change::Worse) {
        return Outcome::Regression;
    }
    let failing = compared.failures.as_ref().is_some_and(|failures| failures.open);
    let open = found(Found::Open) || change(Change::Open) || change(Change::NotInBase) || failing;
    if open || compared.times_left_out == Some(LeftOut::NoTime) { Outcome::TooNoisy } else { Outcome::NoRegression }
}
