//! Real captures that nobody here made, against tshark's reading of each.
//!
//! The captures belong to other projects and are not in this repository: where there is no folder of them, the test
//! says that it was skipped. Where this program and tshark differ, `docs/corpus.md` says who is right and why. Other captures are
//! compared in the same way by `make against-tshark`, which names their folder in `WHOSTALLED_CORPUS`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use analysis::clock::{Domain, Unplaced};
use analysis::tcp::flow::{Side, View};
use analysis::tls::{Dialogue, Extent, Version};
use capture::file::{Broken, Reader};
use whostalled_explain::observer::Observer;

/// Nearer than this, two readings are the same.
const SAME: f64 = 1e-6;

/// The connections of a capture, and where it breaks off, if it does.
fn read(path: &Path) -> (Vec<View<Unplaced>>, Option<Broken>) {
    let mut reader = Reader::open(path, None).expect("the capture opens");
    let mut observers: BTreeMap<u32, Observer> = BTreeMap::new();
    let mut views = Vec::new();
    let ended = loop {
        match reader.next_frame() {
            Ok(Some(frame)) => {
                let observer = observers.entry(frame.interface).or_default();
                views.extend(observer.push(&frame).map(|v| *v));
                while let Some(view) = observer.overdue() {
                    views.push(*view);
                }
            }
            Ok(None) => break None,
            Err(broken) => break Some(broken),
        }
    };
    views.extend(observers.values_mut().flat_map(Observer::finish).map(|view| *view));
    views.iter_mut().for_each(View::close);
    (views, ended)
}

/// The columns of truth.csv as this program reads them, in seconds from the first SYN or packet.
fn columns<D: Domain>(view: &View<D>, d: &Dialogue) -> BTreeMap<&'static str, f64> {
    let old = d.version.is_some_and(|v| v < Version::Tls13);
    let first = view.syns(Side::Client).next().or(view.packets.first()).expect("a view has packets");
    let done = |side, extent: Option<Extent>| extent.and_then(|e| view.completed(side, e.end));
    let began = |side, extent: Option<Extent>| extent.and_then(|e| view.first_copy(side, e.start + 1));
    let acked = || {
        let syn_ack = view.syns(Side::Server).next()?;
        view.sent_by(Side::Client).find(|p| p.packet > syn_ack.packet && p.flags.ack() && !p.flags.syn())
    };
    let first_hello = d.first_client_hello.or(d.client_hello);
    // tshark's column wants Finished behind it in TLS 1.3.
    let flight = d.server_flight.filter(|_| old || d.client_finished.is_some());
    let found = [
        ("t_syn", view.syns(Side::Client).next()),
        ("t_synack", view.syns(Side::Server).next()),
        ("t_synack_last", view.syns(Side::Server).last()),
        ("t_ack", acked()),
        ("t_c_first", view.sent_by(Side::Client).find(|p| !p.is_empty())),
        ("t_s_first", view.sent_by(Side::Server).find(|p| !p.is_empty())),
        ("t_ch", done(Side::Client, first_hello)),
        ("t_ch_first_seg", began(Side::Client, first_hello)),
        ("t_hrr", done(Side::Server, d.hello_retry)),
        ("t_ch2", done(Side::Client, d.first_client_hello.and(d.client_hello))),
        ("t_sh", done(Side::Server, d.server_hello)),
        ("t_cert", done(Side::Server, d.certificate)),
        ("t_shd", done(Side::Server, d.server_hello_done)),
        ("t_creq", done(Side::Server, d.certificate_request)),
        ("t_sflight_end", done(Side::Server, if old && d.resumed { d.server_change } else { flight })),
        ("t_cfin", done(Side::Client, if old { d.client_change } else { d.client_finished })),
        ("t_sfin", done(Side::Server, d.server_change.filter(|_| old))),
        ("t_c_app", done(Side::Client, d.first_request)),
        ("t_s_app", done(Side::Server, d.first_response)),
    ];
    found.into_iter().filter_map(|(name, seen)| Some((name, (seen?.at - first.at).nanos() as f64 / 1e9))).collect()
}

fn same_connection(row: &csv::StringRecord, headers: &csv::StringRecord, view: &View<Unplaced>) -> bool {
    let field = |name: &str| headers.iter().position(|h| h == name).and_then(|i| row.get(i)).unwrap_or_default();
    // tshark writes IPv6 without brackets.
    let plain = |a: std::net::SocketAddr| format!("{}:{}", a.ip(), a.port());
    let first = view.syns(Side::Client).next().or(view.packets.first()).map_or(0, |p| p.at.nanos());
    let began: f64 = field("t0_abs").parse().unwrap_or(0.0);
    plain(view.endpoints.client) == field("client")
        && plain(view.endpoints.server) == field("server")
        && (first as f64 / 1e9 - began).abs() < 1.0
}

#[test]
fn every_connection_and_milestone_is_as_tshark_reads_it() {
    let Some(folder) = testing::captures(testing::Need::Corpus) else { return };
    let mut table = csv::Reader::from_path(folder.join("truth.csv")).expect("truth.csv reads");
    let headers = table.headers().expect("truth.csv has headers").clone();
    let rows: Vec<csv::StringRecord> = table.records().map(|r| r.expect("truth.csv reads")).collect();
    let mut files: BTreeMap<String, Vec<View<Unplaced>>> = BTreeMap::new();
    let mut differ = BTreeMap::new();
    let (mut compared, mut read_files) = (0, BTreeSet::new());
    for row in &rows {
        let field = |name: &str| headers.iter().position(|h| h == name).and_then(|i| row.get(i)).unwrap_or_default();
        let file = field("file").to_owned();
        let base = Path::new(&file).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let views = files.entry(file.clone()).or_insert_with(|| {
            let (views, broken) = read(&folder.join(&file));
            // What lies behind has no row: a reader that stops early differs in nothing else.
            differ.extend(broken.map(|broken| ((base.clone(), "–".to_owned(), "broken".to_owned()), broken.to_string())));
            views
        });
        let name = |column: &str| (base.clone(), field("client").to_owned(), column.to_owned());
        read_files.insert(base.clone());
        let Some(view) = views.iter().find(|v| same_connection(row, &headers, v)) else {
            differ.insert(name("connection"), "not found".to_owned());
            continue;
        };
        let dialogue = view.dialogue();
        let ours = columns(view, &dialogue);
        for column in headers.iter().filter(|h| h.starts_with("t_")) {
            let (theirs, own) = (field(column).parse::<f64>().ok(), ours.get(column).copied());
            if matches!(column, "t_fin_or_rst" | "t_c_app_first_seg" | "t_s_app_first_seg") {
                continue;
            }
            compared += 1;
            if !match (theirs, own) {
                (Some(a), Some(b)) => (a - b).abs() <= SAME,
                (None, None) => true,
                _ => false,
            } {
                differ.insert(name(column), format!("tshark {theirs:?}, here {own:?}"));
            }
        }
        let version = dialogue.version.map_or(String::new(), |v| v.name().replace(' ', ""));
        if !field("version").starts_with(&version) || version.is_empty() != field("version").is_empty() {
            differ.insert(name("version"), format!("tshark {}, here {version}", field("version")));
        }
        let server_name = dialogue.server_name.clone().unwrap_or_default();
        if field("sni") != server_name {
            differ.insert(name("sni"), format!("tshark {}, here {server_name}", field("sni")));
        }
        if !field("resumed").is_empty() && (field("resumed") == "True") != dialogue.resumed {
            differ.insert(name("resumed"), format!("tshark {}, here {}", field("resumed"), dialogue.resumed));
        }
    }
    assert!(compared > 0, "truth.csv has rows");
    println!("{} connections, {compared} readings compared", rows.len());
    let explained = explained();
    let new: Vec<_> = differ.iter().filter(|(key, _)| !explained.contains(*key)).collect();
    let gone: Vec<_> = explained.iter().filter(|key| read_files.contains(&key.0) && !differ.contains_key(*key)).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "not in docs/corpus.md: {new:#?}\nin docs/corpus.md, but no difference: {gone:#?}"
    );
}

/// The differences that docs/corpus.md explains: capture, client, column.
fn explained() -> BTreeSet<(String, String, String)> {
    let text = include_str!("../../docs/corpus.md");
    let cells = |line: &'static str| line.split('|').map(str::trim).collect::<Vec<_>>();
    let rows = text.lines().map(cells).filter(|cells| cells.len() == 6 && cells[1].contains(".pcap"));
    rows.flat_map(|cells| cells[3].split(' ').map(move |column| (cells[1].into(), cells[2].into(), column.into()))).collect()
}

#[test]
fn the_same_handshakes_come_out_of_every_encoding() {
    let Some(folder) = testing::captures(testing::Need::Corpus) else { return };
    let readings = |file: &str| -> Vec<(String, BTreeMap<&'static str, i64>)> {
        let (views, broken) = read(&folder.join(file));
        assert_eq!(broken, None, "{file}");
        let mut found: Vec<_> = views
            .iter()
            .filter(|v| v.dialogue().is_tls())
            .map(|v| {
                let micros = columns(v, &v.dialogue()).into_iter().map(|(k, t)| (k, (t * 1e6).round() as i64)).collect();
                (v.endpoints.client.to_string(), micros)
            })
            .collect();
        found.sort();
        found
    };
    let original = readings("retina__tls_ciphers.pcap");
    assert_eq!(original.len(), 73);
    for file in ["be-ns.pcap", "be.pcap", "gre.pcap", "ipfrag560.pcap", "ns.pcap", "ns.pcapng", "raw101.pcap", "us.pcapng"] {
        assert_eq!(readings(&format!("derived/{file}")), original, "{file}");
    }
    // Headers only: the connections are found, and what a segment's first bytes can tell.
    let cut = readings("derived/snap96.pcapng");
    assert_eq!(cut.len(), 73);
    for ((_, cut), (_, whole)) in cut.iter().zip(&original) {
        for column in ["t_syn", "t_synack", "t_ack", "t_ch", "t_sh"] {
            assert_eq!(cut.get(column), whole.get(column), "{column}");
        }
    }
}
