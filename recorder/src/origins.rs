//! Whose networks clients are in, by databases that lie on this host (MaxMind's DB format: GeoLite2, DB-IP, IPinfo).
//!
//! In: files, addresses. Out: [`Origin`]s: autonomous system, country. Files are read whole, and again when somebody replaces them. What a
//! client's network of [`crate::admission::network_of`] is said to be is what the first of its clients is said to be.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use foldhash::fast::RandomState;
use ipnet::IpNet;
use lru::LruCache;
use maxminddb::Reader;
use serde::Deserialize;

use crate::admission::network_of;

/// Networks remembered.
const MOST_NETWORKS: usize = 65_536;

/// A database that cannot be read: the file's fault, or its name's.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", .path.display())]
pub struct Error {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub source: maxminddb::MaxMindDbError,
}

/// An autonomous system (RFC 1930), or as much as is known of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Origin {
    /// Its number.
    pub asn: Option<u32>,
    /// Who runs it.
    pub organization: Option<String>,
    /// The client's country, ISO 3166-1 alpha-2.
    pub country: Option<String>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asn = self.asn.map(|n| format!("AS{n}"));
        let words: Vec<&str> = asn.iter().chain(&self.organization).chain(&self.country).map(String::as_str).collect();
        f.write_str(&words.join(" "))
    }
}

/// A record of any of the usual databases.
#[derive(Deserialize)]
struct Record {
    // Some writers use the smallest type that holds it.
    autonomous_system_number: Option<serde_json::Number>,
    autonomous_system_organization: Option<String>,
    asn: Option<String>,
    as_name: Option<String>,
    country: Option<Country>,
    country_code: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Country {
    Of { iso_code: Option<String> },
    Named(String),
}

impl From<Record> for Origin {
    fn from(r: Record) -> Self {
        let country = match r.country {
            Some(Country::Of { iso_code }) => iso_code,
            Some(Country::Named(name)) if name.len() == 2 => Some(name),
            _ => None,
        };
        Self {
            asn: match r.autonomous_system_number {
                Some(number) => number.as_u64().and_then(|n| u32::try_from(n).ok()),
                None => r.asn.and_then(|text| text.trim_start_matches("AS").parse().ok()),
            },
            organization: r.autonomous_system_organization.or(r.as_name),
            country: r.country_code.or(country),
        }
    }
}

struct Database {
    path: PathBuf,
    changed: Option<SystemTime>,
    reader: Reader<Vec<u8>>,
}

impl Database {
    fn open(path: PathBuf) -> Result<Self, Error> {
        let changed = changed(&path);
        match Reader::open_readfile(&path) {
            Ok(reader) => Ok(Self { path, changed, reader }),
            Err(source) => Err(Error { path, source }),
        }
    }

    fn of(&self, client: IpAddr) -> Option<Origin> {
        Some(self.reader.lookup(client).ok()?.decode::<Record>().ok()??.into())
    }
}

fn changed(path: &PathBuf) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}

/// The databases.
pub struct Origins {
    databases: Vec<Database>,
    known: LruCache<IpNet, Option<Arc<Origin>>, RandomState>,
}

impl Origins {
    /// Reads the files. Where several know something, the first one counts.
    ///
    /// # Errors
    /// Names the file that cannot be read, and why.
    pub fn open(paths: &[PathBuf]) -> Result<Self, Error> {
        let databases = paths.iter().cloned().map(Database::open).collect::<Result<_, _>>()?;
        let most = NonZeroUsize::new(MOST_NETWORKS).unwrap_or(NonZeroUsize::MIN);
        Ok(Self { databases, known: LruCache::with_hasher(most, RandomState::default()) })
    }

    /// Where a client is; absent if nobody knows.
    pub fn of(&mut self, client: IpAddr) -> Option<Arc<Origin>> {
        if self.databases.is_empty() {
            return None;
        }
        let (client, databases) = (client.to_canonical(), &self.databases);
        let find = || {
            let mut origin = Origin::default();
            for said in databases.iter().filter_map(|d| d.of(client)) {
                origin.asn = origin.asn.or(said.asn);
                origin.organization = origin.organization.or(said.organization);
                origin.country = origin.country.or(said.country);
            }
            (origin != Origin::default()).then(|| Arc::new(origin))
        };
        self.known.get_or_insert(network_of(client), find).clone()
    }

    /// Reads again what was replaced.
    ///
    /// # Errors
    /// Names a file that cannot be read; what was known of it is kept.
    pub fn refresh(&mut self) -> Result<(), Error> {
        for database in &mut self.databases {
            if changed(&database.path) != database.changed {
                *database = Database::open(database.path.clone())?;
                self.known.clear();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with the Python package mmdb_writer, of documentation prefixes.
    fn file(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/origins").join(name)
    }

    fn said(origins: &mut Origins, client: &str) -> String {
        origins.of(client.parse().expect("an address")).map_or_else(String::new, |origin| origin.to_string())
    }

    #[test]
    fn several_databases_are_one() {
        let mut origins = Origins::open(&[file("asn.mmdb"), file("country.mmdb")]).expect("they are there");
        for (client, origin) in [
            ("192.0.2.7", "AS64500 Example Net DE"),
            ("::ffff:192.0.2.7", "AS64500 Example Net DE"),
            ("2001:db8::7", "AS64500 Example Net"),
            ("198.51.100.7", "AS64501 Sample Cloud"),
            ("203.0.113.7", "FR"),
            ("127.0.0.1", ""),
        ] {
            assert_eq!(said(&mut origins, client), origin, "{client}");
        }
        let mut flat = Origins::open(&[file("flat.mmdb")]).expect("it is there");
        assert_eq!(said(&mut flat, "192.0.2.7"), "AS64500 Example Net DE");
    }

    #[test]
    fn a_replaced_file_is_read_again_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("any.mmdb");
        let put = |name: &str, second| {
            std::fs::copy(file(name), &path).expect("it can be written");
            let file = std::fs::File::options().write(true).open(&path).expect("it is there");
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second)).expect("it is ours");
        };
        put("asn.mmdb", 1);
        let mut origins = Origins::open(std::slice::from_ref(&path)).expect("it is there");
        assert_eq!(said(&mut origins, "192.0.2.7"), "AS64500 Example Net");
        put("flat.mmdb", 2);
        origins.refresh().expect("it is whole");
        assert_eq!(said(&mut origins, "192.0.2.7"), "AS64500 Example Net DE");
        std::fs::write(&path, "half a file").expect("it can be written");
        assert!(origins.refresh().expect_err("it is no database").to_string().contains("any.mmdb"));
        assert_eq!(said(&mut origins, "192.0.2.7"), "AS64500 Example Net DE");
        assert!(Origins::open(&[folder.path().join("none.mmdb")]).is_err());
    }
}
