//! A stapled OCSP answer (RFC 6960): what it says of the edge's certificate, and until when. Pure.
//!
//! Its signature is not checked: it is reported, and nothing rests on it.

use serde::{Deserialize, Serialize};
use x509_parser::asn1_rs::{Any, Enumerated, FromDer, GeneralizedTime, OctetString, Oid, Sequence, Tag};

/// What it says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Staple {
    /// Of the certificate.
    pub status: Status,
    /// When that was known to be so.
    pub this_update: Option<ResponderTime>,
    /// When there is to be newer word.
    pub next_update: Option<ResponderTime>,
}

/// A second (UTC) by the clock of whoever signed the answer, counted from the Unix epoch. In JSON it is that number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResponderTime(i64);

impl ResponderTime {
    /// Seconds since the Unix epoch.
    pub const fn unix_seconds(self) -> i64 {
        self.0
    }
}

/// What is known of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is not revoked.
    Good,
    /// It is.
    Revoked,
    /// The responder does not know it.
    Unknown,
    /// The responder gave no answer (`tryLater` and the like).
    NoAnswer,
    /// What was stapled is no OCSP answer.
    Malformed,
}

impl Status {
    /// Its name in labels.
    pub fn name(self) -> &'static str {
        match self {
            Status::Good => "good",
            Status::Revoked => "revoked",
            Status::Unknown => "unknown",
            Status::NoAnswer => "no_answer",
            Status::Malformed => "malformed",
        }
    }
}

impl Staple {
    /// Reads what the edge stapled.
    pub fn read(der: &[u8]) -> Self {
        answer(der).unwrap_or(Self { status: Status::Malformed, this_update: None, next_update: None })
    }
}

fn answer(der: &[u8]) -> Option<Staple> {
    let (_, outer) = Sequence::from_der(der).ok()?;
    let (rest, status) = Enumerated::from_der(&outer.content).ok()?;
    if status.0 != 0 {
        return Some(Staple { status: Status::NoAnswer, this_update: None, next_update: None });
    }
    // [0] { responseType, response }
    let (_, tagged) = Any::from_der(rest).ok()?;
    let (_, bytes) = Sequence::from_der(tagged.data).ok()?;
    let (rest, _) = Oid::from_der(&bytes.content).ok()?;
    let (_, basic) = OctetString::from_der(rest).ok()?;
    let (_, basic) = Sequence::from_der(basic.as_ref()).ok()?;
    let (_, data) = Sequence::from_der(&basic.content).ok()?;
    // version [0] where it is not 1, responderID, producedAt, responses
    let (mut rest, mut next) = Any::from_der(&data.content).ok()?;
    if next.tag() == Tag(0) {
        (rest, next) = Any::from_der(rest).ok()?;
    }
    let _responder = next;
    let (rest, _) = GeneralizedTime::from_der(rest).ok()?;
    let (_, responses) = Sequence::from_der(rest).ok()?;
    let (_, first) = Sequence::from_der(&responses.content).ok()?;
    // certID, certStatus, thisUpdate, nextUpdate [0]
    let (rest, _) = Sequence::from_der(&first.content).ok()?;
    let (rest, status) = Any::from_der(rest).ok()?;
    let status = match status.tag() {
        Tag(0) => Status::Good,
        Tag(1) => Status::Revoked,
        _ => Status::Unknown,
    };
    let (rest, this_update) = GeneralizedTime::from_der(rest).ok()?;
    let next_update = Any::from_der(rest).ok().filter(|(_, any)| any.tag() == Tag(0));
    let next_update = next_update.and_then(|(_, any)| second(&GeneralizedTime::from_der(any.data).ok()?.1));
    Some(Staple { status, this_update: second(&this_update), next_update })
}

fn second(time: &GeneralizedTime) -> Option<ResponderTime> {
    Some(ResponderTime(time.utc_datetime().ok()?.unix_timestamp()))
}
