//! The kept recording is whole: every case has its captures and a truth that can be graded.

use std::path::Path;

use serde_json::Value;

#[test]
fn every_kept_case_can_be_graded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded");
    let mut cases = 0;
    for case in std::fs::read_dir(&folder).expect("the kept recording").flatten().filter(|e| e.path().is_dir()) {
        let name = case.file_name();
        for file in ["client.pcap.zst", "edge.pcap.zst"] {
            assert!(case.path().join(file).exists(), "{name:?}: {file}");
        }
        let text = std::fs::read_to_string(case.path().join("truth.json")).expect("a truth");
        let truth: Value = serde_json::from_str(&text).expect("a truth in JSON");
        let handshakes = truth["handshakes"].as_array().expect("handshakes").len();
        let affected = truth["affected_handshakes"].as_array().expect("affected");
        assert!(affected.len() * 2 <= handshakes, "{name:?}: most are healthy");
        for n in affected {
            let lists = &truth["expected"]["per_handshake"][n.to_string()];
            for mode in ["both_ends", "edge_only"] {
                assert!(lists[mode].as_array().is_some_and(|l| !l.is_empty()), "{name:?}: handshake {n}, {mode}");
            }
            assert!(
                truth["injected"].as_array().is_some_and(|i| i.iter().any(|a| a["handshake"] == *n)),
                "{name:?}: handshake {n}"
            );
        }
        cases += 1;
    }
    assert!(cases >= 40, "{cases} cases");
}
