//! The zoo: real TLS clients against real servers with injected faults, both ends captured, and the injectors' truth.
//!
//! In: a seed. Out: a folder a case with `client.pcap.zst`, `edge.pcap.zst` and `truth.json`. Recording reads nothing that
//! the analysis says: truth comes from the programs that stalled, the wire that lost, and the recorder that stopped.
//!
//! ```text
//!  draw ─► record ─► edit ─► truth ─► folder of cases ─► keep (small, for the repository)
//!          lab, servers, clients              └────────► grade (runs `explain` over them, compares)
//! ```

mod case;
mod certs;
mod clients;
mod draw;
pub mod error;
pub mod grade;
pub mod keep;
mod lines;
mod noise;
mod pcap;
mod prober_client;
mod record;
pub mod run;
mod rustls_client;
mod servers;
mod spawn;
mod stacks;
mod starved;
mod truth;
mod words;
