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
    /// When each type was asked for again before it was answered.
    again: Vec<(u16, Instant<Client>)>,
    /// Whom it asked.
    resolver: IpAddr,
    /// What the quickest other lookup at that resolver took, as far as one was seen.
    pub usual: Option<Span>,
    answers: Vec<Answer>,
    /// What was tried before for the same lookup, the first first: another server, a search domain, the same again.
    earlier: Vec<Lookup>,
}

/// A stretch in which a question was open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wait {
    /// When it was asked, or the one before it ended.
    pub from: Instant<Client>,
    /// When it was answered, or asked anew.
    pub to: Instant<Client>,
    /// The frames of the question and of what ended the wait.
    pub packets: [u64; 2],
    /// Whether it was asked again soon, and answered soon behind that: the question or its answer may have been lost.
    pub perhaps_lost: bool,
}

/// Whoever asks again sooner does not wait for a library's timeout; behind one, a resolver that does not answer is the resolver's.
const ASKED_SOON: Span = Span::from_millis(1_000);

/// Between the end of one attempt at a lookup and the next, at most; longer, and it is another lookup.
const NEXT_ATTEMPT: Span = Span::from_millis(100);
/// A resolver library gives up waiting by then (resolv.conf(5): 5 s by default, 30 at most).
const LONGEST_WAIT: Span = Span::from_millis(31_000);

/// A resolver that asks for A and AAAA from two sockets does so at once.
const ASKED_AT_ONCE: Span = Span::from_millis(5);

/// What a name server answered to one question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// When the question had left.
    pub asked: Instant<Client>,
    /// When the answer came.
    pub at: Instant<Client>,
    /// Its frame.
    pub packet: u64,
    kind: u16,
    addresses: Vec<IpAddr>,
}

impl Lookup {
    /// The answer that ended it: the last one.
    pub fn end(&self) -> Option<&Answer> {
        self.answers.last()
    }

    /// Whether an answer gave this address.
    pub fn gave(&self, address: IpAddr) -> bool {
        self.earlier.iter().chain([self]).any(|l| l.answers.iter().any(|a| a.addresses.contains(&address)))
    }

    /// When the first question of all left, and its frame.
    pub fn began(&self) -> (Instant<Client>, u64) {
        self.earlier.first().map_or((self.start, self.start_packet), |first| (first.start, first.start_packet))
    }

    /// The stretches in which a question was open, in order, none over another. One that nobody answered was open until it, or its
    /// like, was asked anew; the last answer of all ends the last.
    pub fn waits(&self) -> Vec<Wait> {
        let attempts: Vec<&Lookup> = self.earlier.iter().chain([self]).collect();
        let mut waits = Vec::new();
        for (i, attempt) in attempts.iter().enumerate() {
            let anew = attempts.get(i + 1).map(|next| (next.start, next.start_packet));
            for (kind, asked) in &attempt.asked {
                let answer = attempt.answers.iter().find(|a| a.kind == *kind).map(|a| (a.at, a.packet));
                let Some((to, packet)) = answer.or(anew) else { continue };
                let again = attempt.again.iter().rfind(|(t, at)| t == kind && *at < to).map(|(_, at)| *at);
                let perhaps_lost = answer.is_some()
                    && again.is_some_and(|again| again - *asked < ASKED_SOON && (to - again) * 2 < again - *asked);
                waits.push(Wait { from: *asked, to, packets: [attempt.start_packet, packet], perhaps_lost });
            }
        }
        waits.sort_by_key(|w| (w.from, w.to));
        let mut apart: Vec<Wait> = Vec::new();
        for wait in waits {
            match apart.last_mut() {
                Some(last) if wait.from <= last.to => {
                    if wait.to > last.to {
                        (last.to, last.packets[1], last.perhaps_lost) = (wait.to, wait.packets[1], wait.perhaps_lost);
                    }
                }
                _ => apart.push(wait),
            }
        }
        apart
    }

    /// When it had its last answer, or was last asked.
    fn last_at(&self) -> Instant<Client> {
        let asked = self.asked.iter().map(|(_, at)| *at);
        self.answers.iter().map(|a| a.at).chain(asked).max().unwrap_or(self.start)
    }

    /// Whether this one was tried before `next` for the same lookup: of the same name, or of it in a search domain.
    fn led_on_to(&self, next: &Lookup) -> bool {
        let same_host = self.client.ip() == next.client.ip() || self.client.ip().is_loopback() || next.client.ip().is_loopback();
        let of = |long: &str, short: &str| long == short || long.strip_prefix(short).is_some_and(|rest| rest.starts_with('.'));
        let same_lookup = of(&self.name, &next.name) || of(&next.name, &self.name) || self.search_sibling(next);
        let unanswered = self.asked.len() > self.answers.len();
        let soon = if unanswered { LONGEST_WAIT } else { NEXT_ATTEMPT };
        same_host && same_lookup && self.start <= next.start && next.start - self.last_at() <= soon
    }

    /// Two search domains behind the same name: they share their first label, and nobody had an address under the one before.
    fn search_sibling(&self, next: &Lookup) -> bool {
        let first = |name: &str| name.split('.').next().map(str::to_owned);
        first(&self.name) == first(&next.name) && self.answers.iter().all(|a| a.addresses.is_empty())
    }

    /// Whether a connection to `server` that began at `connected` can have come of it.
    fn led_to(&self, server: IpAddr, connected: Instant<Client>) -> bool {
        self.answers.iter().any(|a| a.at <= connected && a.addresses.contains(&server))
    }

    /// When it had its last answer before a connection.
    fn answered_before(&self, connected: Instant<Client>) -> Option<Instant<Client>> {
        self.answers.iter().rfind(|a| a.at <= connected).map(|a| a.at)
    }

    /// Without the answers that a connection did not wait for: many programs connect with the first address they have.
    fn before(mut self, connected: Instant<Client>) -> Self {
        self.answers.retain(|a| a.at <= connected);
        self
    }
}

/// A connection whose lookup is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Who connected.
    pub client: IpAddr,
    /// To whom.
    pub server: IpAddr,
    /// The name it asked the server for, if it is known.
    pub name: Option<&'a str>,
    /// When its SYN left.
    pub connected: Instant<Client>,
}

/// The two quickest answers of a resolver, and the question of each.
type Quickest = [Option<(Span, u64)>; 2];

/// Collects lookups from the UDP port 53 datagrams of a client's capture.
#[derive(Default, Debug)]
pub struct Lookups {
    lookups: Vec<Lookup>,
    /// By resolver, what its two quickest answers took, and to which questions.
    quickest: Vec<(IpAddr, Quickest)>,
}

/// Resolvers of which the quickest answers are remembered.
const MOST_RESOLVERS: usize = 64;

impl Lookups {
    /// Takes one datagram; anything that is not DNS is ignored.
    pub fn push(&mut self, at: Instant<Client>, packet: u64, source: SocketAddr, destination: SocketAddr, payload: &[u8]) {
        let Ok(message) = Packet::parse(payload) else { return };
        let Some(question) = message.questions.first() else { return };
        let name = question.qname.to_string().trim_end_matches('.').to_ascii_lowercase();
        let qtype = u16::from(question.qtype);
        // A resolver library sends A and AAAA from one socket, and repeats on the same one.
        if destination.port() == 53 {
            // Asked again behind its answer, it is another lookup.
            let open = |l: &&mut Lookup| l.client == source && l.name == name && l.answers.iter().all(|a| a.kind != qtype);
            if let Some(open) = self.lookups.iter_mut().find(open) {
                let asked = if open.asked.iter().all(|(t, _)| *t != qtype) { &mut open.asked } else { &mut open.again };
                asked.push((qtype, at));
            } else {
                self.lookups.push(Lookup {
                    name,
                    client: source,
                    start: at,
                    start_packet: packet,
                    asked: vec![(qtype, at)],
                    again: Vec::new(),
                    resolver: destination.ip(),
                    usual: None,
                    answers: Vec::new(),
                    earlier: Vec::new(),
                });
            }
        } else {
            // The newest that waits for it: of two questions asked again on one socket, only the unanswered one is open. The first answer
            // counts; others are repeats, or nobody's.
            let waiting = |l: &&mut Lookup| {
                l.client == destination
                    && l.name == name
                    && l.asked.iter().any(|(t, _)| *t == qtype)
                    && l.answers.iter().all(|a| a.kind != qtype)
            };
            let Some(lookup) = self.lookups.iter_mut().rev().find(waiting) else { return };
            let Some((_, asked)) = lookup.asked.iter().find(|(t, _)| *t == qtype).copied() else { return };
            let addresses = message.answers.iter().filter_map(|answer| match &answer.rdata {
                RData::A(a) => Some(IpAddr::from(a.address.to_be_bytes())),
                RData::AAAA(a) => Some(IpAddr::from(a.address.to_be_bytes())),
                _ => None,
            });
            lookup.answers.push(Answer { asked, at, packet, kind: qtype, addresses: addresses.collect() });
            let (resolver, question) = (lookup.resolver, lookup.start_packet);
            self.note(resolver, question, at - asked);
        }
    }

    fn note(&mut self, resolver: IpAddr, question: u64, took: Span) {
        let known = self.quickest.iter().position(|(of, _)| *of == resolver);
        let at = known.unwrap_or_else(|| {
            if self.quickest.len() >= MOST_RESOLVERS {
                self.quickest.remove(0);
            }
            self.quickest.push((resolver, [None; 2]));
            self.quickest.len() - 1
        });
        let two = &mut self.quickest[at].1;
        let mut all: Vec<(Span, u64)> = two.iter().copied().flatten().filter(|(_, of)| *of != question).collect();
        let own = two.iter().flatten().filter(|(_, of)| *of == question).map(|(took, _)| *took).min();
        all.push((own.map_or(took, |own| own.min(took)), question));
        all.sort_unstable();
        *two = [all.first().copied(), all.get(1).copied()];
    }

    /// What the quickest lookup for another name took at its resolver.
    fn usual_of(&self, lookup: &Lookup) -> Option<Span> {
        let (_, two) = self.quickest.iter().find(|(of, _)| *of == lookup.resolver)?;
        let own = |question: u64| lookup.earlier.iter().chain([lookup]).any(|l| l.start_packet == question);
        two.iter().flatten().find(|(_, question)| !own(*question)).map(|(took, _)| *took)
    }

    /// Takes out the lookup that led to a connection to `server`, begun at `connected`: the latest
    /// answered one that gave this address and was not taken by an earlier connection.
    ///
    /// Concurrent clients of one host ask for the same name; the first to have its answer is the
    /// first to connect, so lookups are handed out in the order of their answers.
    pub fn take_for(&mut self, server: IpAddr, connected: Instant<Client>) -> Option<Lookup> {
        let fits = (0..self.lookups.len()).filter(|i| self.lookups[*i].led_to(server, connected));
        let index = fits.min_by_key(|i| self.lookups[*i].answered_before(connected))?;
        let found = self.lookups.remove(index).before(connected);
        Some(self.with_twin(found, connected))
    }

    /// As [`Self::take_for`], in a capture that shows the lookups of many hosts and of a long time: only what the client itself asked
    /// (a stub resolver asks from the loopback address, and an address of the other family may be the same host's), answered less than
    /// `within` before; that of the name it then asked the server for, if there are several.
    pub fn take_recent(&mut self, wanted: &Wanted<'_>, within: Span) -> Option<Lookup> {
        let Wanted { client, server, name, connected } = *wanted;
        let asked = |l: &Lookup| {
            let ip = l.client.ip();
            ip == client || ip.is_loopback() || ip.is_ipv4() != client.is_ipv4()
        };
        let recent = |l: &Lookup| {
            let twins = self.twin(l, connected).and_then(|i| self.lookups[i].answered_before(connected));
            l.answered_before(connected).max(twins).is_some_and(|end| connected - end <= within)
        };
        let fits = (0..self.lookups.len())
            .filter(|i| self.lookups[*i].led_to(server, connected) && recent(&self.lookups[*i]) && asked(&self.lookups[*i]));
        let other_name = |l: &Lookup| name.is_some_and(|name| !name.eq_ignore_ascii_case(&l.name));
        let index = fits.min_by_key(|i| (other_name(&self.lookups[*i]), self.lookups[*i].answered_before(connected)))?;
        let found = self.lookups.remove(index).before(connected);
        let found = self.with_twin(found, connected);
        let mut found = self.with_earlier(found, connected);
        found.usual = self.usual_of(&found);
        Some(found)
    }

    /// When the address of `server` was last looked up before a connection: asked for (with the other family's, where that has a socket of
    /// its own), and answered.
    pub fn looked_up(&self, server: IpAddr, connected: Instant<Client>) -> Option<[Instant<Client>; 2]> {
        let led = self.lookups.iter().filter(|l| l.led_to(server, connected));
        let (last, answered) = led.filter_map(|l| Some((l, l.answered_before(connected)?))).max_by_key(|(_, at)| *at)?;
        let twin = self.twin(last, connected).map_or(last.start, |i| self.lookups[i].start);
        Some([last.start.min(twin), answered])
    }

    /// The questions that `host` asked in a stretch and that nobody answered: when, and their frames.
    pub fn unanswered(&self, host: IpAddr, [from, to]: [Instant<Client>; 2]) -> impl Iterator<Item = (Instant<Client>, u64)> {
        let asked = move |l: &&Lookup| l.client.ip() == host && l.start >= from && l.start < to;
        self.lookups.iter().filter(asked).filter(|l| l.answers.is_empty()).map(|l| (l.start, l.start_packet))
    }

    /// The question for the other family that was asked at once from a socket of its own, and answered before the connection.
    fn twin(&self, of: &Lookup, connected: Instant<Client>) -> Option<usize> {
        let apart = |l: &Lookup| (l.start - of.start).max(of.start - l.start);
        let other = |l: &Lookup| {
            let mut kinds = l.asked.iter().map(|(kind, _)| kind);
            (l.name == of.name && l.client.ip() == of.client.ip() && l.client != of.client)
                && kinds.all(|kind| of.asked.iter().all(|(known, _)| known != kind))
                && apart(l) <= ASKED_AT_ONCE
                && l.answered_before(connected).is_some()
        };
        (0..self.lookups.len()).filter(|i| other(&self.lookups[*i])).min_by_key(|i| apart(&self.lookups[*i]))
    }

    /// With its twin: whoever asks for both waits for both.
    fn with_twin(&mut self, mut found: Lookup, connected: Instant<Client>) -> Lookup {
        let twin = self.twin(&found, connected).map(|i| self.lookups.remove(i).before(connected));
        let Some(twin) = twin else { return found };
        if twin.start < found.start {
            (found.start, found.start_packet, found.client) = (twin.start, twin.start_packet, twin.client);
        }
        found.asked.extend(twin.asked);
        found.again.extend(twin.again);
        found.answers.extend(twin.answers);
        found.answers.sort_by_key(|answer| answer.at);
        found
    }

    /// Takes out what was tried before for the same lookup.
    fn with_earlier(&mut self, mut found: Lookup, connected: Instant<Client>) -> Lookup {
        loop {
            let first = found.earlier.first().unwrap_or(&found);
            let led = |l: &Lookup| l.start <= connected && (l.led_on_to(first) || l.start >= first.start && l.led_on_to(&found));
            let Some(i) = (0..self.lookups.len()).rfind(|i| led(&self.lookups[*i])) else { return found };
            let earlier = self.lookups.remove(i).before(connected);
            let place = found.earlier.partition_point(|l| l.start <= earlier.start);
            found.earlier.insert(place, earlier);
        }
    }

    /// Forgets the oldest, down to `most`.
    pub fn keep(&mut self, most: usize) {
        let surplus = self.lookups.len().saturating_sub(most);
        self.lookups.drain(..surplus);
    }
}

#[cfg(test)]
mod chains;

#[cfg(test)]
mod tests {
    use super::*;
    use simple_dns::rdata::{A, AAAA};
    use simple_dns::{CLASS, Name, QCLASS, QTYPE, Question, ResourceRecord, TYPE};

    const CLIENT: &str = "10.0.0.1:5353";
    const RESOLVER: &str = "10.0.0.53:53";

    pub(super) fn at(millis: i64) -> Instant<Client> {
        Instant::from_nanos(millis * 1_000_000)
    }

    /// A question, or an answer that gives `address`, or none if that is empty.
    pub(super) fn datagram(name: &str, kind: TYPE, address: Option<&str>) -> Vec<u8> {
        let name = Name::new_unchecked(name);
        let mut packet = if address.is_some() { Packet::new_reply(7) } else { Packet::new_query(7) };
        packet.questions.push(Question::new(name.clone(), QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
        if let Some(address) = address.filter(|address| !address.is_empty()) {
            let data = match address.parse().expect("an address") {
                IpAddr::V4(v4) => RData::A(A::from(v4)),
                IpAddr::V6(v6) => RData::AAAA(AAAA::from(v6)),
            };
            packet.answers.push(ResourceRecord::new(name, CLASS::IN, 60, data));
        }
        packet.build_bytes_vec().expect("it is built")
    }

    /// Lookups of a client that says and hears this: when, the name, the type, the answer.
    pub(super) fn lookups(said: &[(i64, &str, TYPE, Option<&str>)]) -> Lookups {
        let (client, resolver) = (CLIENT.parse().expect("an address"), RESOLVER.parse().expect("an address"));
        let mut lookups = Lookups::default();
        for (number, (millis, name, kind, address)) in (1..).zip(said) {
            let (from, to) = if address.is_some() { (resolver, client) } else { (client, resolver) };
            lookups.push(at(*millis), number, from, to, &datagram(name, *kind, *address));
        }
        lookups
    }

    pub(super) fn take(lookups: &mut Lookups, name: Option<&str>, connected: i64, within: i64) -> Option<Lookup> {
        let (client, server) = ("10.0.0.1".parse().expect("an address"), "10.0.1.1".parse().expect("an address"));
        lookups.take_recent(&Wanted { client, server, name, connected: at(connected) }, Span::from_millis(within))
    }

    #[test]
    fn an_answer_the_connection_did_not_wait_for_is_none_of_it() {
        let both = [(0, "a.test", TYPE::A, None), (0, "a.test", TYPE::AAAA, None)];
        let answers = [(20, "a.test", TYPE::A, Some("10.0.1.1")), (60, "a.test", TYPE::AAAA, Some("fd00::1"))];
        let said = [both, answers].concat();
        let at_once = take(&mut lookups(&said), None, 21, 50).expect("it led to the connection");
        assert_eq!(at_once.end().map(|a| (a.at, a.packet)), Some((at(20), 3)));
        let waited = take(&mut lookups(&said), None, 61, 50).expect("it led to the connection");
        assert_eq!(waited.end().map(|a| (a.at, a.packet)), Some((at(60), 4)));
        assert_eq!(take(&mut lookups(&said), None, 200, 50), None, "looked up ahead of use");
    }

    #[test]
    fn questions_from_two_sockets_are_one_lookup_if_they_were_asked_at_once() {
        let lookups = |aaaa_asked: i64| {
            let [one, other] = ["10.0.0.1:5353", "10.0.0.1:5354"].map(|end| end.parse().expect("an address"));
            let resolver = RESOLVER.parse().expect("an address");
            let mut lookups = Lookups::default();
            let a = |address| datagram("a.test", TYPE::A, address);
            let aaaa = |address| datagram("a.test", TYPE::AAAA, address);
            lookups.push(at(0), 1, one, resolver, &a(None));
            lookups.push(at(20), 2, resolver, one, &a(Some("10.0.1.1")));
            lookups.push(at(aaaa_asked), 3, other, resolver, &aaaa(None));
            lookups.push(at(700), 4, resolver, other, &aaaa(Some("")));
            lookups
        };
        let waits = |mut lookups: Lookups, connected: i64| {
            let found =
                lookups.take_for("10.0.1.1".parse().expect("an address"), at(connected)).expect("it led to the connection");
            found.waits().iter().map(|w| (w.from, w.to)).collect::<Vec<_>>()
        };
        assert_eq!(waits(lookups(1), 701), [(at(0), at(700))], "whoever asks for both waits for both");
        assert_eq!(waits(lookups(1), 100), [(at(0), at(20))], "it did not wait for the second");
        assert_eq!(waits(lookups(60), 701), [(at(0), at(20))], "another question");
        let recent = take(&mut lookups(1), None, 701, 50).expect("the same in a capture of many hosts");
        assert_eq!(recent.end().map(|a| a.at), Some(at(700)));
    }

    #[test]
    fn of_answers_that_come_twice_the_first_counts() {
        let asked = (0, "a.test", TYPE::A, None);
        let answers = [20, 24].map(|at| (at, "a.test", TYPE::A, Some("10.0.1.1")));
        let found = take(&mut lookups(&[asked, answers[0], answers[1]]), None, 30, 50).expect("it led to the connection");
        assert_eq!(found.end().map(|a| a.packet), Some(2));
    }

    #[test]
    fn an_answer_goes_to_the_question_that_waits_for_it() {
        // A is lost; 5 s later both are asked again on the same socket.
        let said = [
            (0, "a.test", TYPE::A, None),
            (0, "a.test", TYPE::AAAA, None),
            (20, "a.test", TYPE::AAAA, Some("")),
            (5_000, "a.test", TYPE::A, None),
            (5_000, "a.test", TYPE::AAAA, None),
            (5_020, "a.test", TYPE::A, Some("10.0.1.1")),
            (5_021, "a.test", TYPE::AAAA, Some("")),
        ];
        let found = take(&mut lookups(&said), None, 5_022, 50).expect("it led to the connection");
        assert_eq!((found.began().0, found.end().map(|a| a.at)), (at(0), Some(at(5_020))));
        assert_eq!(found.waits().iter().map(|w| (w.from, w.to)).next(), Some((at(0), at(5_020))));
    }

    #[test]
    fn what_nobody_answered_is_told_by_when_it_was_asked() {
        let said = [
            (0, "a.test", TYPE::A, None),
            (20, "a.test", TYPE::A, Some("10.0.1.1")),
            (100, "ocsp.test", TYPE::A, None),
            (900, "late.test", TYPE::A, None),
        ];
        let lookups = lookups(&said);
        let host = "10.0.0.1".parse().expect("an address");
        let open = |from, to| lookups.unanswered(host, [at(from), at(to)]).collect::<Vec<_>>();
        assert_eq!(open(0, 900), [(at(100), 3)]);
        assert_eq!(open(101, 901), [(at(900), 4)]);
        assert_eq!(lookups.unanswered("10.0.0.2".parse().expect("an address"), [at(0), at(2_000)]).count(), 0);
    }

    #[test]
    fn a_name_asked_again_is_another_lookup() {
        let once = |from: i64| [(from, "a.test", TYPE::A, None), (from + 20, "a.test", TYPE::A, Some("10.0.1.1"))];
        let mut two = lookups(&[once(0), once(30_000)].concat());
        let second = take(&mut two, None, 30_021, 50).expect("it led to the connection");
        assert_eq!(second.start, at(30_000));
    }

    #[test]
    fn of_two_names_at_one_address_the_wanted_one_is_taken() {
        let of = |name, from| [(from, name, TYPE::A, None), (from + 20, name, TYPE::A, Some("10.0.1.1"))];
        let mut two = lookups(&[of("a.test", 0), of("b.test", 5)].concat());
        assert_eq!(take(&mut two, Some("B.test"), 26, 50).map(|l| l.name), Some("b.test".into()));
        assert_eq!(take(&mut two, Some("c.test"), 26, 50).map(|l| l.name), Some("a.test".into()));
    }
}
