//! The container image: an OCI image layout in a tar file, made without a daemon. In: the binary. Out: what `podman load`, `docker load`
//! and `skopeo copy oci-archive:…` take.
//!
//! From scratch: the binary, root certificates of the host that builds, a user without rights, and folders that he may write to.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use xshell::{Shell, cmd};

use super::{Release, archive, binary::Binary};

/// Nobody's number that no system gives out (as in distroless images).
const USER: u32 = 65532;
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub(super) fn build(shell: &Shell, release: &Release, binary: &Binary) -> Result<PathBuf> {
    let work = release.file("image");
    let layer = layer(shell, release, binary, &work)?;
    let layout = work.join("layout");
    let unpacked = digest(shell, &layer)?;
    cmd!(shell, "gzip --best --no-name {layer}").quiet().run()?;
    let packed = layer.with_extension("tar.gz");
    let layer = keep(shell, &layout, &std::fs::read(&packed)?, LAYER)?;
    let seconds = format!("@{}", release.date);
    let created = cmd!(shell, "date --utc --iso-8601=seconds --date={seconds}").quiet().read()?.replace("+00:00", "Z");
    let labels = json!({
        "org.opencontainers.image.title": "whostalled",
        "org.opencontainers.image.description": "Who stalled a slow TLS handshake: the client, the network or the edge?",
        "org.opencontainers.image.version": release.version,
        "org.opencontainers.image.revision": release.revision,
        "org.opencontainers.image.licenses": "Apache-2.0 OR MIT",
        "org.opencontainers.image.created": created,
    });
    let config = json!({
        "created": created,
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "User": format!("{USER}:{USER}"),
            "Entrypoint": ["/usr/bin/whostalled"],
            "Cmd": ["watch", "/etc/whostalled/checks.toml"],
            "WorkingDir": "/var/lib/whostalled",
            "Env": ["PATH=/usr/bin", format!("SSL_CERT_FILE={ROOTS}")],
            "Labels": labels,
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{unpacked}")] },
        "history": [{ "created": created, "created_by": "cargo xtask dist" }],
    });
    let config = keep(shell, &layout, config.to_string().as_bytes(), CONFIG)?;
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer], "annotations": labels });
    let mut manifest = keep(shell, &layout, manifest.to_string().as_bytes(), MANIFEST)?;
    manifest["platform"] = json!({ "architecture": "amd64", "os": "linux" });
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": release.version, "io.containerd.image.name": format!("whostalled:{}", release.version) });
    let index = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest] });
    shell.write_file(layout.join("index.json"), index.to_string())?;
    shell.write_file(layout.join("oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }).to_string())?;
    let image = release.file(&format!("whostalled-{}-x86_64.oci.tar", release.version));
    archive(shell, release, &layout, &image)?;
    shell.remove_path(&work)?;
    Ok(image)
}

/// The file system, as a tar file.
fn layer(shell: &Shell, release: &Release, binary: &Binary, work: &Path) -> Result<PathBuf> {
    let root = work.join("root");
    let program = &binary.program;
    let (to, roots) = (root.join("usr/bin/whostalled"), root.join(&ROOTS[1..]));
    cmd!(shell, "install -D --mode 0755 {program} {to}").quiet().run()?;
    cmd!(shell, "install -D --mode 0644 {ROOTS} {roots}")
        .quiet()
        .run()
        .context("the host's root certificates (ca-certificates)")?;
    shell.write_file(root.join("etc/passwd"), format!("root:x:0:0::/:/\nwhostalled:x:{USER}:{USER}::/var/lib/whostalled:/\n"))?;
    shell.write_file(root.join("etc/group"), format!("root:x:0:\nwhostalled:x:{USER}:\n"))?;
    for folder in ["etc/whostalled", "var/lib"] {
        shell.create_dir(root.join(folder))?;
    }
    cmd!(shell, "chmod -R u=rwX,go=rX {root}").quiet().run()?;
    let layer = work.join("layer.tar");
    archive(shell, release, &root, &layer)?;
    // What its user may write to is his, whoever builds this.
    let own = work.join("own");
    for folder in ["var/lib/whostalled", "tmp"] {
        let folder = own.join(folder);
        cmd!(shell, "install -d --mode 0700 {folder}").quiet().run()?;
    }
    let (date, user) = (format!("--mtime=@{}", release.date), USER.to_string());
    cmd!(shell, "tar --append --file {layer} --directory {own} {date} --owner={user} --group={user} --numeric-owner --format=gnu var/lib/whostalled tmp")
        .quiet()
        .run()?;
    Ok(layer)
}

/// Puts a blob into the layout; gives its descriptor.
fn keep(shell: &Shell, layout: &Path, bytes: &[u8], kind: &str) -> Result<Value> {
    let blobs = layout.join("blobs/sha256");
    let new = blobs.join("new");
    shell.write_file(&new, bytes)?;
    let digest = digest(shell, &new)?;
    std::fs::rename(&new, blobs.join(&digest))?;
    Ok(json!({ "mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len() }))
}

fn digest(shell: &Shell, file: &Path) -> Result<String> {
    let said = cmd!(shell, "sha256sum {file}").quiet().read()?;
    Ok(said.split_whitespace().next().context("sha256sum says nothing")?.to_owned())
}
