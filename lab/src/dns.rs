//! The lab's name server: answers A and AAAA for the lab's names, as late as it is told.

use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};

use crate::Error;
use crate::truth::Injected;

/// Its configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DnsConfig {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// Names and their addresses.
    pub names: HashMap<String, Vec<IpAddr>>,
    /// How long it keeps an answer back.
    pub delay_ms: f64,
    /// Where it writes what it injected.
    pub truth: PathBuf,
}

/// Serves until killed.
///
/// # Errors
/// If a socket cannot be bound or the log not be written.
pub fn serve(config: &DnsConfig) -> Result<(), Error> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(&config.truth);
    let log = Arc::new(Mutex::new(log.map_err(Error::system("opening the name server's log"))?));
    let mut threads = Vec::new();
    for address in &config.listen {
        let socket = UdpSocket::bind(address).map_err(Error::system(format!("name server on {address}")))?;
        let socket = Arc::new(socket);
        let (config, log) = (config.clone(), Arc::clone(&log));
        threads.push(std::thread::spawn(move || {
            let mut buffer = [0; 1_500];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                let Some(reply) = answer(&config.names, &buffer[..length]) else { continue };
                let (socket, log, delay) = (Arc::clone(&socket), Arc::clone(&log), config.delay_ms);
                // One thread a query: the lab asks a few at a time.
                std::thread::spawn(move || {
                    let begun = std::time::Instant::now();
                    std::thread::sleep(Duration::from_secs_f64(delay / 1e3));
                    if delay > 0.0 {
                        let injected = Injected {
                            client: Some(peer),
                            target: None,
                            owner: "resolver".into(),
                            ms: Some(begun.elapsed().as_secs_f64() * 1e3),
                            what: "answer kept back".into(),
                        };
                        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                        let _ = writeln!(log, "{}", serde_json::to_string(&injected).unwrap_or_default());
                    }
                    let _ = socket.send_to(&reply, peer);
                });
            }
        }));
    }
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

fn answer(names: &HashMap<String, Vec<IpAddr>>, query: &[u8]) -> Option<Vec<u8>> {
    let query = Packet::parse(query).ok()?;
    let question = query.questions.first()?;
    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RECURSION_AVAILABLE);
    reply.questions.push(question.clone());
    let name = question.qname.to_string().trim_end_matches('.').to_ascii_lowercase();
    match names.get(&name) {
        None => *reply.rcode_mut() = RCODE::NameError,
        Some(addresses) => reply.answers.extend(addresses.iter().filter_map(|address| {
            let data = match (address, question.qtype) {
                (IpAddr::V4(a), QTYPE::TYPE(TYPE::A)) => RData::A(A { address: u32::from(*a) }),
                (IpAddr::V6(a), QTYPE::TYPE(TYPE::AAAA)) => RData::AAAA(AAAA { address: u128::from(*a) }),
                _ => return None,
            };
            Some(ResourceRecord::new(question.qname.clone(), CLASS::IN, 0, data))
        })),
    }
    reply.build_bytes_vec().ok()
}
