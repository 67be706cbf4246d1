//! What our client's TLS is made of is the same with and without the fleet: the features of rustls and of what it stands on.
//!
//! In: `cargo tree` of the binary in both builds. `prober/tests/hello.rs` holds the hello itself.

use std::collections::BTreeSet;
use std::process::Command;

/// What shapes a hello, and what is verified by.
const OF_TLS: [&str; 6] = ["rustls", "rustls-pki-types", "rustls-webpki", "ring", "tokio-rustls", "rustls-native-certs"];

fn tls(features: &[&str]) -> BTreeSet<String> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--offline", "--locked", "-p", "whostalled", "-e", "normal", "--prefix", "none", "-f", "{p} {f}"]);
    let output = tree.args(features).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let of_tls = |line: &&str| OF_TLS.contains(&line.split(' ').next().unwrap_or_default());
    text.lines().filter(of_tls).map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
}

#[test]
fn the_fleet_changes_nothing_of_our_tls() {
    let (with, without) = (tls(&["--features", "fleet"]), tls(&["--no-default-features"]));
    assert_eq!(with, without);
    let rustls = with.iter().find(|line| line.starts_with("rustls v")).expect("our client speaks TLS by it");
    assert!(rustls.ends_with(" ring,std,tls12"), "{rustls}: another provider or feature shapes the hello");
    assert!(OF_TLS.iter().all(|name| with.iter().any(|line| line.starts_with(&format!("{name} ")))), "{with:?}");
}
