//! The ledger of a connection by the clock of a program alone: no packets, no kernel timestamps.
//!
//! In: when a client's program says that it began and ended each step ([`AppTrace`]: curl's times, a HAR, a NetLog), perhaps with what the
//! scheduler did with its threads. Out: a [`Reading`] of grade `app`, by the same ledger and the same verdict rules as for packets. What an
//! edge's program says of its own end is [`edge`].
//!
//! A program sees when it was told, not when anything arrived: its kernel may have had the answer for long, its thread no CPU. So it can
//! tell whose time a stretch was only where nothing but one owner was waited for: its own steps, a lookup. The TCP handshake tells a round
//! trip; TLS takes as many as its version asks for; what is more is left open, among client, path, loss and edge. Scheduler evidence
//! takes the client's host out.

pub mod edge;
mod words;

use enumset::EnumSet;
use serde::{Deserialize, Serialize};

use crate::clock::{Client, Instant, Span};
use crate::conversation::ends::client_time;
use crate::conversation::host::HostTrace;
use crate::conversation::milestone::Milestone;
use crate::judging::ledger::{Baseline, Cited, Entry, Kind, Ledger, Missing, Owner, Phase};
use crate::judging::policy;
use crate::judging::verdict::{Circumstances, End, Grade, Judgement, Reading, Verdict, judge as decided};

/// From a kernel's news to the program's noting it, on an idle machine.
const NOTED: Span = Span::from_millis(1);
/// When a SYN is repeated, since the first: Linux before 6.5 (1, 3, 7, 15 s) and since (1 to 5, then 7 s), Windows (1, 3 s; 3, 9 s before 8),
/// Apple (1 to 5, then 7 s). What is left beyond the latest that fits is the round trip.
const SYN_REPEATED: [i64; 9] = [1, 2, 3, 4, 5, 7, 9, 15, 31];
/// Timers fire late, never early; a round trip in which a SYN was repeated is no longer than this.
const SYN_ROUND: Span = Span::from_millis(900);
/// TLS of a version that is not known took two round trips (1.2) if it took so many percent of one; 1.3 and resumed sessions take one.
const TIME_FOR_TWO: i64 = 175;

/// A step that a program saw begin, and perhaps end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// It began.
    pub began: Instant<Client>,
    /// The program knew that it was done; absent if it never was.
    pub done: Option<Instant<Client>>,
}

/// The TLS handshake, as far as the program tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tls {
    /// It began: ClientHello was yet to be made.
    pub began: Instant<Client>,
    /// ClientHello was handed to the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hello: Option<Instant<Client>>,
    /// The last message of the server's flight had been read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flight: Option<Instant<Client>>,
    /// Finished was handed to the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Instant<Client>>,
    /// The program knew that it was done; absent if it never was.
    pub done: Option<Instant<Client>>,
    /// Round trips that its version asks for: 1 (TLS 1.3, resumed 1.2) or 2; absent if the version is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounds: Option<u8>,
}

impl Tls {
    /// One of which nothing is known but when it began and was done.
    pub const fn between(began: Instant<Client>, done: Option<Instant<Client>>) -> Self {
        Self { began, hello: None, flight: None, finished: None, done, rounds: None }
    }
}

/// What a client's program says of one connection and the request on it. Times are on one clock of its own; steps that did not happen, or
/// that it does not tell of, are absent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AppTrace {
    /// It began.
    pub started: Instant<Client>,
    /// Until then the program let it wait: for a free connection, for a proxy's answer, behind other requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<Instant<Client>>,
    /// The name lookup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookup: Option<Step>,
    /// The TCP handshake, and addresses tried in vain before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Step>,
    /// The TLS handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The request was handed to the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<Instant<Client>>,
    /// The first byte of its answer had been read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Instant<Client>>,
    /// The end of what is read: the first byte, the handshake's end where there was no request, or when it was given up.
    pub ended: Instant<Client>,
    /// Whether it came to that end.
    pub complete: bool,
    /// Whether it used a connection that was there already: no lookup, TCP or TLS was waited for.
    pub reused: bool,
    /// What the scheduler did with the program's threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostTrace<Client>>,
}

/// Reads a connection from its client's program.
///
/// ```
/// use whostalled_analysis::clock::{Client, Instant, Span};
/// use whostalled_analysis::conversation::app::{AppTrace, Step, Tls, judge, read, sentence};
///
/// let at = |ms: i64| Instant::<Client>::from_nanos(ms * 1_000_000);
/// let trace = AppTrace {
///     started: at(0),
///     queued: None,
///     lookup: None,
///     connect: Some(Step { began: at(0), done: Some(at(20)) }),
///     tls: Some(Tls::between(at(20), Some(at(400)))),
///     sent: None,
///     first_byte: None,
///     ended: at(400),
///     complete: true,
///     reused: false,
///     host: None,
/// };
/// let mut reading = read(&trace);
/// let judgement = judge(&trace, &mut reading, None);
/// assert_eq!(judgement.verdict.label(), "inconclusive", "a program cannot tell who was late");
/// assert!(sentence(&trace, &reading, &judgement).contains("ClientHello to server flight"));
/// ```
pub fn read(trace: &AppTrace) -> Reading {
    let ledger = Ledger::open(trace.ended - trace.started);
    let mut reader = Reader { trace, ledger, at: trace.started, round_trip: None, last: Milestone::DnsStart };
    let complete = reader.whole().is_some() && trace.complete;
    reader.client(Phase::Finish, trace.ended);
    reader.ledger.close(Phase::Finish);
    Reading {
        grade: Grade::App { host: trace.host.is_some() },
        end: if complete { End::Complete } else { End::Stopped { after: reader.last } },
        ledger: reader.ledger,
    }
}

/// Judges a reading of [`read`]'s. `usual` is the path's round trip when well, where others over it tell; otherwise it is this
/// connection's own least.
pub fn judge(trace: &AppTrace, reading: &mut Reading, usual: Option<Span>) -> Judgement {
    reading.ledger.apply(&Baseline {
        path: Baseline::of_path(usual),
        client_cpu: policy::CLIENT_CPU,
        client_unsplit: policy::UNSPLIT_CLIENT,
        ..Baseline::default()
    });
    if trace.host.is_none() {
        // Rounds that are all longer look like a detour. So does a program that is late each time it is told.
        for entry in reading.ledger.entries.iter_mut().filter(|e| e.round_trip) {
            entry.kind = Some(Kind::Delay);
            (entry.candidates, entry.missing) = anybody(None);
        }
    }
    let path_unknown = usual.is_none();
    let mut judgement = decided(reading, Circumstances { path_unknown, ..Circumstances::default() });
    let of_baseline = matches!(&judgement.verdict, Verdict::Inconclusive { missing, .. } if *missing == Missing::PathBaseline);
    if path_unknown && of_baseline {
        judgement.leave_open(anybody(trace.host.as_ref()).0, Missing::PathBaseline);
    }
    judgement
}

/// A reading in one sentence, with what would tell more.
pub fn sentence(trace: &AppTrace, reading: &Reading, judgement: &Judgement) -> String {
    let mut said = words::sentence(reading, judgement, "the program");
    if let Some(step) = trace.connect.and_then(|c| Some(c.done? - c.began)).and_then(repeated_after) {
        said +=
            &format!(" TCP's handshake took as long as if SYN had been retransmitted after {} s.", step.nanos() / 1_000_000_000);
    }
    said
}

/// Everybody who may have held up what a program waited for, and what would tell.
fn anybody(host: Option<&HostTrace<Client>>) -> (EnumSet<Owner>, EnumSet<Missing>) {
    let others = Owner::Path | Owner::Loss | Owner::Edge;
    let tell = Missing::ClientSocket | Missing::ClientCapture | Missing::EdgeCapture;
    match host {
        // Whether a program that slept had nothing to do, its scheduler does not know.
        Some(_) => (others | Owner::ClientApp, tell),
        None => (others | Owner::Client, tell),
    }
}

/// The latest time after which a SYN is repeated that fits within a TCP handshake of this length.
fn repeated_after(connect: Span) -> Option<Span> {
    let fits = |seconds: &i64| Span::from_millis(seconds * 1_000);
    SYN_REPEATED.iter().map(fits).rfind(|step| connect >= *step && connect - *step <= SYN_ROUND)
}

struct Reader<'a> {
    trace: &'a AppTrace,
    ledger: Ledger,
    at: Instant<Client>,
    round_trip: Option<Span>,
    last: Milestone,
}

impl Reader<'_> {
    /// Absent if it stopped on the way.
    fn whole(&mut self) -> Option<()> {
        if let Some(until) = self.trace.queued {
            let phase = self.first_phase();
            let waited = self.wait(phase, until);
            // It may have waited for a connection that was being made, lookup and all.
            self.open_to(phase, waited, Owner::Resolver.into());
        }
        if let Some(lookup) = self.trace.lookup {
            self.client(Phase::Dns, lookup.began);
            let waited = self.wait(Phase::Dns, lookup.done.unwrap_or(self.trace.ended));
            self.ledger.charge(Entry::new(Phase::Dns, Owner::Resolver, Kind::Lookup, waited, NOTED));
            lookup.done?;
            self.last = Milestone::DnsEnd;
        }
        if let Some(connect) = self.trace.connect {
            self.client(Phase::Connect, connect.began);
            self.last = Milestone::Syn;
            let done = self.until(Phase::Connect, connect.done)?;
            self.connect(done);
            self.last = Milestone::SynAck;
        }
        if let Some(tls) = self.trace.tls {
            self.client(Phase::ClientHello, tls.hello.unwrap_or(tls.began));
            self.last = if tls.hello.is_some() { Milestone::ClientHello } else { self.last };
            let done = self.until(Phase::ServerFlight, tls.done)?;
            self.tls(tls, done);
            self.last = Milestone::ClientFinished;
        }
        if let Some(sent) = self.trace.sent {
            self.client(Phase::Request, sent);
            self.last = Milestone::FirstRequest;
            let first_byte = self.until(Phase::Request, self.trace.first_byte)?;
            self.exchange(Phase::Request, first_byte, Some(1));
            self.last = Milestone::FirstResponse;
        }
        Some(())
    }

    /// What the program does first beside waiting.
    fn first_phase(&self) -> Phase {
        match self.trace {
            AppTrace { lookup: Some(_), .. } => Phase::Dns,
            AppTrace { connect: Some(_), .. } => Phase::Connect,
            AppTrace { tls: Some(_), .. } => Phase::ClientHello,
            _ => Phase::Request,
        }
    }

    /// The end of a step; where there is none, everything left is open.
    fn until(&mut self, phase: Phase, done: Option<Instant<Client>>) -> Option<Instant<Client>> {
        if done.is_none() {
            let waited = self.wait(phase, self.trace.ended);
            self.open(phase, waited);
        }
        done
    }

    /// The TCP handshake: a round trip, behind the wait for a repeated SYN if it may hold one.
    fn connect(&mut self, done: Instant<Client>) {
        let waited = self.wait(Phase::Connect, done);
        let repeated = repeated_after(waited).unwrap_or_default();
        self.open(Phase::Connect, repeated);
        self.charge_round(Phase::Connect, waited - repeated);
        self.round_trip = Some(waited - repeated);
    }

    fn tls(&mut self, tls: Tls, done: Instant<Client>) {
        let Some(flight) = tls.flight.filter(|flight| *flight <= done) else {
            return self.exchange(Phase::ServerFlight, done, tls.rounds);
        };
        self.exchange(Phase::ServerFlight, flight, Some(1));
        match tls.finished.filter(|finished| tls.rounds == Some(2) && *finished <= done) {
            Some(finished) => {
                self.client(Phase::ClientFinished, finished);
                self.exchange(Phase::Finish, done, Some(1));
            }
            None => self.client(Phase::ClientFinished, done),
        }
    }

    /// Something asked and answered: as many round trips as it takes, and what is more is open. Absent `rounds`: one, or two if there was
    /// time for them.
    fn exchange(&mut self, phase: Phase, answered: Instant<Client>, rounds: Option<u8>) {
        let waited = self.wait(phase, answered);
        let Some(round_trip) = self.round_trip else {
            if self.trace.reused {
                return self.open(phase, waited);
            }
            // Nothing else tells a round trip (QUIC): this is one, or two.
            self.round_trip = Some(waited);
            return self.charge_round(phase, waited);
        };
        let rounds = rounds.unwrap_or(if waited >= round_trip.percent(TIME_FOR_TWO) { 2 } else { 1 });
        // All alike: a rest that is shorter than the others would pass for the path's own.
        let round = Span::from_nanos(waited.nanos() / i64::from(rounds.max(1))).min(round_trip);
        for _ in 0..rounds {
            self.charge_round(phase, round);
        }
        self.open(phase, waited - round * i64::from(rounds));
    }

    /// A round trip, as a program saw it: what it is longer than usual may be anybody's.
    fn charge_round(&mut self, phase: Phase, span: Span) {
        let mut entry = Entry::round_trip(phase, span, NOTED.min(span));
        (entry.candidates, entry.missing) = anybody(self.trace.host.as_ref());
        self.ledger.charge(entry);
    }

    /// The program waited until `to`: charges what the scheduler took of it, and gives the rest.
    fn wait(&mut self, phase: Phase, to: Instant<Client>) -> Span {
        let mut waited = (to - self.at).at_least_zero();
        if let Some(host) = &self.trace.host {
            let usage = host.usage(self.at, to);
            for (owner, kind, span) in [
                (Owner::ClientHost, Kind::CpuStarved, usage.waiting),
                (Owner::ClientHost, Kind::Stopped, usage.stopped),
                (Owner::ClientHost, Kind::CpuStolen, usage.stolen),
                (Owner::ClientApp, Kind::Computing, usage.computing),
            ] {
                let span = span.min(waited);
                self.ledger.charge(Entry::new(phase, owner, kind, span, usage.error.min(span) + NOTED));
                waited -= span;
            }
        }
        self.at = self.at.max(to);
        waited
    }

    /// The program's own time until `to`.
    fn client(&mut self, phase: Phase, to: Instant<Client>) {
        if to > self.at {
            let mut own = Vec::new();
            client_time(self.trace.host.as_ref(), None, phase, self.at, to, Cited::new(), &mut own);
            own.into_iter().for_each(|entry| self.ledger.charge(entry));
            self.at = to;
        }
    }

    fn open(&mut self, phase: Phase, span: Span) {
        self.open_to(phase, span, EnumSet::empty());
    }

    /// Leaves a stretch open to everybody, and to `others`.
    fn open_to(&mut self, phase: Phase, span: Span, others: EnumSet<Owner>) {
        let mut entry = Entry::new(phase, Owner::Unattributed, None, span, Span::ZERO);
        (entry.candidates, entry.missing) = anybody(self.trace.host.as_ref());
        entry.candidates |= others;
        self.ledger.charge(entry);
    }
}

#[cfg(test)]
mod tests;
