//! The bill of materials (SBOM): what is in the binary. In: cargo's own graph, the C libraries that are linked. Out: CycloneDX 1.5, JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use xshell::{Shell, cmd};

use super::{Release, libpcap};

/// What is in the program.
pub(super) fn list(shell: &Shell, release: &Release) -> Result<PathBuf> {
    let own = ["-p", "whostalled", "--features", super::binary::FEATURES];
    let more = |packages: &BTreeMap<&str, &Value>| -> Result<Vec<Value>> {
        let sqlite = packages.values().find(|p| p["name"] == "libsqlite3-sys").context("no libsqlite3-sys")?;
        Ok(vec![
            c_library("libpcap", &libpcap::build(shell)?.version, "BSD-3-Clause"),
            c_library("SQLite", &sqlite_version(shell, sqlite)?, "blessing"),
        ])
    };
    let file = release.file(&format!("whostalled-{}.cdx.json", release.version));
    bill(shell, release, "whostalled", "Cargo.toml", &own, &more, file)
}

/// What is in a provider, a workspace of its own.
pub(super) fn of_provider(shell: &Shell, release: &Release, name: &str, manifest: &str) -> Result<PathBuf> {
    bill(shell, release, name, manifest, &["-p", name], &|_| Ok(Vec::new()), release.file(&format!("{name}.cdx.json")))
}

type Further<'a> = &'a dyn Fn(&BTreeMap<&str, &Value>) -> Result<Vec<Value>>;

fn bill(
    shell: &Shell,
    release: &Release,
    name: &str,
    manifest: &str,
    own: &[&str],
    further: Further<'_>,
    file: PathBuf,
) -> Result<PathBuf> {
    // With all features: without, cargo does not tell of what only a feature of the binary brings in.
    let platform = ["--locked", "--all-features", "--manifest-path", manifest, "--filter-platform", super::binary::TARGET];
    let metadata = cmd!(shell, "cargo metadata {platform...} --format-version 1").quiet().read()?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages: BTreeMap<&str, &Value> = array(&metadata["packages"]).filter_map(|p| Some((p["id"].as_str()?, p))).collect();
    // Only what is in the binary: nothing of build scripts, macros and tests.
    let format = "{p}";
    let tree = ["--locked", "--manifest-path", manifest, "-e", "normal,no-proc-macro", "--prefix", "none"];
    let tree = cmd!(shell, "cargo tree {tree...} {own...} --format {format}").quiet().read()?;
    let linked: BTreeSet<(&str, &str)> = tree.lines().filter_map(name_and_version).collect();
    let is_linked = |package: &Value| {
        let pair = package["name"].as_str().zip(package["version"].as_str());
        pair.is_some_and(|pair| linked.contains(&pair))
    };
    let mut components: Vec<Value> =
        packages.values().filter(|package| is_linked(package)).map(|package| component(package)).collect();
    anyhow::ensure!(components.len() == linked.len(), "{} crates are linked, and cargo knows {}", linked.len(), components.len());
    components.extend(further(&packages)?);
    components.push(c_library("glibc", &glibc_version(shell)?, "LGPL-2.1-or-later"));
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": name,
                "name": name,
                "version": release.version,
                "licenses": [{ "expression": "Apache-2.0 OR MIT" }],
                "properties": [{ "name": "whostalled:revision", "value": release.revision }],
            },
        },
        "components": components,
    });
    shell.write_file(&file, format!("{}\n", serde_json::to_string_pretty(&bill)?))?;
    Ok(file)
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Of a line of `cargo tree`: `serde v1.0.229`, `whostalled v0.1.0 (/path)`.
fn name_and_version(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_whitespace();
    Some((words.next()?, words.next()?.strip_prefix('v')?))
}

fn component(package: &Value) -> Value {
    let text = |key: &str| package[key].as_str().unwrap_or_default();
    let (name, version) = (text("name"), text("version"));
    // Crates of ours are no packages of a registry.
    let url = if package["source"].is_string() { Some(format!("pkg:cargo/{name}@{version}")) } else { None };
    let mut component = json!({
        "type": "library",
        "bom-ref": url.clone().unwrap_or_else(|| format!("{name}@{version}")),
        "name": name,
        "version": version,
    });
    if let Some(url) = url {
        component["purl"] = url.into();
    }
    if let Some(licence) = package["license"].as_str() {
        // Older manifests part alternatives by a slash.
        component["licenses"] = json!([{ "expression": licence.replace('/', " OR ").replace("  ", " ") }]);
    }
    component
}

fn c_library(name: &str, version: &str, licence: &str) -> Value {
    json!({ "type": "library", "bom-ref": format!("{name}@{version}"), "name": name, "version": version, "licenses": [{ "license": { "id": licence } }] })
}

/// As its header has it.
fn sqlite_version(shell: &Shell, package: &Value) -> Result<String> {
    let manifest = package["manifest_path"].as_str().context("a manifest's path")?;
    let header = shell.read_file(PathBuf::from(manifest).with_file_name("sqlite3/sqlite3.h"))?;
    let version = header.lines().find_map(|line| line.strip_prefix("#define SQLITE_VERSION "));
    Ok(version.context("sqlite3.h says no version")?.trim().trim_matches('"').to_owned())
}

/// Of Debian's package, whose static library is linked.
fn glibc_version(shell: &Shell) -> Result<String> {
    let format = "${Version}";
    Ok(cmd!(shell, "dpkg-query --show --showformat {format} libc6-dev").quiet().read()?)
}
