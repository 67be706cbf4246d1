//! What `make dist` hands out, tried as those who get it will: the binary alone in an empty folder, the Debian package on a Debian, the image
//! without an engine, the bill of materials and the checksums.

mod alone;
mod debian_package;
mod image;

use std::process::Command;

use e2e::checks::Checks;
use e2e::debian::made;
use e2e::process::run;
use serde_json::Value;

#[test]
fn sums_and_materials_are_of_what_lies_beside_them() {
    let mut checks = Checks::new();
    let sums = made("SHA256SUMS", "");
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--strict", "SHA256SUMS"]).current_dir(sums.parent().expect("a folder"));
    let said = run(check, 60);
    checks.check("SHA256SUMS are those of the files", said.code == Some(0) && said.out.lines().count() == 5, || said);

    let text = std::fs::read_to_string(made("whostalled-", ".cdx.json")).expect("it was made");
    let bill: Value = serde_json::from_str(&text).expect("it is JSON");
    let names: Vec<&str> = bill["components"].as_array().into_iter().flatten().filter_map(|c| c["name"].as_str()).collect();
    let all = ["whostalled-analysis", "rustls", "ring", "libpcap", "SQLite", "glibc"].iter().all(|name| names.contains(name));
    let none = ["proptest", "cc", "serde_derive"].iter().all(|name| !names.contains(name));
    checks.check("the bill of materials names what is linked, and no tool", all && none, || names);
}
