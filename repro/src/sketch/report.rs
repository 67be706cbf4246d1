//! A report in words → a sketch: who called whom, how far apart, and which stretch was slow.

use std::fmt;
use std::str::FromStr;

use agent::{ClientKind, ClientSpec};
use analysis::clock::Span;
use analysis::judging::vocabulary::{Kind, Label, Owner, Phase};
use records::explained::SeenFrom;
use records::imported::ImportedRecord;

use super::blank::{edge, length, scenario};
use super::expected::{Expected, of_label};
use super::{Aim, LEAST, Piece, Sketch, faults, slow_phase};
use crate::duration::Length;
use crate::limits::{MOST_RTT, MOST_TIME};

/// The round trip where nobody says one.
pub(super) const USUAL_ROUND_TRIP: Length = Length::millis(40);

/// What somebody reports.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The name that was asked for.
    pub server_name: Option<String>,
    /// Facts that the lab has no use for and whoever reads the file has: address, region, times.
    pub facts: Vec<String>,
    /// The client.
    pub client: Option<ClientSpec>,
    /// The round trip of the path.
    pub round_trip: Option<Length>,
    /// The stretch that was slow, and how long it was.
    pub slow: Option<(Stretch, Length)>,
    /// Who is suspected; absent: who usually is.
    pub culprit: Option<Label>,
}

/// A stretch of a handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stretch {
    /// A phase of the ledger.
    Phase(Phase),
    /// From one milestone to another, by their names.
    Between(&'static str, &'static str),
}

impl fmt::Display for Stretch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stretch::Phase(phase) => f.write_str(phase.words()),
            Stretch::Between(from, to) => write!(f, "{} to {}", shown(from), shown(to)),
        }
    }
}

/// What is no report.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoReport {
    /// It has another shape.
    #[error("{0:?} is no slow stretch: write \"ServerHello to Finished 500ms\"")]
    Shape(String),
    /// A milestone is none.
    #[error("{word:?} is no message of a handshake: {known}")]
    Milestone {
        /// What was written.
        word: String,
        /// What there is.
        known: String,
    },
    /// No fault makes that stretch slow.
    #[error("from {0}: the lab has no fault that makes this slow by itself; name one stretch of it, or --culprit")]
    Stretch(String),
    /// The suspect cannot do that.
    #[error("{culprit} in {phase}: {why}")]
    Culprit {
        /// Who.
        culprit: String,
        /// Where.
        phase: &'static str,
        /// Why not.
        why: &'static str,
    },
    /// It is shorter than it must be.
    #[error("{slow} is no longer than this takes over a round trip of {round_trip}: nothing is slow")]
    NotSlow {
        /// The stretch's length.
        slow: Span,
        /// The round trip.
        round_trip: Span,
    },
    /// A number that no lab can bear.
    #[error("{what} of {} s is more than a lab has: at most {} s", .time.0.as_secs_f64(), .most.0.as_secs())]
    TooMuch {
        /// What is too long.
        what: &'static str,
        /// How long it is.
        time: Length,
        /// How long it may be.
        most: Length,
    },
    /// Nothing of use.
    #[error("{0}: its program tells no times of a connection")]
    NoTimes(String),
}

/// Milestones as people write them, and as lanes name them.
const MILESTONES: &[(&str, &str)] = &[
    ("lookup", "dns_start"),
    ("address", "dns_end"),
    ("SYN", "syn"),
    ("SYN-ACK", "syn_ack"),
    ("ACK", "ack"),
    ("ClientHello", "client_hello"),
    ("ServerHello", "server_hello"),
    ("ServerFlight", "server_flight_end"),
    ("Finished", "client_finished"),
    ("ServerFinished", "server_finished"),
    ("request", "first_request"),
    ("answer", "first_response"),
];

fn shown(name: &str) -> &str {
    MILESTONES.iter().find(|(_, known)| *known == name).map_or(name, |(shown, _)| shown)
}

/// Letters and digits alone, in lower case: `ServerHello`, `server_hello` and `server hello` are the same.
fn bare(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn milestone(word: &str) -> Result<&'static str, NoReport> {
    let wanted = bare(word);
    let known = MILESTONES.iter().find(|(shown, name)| bare(shown) == wanted || bare(name) == wanted);
    known.map(|(_, name)| *name).ok_or_else(|| NoReport::Milestone {
        word: word.trim().to_owned(),
        known: MILESTONES.iter().map(|(shown, _)| *shown).collect::<Vec<_>>().join(", "),
    })
}

/// `ServerHello to Finished 500ms`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slow(pub Stretch, pub Length);

impl FromStr for Slow {
    type Err = NoReport;

    fn from_str(text: &str) -> Result<Self, NoReport> {
        let wrong = || NoReport::Shape(text.to_owned());
        let (stretch, time) = text.trim().rsplit_once(' ').ok_or_else(wrong)?;
        let time: Length = time.parse().map_err(|_| wrong())?;
        let (from, to) = stretch.split_once(" to ").ok_or_else(wrong)?;
        Ok(Self(Stretch::Between(milestone(from)?, milestone(to)?), time))
    }
}

impl Stretch {
    /// Where in the handshake it is, who usually has it, and how many round trips of the path lie in it as it is measured: by the edge, or
    /// by the client what only it sees.
    pub(super) fn usual(self) -> Option<(Phase, Owner, Option<Kind>, i64)> {
        Some(match self {
            Stretch::Between("dns_start", "dns_end") => (Phase::Dns, Owner::Resolver, None, 0),
            Stretch::Between("syn", "syn_ack") => (Phase::Connect, Owner::Path, Some(Kind::Delay), 1),
            Stretch::Between("syn" | "syn_ack" | "ack" | "dns_end", "client_hello") => {
                (Phase::ClientHello, Owner::Client, None, 1)
            }
            Stretch::Between("client_hello", "server_hello" | "server_flight_end") => (Phase::ServerFlight, Owner::Edge, None, 0),
            Stretch::Between("client_hello" | "server_hello" | "server_flight_end", "client_finished") => {
                (Phase::ClientFinished, Owner::Client, None, 1)
            }
            Stretch::Between("client_finished" | "first_request", "server_finished" | "first_response") => {
                (Phase::Finish, Owner::Edge, None, 0)
            }
            Stretch::Between(..) => return None,
            Stretch::Phase(phase) => {
                let owner = match phase {
                    Phase::Dns => Owner::Resolver,
                    Phase::Connect | Phase::Attempts => Owner::Path,
                    Phase::ClientHello | Phase::ClientFinished => Owner::Client,
                    Phase::BeforeTls | Phase::HelloRetry | Phase::ServerFlight | Phase::Finish | Phase::Request => Owner::Edge,
                };
                (
                    phase,
                    owner,
                    None,
                    i64::from(matches!(phase, Phase::Connect | Phase::ServerFlight | Phase::Finish | Phase::Request)),
                )
            }
        })
    }
}

fn bearable(what: &'static str, time: Length, most: Length) -> Result<(), NoReport> {
    if time <= most { Ok(()) } else { Err(NoReport::TooMuch { what, time, most }) }
}

impl Report {
    /// What a customer's program tells of a connection: how long each part took, by its own clock.
    ///
    /// # Errors
    /// If it tells no times.
    pub fn of_imported(record: &ImportedRecord) -> Result<Self, NoReport> {
        let judged = record.judged.as_ref().ok_or_else(|| NoReport::NoTimes(format!("{}, {}", record.file, record.place)))?;
        let connect = judged.reading.ledger.entries.iter().filter(|e| e.phase == Phase::Connect);
        let connect = connect.map(|e| e.span).min();
        let slow = slow_phase(judged).map(|(phase, span)| (Stretch::Phase(phase), length(span)));
        let mut facts = vec![format!("{} of {}: {}", record.place, record.file, judged.sentence)];
        facts.extend(record.cannot_know.iter().map(|what| format!("its source cannot know {what}")));
        Ok(Self {
            server_name: record.server_name.clone(),
            facts,
            client: None,
            round_trip: connect.map(length),
            slow,
            culprit: None,
        })
    }

    /// The scenario that does the same.
    ///
    /// # Errors
    /// What of the report makes no sense, or what no lab can do.
    pub fn sketch(self) -> Result<Sketch, NoReport> {
        let rtt = self.round_trip.unwrap_or(USUAL_ROUND_TRIP);
        bearable("the round trip", rtt, MOST_RTT)?;
        let mut cannot = Vec::new();
        if self.round_trip.is_none() {
            cannot.push(format!("nobody says how far apart they are: a round trip of {} ms is taken", rtt.as_millis()));
        }
        let client = self.client.unwrap_or_else(|| ClientSpec::new(ClientKind::Probe));
        let name = self.server_name.as_deref().unwrap_or("report");
        let mut origin =
            vec![self.server_name.as_ref().map_or_else(|| "a report".to_owned(), |name| format!("a report on {name}"))];
        origin.extend(self.facts);
        let round_trip = Span::from_nanos(rtt.nanos());
        let aim = Aim {
            verdict: None,
            slow: self.slow.map(|(stretch, time)| (stretch, Span::from_nanos(time.nanos()))),
            round_trip: Some(round_trip),
            seen_from: SeenFrom::BothEnds,
            resumed: client.resume,
        };
        let mut scenario = scenario(&format!("like-{name}"), client, edge(rtt));
        scenario.description = format!("As reported of {name}.");
        let mut sketch = Sketch { scenario, origin, cannot, pieces: Vec::new(), aim, expected: None };
        if let Some((stretch, time)) = self.slow {
            bearable("the slow stretch", time, MOST_TIME)?;
            let (phase, owner, kind, rounds) = stretch.usual().ok_or_else(|| NoReport::Stretch(stretch.to_string()))?;
            let (owner, kind) = self.culprit.map_or((owner, kind), |label| (label.owner, label.kind));
            let slow = Span::from_nanos(time.nanos());
            let excess = slow - round_trip * rounds;
            if excess < LEAST {
                return Err(NoReport::NotSlow { slow, round_trip });
            }
            let made = faults::stretch(&mut sketch, phase, owner, kind, excess);
            let culprit = || Label { owner, kind }.to_string();
            let (name, fault) = made.map_err(|why| NoReport::Culprit { culprit: culprit(), phase: phase.words(), why })?;
            if let (crate::faults::Fault::ClientPause(_) | crate::faults::Fault::Stop(_), kind) =
                (&fault, sketch.scenario.client.kind)
                && kind != ClientKind::Probe
            {
                sketch.cannot.push("the client sleeps on purpose, which only our own can: kind = \"probe\"".into());
                sketch.scenario.client.kind = ClientKind::Probe;
            }
            let piece = Piece { fault: name.into(), phase, owner: owner.side(), span: excess, open: true };
            faults::put(&mut sketch, piece, fault);
            sketch.scenario.expect = Some(of_label(culprit()));
            sketch.expected = Some(if self.culprit.is_some() { Expected::Suspected } else { Expected::Guessed });
            if self.culprit.is_none() {
                sketch.cannot.push(format!(
                    "who had the time is a guess ({}): a report does not tell; try --culprit, or a capture (--from)",
                    culprit()
                ));
            }
        }
        sketch.settle();
        Ok(sketch)
    }
}
