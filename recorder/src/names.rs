//! What the domain name system calls the networks of clients that were slow.
//!
//! In: addresses. Out: the domain of each client network, as soon as a name server has told the name of one of its clients
//! (reverse mapping, RFC 1035, section 3.5). Nobody waits for it: until then, and where there is none, a network is called by its prefix.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use ipnet::IpNet;
use lru::LruCache;
use prober::lookup::Lookup;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::admission::network_of;

/// Networks remembered.
const MOST_NETWORKS: usize = 4_096;
/// Questions that wait; more are asked when their network is slow again.
const MOST_WAITING: usize = 256;
/// Patience with the name servers.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The names known.
pub struct Names {
    /// Absent: asked, not answered, or there is none.
    known: Mutex<LruCache<IpNet, Option<String>, RandomState>>,
    ask: Sender<IpAddr>,
}

/// Asks the name servers.
pub struct Asker {
    names: Arc<Names>,
    questions: Receiver<IpAddr>,
    lookup: Lookup,
}

impl Names {
    /// Asks `servers`, or, if there are none, those of `/etc/resolv.conf`.
    ///
    /// # Errors
    /// If the system's configuration cannot be read.
    pub fn asking(servers: &[SocketAddr]) -> io::Result<(Arc<Self>, Asker)> {
        let lookup = Lookup::new(servers)?;
        let (ask, questions) = channel(MOST_WAITING);
        let most = NonZeroUsize::new(MOST_NETWORKS).unwrap_or(NonZeroUsize::MIN);
        let names = Arc::new(Self { known: Mutex::new(LruCache::with_hasher(most, RandomState::default())), ask });
        Ok((Arc::clone(&names), Asker { names, questions, lookup }))
    }

    /// Asks for the name of a client's network, once.
    pub fn ask(&self, client: IpAddr) {
        let network = network_of(client.to_canonical());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(&network).is_none() && self.ask.try_send(client.to_canonical()).is_ok() {
            known.put(network, None);
        }
    }

    /// The domain of a network, if it is known.
    pub fn of(&self, network: IpNet) -> Option<String> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).peek(&network).cloned().flatten()
    }
}

impl Asker {
    /// Asks, one after the other, for ever.
    pub async fn run(mut self) {
        while let Some(client) = self.questions.recv().await {
            let name = self.lookup.name_of(client, TIMEOUT).await;
            let domain = name.as_deref().and_then(domain_of);
            self.names.known.lock().unwrap_or_else(PoisonError::into_inner).put(network_of(client), domain);
        }
    }
}

/// The name without its first label, which is the one client's: "compute.amazonaws.com".
fn domain_of(name: &str) -> Option<String> {
    let name = name.trim_end_matches('.');
    let (_, domain) = name.split_once('.')?;
    let plain = |c: char| c.is_alphanumeric() || c == '-' || c == '.' || c == '_';
    // It is shown to people and in alerts: no more than a name is let through.
    let domain = if domain.contains('.') { domain } else { name };
    (domain.len() <= 253 && domain.chars().all(plain)).then(|| domain.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_domain_is_what_is_left_of_a_name() {
        for (name, domain) in [
            ("ec2-52-1-2-3.compute-1.amazonaws.com.", Some("compute-1.amazonaws.com")),
            ("p50808fa9.dip0.T-ipconnect.de.", Some("dip0.t-ipconnect.de")),
            ("example.net.", Some("example.net")),
            ("localhost.", None),
            ("a.<script>.example.", None),
        ] {
            assert_eq!(domain_of(name).as_deref(), domain, "{name}");
        }
    }

    /// A name server that calls whatever is asked for "host-7.pool.example.net"; and how often it was asked.
    fn server() -> (SocketAddr, Arc<AtomicUsize>) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let at = socket.local_addr().expect("it is bound");
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut message = [0; 512];
            while let Ok((len, from)) = socket.recv_from(&mut message) {
                // RFC 1035, section 4.1: header of 12 bytes, name, type and class.
                let name_end = 12 + message[12..len].iter().position(|b| *b == 0).unwrap_or(0);
                let question = message[12..name_end + 5].to_vec();
                counted.fetch_add(1, Ordering::Relaxed);
                let mut answer = [&message[..2], &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0], &question[..]].concat();
                let name = b"\x06host-7\x04pool\x07example\x03net\0";
                answer.extend([0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 60, 0, name.len() as u8]);
                answer.extend(name);
                let _ = socket.send_to(&answer, from);
            }
        });
        (at, asked)
    }

    #[tokio::test]
    async fn networks_are_named_once_somebody_answers() {
        let (server, asked) = server();
        let (names, asker) = Names::asking(&[server]).expect("an address is all it needs");
        let running = tokio::spawn(asker.run());
        let of = |net: &str| names.of(net.parse().expect("a prefix"));
        for client in ["192.0.2.7", "192.0.2.8", "2001:db8::7"] {
            names.ask(client.parse().expect("an address"));
        }
        let named = async {
            while of("192.0.2.0/24").is_none() || of("2001:db8::/48").is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), named).await.expect("it answers");
        assert_eq!((of("192.0.2.0/24").as_deref(), of("198.51.100.0/24")), (Some("pool.example.net"), None));
        names.ask("192.0.2.9".parse().expect("an address"));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(asked.load(Ordering::Relaxed), 2, "each network is asked for once");
        assert!(!running.is_finished());
    }
}
