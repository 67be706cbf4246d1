//! What agents are handed out: checks alone. No receiver, no secret, no place of the controller's host is in it.
//!
//! In: a check file's text. Out: bytes, and at the agent a check file of them with the root certificates that it names.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use agent::Handout;
use alerting::secret::PlainOrSecret;
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::checks::CheckFile;
use crate::error::Invalid;
use crate::prepare::prepare_with;
use crate::probing::PreparedChecks;

/// Version of what is handed out.
const VERSION: u32 = 1;
/// Parts of a check file that agents need; `from`, `labels` and the like within them do no harm.
const PARTS: [&str; 4] = ["gate", "defaults", "check", "fleet"];
/// Rounds a second that agents are asked for at most: a typing error must not become a flood from everywhere.
const MOST_RATE: f64 = 100.0;

/// As it travels.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    /// The check file, as TOML.
    checks: String,
    /// Files of root certificates that it names, PEM.
    roots: BTreeMap<PathBuf, String>,
}

/// What an agent follows.
pub(crate) struct Followed {
    pub(crate) file: CheckFile,
    pub(crate) checks: PreparedChecks,
}

/// What agents get of a check file. `text` is `file`'s.
///
/// # Errors
/// If it asks for what cannot be handed out: secrets, keys, or more rounds than agents would make.
pub fn hand_out(text: &str, file: &CheckFile) -> Result<Handout, Invalid> {
    for check in &file.checks {
        let not = |what: &str| Err(Invalid(format!("check {:?}: {what}", check.name)));
        if check.headers.values().any(|value| matches!(value, PlainOrSecret::Secret(_))) {
            return not("a header's secret would have to go to every agent: watch this one without --fleet");
        }
        if check.certificate.is_some() {
            return not("a client's key would have to go to every agent: watch this one without --fleet");
        }
    }
    bearable(file)?;
    let whole: Table = text.parse().map_err(|e: toml::de::Error| Invalid(e.to_string()))?;
    let parts: Table = whole.into_iter().filter(|(name, _)| PARTS.contains(&name.as_str())).collect();
    let checks = toml::to_string(&parts).map_err(|e| Invalid(e.to_string()))?;
    let named = file.checks.iter().filter_map(|check| check.ca.as_ref()).chain(&file.defaults.ca);
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|e| Invalid(format!("{}: {e}", path.display())))?;
        Ok((path.clone(), text))
    };
    let roots = named.map(read).collect::<Result<_, Invalid>>()?;
    let bytes = serde_json::to_vec(&Written { version: VERSION, checks, roots }).map_err(|e| Invalid(e.to_string()))?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
    Ok(Handout { sha256: digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(), bytes })
}

/// What a handout asks for, ready to probe.
///
/// # Errors
/// If this release cannot do it: it says what, and how to go on.
pub(crate) fn follow(bytes: &[u8]) -> Result<Followed, Invalid> {
    let written: Written = serde_json::from_slice(bytes).map_err(|e| Invalid(format!("these are no checks: {e}")))?;
    if written.version != VERSION {
        let what =
            format!("these checks are of version {}, and this release knows {VERSION}: upgrade the agent", written.version);
        return Err(Invalid(what));
    }
    let file = CheckFile::parse(&written.checks)?;
    bearable(&file)?;
    // A controller may name any file: nothing on this host is opened for it.
    let opened = file.checks.iter().any(|check| {
        check.certificate.is_some()
            || check.key.is_some()
            || check.headers.values().any(|value| matches!(value, PlainOrSecret::Secret(_)))
    });
    let mut named = file.checks.iter().filter_map(|check| check.ca.as_ref()).chain(&file.defaults.ca);
    if opened || named.any(|path| !written.roots.contains_key(path)) {
        return Err(Invalid("these checks name files of this host: they are not opened for a controller".into()));
    }
    let roots: BTreeMap<PathBuf, Arc<str>> = written.roots.into_iter().map(|(path, text)| (path, text.into())).collect();
    let checks = prepare_with(&file, &roots).map_err(|wrong| Invalid(wrong.what))?;
    Ok(Followed { file, checks })
}

fn bearable(file: &CheckFile) -> Result<(), Invalid> {
    let rate: f64 = file.plans()?.iter().map(|plan| 1.0 / plan.interval.0.as_secs_f64()).sum();
    if rate <= MOST_RATE {
        return Ok(());
    }
    Err(Invalid(format!(
        "each agent would make {rate:.0} rounds a second, {MOST_RATE:.0} at most are made: longer intervals, or fewer checks"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: &str = "[[check]]\nname = \"a\"\ntarget = \"https://a.test/\"\n";

    fn handed(text: &str) -> Result<Handout, Invalid> {
        hand_out(text, &CheckFile::parse(text).expect("it is a check file"))
    }

    #[test]
    fn agents_get_checks_and_roots_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let ca = folder.path().join("ca.pem");
        let key = rcgen::KeyPair::generate().expect("a key");
        let root = rcgen::CertificateParams::new(vec!["a.test".into()]).expect("a name").self_signed(&key).expect("signed");
        std::fs::write(&ca, root.pem()).expect("our own folder");
        let text = format!(
            "[watch]\nvantage = \"ops\"\nstore = \"/var/lib/secret-place\"\n[defaults]\nca = {ca:?}\n[fleet]\nreport = \"5s\"\n{CHECK}\
             [[receiver]]\nkind = \"webhook\"\nurl = \"http://hooks.test/s3cret\"\n[[maintenance]]\nfrom = \"2026-12-01T02:00:00Z\"\n\
             to = \"2026-12-01T04:00:00Z\"\n"
        );
        let handout = handed(&text).expect("it can be handed out");
        let shown = String::from_utf8_lossy(&handout.bytes).into_owned();
        for kept in ["s3cret", "secret-place", "ops", "maintenance"] {
            assert!(!shown.contains(kept), "{kept}: {shown}");
        }
        std::fs::remove_file(&ca).expect("it was written");
        let followed = follow(&handout.bytes).expect("the roots came along");
        assert_eq!((followed.checks.len(), followed.file.fleet.report), (1, settings::Time::secs(5)));
        assert_eq!(handed(&text.replace("5s", "6s").replace(&format!("ca = {ca:?}"), "")).expect("again").sha256.len(), 64);
    }

    #[test]
    fn what_would_leak_or_flood_is_refused() {
        for (more, said) in [
            ("headers = { Authorization = { env = \"TOKEN\" } }\n", "header's secret"),
            ("certificate = \"/c.pem\"\nkey = \"/k.pem\"\n", "client's key"),
            (
                "interval = \"10ms\"\n[[check]]\nname = \"b\"\ntarget = \"b.test:443\"\ninterval = \"10ms\"\n",
                "200 rounds a second",
            ),
            ("ca = \"/no/such/ca.pem\"\n", "/no/such/ca.pem"),
        ] {
            let error = handed(&format!("{CHECK}{more}")).expect_err(more).to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn an_agent_opens_no_file_that_a_controller_names() {
        let written = |more: &str| {
            let written = Written { version: VERSION, checks: format!("{CHECK}{more}"), roots: BTreeMap::new() };
            follow(&serde_json::to_vec(&written).expect("JSON"))
        };
        assert!(written("").is_ok());
        for more in [
            "ca = \"/etc/hostname\"\n",
            "headers = { A = { file = \"/etc/shadow\" } }\n",
            "certificate = \"/c.pem\"\nkey = \"/k.pem\"\n",
        ] {
            let error = written(more).err().expect(more).to_string();
            assert!(error.contains("not opened"), "{error}");
        }
        let later = br#"{"version":9,"checks":"","roots":{}}"#;
        assert!(follow(later).err().expect("a later version").to_string().contains("upgrade"));
        assert!(follow(b"{}").is_err());
    }
}
