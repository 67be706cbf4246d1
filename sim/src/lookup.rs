//! A client's name lookup, as its capture shows it: questions and answers over UDP, with what goes wrong between them.
//!
//! In: how it goes and how long it takes, the address it finds. Out: frames; the last answer is the one that the client waited for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::MS;
use crate::beside::udp;

/// How a lookup goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Course {
    /// One question, one answer.
    Plain,
    /// A and AAAA are asked for; one question is lost, and both are asked again when a timer has run out (resolv.conf(5): 5 s).
    OneLost {
        /// It is the one for IPv6 addresses.
        aaaa: bool,
    },
    /// The first name server is dead; the second answers.
    DeadServer,
    /// The name is tried below so many search domains first, none of which knows it.
    SearchDomains(u8),
    /// One question for each family; both have an address, and the one of the other family comes first.
    BothFamilies,
}

/// A lookup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lookup {
    /// How it goes.
    pub course: Course,
    /// From the first question to the last answer.
    pub took: i64,
}

/// A name server that answers takes about so long.
const ANSWERED: i64 = 5 * MS;
/// A and AAAA are asked for one behind the other.
const BOTH: i64 = 20_000;
const A: u16 = 1;
const AAAA: u16 = 28;

/// An address that was looked up beside the one that was connected to, on which nobody answers.
pub(crate) const DEAD_HOST: u8 = 9;

/// One host's questions and a name server's answers.
struct Talk {
    asker: SocketAddr,
    found: IpAddr,
    frames: Vec<(i64, Vec<u8>)>,
}

impl Lookup {
    /// The frames of a lookup of the connection's server that begins at `start`.
    pub fn frames(&self, (client, server): (SocketAddr, SocketAddr), start: i64) -> Vec<(i64, Vec<u8>)> {
        let asker = SocketAddr::new(Ipv4Addr::new(198, 51, 100, 1).into(), client.port() ^ 0x1000);
        let mut talk = Talk { asker, found: server.ip(), frames: Vec::new() };
        // The program connects when it has read the last answer.
        let end = start + self.took - if self.course == Course::Plain { 0 } else { BOTH };
        let own = kind_of(server.ip());
        match self.course {
            Course::Plain => {
                talk.ask(start, "edge.test", own, 0);
                talk.answer(end, "edge.test", own, 0);
            }
            Course::OneLost { aaaa } => {
                let (lost, answered) = if aaaa { (AAAA, A) } else { (A, AAAA) };
                talk.ask_both(start, "edge.test", 0);
                talk.answer(start + ANSWERED, "edge.test", answered, 0);
                talk.ask_both(end - ANSWERED, "edge.test", 0);
                talk.answer(end - MS, "edge.test", answered, 0);
                talk.answer(end, "edge.test", lost, 0);
            }
            Course::DeadServer => {
                talk.ask_both(start, "edge.test", 1);
                // The library asks the next server from a socket of its own.
                talk.asker.set_port(talk.asker.port() ^ 0x0100);
                talk.ask_both(end - ANSWERED, "edge.test", 0);
                talk.answer(end - MS, "edge.test", if own == A { AAAA } else { A }, 0);
                talk.answer(end, "edge.test", own, 0);
            }
            Course::SearchDomains(domains) => {
                let each = self.took / (i64::from(domains) + 1);
                for n in 0..i64::from(domains) {
                    let name = ["shop.svc.cluster.test", "svc.cluster.test", "cluster.test", "corp.test"][n as usize % 4];
                    let name = format!("edge.test.{name}");
                    talk.ask_both(start + n * each, &name, 0);
                    talk.nowhere(start + (n + 1) * each - 2 * BOTH, &name);
                    talk.asker.set_port(talk.asker.port() + 1);
                }
                talk.ask_both(end - each, "edge.test", 0);
                talk.answer(end - each / 10, "edge.test", if own == A { AAAA } else { A }, 0);
                talk.answer(end, "edge.test", own, 0);
            }
            Course::BothFamilies => {
                let other = crate::trial::address(server.is_ipv4(), DEAD_HOST, 0).ip();
                talk.ask_both(start, "edge.test", 0);
                talk.give(end - MS / 10, "edge.test", other, 0);
                talk.answer(end, "edge.test", own, 0);
            }
        }
        talk.frames
    }
}

fn kind_of(address: IpAddr) -> u16 {
    if address.is_ipv4() { A } else { AAAA }
}

/// The n-th name server.
fn resolver(nth: u8) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(198, 51, 100, 53 + nth).into(), 53)
}

impl Talk {
    fn ask(&mut self, at: i64, name: &str, kind: u16, server: u8) {
        let query = [head(0x0100, 0), question(name, kind)].concat();
        self.frames.push((at, udp(self.asker, resolver(server), &query)));
    }

    fn ask_both(&mut self, at: i64, name: &str, server: u8) {
        self.ask(at, name, A, server);
        self.ask(at + BOTH, name, AAAA, server);
    }

    /// An answer: the address, if it is of that kind; else that there is none.
    fn answer(&mut self, at: i64, name: &str, kind: u16, server: u8) {
        if kind == kind_of(self.found) {
            return self.give(at, name, self.found, server);
        }
        let none = [head(0x8180, 0), question(name, kind)].concat();
        self.frames.push((at, udp(resolver(server), self.asker, &none)));
    }

    fn give(&mut self, at: i64, name: &str, address: IpAddr, server: u8) {
        let kind = kind_of(address);
        let bytes = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let record = [&[0xc0, 12][..], &kind.to_be_bytes(), &[0, 1, 0, 0, 0, 60], &(bytes.len() as u16).to_be_bytes(), &bytes];
        let answer = [head(0x8180, 1), question(name, kind), record.concat()].concat();
        self.frames.push((at, udp(resolver(server), self.asker, &answer)));
    }

    /// NXDOMAIN, to both questions.
    fn nowhere(&mut self, at: i64, name: &str) {
        for (later, kind) in [(0, A), (BOTH, AAAA)] {
            let answer = [head(0x8183, 0), question(name, kind)].concat();
            self.frames.push((at + later, udp(resolver(0), self.asker, &answer)));
        }
    }
}

fn head(flags: u16, answers: u16) -> Vec<u8> {
    [0x4242_u16, flags, 1, answers, 0, 0].iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn question(name: &str, kind: u16) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| [&[label.len() as u8][..], label.as_bytes()].concat());
    labels.chain([0]).chain(kind.to_be_bytes()).chain([0, 1]).collect()
}

/// Questions for the name behind an address, by a server that nobody answers: three, evenly over `[from, to]`.
pub fn unanswered(host: IpAddr, from: i64, to: i64) -> Vec<(i64, Vec<u8>)> {
    let host = if host.is_ipv4() { host } else { Ipv4Addr::new(198, 51, 100, 2).into() };
    let asker = SocketAddr::new(host, 47_123);
    let query = [head(0x0100, 0), question("1.100.51.198.in-addr.arpa", 12)].concat();
    (0..3).map(|n| (from + n * (to - from) / 3, udp(asker, resolver(1), &query))).collect()
}
