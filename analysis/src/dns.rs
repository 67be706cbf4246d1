//! DNS lookups as a client's capture shows them: who asked for what, and when the answer came.

use std::net::{IpAddr, SocketAddr};

use simple_dns::{Packet, rdata::RData};

use crate::clock::{Client, Instant, Span};

/// One lookup of a name, all its queries (A, AAAA, repeats) taken together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lookup {
    /// The name asked for, lower case, without the final dot.
    pub name: String,
    /// The client's end of the first query.
    pub client: SocketAddr,
    /// When the first query left.
    pub start: Instant<Client>,
    /// The frame of the first query.
    pub start_packet: u64,
    /// When each type (A, AAAA) was first asked for: the client may fall asleep between two questions.
    asked: Vec<(u16, Instant<Client>)>,
    /// When the question that was answered last had left.
    pub last_asked: Instant<Client>,
    /// When the last answer came; absent if none did.
    pub end: Option<Instant<Client>>,
    /// The frame of the last answer.
    pub end_packet: Option<u64>,
    /// Addresses in the answers.
    pub addresses: Vec<IpAddr>,
}

/// Collects lookups from the UDP port 53 datagrams of a client's capture.
#[derive(Default, Debug)]
pub struct Lookups(Vec<Lookup>);

impl Lookups {
    /// Takes one datagram; anything that is not DNS is ignored.
    pub fn push(&mut self, at: Instant<Client>, packet: u64, source: SocketAddr, destination: SocketAddr, payload: &[u8]) {
        let Ok(message) = Packet::parse(payload) else { return };
        let Some(question) = message.questions.first() else { return };
        let name = question.qname.to_string().trim_end_matches('.').to_ascii_lowercase();
        let qtype = u16::from(question.qtype);
        // A resolver library sends A and AAAA from one socket, and repeats on the same one.
        if destination.port() == 53 {
            if let Some(open) = self.0.iter_mut().find(|l| l.client == source && l.name == name) {
                if open.asked.iter().all(|(t, _)| *t != qtype) {
                    open.asked.push((qtype, at));
                }
            } else {
                self.0.push(Lookup {
                    name,
                    client: source,
                    start: at,
                    start_packet: packet,
                    asked: vec![(qtype, at)],
                    last_asked: at,
                    end: None,
                    end_packet: None,
                    addresses: Vec::new(),
                });
            }
        } else if let Some(lookup) = self.0.iter_mut().rev().find(|l| l.client == destination && l.name == name) {
            lookup.end = Some(at);
            lookup.last_asked = lookup.asked.iter().find(|(t, _)| *t == qtype).map_or(lookup.start, |(_, at)| *at);
            lookup.end_packet = Some(packet);
            lookup.addresses.extend(message.answers.iter().filter_map(|answer| match &answer.rdata {
                RData::A(a) => Some(IpAddr::from(a.address.to_be_bytes())),
                RData::AAAA(a) => Some(IpAddr::from(a.address.to_be_bytes())),
                _ => None,
            }));
        }
    }

    /// Takes out the lookup that led to a connection to `server`, begun at `connected`: the latest
    /// answered one that gave this address and was not taken by an earlier connection.
    ///
    /// Concurrent clients of one host ask for the same name; the first to have its answer is the
    /// first to connect, so lookups are handed out in the order of their answers.
    pub fn take_for(&mut self, server: IpAddr, connected: Instant<Client>) -> Option<Lookup> {
        let fits = |l: &Lookup| l.addresses.contains(&server) && l.end.is_some_and(|end| end <= connected);
        let index = (0..self.0.len()).filter(|i| fits(&self.0[*i])).min_by_key(|i| self.0[*i].end)?;
        Some(self.0.remove(index))
    }

    /// As [`Self::take_for`], in a capture that shows the lookups of many hosts and of a long time: only what `client`
    /// itself asked (a stub resolver asks from the loopback address, and an address of the other family may be the same
    /// host's), answered less than `within` before.
    pub fn take_recent(&mut self, client: IpAddr, server: IpAddr, connected: Instant<Client>, within: Span) -> Option<Lookup> {
        let asked = |l: &Lookup| {
            let ip = l.client.ip();
            ip == client || ip.is_loopback() || ip.is_ipv4() != client.is_ipv4()
        };
        let recent = |l: &Lookup| l.end.is_some_and(|end| end <= connected && connected - end <= within);
        let fits = |l: &Lookup| l.addresses.contains(&server) && recent(l) && asked(l);
        let index = (0..self.0.len()).filter(|i| fits(&self.0[*i])).min_by_key(|i| self.0[*i].end)?;
        Some(self.0.remove(index))
    }

    /// Forgets the oldest, down to `most`.
    pub fn keep(&mut self, most: usize) {
        let surplus = self.0.len().saturating_sub(most);
        self.0.drain(..surplus);
    }

    /// Lookups nobody has taken.
    pub fn remaining(&self) -> &[Lookup] {
        &self.0
    }
}
