//! A verdict in one plain sentence, with its evidence, for a tired engineer.

use enumset::EnumSet;

use crate::clock::{Client, Domain, Span};
use crate::conversation::handshake::Handshake;
use crate::conversation::reset::{Refusal, refusal};
use crate::judging::ledger::Entry;
use crate::judging::verdict::{Culprit, End, Judgement, Reading, Verdict};
use crate::judging::vocabulary::{Clause, Kind, Missing, Owner, Phase};
use crate::tcp::flow::{Side, View};

/// A packet of the evidence, as whoever looks finds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Citation {
    /// Its number in its file, as Wireshark counts.
    pub number: u64,
    /// The file, where there are several.
    pub file: Option<String>,
}

impl From<u64> for Citation {
    fn from(number: u64) -> Self {
        Self { number, file: None }
    }
}

/// Says how a packet of the evidence is called, from its number in the views.
pub type Cite<'a> = dyn Fn(u64) -> Citation + 'a;

/// Round trips that differ by no more than so many percent took "about" the same.
const ABOUT: i64 = 10;

/// Says what happened in one handshake and which frames show it.
pub fn explain(handshake: &Handshake, reading: &Reading, judgement: &Judgement, cite: &Cite<'_>) -> String {
    let refusal = refusal(handshake);
    let refused = |by: &Refusal| {
        let what = by.by.map_or("a reset".to_owned(), |by| format!("an ICMP error of {by}"));
        format!("{what} answered its SYN{}", frames(&by.packets[1..], cite))
    };
    let ended = match reading.end {
        End::Stopped { .. } if let Some(by) = refusal.as_ref().filter(|_| handshake.under_way) => {
            format!(" The handshake was under way when this was written: {} so far.", refused(by))
        }
        End::Stopped { after } if handshake.under_way => {
            format!(" The handshake was under way when this was written; the last thing proven by then is {}.", after.words())
        }
        End::Stopped { .. } if let Some(by) = &refusal => format!(" The handshake never completed: {} at last.", refused(by)),
        End::Complete => String::new(),
        End::NotTls => " This was no TLS handshake: what followed is not TLS, or carries it inside something else.".into(),
        End::Stopped { after } if cut_off(handshake, reading) => format!(
            " The capture ended, or paused, before what was due next could come; the last thing proven is {}.",
            after.words()
        ),
        End::Stopped { after } if handshake.dialogue.cut || handshake.capture_incomplete() => {
            format!(" Whether the handshake completed, this capture does not show; the last thing proven is {}.", after.words())
        }
        End::Stopped { after } => format!(" The handshake never completed; the last thing proven is {}.", after.words()),
    };
    match &judgement.verdict {
        Verdict::Healthy => {
            let most = judgement.parts.iter().map(|p| p.excess).max().unwrap_or_default();
            let (total, floor) = (reading.ledger.total, judgement.floor);
            format!(
                "Healthy: {total} in all; nobody took more than {most} beyond the baseline, below the {floor} that would count.{ended}"
            )
        }
        Verdict::Culprit { primary, second } => {
            let mut text = culprit(handshake, reading, primary, cite);
            if let Some(second) = second {
                text.push_str(&format!(" And: {}", culprit(handshake, reading, second, cite)));
            }
            text + &ended
        }
        Verdict::Inconclusive { missing, .. } if *missing == Missing::PathBaseline => format!(
            "Every round trip took {} or more, and nothing else was slow: whether that is usual on this path, this capture cannot \
             tell. To tell: {}.{ended}",
            reading.ledger.min_path().unwrap_or_default(),
            Missing::PathBaseline
        ),
        Verdict::Inconclusive { candidates, missing, .. } if *missing == Missing::LongerCapture => {
            let who: Vec<_> = candidates.iter().map(|o| o.words()).collect();
            format!(
                "Nothing was slow as far as this was captured; whether what was due next came late, or was held by {}, shows only {}.{ended}",
                who.join(" or "),
                Missing::LongerCapture
            )
        }
        Verdict::Inconclusive { missing, .. }
            if !judgement.was_slow()
                && let Some((missing, what)) = not_all(*missing) =>
        {
            format!(
                "Nothing was slow as far as this was captured, but packets of it were {what}: whether it went on{}, and who ended it, shows only \
             {missing}.",
                if let End::Stopped { after } = reading.end { format!(" after {}", after.words()) } else { String::new() },
            )
        }
        Verdict::Inconclusive { missing, excess, .. } if *missing == Missing::SteadyClock => format!(
            "{excess} beyond the baseline, by a clock that was set or ran wrong meanwhile: nobody can be named. To tell: {}.{ended}",
            Missing::SteadyClock
        ),
        Verdict::Inconclusive { .. } if let Some(by) = refusal.as_ref().filter(|_| reset_by_either(reading, judgement)) => {
            format!(
                "The connection was refused in the edge's name: {}. Whether the edge did that (nothing listens there), or something on the \
                 way in its name (a firewall), shows only {}.",
                refused(by),
                Missing::EdgeCapture
            )
        }
        Verdict::Inconclusive { candidates, .. } if reset_by_either(reading, judgement) => {
            let after = match reading.end {
                End::Stopped { after } => after.words(),
                End::Complete | End::NotTls => "its end",
            };
            let end = if candidates.contains(Owner::Client) { "client" } else { "edge" };
            format!(
                "The connection was reset in the {end}'s name after {after}; whether the {end} sent that, or something on the way in its name, \
                 shows only a capture at the {end}'s end."
            )
        }
        Verdict::Inconclusive { candidates, missing, excess } => {
            let who: Vec<_> = candidates.iter().map(|o| o.words()).collect();
            let what: Vec<_> = missing.iter().map(|m| m.to_string()).collect();
            let place = open_place(reading, *candidates, *excess, cite);
            let who = match who.as_slice() {
                [] => "is no one owner's: several have a share, none a clear one".to_owned(),
                [one] => format!("may be of {one}, or of nobody"),
                several => format!("could be any of: {}", several.join(", ")),
            };
            let tell = if what.is_empty() { String::new() } else { format!(" To tell: {}.", what.join("; ")) };
            format!("{excess} beyond the baseline{place} {who}.{tell}{ended}")
        }
        Verdict::Aborted { by: Owner::Path, .. } if let Some(by) = &refusal => {
            format!("Something on the way refused the connection: {}.", refused(by))
        }
        Verdict::Aborted { by, .. } if let Some(refusal) = &refusal => {
            format!("The {} refused the connection: {}.", by.words(), refused(refusal))
        }
        Verdict::Aborted { by: Owner::Path, after } => format!(
            "Something between the ends reset the connection in an end's name after {}: the end it claims to be from did not send \
             it, or sends with another TTL.",
            after.words()
        ),
        Verdict::Aborted { by, after } => format!("The {} ended the handshake after {}.", by.words(), after.words()),
    }
}

/// Where the most lies of what may have been one of the candidates (without any, of all that was too much), and how much of it that is
/// if not nearly all.
fn open_place(reading: &Reading, candidates: EnumSet<Owner>, excess: Span, cite: &Cite<'_>) -> String {
    let sides: EnumSet<Owner> = candidates.iter().map(Owner::side).collect();
    let may_be = |e: &&Entry| sides.contains(e.owner.side()) || e.candidates.iter().any(|owner| sides.contains(owner.side()));
    let most = |of: &dyn Fn(&&Entry) -> bool| {
        reading.ledger.entries.iter().filter(|e| e.excess() > Span::ZERO).filter(of).max_by_key(|e| e.excess())
    };
    let Some(entry) = most(&may_be).or_else(|| most(&|e| e.owner != Owner::Protocol)).or_else(|| most(&|_| true)) else {
        return String::new();
    };
    let place = format!("in {}{}", entry.phase.words(), frames(&entry.packets, cite));
    let nearly_all = entry.excess() >= excess - excess.percent(ABOUT);
    if nearly_all { format!(" {place}") } else { format!(", {} of it {place},", entry.excess()) }
}

fn culprit(handshake: &Handshake, reading: &Reading, culprit: &Culprit, cite: &Cite<'_>) -> String {
    let of_owner: Vec<&Entry> = reading.ledger.entries.iter().filter(|e| e.owner == culprit.owner).collect();
    // Of several as long, one that two packets bound.
    let weight = |e: &&&Entry| (e.excess(), !e.filled_in);
    let Some(largest) = of_owner.iter().filter(|e| e.kind == culprit.kind).max_by_key(weight).or(of_owner.first()) else {
        return format!("{}: {}.", culprit.owner.words(), culprit.excess);
    };
    let cited = frames(&largest.packets, cite);
    let span = largest.span;
    let clause = culprit.kind.map_or(Clause::Nothing, |kind| kind.clause(culprit.owner));
    if let Clause::Whole(text) = clause {
        return text.replace("{span}", &span.to_string()) + &cited + ".";
    }
    let doing = |otherwise| if let Clause::Doing(text) = clause { text } else { otherwise };
    match (culprit.owner, culprit.kind) {
        (Owner::ClientHost | Owner::ClientApp | Owner::Client, _) => {
            let nothing = if handshake.capture_incomplete() {
                "the client sent nothing that was captured"
            } else {
                "the client sent nothing"
            };
            client_turnaround(handshake, reading, largest, doing(nothing)) + &cited
        }
        (Owner::Path, Some(Kind::Detour)) => match reading.ledger.even_rounds() {
            Some([least, most]) if most - least > most.percent(ABOUT) => format!(
                "Every round trip on this path took {least} to {most}, against {} that are usual, whatever the ends did{cited}.",
                largest.baseline
            ),
            _ => format!(
                "Every round trip on this path took about {span}, {} more than its baseline, whatever the ends did{cited}.",
                largest.excess()
            ),
        },
        (Owner::Path, _) if !largest.round_trip => {
            format!("The path held {} {span} longer than what went before it{cited}.", largest.phase.words())
        }
        (Owner::Path, _) => {
            let best = if reading.ledger.min_path() == Some(largest.baseline) {
                "at best in this handshake"
            } else {
                "that are usual on this path"
            };
            format!(
                "The path held {}: one round trip took {span} against {} {best}{cited}.",
                largest.phase.words(),
                largest.baseline
            )
        }
        (Owner::Loss, direction) if never_came(reading, largest) => format!(
            "A packet{} left in {} and {}, {span} as long as anybody watched{cited}.",
            if direction == Some(Kind::Out) { " from the client" } else { " from the edge" },
            largest.phase.words(),
            if handshake.under_way { "had not come when this was written" } else { "never came" },
        ),
        (Owner::Loss, Some(direction)) if largest.packets.len() == 1 => format!(
            "An acknowledgement{} was lost in {}: what waited for it went on {span} later{cited}.",
            if direction == Kind::Out { " from the client" } else { " from the edge" },
            largest.phase.words(),
        ),
        (Owner::Loss, direction) => format!(
            "A packet{} was lost in {} and its retransmission came {span} later{cited}.",
            match direction {
                Some(Kind::Out) => " from the client",
                Some(_) => " from the edge",
                None => "",
            },
            largest.phase.words(),
        ),
        (Owner::EdgeHost | Owner::EdgeApp | Owner::Edge, _) => {
            let begun = largest.worked.is_some_and(|worked| worked.tail);
            let silent = if begun { "the edge had begun to answer and did not go on" } else { "the edge did not answer" };
            format!("For {span} of {} {}{cited}.", largest.phase.words(), doing(silent))
        }
        (owner @ (Owner::Resolver | Owner::Protocol | Owner::Unattributed), _) => {
            format!("{}: {span} in {}{cited}.", owner.words(), largest.phase.words())
        }
    }
}

/// "The server's flight reached the client's kernel at 41.2 ms; its Finished left 512 ms later; 98 % of that …"
fn client_turnaround(handshake: &Handshake, reading: &Reading, largest: &Entry, doing: &str) -> String {
    let then = match largest.phase {
        Phase::ClientFinished => "Finished",
        Phase::ClientHello => "ClientHello",
        _ => return format!("For {} of {} {doing}.", largest.span, largest.phase.words()),
    };
    let same = |e: &&Entry| e.phase == largest.phase && e.worked == largest.worked && e.packets == largest.packets;
    let turnaround: Span = reading.ledger.entries.iter().filter(same).map(|e| e.span).sum();
    let share = 100.0 * largest.span.fraction_of(turnaround);
    let sent = |view: &View<Client>| {
        let find = |number: Option<&u64>| number.and_then(|n| view.packets.iter().find(|p| p.packet == *n).copied());
        let came = find(largest.packets.first())?;
        let start = handshake.lookup.as_ref().map(|l| l.began().0).or(view.syns(Side::Client).next().map(|p| p.at))?;
        let went = find(largest.packets.get(1)).filter(|p| p.from == Side::Client);
        Some((came, (came.at - start).millis(), went.is_some()))
    };
    let Some((came, at, went)) = handshake.client.as_ref().and_then(sent) else {
        return match largest.kind {
            Some(_) => format!("The client sent its {then} {turnaround} after it could have; {share:.0} % of that {doing}."),
            None => format!("The client sent its {then} {} after it could have.", largest.span),
        };
    };
    if went && largest.worked.is_some_and(|worked| worked.tail) {
        return format!("The client had begun its {then}; the rest left {turnaround} later; {share:.0} % of that {doing}.");
    }
    let what = match largest.phase {
        _ if came.flags.syn() || came.from == Side::Client && came.ack() <= Some(0) => "SYN-ACK",
        Phase::ClientFinished => "server's flight",
        _ => "edge's word before it",
    };
    // Where the capture stands before the client, only its acknowledgement tells that it had come.
    let came = match came.from {
        Side::Server => format!("The {what} reached the client's kernel"),
        Side::Client => format!("The client's kernel acknowledged the {what}"),
    };
    if went {
        return format!("{came} at {at:.1} ms; its {then} left {turnaround} later; {share:.0} % of that {doing}.");
    }
    let until = if left_by_itself(handshake) { "until it gave up" } else { "that this was watched" };
    if handshake.dialogue.half_hello.is_some() && largest.phase == Phase::ClientHello {
        return format!("Its ClientHello was begun and not finished; {share:.0} % of the {turnaround} {until} {doing}.");
    }
    let left = if handshake.under_way { "had not left when this was written" } else { "never left" };
    format!("{came} at {at:.1} ms; its {then} {left}; {share:.0} % of the {turnaround} {until} {doing}.")
}

/// What was done to packets, if it is that alone which leaves something open.
fn not_all(missing: EnumSet<Missing>) -> Option<(Missing, &'static str)> {
    let known = [(Missing::LosslessCapture, "missed"), (Missing::WholePackets, "cut off")];
    known.into_iter().find(|(alone, _)| missing == *alone)
}

/// Whether nobody ended it, and the capture was over before an answer to what was said last could be there.
fn cut_off(handshake: &Handshake, reading: &Reading) -> bool {
    fn of<D: Domain>(view: &View<D>, watched: Option<i64>, round_trip: i64) -> bool {
        let said = view.packets.iter().rfind(|p| !p.is_empty() || p.flags.syn());
        let over = watched.or(view.packets.last().map(|p| p.at.nanos()));
        !view.is_closed() && said.zip(over).is_some_and(|(said, over)| over - said.at.nanos() < round_trip)
    }
    let round_trip = reading.ledger.min_path().unwrap_or_default().nanos();
    match (&handshake.client, &handshake.edge) {
        (Some(view), None) => of(view, handshake.watched_until, round_trip),
        (None, Some(view)) => of(view, handshake.watched_until, round_trip),
        _ => false,
    }
}

/// Whether the client ended it: by FIN, reset or alert.
fn left_by_itself(handshake: &Handshake) -> bool {
    let closed = |view: &View<Client>| view.sent_by(Side::Client).any(|p| p.flags.fin() || p.flags.rst());
    handshake.client.as_ref().is_some_and(closed) || handshake.dialogue.client_alert.is_some()
}

/// Whether a reset that bears no mark of its sender ended a handshake in which nothing else was slow.
fn reset_by_either(reading: &Reading, judgement: &Judgement) -> bool {
    let ends = [Owner::Path | Owner::Client, Owner::Path | Owner::Edge];
    let small = judgement.parts.iter().all(|p| p.excess < judgement.floor);
    matches!(reading.end, End::Stopped { .. }) && small && ends.contains(&judgement.candidates)
}

/// Whether what was lost is what the handshake stopped at.
fn never_came(reading: &Reading, entry: &Entry) -> bool {
    matches!(reading.end, End::Stopped { .. }) && reading.ledger.entries.last() == Some(entry)
}

/// " [packets 12 and 19 of edge.pcap]": a file that both are of is named once.
fn frames(packets: &[u64], cite: &Cite<'_>) -> String {
    let of = |cited: &Citation| cited.file.as_ref().map_or(String::new(), |file| format!(" of {file}"));
    match packets {
        [] => String::new(),
        [one] => {
            let one = cite(*one);
            format!(" [packet {}{}]", one.number, of(&one))
        }
        [first, .., last] => {
            let (first, last) = (cite(*first), cite(*last));
            let of_first = if first.file == last.file { String::new() } else { of(&first) };
            format!(" [packets {}{of_first} and {}{}]", first.number, last.number, of(&last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judging::ledger::Ledger;
    use crate::judging::verdict::Grade;

    #[test]
    fn a_file_is_named_once_for_packets_of_it() {
        let several = |number: u64| {
            let file = if number < 100 { "client.pcap" } else { "edge.pcap" };
            Citation { number: number % 100, file: Some(file.to_owned()) }
        };
        let said = |packets: &[u64]| frames(packets, &several);
        assert_eq!(said(&[]), "");
        assert_eq!(said(&[7]), " [packet 7 of client.pcap]");
        assert_eq!(said(&[7, 8, 9]), " [packets 7 and 9 of client.pcap]");
        assert_eq!(said(&[7, 109]), " [packets 7 of client.pcap and 9 of edge.pcap]");
        assert_eq!(frames(&[7, 9], &Citation::from), " [packets 7 and 9]", "there is one file");
    }

    #[test]
    fn the_place_of_what_is_open_is_where_the_most_of_it_lies() {
        let mut ledger = Ledger::open(Span::from_millis(200));
        let mut entry = |phase, owner: Owner, span: i64, baseline: i64, candidates, packets: [u64; 2]| {
            let entry = Entry::new(phase, owner, None, Span::from_millis(span), Span::ZERO).between(packets);
            ledger.charge(Entry { baseline: Span::from_millis(baseline), candidates, ..entry });
        };
        // A round trip that grew may be somebody else's; a longer stretch was as long as usual.
        entry(Phase::Connect, Owner::Path, 57, 40, Owner::Path | Owner::Edge, [1, 2]);
        entry(Phase::ClientHello, Owner::Client, 30, 8, EnumSet::empty(), [2, 4]);
        entry(Phase::ServerFlight, Owner::Unattributed, 63, 60, Owner::Path | Owner::Edge, [4, 6]);
        let reading = Reading { grade: Grade::OneEnd { host: false }, ledger, end: End::Complete };
        let place = |candidates, excess| open_place(&reading, candidates, Span::from_millis(excess), &Citation::from);
        assert_eq!(place(Owner::Path | Owner::Edge, 42), ", 17.0 ms of it in TCP connect [packets 1 and 2],");
        assert_eq!(place(Owner::Path | Owner::Edge, 18), " in TCP connect [packets 1 and 2]");
        assert_eq!(place(EnumSet::empty(), 42), ", 22.0 ms of it in client before ClientHello [packets 2 and 4],");
    }
}
