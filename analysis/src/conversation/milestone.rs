//! Milestones: when each message of a handshake passed each observer, on that observer's own clock.
//!
//! A message's time is that of its last byte in sequence order: the moment every byte up to it had
//! passed. What never happened is absent, never zero.

use serde::{Deserialize, Serialize};

use crate::clock::{Domain, Instant};
use crate::tcp::flow::{Seen, Side, View};
use crate::tls::Dialogue;

/// The events of a handshake (docs/method.md, "Milestones").
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, strum::EnumString, strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Milestone {
    /// First DNS query.
    DnsStart,
    /// Last DNS answer.
    DnsEnd,
    /// First SYN.
    Syn,
    /// First SYN-ACK.
    SynAck,
    /// The client's acknowledgement of it.
    Ack,
    /// ClientHello.
    ClientHello,
    /// ServerHello.
    ServerHello,
    /// The last byte the server sends before it needs the client again.
    ServerFlightEnd,
    /// The client's kernel acknowledges the server's flight.
    FlightAck,
    /// The client's Finished.
    ClientFinished,
    /// The server's Finished (TLS 1.2).
    ServerFinished,
    /// The client's first record after the handshake.
    FirstRequest,
    /// The server's first record after the handshake.
    FirstResponse,
}

impl Milestone {
    /// Its name in files; [`str::parse`] reads it.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// In a sentence: "the handshake ended after …".
    pub fn words(self) -> &'static str {
        match self {
            Milestone::DnsStart => "the question to the name server",
            Milestone::DnsEnd => "the name server's answer",
            Milestone::Syn => "SYN",
            Milestone::SynAck => "SYN-ACK",
            Milestone::Ack => "the acknowledgement of SYN-ACK",
            Milestone::ClientHello => "ClientHello",
            Milestone::ServerHello => "ServerHello",
            Milestone::ServerFlightEnd => "the server's flight",
            Milestone::FlightAck => "the acknowledgement of the server's flight",
            Milestone::ClientFinished => "the client's Finished",
            Milestone::ServerFinished => "the server's Finished",
            Milestone::FirstRequest => "the request",
            Milestone::FirstResponse => "the first answer",
        }
    }

    /// In a picture, where there is little room.
    pub fn label(self) -> &'static str {
        match self {
            Milestone::DnsStart => "lookup",
            Milestone::DnsEnd => "address",
            Milestone::Syn => "SYN",
            Milestone::SynAck => "SYN-ACK",
            Milestone::Ack => "ACK",
            Milestone::ClientHello => "ClientHello",
            Milestone::ServerHello => "ServerHello",
            Milestone::ServerFlightEnd => "flight ends",
            Milestone::FlightAck => "ACK of flight",
            Milestone::ClientFinished => "client Finished",
            Milestone::ServerFinished => "server Finished",
            Milestone::FirstRequest => "request",
            Milestone::FirstResponse => "answer",
        }
    }
}

/// One milestone as one observer saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Sighting<D: Domain> {
    /// Which.
    pub milestone: Milestone,
    /// When.
    pub at: Instant<D>,
    /// In which frame.
    pub packet: u64,
}

/// The milestones a view shows, in the order of the handshake.
pub fn milestones<D: Domain>(view: &View<D>, dialogue: &Dialogue) -> Vec<Sighting<D>> {
    let mut found = Vec::new();
    let mut note = |milestone, seen: Option<&Seen<D>>| {
        found.extend(seen.map(|s| Sighting { milestone, at: s.at, packet: s.packet }));
    };
    note(Milestone::Syn, view.syns(Side::Client).next());
    note(Milestone::SynAck, view.syns(Side::Server).next());
    note(Milestone::Ack, view.sent_by(Side::Client).find(|p| p.flags.ack() && p.ack().is_some_and(|a| a >= 0)));
    note(Milestone::ClientHello, dialogue.client_hello.and_then(|e| view.completed(Side::Client, e.end)));
    note(Milestone::ServerHello, dialogue.server_hello.and_then(|e| view.completed(Side::Server, e.end)));
    if let Some(flight) = dialogue.server_flight {
        note(Milestone::ServerFlightEnd, view.completed(Side::Server, flight.end));
        note(Milestone::FlightAck, view.first_ack(Side::Server, flight.end).filter(|p| p.pure_ack()));
    }
    note(Milestone::ClientFinished, dialogue.client_finished.and_then(|e| view.completed(Side::Client, e.end)));
    if dialogue.server_finishes_last() {
        note(Milestone::ServerFinished, dialogue.server_finished.and_then(|e| view.completed(Side::Server, e.end)));
    }
    note(Milestone::FirstRequest, dialogue.first_request.and_then(|e| view.completed(Side::Client, e.end)));
    note(Milestone::FirstResponse, dialogue.first_response.and_then(|e| view.completed(Side::Server, e.end)));
    found
}
