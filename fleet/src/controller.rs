//! A controller's view of the fleet: who is there, and each agent as a vantage.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent::Hello;
use analysis::key::Key;
use async_nats::Client;
use futures_util::StreamExt;
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout};

use vantage::PATIENCE;

use crate::line::Line;
use crate::message::{Announcement, Asked, Reply};
use crate::subject::{self, whose};
use crate::vantage_there::There;
use crate::{Error, Log, Name, Server};

/// How long agents have to say that they are there.
const CALLED: Duration = Duration::from_millis(1_500);
/// How often they are called before it is said that nobody is there: together longer than agents wait between two tries to connect.
const CALLS: usize = 2;
/// Whoever is there says so within this of another, or all have.
const QUIET: Duration = Duration::from_millis(500);

/// A connection to the server of a fleet.
pub struct Fleet {
    pub(crate) runtime: Runtime,
    pub(crate) client: Client,
    /// Who controls, for people.
    pub(crate) who: String,
    /// Where bundles of others go that nobody stored.
    pub(crate) handed_over: PathBuf,
    pub(crate) log: Log,
    server: String,
}

/// An agent that is there.
#[derive(Clone, PartialEq, Debug)]
pub struct Present {
    /// Its name.
    pub name: Name,
    /// Its process: drawn at its start.
    pub instance: String,
    /// Groups that it belongs to.
    pub groups: Vec<String>,
    /// Who it is and what it can do.
    pub hello: Hello,
    /// The controller that has it now.
    pub busy: Option<String>,
    /// Bundles that wait for a controller.
    pub kept: usize,
    /// It launches no clients: it is there for its recorder alone.
    pub recorder_only: bool,
}

impl Fleet {
    /// Connects as `who` (for people: it is shown to whoever finds an agent busy). Bundles that an earlier controller did not live to store
    /// are written to the folder `handed_over`.
    ///
    /// # Errors
    /// If the server cannot be reached or does not let us in.
    pub fn connect(server: &Server, who: &str, handed_over: PathBuf, log: Log) -> Result<Self, Error> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(Error::Threads)?;
        let client = runtime.block_on(server.connect_patiently(who, &log))?;
        Ok(Self { runtime, client, who: who.to_owned(), handed_over, log, server: server.shown() })
    }

    /// Who is there, by name.
    ///
    /// # Errors
    /// If the server cannot be asked.
    pub fn present(&self) -> Result<Vec<Present>, Error> {
        let failed = |what: String| Error::Server { url: self.server.clone(), what };
        self.runtime.block_on(async {
            let mut hellos = self.client.subscribe(subject::hellos()).await.map_err(|e| failed(e.to_string()))?;
            let called = self.client.publish(subject::CALL, Vec::new().into()).await;
            called.map_err(|e| failed(e.to_string()))?;
            self.client.flush().await.map_err(|e| failed(e.to_string()))?;
            let mut present = BTreeMap::new();
            let until = Instant::now() + CALLED;
            loop {
                let patience = if present.is_empty() { CALLED } else { QUIET };
                let left = until.saturating_duration_since(Instant::now()).min(patience);
                let Ok(Some(message)) = timeout(left, hellos.next()).await else { break };
                match announced(&message.subject, &message.payload) {
                    Ok(agent) => {
                        if let Some(before) = present.insert(agent.name.clone(), agent.clone())
                            && before.instance != agent.instance
                        {
                            let name = &agent.name;
                            (self.log)(&format!(
                                "two agents answer to the name {name}: give each a name of its own (agent --name)"
                            ));
                        }
                    }
                    Err(what) => (self.log)(&format!("on {}: {what}; it is ignored", message.subject)),
                }
            }
            Ok(present.into_values().collect())
        })
    }

    /// The agents that `pattern` means: `*`, the name of an agent, or of a group.
    ///
    /// # Errors
    /// If the server cannot be asked.
    pub fn meant(&self, pattern: &str) -> Result<Vec<Name>, Error> {
        let (mut present, mut found) = (Vec::new(), Vec::new());
        // Behind a server that was started anew agents connect a little later.
        for _ in 0..CALLS {
            present = self.present()?;
            found = meant(&present, pattern);
            if !found.is_empty() {
                break;
            }
        }
        if found.is_empty() {
            let there: Vec<&str> = present.iter().map(|agent| agent.name.as_str()).collect();
            let there = if there.is_empty() { "nobody".into() } else { there.join(", ") };
            let what = format!("has no agent or group {pattern:?}; there is {there}");
            return Err(Error::Server { url: self.server.clone(), what });
        }
        Ok(found)
    }

    /// The agent `agent` as the vantage `name`, with packets if it may capture them and `capture` asks for them. Dropping it makes the agent
    /// take down what it set.
    ///
    /// # Errors
    /// If it does not answer, another controller has it, or `stop` is set.
    pub fn open<'f>(&'f self, agent: &Name, name: &str, capture: bool, stop: &AtomicBool) -> Result<There<'f>, vantage::Error> {
        if stop.load(Ordering::Relaxed) {
            return Err(vantage::Error::Interrupted);
        }
        There::open(self, agent, name, capture, stop)
    }

    /// What the recorder beside `agent` has, of the `last` so long, of the connections with these keys (none: it only has to be there): a
    /// capture. `name` says whose recorder that is, for people.
    ///
    /// # Errors
    /// If the agent or its recorder does not answer, or `stop` is set.
    pub fn recorded(
        &self,
        agent: &Name,
        name: &str,
        last: Duration,
        keys: &[Key],
        stop: &AtomicBool,
    ) -> Result<Vec<u8>, vantage::Error> {
        let mut line = Line::to(self, agent, name)?;
        let last_ms = u64::try_from(last.as_millis()).unwrap_or(u64::MAX);
        match self.runtime.block_on(line.ask(Asked::Recorded { last_ms, keys: keys.to_vec() }, PATIENCE, stop))? {
            Reply::Recorded(packets) => Ok(packets.0),
            Reply::NotRecorded { why } => Err(vantage::Error::Failed { vantage: name.to_owned(), why }),
            other => Err(line.unexpected("packets of a recorder", &other)),
        }
    }
}

fn meant(present: &[Present], pattern: &str) -> Vec<Name> {
    let of = |wanted: &dyn Fn(&Present) -> bool| present.iter().filter(|a| wanted(a)).map(|a| a.name.clone()).collect();
    let named: Vec<Name> = of(&|agent| agent.name.as_str() == pattern);
    if !named.is_empty() {
        return named;
    }
    of(&|agent| !agent.recorder_only && (pattern == "*" || agent.groups.iter().any(|group| group == pattern)))
}

/// Reads an announcement. The subject is what the server vouches for.
fn announced(subject: &str, payload: &[u8]) -> Result<Present, String> {
    let announcement: Announcement = serde_json::from_slice(payload).map_err(|e| format!("this is no greeting: {e}"))?;
    if whose(subject) != Some(announcement.from.as_str()) {
        return Err(format!("an agent says that it is {:?}", announcement.from));
    }
    let name: Name = announcement.from.parse().map_err(|e: crate::NoName| e.to_string())?;
    let Announcement { instance, hello, groups, busy, kept, recorder_only, .. } = announcement;
    Ok(Present { name, instance, groups, hello, busy, kept, recorder_only })
}

#[cfg(test)]
mod tests {
    use vantage::host;

    use super::*;

    fn announcement(from: &str, groups: &[&str]) -> Vec<u8> {
        let permits = agent::Permits { quotas: false, real_time: false, no_packets: None };
        let announcement = Announcement {
            from: from.into(),
            instance: "1".into(),
            hello: host::hello(from, host::clock(agent::ClockError::Unknown), permits),
            groups: groups.iter().map(ToString::to_string).collect(),
            busy: None,
            kept: 0,
            recorder_only: from.starts_with("edge"),
        };
        serde_json::to_vec(&announcement).expect("JSON")
    }

    #[test]
    fn a_name_a_group_or_all_are_meant() {
        let present: Vec<Present> = [("ams", &["eu"][..]), ("eu2", &["eu"]), ("sfo", &["us", "ams"]), ("edge-1", &["eu"])]
            .iter()
            .map(|(name, groups)| {
                announced(&format!("whostalled.agent.{name}.hello"), &announcement(name, groups)).expect("a greeting")
            })
            .collect();
        let names = |pattern: &str| meant(&present, pattern).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(names("*"), "ams eu2 sfo");
        assert_eq!(names("eu"), "ams eu2");
        assert_eq!(names("ams"), "ams", "an agent's name counts before a group's");
        assert_eq!(names("edge-1"), "edge-1", "whoever names it will be told that it launches nothing");
        assert_eq!(names("asia"), "");
    }

    #[test]
    fn who_greets_under_anothers_name_is_ignored() {
        assert!(announced("whostalled.agent.ams.hello", &announcement("ams", &[])).is_ok());
        let error = announced("whostalled.agent.ams.hello", &announcement("fra", &[])).expect_err("it is not its subject");
        assert!(error.contains("fra"), "{error}");
        assert!(announced("whostalled.agent.ams.hello", b"{}").is_err());
    }
}
