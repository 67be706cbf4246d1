//! What is compared: an edge that is there, or one that is started for it and stopped afterwards.
//!
//! In: a URL, or a command with `{port}` in it. Out: where it listens, and what to ask for.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use url::{Host, Url};

use crate::processes::Command;
use crate::{Error, Stop};

/// A command may take so long until it listens.
const STARTS_WITHIN: Duration = Duration::from_secs(20);
/// Listening, it may take so long until it answers.
const SETTLES_WITHIN: Duration = Duration::from_secs(5);
/// It is asked for every so often.
const LOOK: Duration = Duration::from_millis(20);
/// Where a command's port goes.
const PORT: &str = "{port}";
/// Where the address goes on which it is to listen, for commands that run elsewhere than on loopback, too.
const ADDRESS: &str = "{address}";

/// How to speak to both.
#[derive(Clone, Default, Debug)]
pub struct Asked {
    /// The name to ask for and verify, where a command's edge is not called `localhost`.
    pub name: Option<String>,
    /// Path and query of the request, for commands; URLs have their own.
    pub path: String,
    /// Words that stand for commands: what is shown is the word.
    pub stands_for: BTreeMap<String, String>,
}

impl Asked {
    /// The command for which a word stands, or the word.
    pub fn command<'a>(&'a self, word: &'a str) -> &'a str {
        self.stands_for.get(word).map_or(word, String::as_str)
    }
}

/// One of the two.
#[derive(Debug)]
pub struct Edge {
    /// As it was named.
    pub named: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The name to ask for and verify.
    pub host: String,
    /// Path and query to ask for.
    pub path: String,
    /// Its process, if it is ours, and since when it listens: stopped when this is dropped.
    process: Option<(Command, Instant)>,
}

impl Edge {
    /// What a word means: a URL is looked up, a command is started.
    ///
    /// # Errors
    /// If it is neither, has no address, or does not listen in time: it says what to do.
    pub fn begin(word: &str, asked: &Asked, stop: &Stop) -> Result<Self, Error> {
        match Url::parse(word) {
            Ok(url) if url.has_host() => Self::there(word, &url, asked),
            _ if asked.command(word).contains(PORT) => Self::start(word, asked, stop),
            _ => Err(Error::NoEdge { word: word.to_owned() }),
        }
    }

    fn there(word: &str, url: &Url, asked: &Asked) -> Result<Self, Error> {
        let wrong = |why: String| Error::Url { url: word.to_owned(), why };
        if url.scheme() != "https" {
            return Err(wrong(format!("its scheme is {}, and handshakes are compared: https only", url.scheme())));
        }
        let host = match url.host() {
            Some(Host::Ipv6(ip)) => ip.to_string(),
            Some(host) => host.to_string(),
            None => return Err(wrong("it has no host".into())),
        };
        let port = url.port_or_known_default().unwrap_or(443);
        // Looked up once: both are asked at one address each, so that no resolver is compared.
        let found = (host.as_str(), port).to_socket_addrs().map_err(|e| wrong(format!("its name has no address: {e}")))?.next();
        let address = found.ok_or_else(|| wrong("its name has no address".into()))?;
        let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        Ok(Self { named: word.to_owned(), address, host: asked.name.clone().unwrap_or(host), path, process: None })
    }

    fn start(word: &str, asked: &Asked, stop: &Stop) -> Result<Self, Error> {
        let failed = |why: String| Error::Start { command: word.to_owned(), why };
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free().map_err(|e| failed(format!("no free port on loopback: {e}")))?;
        let line = asked.command(word).replace(PORT, &address.port().to_string()).replace(ADDRESS, &address.ip().to_string());
        let mut process = Command::begin(&line).map_err(|e| failed(e.to_string()))?;
        let begun = Instant::now();
        loop {
            let heard = TcpStream::connect(address).is_ok();
            std::thread::sleep(LOOK);
            // Beside a process that has ended somebody else listens there.
            if let Some(status) = process.ended() {
                return Err(failed(format!("it ended ({status}) before it listened on {address}")));
            }
            if heard {
                break;
            }
            if begun.elapsed() > STARTS_WITHIN {
                return Err(failed(format!("nothing listens on {address} after {} s", STARTS_WITHIN.as_secs())));
            }
            stop.check()?;
        }
        let host = asked.name.clone().unwrap_or_else(|| "localhost".to_owned());
        Ok(Self { named: word.to_owned(), address, host, path: asked.path.clone(), process: Some((process, Instant::now())) })
    }

    /// Whether it is ours and has ended, and how.
    pub fn ended(&mut self) -> Option<String> {
        self.process.as_mut()?.0.ended()
    }

    /// Whether it is ours and listens since a moment ago.
    pub fn is_new(&self) -> bool {
        self.process.as_ref().is_some_and(|(_, since)| since.elapsed() < SETTLES_WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked { path: "/".into(), ..Asked::default() }
    }

    fn refused(word: &str) -> String {
        Edge::begin(word, &asked(), &Stop::default()).expect_err("it is no edge").to_string()
    }

    #[test]
    fn a_url_says_where_and_what() {
        let edge = Edge::begin("https://[::1]:8443/a?b=c", &asked(), &Stop::default()).expect("it is a URL");
        assert_eq!((edge.address.to_string(), edge.host, edge.path), ("[::1]:8443".into(), "::1".into(), "/a?b=c".into()));
        let named = Edge::begin("https://127.0.0.1/", &Asked { name: Some("edge.test".into()), ..asked() }, &Stop::default())
            .expect("it is a URL");
        assert_eq!((named.address.port(), named.host.as_str()), (443, "edge.test"));
    }

    #[test]
    fn what_is_no_edge_is_said() {
        assert!(refused("http://127.0.0.1/").contains("https only"));
        assert!(refused("nginx -c new.conf").contains("{port}"));
        assert!(refused("exit 7 # {port}").contains("exit status: 7"));
    }

    #[test]
    fn a_word_that_stands_for_a_command_is_shown_itself() {
        let stands_for = BTreeMap::from([("lab:x".to_owned(), "exit 7 # {port}".to_owned())]);
        let refused = Edge::begin("lab:x", &Asked { stands_for, ..asked() }, &Stop::default()).expect_err("it ends");
        let said = refused.to_string();
        assert!(said.starts_with("lab:x: ") && said.contains("exit status: 7"), "{said}");
    }

    #[test]
    fn a_command_is_started_and_stopped_with_its_children() {
        let script = "python3 -c 'import socket,sys,time; s=socket.create_server((sys.argv[1], int(sys.argv[2]))); time.sleep(60)' {address} {port} & wait";
        let edge = Edge::begin(script, &asked(), &Stop::default()).expect("it listens");
        let address = edge.address;
        assert!(TcpStream::connect(address).is_ok());
        drop(edge);
        assert!(TcpStream::connect(address).is_err(), "its child still listens");
    }
}
