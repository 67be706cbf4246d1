//! Both ends' packets of real stacks, with something on the way that changes addresses, ports and sequence numbers: the two ends are joined
//! all the same, and verdicts do not move. Also: what a recorder is asked for, and what of its answer is kept.

use analysis::key::Key;
use analysis::tls::client_random;
use analysis::wire::packet::{LinkType, Transport, decode};

use super::clocks::{RIGHT, Recorded, cases, ran, verdicts_of};
use super::*;

/// What is changed on the way.
#[derive(Clone, Copy)]
struct Translation {
    /// Added to the client's port.
    port: u16,
    /// The server's port at the edge.
    server_port: u16,
    /// Added to the sequence numbers of both directions.
    numbers: u32,
}

/// Changes a frame as the edge sees it: Ethernet, IPv4, TCP to or from `port`; others stay as they are. Checksums are left: a card would
/// have checked them.
fn translate(frame: &mut [u8], port: u16, how: Translation) {
    if frame.get(12..14) != Some(&[8, 0]) || frame.get(23) != Some(&6) {
        return;
    }
    let tcp = 14 + usize::from(frame[14] & 15) * 4;
    let from_client = frame[tcp + 2..tcp + 4] == port.to_be_bytes();
    if !from_client && frame[tcp..tcp + 2] != port.to_be_bytes() {
        return;
    }
    let (address, client, server) = if from_client { (26, tcp, tcp + 2) } else { (30, tcp + 2, tcp) };
    frame[address..address + 4].copy_from_slice(&[198, 51, 100, 77]);
    let translated = u16::from_be_bytes([frame[client], frame[client + 1]]).wrapping_add(how.port);
    frame[client..client + 2].copy_from_slice(&translated.to_be_bytes());
    frame[server..server + 2].copy_from_slice(&how.server_port.to_be_bytes());
    let add = |frame: &mut [u8], at: usize| {
        let number = u32::from_be_bytes(frame[at..at + 4].try_into().expect("four bytes")).wrapping_add(how.numbers);
        frame[at..at + 4].copy_from_slice(&number.to_be_bytes());
    };
    add(frame, tcp + 4);
    if frame[tcp + 13] & 0x10 != 0 {
        add(frame, tcp + 8);
    }
    // Selective acknowledgements hold numbers, too (RFC 2018).
    let (mut at, end) = (tcp + 20, tcp + usize::from(frame[tcp + 12] >> 4) * 4);
    while at < end && frame[at] != 0 {
        if frame[at] == 1 {
            at += 1;
            continue;
        }
        let length = usize::from(frame[at + 1]).max(2);
        if frame[at] == 5 {
            (at + 2..at + length).step_by(4).for_each(|number| add(frame, number));
        }
        at += length;
    }
}

/// Whether the connections have TCP timestamps, which survive a rewriting of everything else.
fn is_stamped(recorded: &Recorded) -> bool {
    recorded.frames.iter().any(|(_, _, frame)| {
        let bytes = &frame.bytes;
        let tcp = 14 + usize::from(bytes[14] & 15) * 4;
        let end = tcp + bytes.get(tcp + 12).map_or(0, |byte| usize::from(byte >> 4) * 4);
        // Kind 8, length 10 (RFC 7323).
        bytes.get(23) == Some(&6) && bytes.get(tcp + 20..end).is_some_and(|options| options.windows(2).any(|two| two == [8, 10]))
    })
}

fn of_ipv4(recorded: &Recorded) -> bool {
    recorded.frames.iter().all(|(_, link, frame)| *link == 1 && frame.bytes.get(12..14) == Some(&[8, 0]))
}

#[test]
fn translation_on_the_way_moves_no_verdict() {
    let translations = [
        ("address and ports", Translation { port: 1_111, server_port: 8_443, numbers: 0 }),
        ("and sequence numbers", Translation { port: 1_111, server_port: 8_443, numbers: 0x7fff_fff0 }),
    ];
    let (mut compared, mut joined, mut joined_before, mut moved) = (0, 0, 0, Vec::new());
    for case in cases() {
        let edge = || Recorded::of(&case.join("edge.pcap.zst"), RIGHT);
        if !of_ipv4(&edge()) {
            continue;
        }
        let stamped = is_stamped(&edge());
        let client = || Recorded::of(&case.join("client.pcap.zst"), RIGHT);
        let untranslated = ran(client(), edge(), "https://edge.example/");
        let right = verdicts_of(&untranslated);
        let seen_before = untranslated.seen.iter().filter(|seen| seen.is_seen_at_edge()).count();
        for (what, how) in translations {
            let mut behind = edge();
            for (_, _, frame) in &mut behind.frames {
                translate(&mut frame.bytes, 4_433, how);
            }
            let batch = ran(client(), behind, "https://edge.example/");
            let both: HashSet<u16> =
                batch.seen.iter().filter(|seen| seen.is_seen_at_edge()).map(|seen| seen.client().port()).collect();
            // A ClientHello.random alone is no name of a connection: who ends TCP hands it on to another.
            if how.numbers == 0 || stamped {
                joined += both.len();
                joined_before += seen_before;
            }
            let found = verdicts_of(&batch);
            compared += right.len();
            // Where neither numbers nor a time stamp are the same at both ends, there is one end: what it leaves open is open, and what
            // both left open it may tell.
            let open = |is: Option<&(String, bool)>| is.is_some_and(|is| is.0 == "inconclusive");
            let alone = |port: &u16, was: &(String, bool)| {
                how.numbers != 0 && !both.contains(port) && (open(found.get(port)) || open(Some(was)))
            };
            let other = |(port, was): &(&u16, &(String, bool))| found.get(port) != Some(was) && !alone(port, was);
            moved.extend(
                right.iter().filter(other).map(|(port, was)| (case.clone(), what, was.clone(), found.get(port).cloned())),
            );
        }
    }
    println!("{compared} handshakes; of {joined_before} that can be joined, {joined} are");
    assert!(compared > 300 && joined_before * 10 >= compared * 8, "{joined_before} of {compared} can be joined");
    assert!(joined * 100 >= joined_before * 99, "of {joined_before} that can be joined, {joined} are");
    assert!(moved.is_empty(), "{} of {compared}: {:#?}", moved.len(), &moved[..moved.len().min(5)]);
}

#[test]
fn a_recorder_is_asked_for_the_clients_connections_and_no_others() {
    let case = cases().remove(0);
    let (client, edge) = (case.join("client.pcap.zst"), case.join("edge.pcap.zst"));
    let mut recorder = Recorded::of(&edge, RIGHT);
    // What others do there: the same packets once more, of somebody else, with another random.
    let mut others: Vec<_> = recorder.frames.clone();
    for (_, _, frame) in &mut others {
        translate(&mut frame.bytes, 4_433, Translation { port: 9, server_port: 4_433, numbers: 77 });
        let at = match decode(LinkType::Ethernet, &frame.bytes) {
            Ok(Transport::Tcp(segment)) if client_random(segment.payload).is_some() => {
                segment.payload.as_ptr() as usize - frame.bytes.as_ptr() as usize + 11
            }
            _ => continue,
        };
        frame.bytes[at..at + 32].iter_mut().for_each(|byte| *byte ^= 0x55);
    }
    let own = recorder.frames.len();
    recorder.frames.extend(others);
    let batch = ran(Recorded::of(&client, RIGHT), recorder, "https://edge.example/");
    let of_edge = batch.frames.iter().filter(|frame| frame.host == "edge").count();
    assert!(of_edge > 0 && of_edge <= own, "{of_edge} of {own}: the others' are not kept");
    let frames = batch.frames.into_iter().filter(|frame| frame.host == "here").collect::<Vec<_>>();
    let asked = keys(&frames, 4_433);
    let randoms = asked.iter().filter(|key| matches!(key, Key::Random(_))).count();
    let ends = asked.len() - randoms;
    assert!(randoms > 0 && ends > 0, "{randoms} by random, {ends} by their ends");
    assert!(batch.seen.iter().filter_map(Seen::random).all(|random| asked.contains(&Key::Random(random))));
}
