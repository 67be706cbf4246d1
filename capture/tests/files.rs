//! Capture files block by block: what is read of them, and what is said where they cannot be read.

use whostalled_capture::file::{Broken, Reader};
use whostalled_capture::set::Set;

/// A pcapng block in either byte order, its body filled up to four bytes.
fn block(big: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let filled = body.len().next_multiple_of(4);
    let len = 12 + filled as u32;
    let mut bytes = [word(big, kind), word(big, len), body.to_vec()].concat();
    bytes.resize(8 + filled, 0);
    [bytes, word(big, len)].concat()
}

fn word(big: bool, value: u32) -> Vec<u8> {
    if big { value.to_be_bytes() } else { value.to_le_bytes() }.to_vec()
}

fn section(big: bool) -> Vec<u8> {
    let version = if big { [0, 1, 0, 0] } else { [1, 0, 0, 0] };
    block(big, 0x0a0d_0d0a, &[word(big, 0x1a2b_3c4d), version.to_vec(), vec![0xff; 8]].concat())
}

fn interface(big: bool, link: u16, snap_len: u32) -> Vec<u8> {
    let link = if big { link.to_be_bytes() } else { link.to_le_bytes() };
    block(big, 1, &[&link[..], &[0, 0], &word(big, snap_len)].concat())
}

/// At `micros` after the epoch.
fn enhanced(big: bool, interface: u32, micros: u32, packet: &[u8]) -> Vec<u8> {
    let len = packet.len() as u32;
    let fields = [interface, 0, micros, len, len].map(|field| word(big, field)).concat();
    block(big, 6, &[fields, packet.to_vec()].concat())
}

fn simple(big: bool, wire_len: u32, captured: &[u8]) -> Vec<u8> {
    block(big, 3, &[word(big, wire_len), captured.to_vec()].concat())
}

/// Number, time (nanoseconds since the epoch) and whether it is known, bytes, length on the wire.
type Read = (u64, i64, bool, Vec<u8>, u32);

fn read(bytes: Vec<u8>) -> (Vec<Read>, Option<Broken>) {
    let mut frames = Vec::new();
    let mut reader = match Reader::from_bytes("test", bytes) {
        Ok(reader) => reader,
        Err(broken) => return (frames, Some(broken)),
    };
    loop {
        match reader.next_frame() {
            Ok(Some(f)) => frames.push((f.number, f.at.nanos(), f.timed, f.bytes.to_vec(), f.wire_len)),
            Ok(None) => return (frames, None),
            Err(broken) => return (frames, Some(broken)),
        }
    }
}

#[test]
fn simple_packets_are_read_with_the_time_of_the_packet_before() {
    for big in [false, true] {
        let bytes = [
            section(big),
            interface(big, 1, 0),
            simple(big, 3, &[1, 2, 3]),
            enhanced(big, 0, 5, &[4, 5, 6, 7]),
            simple(big, 9, &[8, 9, 10, 11]),
            enhanced(big, 0, 7, &[12]),
        ];
        let (frames, broken) = read(bytes.concat());
        assert_eq!(broken, None);
        let expected = [
            (1, 0, false, vec![1, 2, 3], 3),
            (2, 5_000, true, vec![4, 5, 6, 7], 4),
            (3, 5_000, false, vec![8, 9, 10, 11], 9),
            (4, 7_000, true, vec![12], 1),
        ];
        assert_eq!(frames, expected);
    }
    // Of nine bytes, six were captured and two fill the block up.
    let (frames, _) = read([section(false), interface(false, 1, 6), simple(false, 9, &[1, 2, 3, 4, 5, 6])].concat());
    assert_eq!(frames, [(1, 0, false, vec![1, 2, 3, 4, 5, 6], 9)]);
}

#[test]
fn what_is_wrong_with_a_packet_is_said_and_what_came_before_counts() {
    let begins = [section(false), interface(false, 1, 0), enhanced(false, 0, 5, &[1; 8])].concat();
    let what = |wrong: Vec<u8>| {
        let (frames, broken) = read([begins.clone(), wrong].concat());
        assert_eq!(frames.len(), 1);
        let broken = broken.expect("something is wrong");
        assert_eq!(broken.after, 1);
        broken.what
    };
    assert_eq!(what(enhanced(false, 3, 6, &[1])), "the packet names interface 3, which nobody described");
    let mut longer = enhanced(false, 0, 6, &[1; 8]);
    longer[20] = 9;
    assert_eq!(what(longer), "a packet is longer than its block");
    let mut unlike = enhanced(false, 0, 6, &[1; 8]);
    let last = unlike.len() - 4;
    unlike[last] += 4;
    assert_eq!(what(unlike), "what follows is no packet or block");
    assert_eq!(what(block(false, 6, &[])), "a packet is longer than its block");
    assert_eq!(what(block(false, 3, &[])), "a packet is longer than its block");
    assert_eq!(what(enhanced(false, 0, 6, &[1; 8])[..20].to_vec()), "the file ends inside a packet");
    let (frames, broken) = read([section(false), simple(false, 1, &[1])].concat());
    assert!(frames.is_empty() && broken.is_some_and(|b| b.what.contains("interface 0")));
}

#[test]
fn a_link_type_that_cannot_be_read_is_refused_by_its_number() {
    let mut pcap = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 147, 0, 0, 0];
    let (_, broken) = read(pcap.clone());
    let broken = broken.expect("nobody can read it");
    assert_eq!(broken.after, 0);
    let said = broken.to_string();
    assert!(["link type 147 ", "editcap -T ether", "tcpdump -y EN10MB"].iter().all(|part| said.contains(part)), "{said}");
    pcap[20] = 1;
    assert_eq!(read(pcap).1, None);

    // In pcapng another interface may be readable, however late it is described.
    let only = [section(false), interface(false, 147, 0), enhanced(false, 0, 5, &[1])].concat();
    let (frames, broken) = read(only.clone());
    let broken = broken.expect("nobody can read it");
    assert_eq!((frames.len(), broken.after), (1, 0));
    assert!(broken.what.contains("link type 147 "));
    let both = [only, interface(false, 1, 0), enhanced(false, 1, 6, &[1])].concat();
    let (frames, broken) = read(both);
    assert_eq!((frames.len(), broken), (2, None));
}

/// Options of statistics: code and value.
fn statistics(big: bool, interface: u32, counted: &[(u16, u64)]) -> Vec<u8> {
    let mut body = [interface, 0, 9].map(|field| word(big, field)).concat();
    for (code, value) in counted {
        let (head, value) = if big {
            ([code.to_be_bytes(), 8_u16.to_be_bytes()].concat(), value.to_be_bytes())
        } else {
            ([code.to_le_bytes(), 8_u16.to_le_bytes()].concat(), value.to_le_bytes())
        };
        body.extend([head, value.to_vec()].concat());
    }
    block(big, 5, &[body, vec![0; 4]].concat())
}

fn dropped(blocks: &[Vec<u8>]) -> u64 {
    let mut reader = Reader::from_bytes("test", blocks.concat()).expect("it is a capture");
    while reader.next_frame().expect("it reads").is_some() {}
    reader.dropped()
}

#[test]
fn what_statistics_say_was_dropped_counts_from_the_beginning_of_their_section() {
    for big in [false, true] {
        let (head, one, told) = (section(big), interface(big, 1, 0), |n, counted: &[_]| statistics(big, n, counted));
        let capture = |blocks: &[Vec<u8>]| [&[head.clone(), one.clone(), one.clone()], blocks].concat();
        // The same ten, told four times; of two interfaces; at two stages.
        assert_eq!(dropped(&capture(&vec![told(0, &[(5, 10)]); 4])), 10);
        assert_eq!(dropped(&capture(&[told(0, &[(5, 10)]), told(1, &[(5, 4)]), told(0, &[(5, 12)]), told(1, &[])])), 16);
        assert_eq!(dropped(&capture(&[told(0, &[(5, 10), (7, 3), (4, 900)])])), 13);
        // What counts interfaces as nobody describes them is no count.
        assert_eq!(dropped(&capture(&[told(2, &[(5, 10)])])), 0);
        // Another section begins anew.
        let second = capture(&[told(0, &[(5, 7)])]);
        assert_eq!(dropped(&[capture(&[told(0, &[(5, 10)]), told(1, &[(7, 1)])]), second].concat()), 18);
        // More than can be counted is no less than that.
        assert_eq!(dropped(&capture(&[told(0, &[(5, u64::MAX), (7, 1)])])), u64::MAX);
        let two = [capture(&[told(0, &[(5, u64::MAX)])]), capture(&[told(1, &[(7, 1)])])].concat();
        assert_eq!(dropped(&two), u64::MAX);
    }
}

#[test]
fn the_interfaces_of_a_later_section_are_others() {
    let one = |big, at| {
        [section(big), interface(big, 1, 0), interface(big, 101, 0), enhanced(big, 1, at, &[1]), enhanced(big, 0, at, &[2])]
    };
    let bytes = [one(false, 5), one(true, 3), one(false, 9)].concat().concat();
    let mut reader = Reader::from_bytes("test", bytes).expect("it is a capture");
    let mut found = Vec::new();
    while let Some(frame) = reader.next_frame().expect("it reads") {
        found.push((frame.interface, frame.link_number, frame.at.nanos()));
    }
    assert_eq!(found, [(1, 101, 5_000), (0, 1, 5_000), (3, 101, 3_000), (2, 1, 3_000), (5, 101, 9_000), (4, 1, 9_000)]);
    assert_eq!(reader.sections(), 3);
}

/// Files with one packet at each of these seconds, of interfaces with these link types; read together, the files of each capture.
fn captures(files: &[(&str, u16, &[u32])]) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    let paths: Vec<_> = files.iter().map(|(name, ..)| folder.path().join(name)).collect();
    for (path, (_, link, seconds)) in paths.iter().zip(files) {
        let packets = seconds.iter().flat_map(|at| enhanced(false, 0, at * 1_000_000, &[1])).collect();
        std::fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder");
        std::fs::write(path, [section(false), interface(false, *link, 0), packets].concat()).expect("a file");
    }
    let mut set = Set::open(&paths, None);
    while set.next_frame().is_some() {}
    let name = |path: &std::path::PathBuf| path.strip_prefix(folder.path()).expect("it lies there").display().to_string();
    set.captures().iter().map(|capture| capture.files.iter().map(name).collect()).collect()
}

#[test]
fn files_of_one_host_that_follow_each_other_are_one_capture() {
    let one = captures(&[
        ("e1.pcapng", 1, &[100, 110]),
        ("e2.pcapng", 1, &[110, 150]),
        ("e.pcapng", 1, &[10, 99]),
        ("e3.pcapng", 1, &[200]),
    ]);
    assert_eq!(one, [["e.pcapng", "e1.pcapng", "e2.pcapng", "e3.pcapng"]]);
    // Others' names, folders, hours and links.
    for other in [
        [("10.0.0.1.pcap", 1, &[10][..]), ("10.0.0.2.pcap", 1, &[20])],
        [("run1/e.pcap", 1, &[10]), ("run2/e.pcap", 1, &[20])],
        [("e1.pcap", 1, &[10]), ("e2.pcap", 1, &[2_000])],
        [("e1.pcap", 1, &[10]), ("e2.pcap", 101, &[20])],
        [("e1.pcap", 1, &[10, 30]), ("e2.pcap", 1, &[20, 40])],
    ] {
        assert_eq!(captures(&other), [[other[0].0], [other[1].0]]);
    }
    // Of two that end, the one that ended last goes on.
    let files: [(_, _, &[u32]); 3] = [("e1.pcap", 1, &[10, 50]), ("e2.pcap", 1, &[20, 40]), ("e3.pcap", 1, &[51])];
    assert_eq!(captures(&files), [vec!["e1.pcap", "e3.pcap"], vec!["e2.pcap"]]);
}
