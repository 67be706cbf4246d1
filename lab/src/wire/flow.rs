//! Which message of a handshake a segment belongs to: the wire's own, simple reading.
//!
//! It is not the analysis's: what injects a fault must not share its opinion with what judges it.

use analysis::wire::packet::TcpSegment;

use super::faults::Message;

/// What the wire remembers of one connection.
#[derive(Default)]
pub struct Tracker {
    /// Sequence number after the client's SYN.
    client_first: Option<u32>,
    /// Sequence numbers of the client's hellos, in the order first seen.
    hellos: Vec<u32>,
    /// Sequence numbers of the server's flight, in the order first seen.
    flight: Vec<u32>,
    /// End of the server's data so far.
    server_end: Option<u32>,
    /// Where the client's bytes after the server's flight begin.
    finished_from: Option<u32>,
}

impl Tracker {
    /// Names a segment from the client, and says which of its hellos it is.
    pub fn client_segment(&mut self, s: &TcpSegment<'_>) -> Option<(Message, usize)> {
        let message = self.of_client(s)?;
        if message != Message::ClientHello {
            return Some((message, 0));
        }
        let known = self.hellos.iter().position(|seq| *seq == s.seq);
        let index = known.unwrap_or_else(|| {
            self.hellos.push(s.seq);
            self.hellos.len() - 1
        });
        Some((message, index))
    }

    fn of_client(&mut self, s: &TcpSegment<'_>) -> Option<Message> {
        if s.flags.syn() {
            self.client_first = Some(s.seq.wrapping_add(1));
            return Some(Message::Syn);
        }
        if s.len == 0 {
            let acked = self.server_end.is_some_and(|end| s.flags.ack() && !s.flags.fin() && !s.flags.rst() && s.ack == end);
            return (acked && self.finished_from.is_none()).then_some(Message::FlightAck);
        }
        if let Some(from) = self.finished_from {
            // What follows in segments of its own (a request) is none of the handshake's.
            return match s.seq.wrapping_sub(from) {
                0 => Some(Message::ClientFinished),
                later if later < 1 << 31 => None,
                _ => Some(Message::ClientHello),
            };
        }
        // Before any answer, and again after a HelloRetryRequest, it is a ClientHello.
        if self.flight.is_empty() || hello_again(s.payload) {
            return Some(Message::ClientHello);
        }
        if self.client_first.is_some_and(|first| s.seq == first) {
            return Some(Message::ClientHello); // repeated although the answer is on its way
        }
        self.finished_from = Some(s.seq);
        Some(Message::ClientFinished)
    }

    /// Names a segment from the server, and says which of its flight it is.
    pub fn server_segment(&mut self, s: &TcpSegment<'_>) -> Option<(Message, usize)> {
        if s.flags.syn() {
            return Some((Message::SynAck, 0));
        }
        if s.len == 0 {
            return None;
        }
        let known = self.flight.iter().position(|seq| *seq == s.seq);
        if known.is_none() && self.finished_from.is_none() {
            self.flight.push(s.seq);
            self.server_end = Some(s.seq.wrapping_add(s.len));
        }
        known.or(self.finished_from.is_none().then(|| self.flight.len() - 1)).map(|i| (Message::ServerFlight, i))
    }
}

/// A second ClientHello, perhaps after a ChangeCipherSpec (RFC 8446, section D.4).
fn hello_again(payload: &[u8]) -> bool {
    let body = if payload.first() == Some(&20) { payload.get(6..) } else { Some(payload) };
    matches!(body, Some([22, _, _, _, _, 1, ..]))
}
