//! The container image, read without an engine: what its parts say of each other, and what is in it, run as its user.

use std::path::Path;
use std::process::Command;

use e2e::checks::Checks;
use e2e::debian::made;
use e2e::process::{Said, is_program, run};
use serde_json::Value;
use testing::Need;

fn json(file: &Path) -> Value {
    let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn sum(file: &Path) -> String {
    let mut command = Command::new("sha256sum");
    let said = run(
        {
            command.arg(file);
            command
        },
        60,
    );
    format!("sha256:{}", said.out.split_whitespace().next().unwrap_or_default())
}

/// `tar`, which must succeed.
fn unpack(archive: &Path, to: &Path) -> Said {
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--file"]).arg(archive).arg("--directory").arg(to);
    run(tar, 120)
}

#[test]
fn the_image_is_whole_and_runs_without_rights() {
    let mut checks = Checks::new();
    let image = made("whostalled-", ".oci.tar");
    let (layout, root) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let said = unpack(&image, layout.path());
    checks.check("it is a tar file", said.code == Some(0), || said);
    let version = json(&layout.path().join("oci-layout"));
    checks.check("it is an OCI layout", version["imageLayoutVersion"] == "1.0.0", || version);
    // Each part is named by its sum, and has the size that is said of it.
    let mut part = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap_or_default();
        let file = layout.path().join("blobs").join(digest.replacen(':', "/", 1));
        let size = std::fs::metadata(&file).map(|m| m.len()).ok();
        let whole = size.is_some() && size == descriptor["size"].as_u64() && sum(&file) == digest;
        checks.check(format!("{} is whole", descriptor["mediaType"]), whole, || descriptor.clone());
        file
    };
    let manifest = json(&part(&json(&layout.path().join("index.json"))["manifests"][0]));
    let config = json(&part(&manifest["config"]));
    let layer = part(&manifest["layers"][0]);
    let said = unpack(&layer, root.path());
    checks.check("its layer unpacks", said.code == Some(0), || said);
    let mut unzip = Command::new("sh");
    unzip.args(["-c", "gzip --decompress --stdout \"$0\" | sha256sum"]).arg(&layer);
    let unpacked = run(unzip, 60).out;
    let named = config["rootfs"]["diff_ids"][0].as_str().unwrap_or_default().trim_start_matches("sha256:").to_owned();
    checks.check("its file system is the one that is named", !named.is_empty() && unpacked.starts_with(&named), || unpacked);
    let user = config["config"]["User"].as_str().unwrap_or_default().to_owned();
    checks.check("it does not run as root", user == "65532:65532", || user.clone());

    if !testing::root() {
        return checks.skip(Need::Root, "chroot needs root; the image was not run");
    }
    let inside = |arguments: &[&str]| {
        let mut command = Command::new("/usr/sbin/chroot");
        command.arg(format!("--userspec={user}")).arg(root.path());
        let entry = config["config"]["Entrypoint"].as_array().into_iter().flatten().filter_map(Value::as_str);
        run(
            {
                command.args(entry).args(arguments).env_clear();
                command
            },
            60,
        )
    };
    let said = inside(&["--version"]);
    checks.check("it runs as its user", said.code == Some(0) && said.out.contains("static"), || said);
    let checked = "[watch]\nstore = \"/var/lib/whostalled/store.db\"\n[[check]]\nname = \"a\"\ntarget = \"https://localhost/\"\n";
    std::fs::write(root.path().join("etc/whostalled/checks.toml"), checked).expect("a folder of our own");
    let said = inside(&["watch", "--validate", "/etc/whostalled/checks.toml"]);
    checks.check("it has root certificates", said.code == Some(0), || said);
    if is_program("skopeo") {
        let mut skopeo = Command::new("skopeo");
        let copy = layout.path().join("copy");
        skopeo
            .args(["copy", "--insecure-policy"])
            .arg(format!("oci-archive:{}", image.display()))
            .arg(format!("dir:{}", copy.display()));
        let said = run(skopeo, 120);
        checks.check("skopeo takes it", said.code == Some(0), || said);
    } else {
        checks.skip(Need::Tools, "skopeo is not installed: no program of others has read the image");
    }
}
