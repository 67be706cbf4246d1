//! A check file and all that it names, opened: what the start needs, what a reload needs, and what `--validate` looks at.
//!
//! In: the file. Out: checks ready to probe, modules of `/probe`, who may look, what will not be done as it is written; or what is wrong,
//! with line and column, and never a secret.

use std::path::Path;
use std::sync::Arc;

use nix::unistd::{AccessFlags, access};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use settings::Wrong;
use tokio_rustls::TlsAcceptor;

use crate::blackbox::Blackbox;
use crate::checks::{CheckFile, ServerTls, Watch};
use crate::error::{FileError, Invalid};
use crate::prepare::prepare;
use crate::probing::PreparedChecks;
use crate::server::Guard;
use crate::store::History;

/// A check file, opened.
pub(crate) struct Opened {
    /// As it is written.
    pub file: Arc<CheckFile>,
    /// Its checks, ready.
    pub checks: PreparedChecks,
    /// What its page needs.
    pub face: Face,
    /// What will not be done as it is written.
    pub notes: Vec<String>,
}

/// What the page of a check file needs, whoever probes.
pub(crate) struct Face {
    /// Modules of `/probe`.
    pub blackbox: Blackbox,
    /// Who may look.
    pub guard: Option<Guard>,
    /// How the page speaks TLS, if it does.
    pub tls: Option<TlsAcceptor>,
}

impl Face {
    /// Opens it, and the receivers' secrets.
    ///
    /// # Errors
    /// Says what is wrong, and where in the file it is written.
    pub fn open(file: &CheckFile) -> Result<Self, Wrong> {
        for (n, receiver) in file.receivers.iter().enumerate() {
            receiver.unlock().map_err(|wrong| wrong.within(n).within("receiver"))?;
        }
        Self::of(&file.watch).map_err(|wrong| wrong.within("watch"))
    }

    fn of(watch: &Watch) -> Result<Self, Wrong> {
        let blackbox = blackbox(watch).map_err(|wrong| wrong.within("blackbox"))?;
        let guard = watch.auth.as_ref().map(Guard::of).transpose();
        let guard = guard.map_err(|e| Wrong::at("auth", e.to_string()))?;
        let tls = watch.tls.as_ref().map(acceptor).transpose().map_err(|wrong| wrong.within("tls"))?;
        Ok(Self { blackbox, guard, tls })
    }
}

impl Opened {
    /// Opens the file of that name and all that it names.
    ///
    /// # Errors
    /// Says what is wrong, with its place.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        FileError::read(path, |text| {
            let file = CheckFile::parse(text)?;
            Self::of(file).map_err(|wrong| Invalid(wrong.said(text)))
        })
    }

    /// Opens what a file names that was read already.
    ///
    /// # Errors
    /// Says what is wrong, and where in the file it is written.
    pub fn of(file: CheckFile) -> Result<Self, Wrong> {
        let checks = prepare(&file)?;
        let face = Face::open(&file)?;
        let notes = face.blackbox.unsupported().into_iter().chain(file.never_reached()).collect();
        Ok(Self { file: Arc::new(file), checks, face, notes })
    }

    /// Whether the store can be made or written, and the address listened on: what only a start does, looked at without doing it.
    ///
    /// # Errors
    /// Says what is in the way.
    pub fn can_begin(&self) -> Result<(), Wrong> {
        let watch = &self.file.watch;
        store_is_possible(&watch.store).map_err(|what| Wrong::at("store", what).within("watch"))?;
        match std::net::TcpListener::bind(watch.listen) {
            // A watcher that runs with the file of before has it.
            Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => {
                Err(Wrong::at("listen", format!("cannot listen on {}: {error}", watch.listen)).within("watch"))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// Whether a database can be written there, its folder made or not.
fn store_is_possible(store: &Path) -> Result<(), String> {
    let said = |what: &dyn std::fmt::Display| format!("{}: {what}", store.display());
    let wanted = store.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let there = wanted.ancestors().find(|folder| folder.as_os_str().is_empty() || folder.exists()).unwrap_or(wanted);
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let (place, what) = if store.exists() { (store, "it") } else { (there, "its folder") };
    if place == there && !there.is_dir() {
        return Err(said(&format!("{} is no folder", there.display())));
    }
    if store.is_dir() {
        return Err(said(&"it is a folder; name a file in it"));
    }
    if store.exists() && !store.is_file() {
        return Err(said(&"it is no file"));
    }
    access(place, AccessFlags::W_OK)
        .map_err(|e| said(&format!("{what} ({}) cannot be written: {}", place.display(), e.desc())))?;
    if store.exists() {
        return History::can_open(store).map_err(|e| e.to_string());
    }
    // There are folders that root may write, and nobody can make anything in.
    let tried = there.join(format!(".whostalled-{}", std::process::id()));
    std::fs::create_dir(&tried)
        .and_then(|()| std::fs::remove_dir(&tried))
        .map_err(|e| said(&format!("nothing can be made in {}: {e}", there.display())))
}

fn blackbox(watch: &Watch) -> Result<Blackbox, Wrong> {
    let Some(path) = &watch.blackbox else { return Ok(Blackbox::default()) };
    FileError::read(path, Blackbox::parse).map_err(|e| Wrong::new(e.to_string()))
}

fn acceptor(tls: &ServerTls) -> Result<TlsAcceptor, Wrong> {
    let read = |key: &str, path: &Path, e: &dyn std::fmt::Display| Wrong::at(key, format!("{}: {e}", path.display()));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&tls.certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|e| read("certificate", &tls.certificate, &e))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|e| read("key", &tls.key, &e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.and_then(|config| config.with_no_client_auth().with_single_cert(chain, key));
    Ok(TlsAcceptor::from(Arc::new(config.map_err(|e| read("certificate", &tls.certificate, &e))?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: &str = "[[check]]\nname = \"a\"\ntarget = \"https://a.test/\"\ninsecure = true\n";

    fn validated(path: &Path) -> Result<usize, String> {
        let text = std::fs::read_to_string(path).expect("it was written");
        let opened = Opened::open(path).map_err(|e| e.to_string())?;
        opened.can_begin().map_err(|wrong| wrong.said(&text))?;
        Ok(opened.file.checks.len())
    }

    #[test]
    fn what_is_valid_will_start_and_what_is_not_is_said_with_its_place() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("checks.toml");
        let said = |text: &str| {
            std::fs::write(&path, text).expect("it is writable");
            validated(&path)
        };
        assert_eq!(said(CHECK), Ok(1));
        let broken = folder.path().join("bb.yml");
        std::fs::write(&broken, "modules: [").expect("it is writable");
        std::fs::write(folder.path().join("file"), "").expect("it is writable");
        let inside_a_file = folder.path().join("file/store.db");
        for (text, place, missed) in [
            (
                format!("{CHECK}ca = \"/no/such/ca.pem\"\n").replace("insecure = true\n", ""),
                "line 4, column 1",
                "/no/such/ca.pem",
            ),
            (
                format!("[defaults]\nca = \"/no/such/ca.pem\"\n{CHECK}").replace("insecure = true\n", ""),
                "line 2, column 1",
                "/no/such/ca.pem",
            ),
            (
                format!("{CHECK}certificate = \"/no/such/c.pem\"\nkey = \"/no/such/k.pem\"\n"),
                "line 5, column 1",
                "/no/such/c.pem",
            ),
            (format!("{CHECK}headers = {{ A = {{ file = \"/no/such/token\" }} }}\n"), "line 5, column 13", "/no/such/token"),
            (format!("[watch]\nblackbox = \"/no/such/bb.yml\"\n{CHECK}"), "line 2, column 1", "/no/such/bb.yml"),
            (format!("[watch]\nblackbox = \"{}\"\n{CHECK}", broken.display()), "line 2, column 1", "bb.yml"),
            (format!("[watch]\nstore = \"{}\"\n{CHECK}", inside_a_file.display()), "line 2, column 1", "no folder"),
            (
                format!("[watch]\nauth = {{ bearer = {{ file = \"/no/such/secret\" }} }}\n{CHECK}"),
                "line 2, column 1",
                "/no/such/secret",
            ),
            (
                format!("[watch]\ntls = {{ certificate = \"/no/such/s.pem\", key = \"/no/such/k.pem\" }}\n{CHECK}"),
                "line 2, column 9",
                "/no/such/s.pem",
            ),
            (format!("[watch]\nlisten = \"192.0.2.1:9\"\n{CHECK}"), "line 2, column 1", "cannot listen"),
            (
                format!("{CHECK}[[receiver]]\nkind = \"pagerduty\"\nrouting_key = {{ file = \"/no/such/key\" }}\n"),
                "line 7, column 1",
                "/no/such/key",
            ),
            (format!("{CHECK}[[receiver]]\nkind = \"webhook\"\nurl = \"h.test/hook\"\n"), "line 7, column 1", "http://"),
        ] {
            let error = said(&text).expect_err(&text);
            assert!(error.contains(missed) && error.contains(place), "{text}: {error}");
        }
    }

    #[test]
    fn a_store_may_lie_in_a_folder_that_is_still_to_be_made() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(store_is_possible(&folder.path().join("not/yet/store.db")), Ok(()));
        assert!(store_is_possible(folder.path()).is_err_and(|what| what.contains("it is a folder")));
        // Root may write there, and yet nobody can make a folder.
        for path in ["/proc/not/store.db", "/proc/store.db", "/dev/null", "/dev/full"] {
            assert!(store_is_possible(Path::new(path)).is_err(), "{path}: it would not start");
        }
        let words = folder.path().join("words");
        std::fs::write(&words, "words ".repeat(100)).expect("it is writable");
        assert!(store_is_possible(&words).is_err_and(|what| what.contains("words") && what.contains("not a database")));
    }
}
