//! One handshake behind each header that a capture's frames may begin with; and what is said of frames that nobody can read.

use std::ops::ControlFlow;
use std::path::PathBuf;

use analysis::wire::link::LinkType;
use records::explained::{ExplainReport, ExplainedRecord};
use sim::Trial;
use sim::cases::{Grade, Setup};
use sim::tls::Version;
use whostalled_explain::filter::Filter;
use whostalled_explain::gather::Gather;
use whostalled_explain::{Options, explain};

/// Frames of Ethernet: three healthy handshakes, and one whose edge stalled.
fn frames() -> Vec<(i64, Vec<u8>)> {
    let setup = Setup { case: 26, severity: 150, version: Version::Tls13, grade: Grade::BothAndHost, seed: 4 };
    Trial::run(&setup.plan().expect("the case makes sense").plan, 4).edge
}

const VERDICTS: [&str; 4] = ["healthy", "healthy", "healthy", "edge"];

fn pcap(link: u32, frames: impl IntoIterator<Item = (i64, Vec<u8>)>) -> Vec<u8> {
    let mut bytes = [0xa1b2_3c4d, 0x0004_0002, 0, 0, 1 << 18, link].map(u32::to_le_bytes).concat();
    for (at, frame) in frames {
        let len = frame.len() as u32;
        bytes.extend([(at / 1_000_000_000) as u32, (at % 1_000_000_000) as u32, len, len].map(u32::to_le_bytes).concat());
        bytes.extend(frame);
    }
    bytes
}

fn read(capture: PathBuf) -> (ExplainReport, Vec<ExplainedRecord>, usize) {
    let mut records = Vec::new();
    let mut each = |record: &ExplainedRecord| {
        records.push(record.clone());
        ControlFlow::Continue(())
    };
    let mut progress = |_| ();
    let mut gather = Gather::new(Filter::default(), 10, &mut progress).for_each(&mut each);
    let outcome = explain(&Options { captures: vec![capture], ..Options::default() }, &mut gather);
    let unreadable = outcome.unreadable;
    let (report, _) = gather.finish(outcome);
    (report, records, unreadable)
}

fn read_bytes(bytes: &[u8]) -> (ExplainReport, Vec<ExplainedRecord>, usize) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("edge.pcap");
    std::fs::write(&path, bytes).expect("the folder takes files");
    read(path)
}

/// What docs/explain.md calls a link type.
fn in_words(link: LinkType) -> &'static str {
    match link {
        LinkType::Ethernet => "Ethernet",
        LinkType::RawIp => "raw IP",
        LinkType::LinuxSll => "Linux cooked v1",
        LinkType::LinuxSll2 => "and v2",
        LinkType::Null => "BSD loopback",
        LinkType::Ppp => "PPP (",
        LinkType::CiscoHdlc => "Cisco HDLC",
        LinkType::PppWithDirection => "with direction",
        LinkType::PppoeSession => "PPPoE sessions",
        LinkType::Nflog => "NFLOG",
        // Its number for anybody's use is read where Apple's header is found.
        LinkType::Pktap | LinkType::User2 => "Apple's pktap",
        LinkType::Wlan => "802.11",
        LinkType::Radiotap => "with and without radiotap",
    }
}

#[test]
fn every_link_type_is_documented() {
    let page = include_str!("../../docs/explain.md");
    let line = page.lines().find(|line| line.starts_with("- **Link types**")).expect("a line on link types");
    for link in LinkType::ALL {
        assert!(line.contains(in_words(link)), "docs/explain.md does not name {link:?} as {:?}", in_words(link));
    }
}

/// What comes between an Ethernet frame's addresses and its IP packet.
fn between(tag: &[u8], frame: &[u8]) -> Vec<u8> {
    [&frame[..12], tag, &frame[12..]].concat()
}

fn behind(header: &[u8], frame: &[u8]) -> Vec<u8> {
    [header, &frame[14..]].concat()
}

/// A header of Apple's, for frames of Ethernet.
fn pktap(frame: &[u8]) -> Vec<u8> {
    let mut header = [108, 1, 1].map(u32::to_le_bytes).concat();
    header.resize(108, 0);
    [&header, frame].concat()
}

fn pppoe(frame: &[u8]) -> Vec<u8> {
    let len = (frame.len() - 14 + 2) as u16;
    behind(&[&[0x11, 0, 0, 1][..], &len.to_be_bytes(), &[0, 0x21]].concat(), frame)
}

fn nflog(frame: &[u8]) -> Vec<u8> {
    let len = (frame.len() - 14 + 4) as u16;
    behind(&[&[2, 0, 0, 5, 8, 0, 1, 0, 8, 0, 1, 0][..], &len.to_le_bytes(), &[9, 0]].concat(), frame)
}

fn radiotap(frame: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 8 + 24];
    (header[2], header[8], header[9]) = (8, 0x08, 0x01);
    header.extend([0xaa, 0xaa, 3, 0, 0, 0, 8, 0]);
    behind(&header, frame)
}

fn llc(frame: &[u8]) -> Vec<u8> {
    let len = (frame.len() - 14 + 8) as u16;
    between(&[&len.to_be_bytes()[..], &[0xaa, 0xaa, 3, 0, 0, 0]].concat(), frame)
}

#[test]
fn the_verdicts_are_the_same_behind_every_header() {
    type Way = (u32, &'static str, fn(&[u8]) -> Vec<u8>);
    let ways: [Way; 14] = [
        (1, "Ethernet", <[u8]>::to_vec),
        (1, "VN-tag", |f| between(&[0x89, 0x26, 0, 0, 0, 0], f)),
        (1, "E-tag", |f| between(&[0x89, 0x3f, 0, 0, 0, 0, 0, 0], f)),
        (1, "CMD", |f| between(&[0x89, 0x09, 1, 1, 0, 1, 0, 10], f)),
        (1, "LLC and SNAP", llc),
        (1, "802.1ah", |f| [&[2; 12][..], &[0x88, 0xe7, 0, 0, 1, 0], f].concat()),
        (1, "NSH", |f| [&[2; 12][..], &[0x89, 0x4f, 0x0f, 0xc2, 2, 3, 0, 0, 1, 1], f].concat()),
        (51, "PPPoE session", pppoe),
        (105, "802.11", |f| radiotap(f)[8..].to_vec()),
        (127, "radiotap", radiotap),
        (149, "pktap, as USER2", pktap),
        (204, "PPP with direction", |f| behind(&[1, 0xff, 3, 0, 0x21], f)),
        (239, "NFLOG", nflog),
        (258, "pktap", pktap),
    ];
    let frames = frames();
    for (link, name, way) in ways {
        let (report, records, _) = read_bytes(&pcap(link, frames.iter().map(|(at, frame)| (*at, way(frame)))));
        assert_eq!(records.iter().map(ExplainedRecord::label).collect::<Vec<_>>(), VERDICTS, "{name}");
        let batches = report.warnings.iter().filter(|w| w.contains("NFLOG: the kernel hands them over in batches")).count();
        assert_eq!((batches, report.warnings.len()), (usize::from(link == 239), usize::from(link == 239)), "{name}");
    }
}

#[test]
fn frames_that_are_not_understood_are_counted_by_what_they_are() {
    let macsec = frames().into_iter().map(|(at, frame)| (at, between(&[0x88, 0xe5, 0, 0, 0, 0, 0, 1], &frame)));
    let (report, records, _) = read_bytes(&pcap(1, macsec));
    let n = report.counts.packets;
    assert!(records.is_empty() && n > 20);
    assert_eq!(report.warnings, [format!("{n} frames of EtherType 0x88e5 (MACsec) were not understood")]);
    assert_eq!(report.counts.frames_not_understood(), n, "what the terminal says in one number");

    // More kinds than anybody wants to read.
    let many = (0..200_u16).map(|i| (0, [&[2; 12][..], &(0xc000 + i).to_be_bytes(), &[0; 40]].concat()));
    let (report, _, _) = read_bytes(&pcap(1, many.chain([(0, [&[2; 12][..], &[0xc0, 9], &[0; 40]].concat())])));
    assert_eq!(report.warnings.len(), 6);
    assert_eq!(report.warnings[0], "2 frames of EtherType 0xc009 were not understood");
    assert_eq!(report.warnings[5], "195 frames of other kinds were not understood");
    // ARP is known to hold no connection.
    let (report, _, _) = read_bytes(&pcap(1, [(0, [&[2; 12][..], &[8, 6], &[0; 40]].concat())]));
    assert!(report.warnings.is_empty() && report.counts.not_understood.is_empty());
}

#[test]
fn a_link_type_nobody_can_read_is_refused_with_a_way_out() {
    let (report, _, unreadable) = read_bytes(&pcap(147, frames()));
    assert_eq!(unreadable, 1);
    let said = report.warnings.join("\n");
    assert!(said.contains("link type 147 ") && said.contains("editcap -T ether"), "{said}");
}

/// A pcapng block.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let filled = body.len().next_multiple_of(4);
    let len = (12 + filled as u32).to_le_bytes();
    let mut bytes = [&kind.to_le_bytes(), &len, body].concat();
    bytes.resize(8 + filled, 0);
    [&bytes[..], &len].concat()
}

fn pcapng(links: &[u8]) -> Vec<u8> {
    let section = block(0x0a0d_0d0a, &[&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat());
    [section, links.iter().flat_map(|link| block(1, &[*link, 0, 0, 0, 0, 0, 0, 0])).collect()].concat()
}

#[test]
fn handshakes_without_times_are_found_and_not_judged() {
    let mut bytes = pcapng(&[1]);
    for (_, frame) in frames() {
        bytes.extend(block(3, &[&(frame.len() as u32).to_le_bytes(), &frame[..]].concat()));
    }
    let (report, records, unreadable) = read_bytes(&bytes);
    assert!(records.is_empty() && unreadable == 0);
    let n = report.counts.packets;
    assert_eq!(
        report.warnings,
        [format!(
            "{n} packets without a time (Simple Packet Blocks): nothing can be measured with them; 4 TLS handshakes in them, not judged"
        )]
    );
}

#[test]
fn of_a_pcapng_the_interfaces_that_can_be_read_are() {
    let write = |links: &[u8]| {
        let mut bytes = pcapng(links);
        for (i, (at, frame)) in frames().into_iter().enumerate() {
            let micros = at / 1_000;
            let interface = if links.len() > 1 && i == 5 { 1 } else { 0 };
            let len = frame.len() as u32;
            let fields = [interface, (micros >> 32) as u32, micros as u32, len, len].map(u32::to_le_bytes).concat();
            bytes.extend(block(6, &[fields, frame].concat()));
        }
        read_bytes(&bytes)
    };
    let (report, records, unreadable) = write(&[1, 147]);
    assert_eq!((records.len(), unreadable, report.counts.unknown_link), (4, 0, 1));
    let said = report.warnings.join("\n");
    assert!(said.contains("1 frame of link type 147 was not understood: ") && said.contains("editcap"), "{said}");
    let (report, records, unreadable) = write(&[147]);
    assert_eq!((records.len(), unreadable, report.warnings.len()), (0, 1, 1));
}

/// Captures rebuilt after people's reports; they are not in this repository.
#[test]
fn captures_of_each_link_type_are_read() {
    let Some(folder) = testing::captures(testing::Need::Reports) else { return };
    let captures = [
        ("link_cmd8909.pcap", 21),
        ("link_llcsnap.pcap", 21),
        ("link_nflog.pcap", 21),
        ("link_pktap.pcap", 21),
        ("link_pktap_user2.pcap", 21),
        ("link_ppp_dir.pcap", 21),
        ("link_pppoe51.pcap", 21),
        ("link_radiotap.pcap", 21),
        ("link_vntag.pcap", 21),
        ("real_nflog.pcap", 10),
    ];
    for (name, packets) in captures {
        let (report, records, unreadable) = read(folder.join(name));
        let warned = usize::from(name.contains("nflog"));
        assert_eq!((report.counts.tcp, report.warnings.len(), unreadable), (packets, warned, 0), "{name}: {:?}", report.warnings);
        assert_eq!(records.len(), usize::from(packets == 21), "{name}");
        println!("{name}: {:?}", records.iter().map(ExplainedRecord::label).collect::<Vec<_>>());
    }
    assert!(read(folder.join("icmp.s.pcap")).0.counts.icmp > 0, "fragmentation needed");
}
