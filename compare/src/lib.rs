//! Two edges, or two builds of a client, compared: what a change costs, by exact counts, and what it costs in time, by owner.
//!
//! ```text
//! edge (a URL, or a command) ─┬─ relay ─► counts ──┬───────────► Count        exact: no statistics
//!                             └─ measure ─┐        │
//! client (a command) ── caller ◄► answering ───────┴─► blocks A B B A ─► judge ─► Difference    evidence: see `evidence`
//! ```
//! In: two words, and how long it may take. Out: [`Compared`]. Whether A or B begins a block is drawn by chance: then each difference
//! is as likely above the median as below it, however the machine is used meanwhile, and whatever comes of going first.
#![forbid(unsafe_code)]

mod answering;
mod caller;
pub mod costs;
mod counts;
pub mod edge;
mod evidence;
pub mod judge;
mod machine;
mod measure;
mod relay;

use std::io;
use std::time::{Duration, Instant};

use prober::tls::TlsOptions;
use records::FORMAT;
use records::compared::{Compared, Count, Counted, Found, Kind, LeftOut, Outcome, Subject};

use caller::{Caller, URL};
use edge::{Asked, Edge};
use judge::{Judge, Measured, Sizes};
pub use machine::fingerprint;
use measure::{Client, Failed, Handshake, Seen};

/// Handshakes of each that are counted: what differs among them is no exact count.
const COUNTED: usize = 3;
/// Between two handshakes: what the edge still does for the one before is not to be in the next one's time.
const SETTLE: Duration = Duration::from_millis(2);
/// The candidate may fail so often while the base does not, before that is what is wrong with it.
const FAILURES: usize = 3;

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

/// One of the two, and who stands at the other end.
enum Side {
    Edge { edge: Edge, client: Box<Client> },
    Client(Caller),
}

impl Side {
    fn begin(word: &str, options: &Options) -> Result<Self, Error> {
        if word.contains(URL) {
            return Caller::begin(word, options).map(Self::Client);
        }
        Ok(Self::Edge { edge: Edge::begin(word, &options.asked)?, client: Box::new(Client::new(&options.tls, options.timeout)?) })
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Edge { .. } => Kind::Edges,
            Self::Client(_) => Kind::Clients,
        }
    }

    fn named(&self) -> String {
        match self {
            Self::Edge { edge, .. } => edge.named.clone(),
            Self::Client(caller) => caller.named.clone(),
        }
    }

    fn counted(&self) -> io::Result<Result<Seen<u64>, Failed>> {
        match self {
            Self::Edge { edge, client } => client.counted(edge),
            Self::Client(caller) => caller.counted(),
        }
    }

    fn timed(&self) -> io::Result<Handshake> {
        match self {
            Self::Edge { edge, client } => Ok(client.timed(edge)),
            Self::Client(caller) => caller.timed(),
        }
    }

    /// How its process ended, if it is an edge of ours that has.
    fn ended(&mut self) -> Option<String> {
        match self {
            Self::Edge { edge, .. } => edge.ended(),
            Self::Client(_) => None,
        }
    }

    /// Counts, and what was agreed on; the inner error is the edge's.
    fn counts(&self) -> Result<Result<Seen<Option<u64>>, Failed>, Error> {
        // A session that is to be resumed is got first.
        if let Err(why) = self.counted()? {
            return Ok(Err(why));
        }
        let mut all = Vec::new();
        let mut agreed = Vec::new();
        for _ in 0..COUNTED {
            match self.counted()? {
                Ok(seen) => {
                    all.push(seen.counts);
                    agreed = seen.agreed;
                }
                Err(why) => return Ok(Err(why)),
            }
        }
        let counts = (0..all[0].len()).map(|i| {
            let first: (Counted, u64) = all[0][i];
            (first.0, all.iter().all(|counts| counts[i] == first).then_some(first.1))
        });
        Ok(Ok(Seen { counts: counts.collect(), agreed }))
    }
}

/// Compares two edges, or two clients.
///
/// # Errors
/// If one cannot be had, or the base does not work.
pub fn compare(base: &str, candidate: &str, options: &Options, mut watch: impl FnMut(Progress)) -> Result<Compared, Error> {
    let mut base = Side::begin(base, options)?;
    let mut candidate = Side::begin(candidate, options)?;
    if base.kind() != candidate.kind() {
        return Err(Error::Unlike);
    }
    let of_base = base.counts()?.map_err(|Failed(why)| Error::Base { base: base.named(), why })?;
    let mut compared = begun(Subject { name: base.named(), agreed: of_base.agreed }, &candidate);
    count_both(&of_base.counts, &candidate, &mut compared)?;
    if compared.failed.is_none() {
        match options.budget.is_zero() {
            true => compared.times_left_out = Some(LeftOut::NotAsked),
            false => times(&mut base, &mut candidate, options, &mut compared, &mut watch)?,
        }
    }
    compared.outcome = outcome(&compared);
    Ok(compared)
}

/// Compares an edge or a client with what was stored of one, by counts alone: times of another day, or of another machine, are no measure.
///
/// # Errors
/// If it cannot be had.
pub fn compare_with_stored(stored: &Compared, candidate: &str, options: &Options) -> Result<Compared, Error> {
    let candidate = Side::begin(candidate, options)?;
    if stored.kind != candidate.kind() {
        return Err(Error::Unlike);
    }
    let of_base: Vec<(Counted, Option<u64>)> = stored.counts.iter().map(|count| (count.what, count.candidate)).collect();
    let mut compared = begun(stored.candidate.clone(), &candidate);
    count_both(&of_base, &candidate, &mut compared)?;
    if compared.failed.is_none() {
        compared.times_left_out = Some(LeftOut::StoredBase);
    }
    compared.outcome = outcome(&compared);
    Ok(compared)
}

fn begun(base: Subject, candidate: &Side) -> Compared {
    Compared {
        format: FORMAT,
        kind: candidate.kind(),
        base,
        candidate: Subject { name: candidate.named(), agreed: Vec::new() },
        machine: fingerprint(),
        counts: Vec::new(),
        on_wire: None,
        costs: Vec::new(),
        failed: None,
        differences: Vec::new(),
        times_left_out: None,
        blocks: Vec::new(),
        spoiled: 0,
        outcome: Outcome::NoRegression,
    }
}

fn count_both(of_base: &[(Counted, Option<u64>)], candidate: &Side, compared: &mut Compared) -> Result<(), Error> {
    match candidate.counts()? {
        Ok(Seen { counts, agreed }) => {
            compared.candidate.agreed = agreed;
            let of = |what: Counted| of_base.iter().find(|(counted, _)| *counted == what).and_then(|(_, n)| *n);
            compared.counts = counts.into_iter().map(|(what, n)| Count { what, base: of(what), candidate: n }).collect();
        }
        Err(Failed(why)) => {
            compared.failed = Some(why);
            compared.times_left_out = Some(LeftOut::CandidateFails);
        }
    }
    Ok(())
}

fn times(
    base: &mut Side,
    candidate: &mut Side,
    options: &Options,
    compared: &mut Compared,
    watch: &mut impl FnMut(Progress),
) -> Result<(), Error> {
    let begun = Instant::now();
    let mut judge = Judge::new(options.sizes);
    let mut failures = 0;
    while begun.elapsed() < options.budget && !judge.is_clear() {
        let candidate_first = fastrand::bool();
        let mut measured = [Vec::new(), Vec::new()];
        let mut spoiled = false;
        for outer in [true, false, false, true] {
            let of_candidate = outer == candidate_first;
            let side = if of_candidate { &mut *candidate } else { &mut *base };
            std::thread::sleep(SETTLE);
            match side.timed()? {
                Handshake::Whole(times) => measured[usize::from(of_candidate)].push(times),
                Handshake::Spoiled => spoiled = true,
                Handshake::Failed(why) => {
                    spoiled = true;
                    let why = side.ended().map_or(why, |status| format!("its process ended ({status})"));
                    if !of_candidate {
                        return Err(Error::Base { base: side.named(), why });
                    }
                    failures += 1;
                    if failures >= FAILURES {
                        compared.failed = Some(why);
                    }
                }
            }
        }
        if compared.failed.is_some() {
            break;
        }
        let [of_base, of_candidate] = measured.map(<[_; 2]>::try_from);
        match (of_base, of_candidate) {
            (Ok(base), Ok(candidate)) if !spoiled => judge.push(Measured { base, candidate }),
            _ => compared.spoiled += 1,
        }
        let open = judge.differences().iter().filter(|d| d.found == Found::Open).count();
        watch(Progress { blocks: judge.blocks().len(), elapsed: begun.elapsed(), open });
    }
    compared.differences = judge.differences();
    compared.blocks = judge.blocks().to_vec();
    if compared.differences.is_empty() {
        compared.times_left_out = Some(LeftOut::NoTime);
    }
    Ok(())
}

/// What it comes to: what got worse for sure, else what nobody can tell.
fn outcome(compared: &Compared) -> Outcome {
    let slower = compared.differences.iter().any(|d| d.found == Found::Slower);
    if compared.failed.is_some() || slower || compared.counts.iter().any(Count::is_worse) {
        return Outcome::Regression;
    }
    let open = compared.differences.iter().any(|d| d.found == Found::Open);
    if open || compared.times_left_out == Some(LeftOut::NoTime) { Outcome::TooNoisy } else { Outcome::NoRegression }
}
