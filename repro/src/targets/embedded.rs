//! `server = "embedded"`: the lab's own rustls edge, which logs every handshake and can be slow on purpose.

use lab::edge::{self, Does, EdgeConfig};
use settings::Wrong;

use super::{CommandLine, Server, Site, TargetSpec, does_file, log_file, truth_file};
use crate::Error;
use crate::conditions::{Delays, Servers};
use crate::vantages::own_server;

/// An accept queue that nothing fills.
const ORDINARY_BACKLOG: u32 = 1_024;

/// What it does on purpose, in its own words.
pub(crate) fn does(servers: Servers) -> Does {
    let Delays { plaintext, hello_retry, server_hello, server_finished } = servers.delays;
    Does {
        delays: edge::Delays {
            plaintext_ms: plaintext.as_millis(),
            hello_retry_ms: hello_retry.as_millis(),
            server_hello_ms: server_hello.as_millis(),
            server_finished_ms: server_finished.as_millis(),
        },
        accept_interval_ms: servers.queue.map_or(0.0, |queue| queue.interval.as_millis()),
        refuse: servers.refuse,
    }
}

/// The embedded edge.
pub struct Embedded;

impl Server for Embedded {
    fn check(&self, _: &TargetSpec) -> Result<(), Wrong> {
        Ok(())
    }

    fn ready(&self, _: &TargetSpec) -> Result<(), Error> {
        Ok(())
    }

    fn command(&self, target: &TargetSpec, site: &Site<'_>) -> Result<CommandLine, Error> {
        let queue = site.does.queue;
        let config = EdgeConfig {
            listen: site.listen.clone(),
            chain: site.certificates.chain.clone(),
            key: site.certificates.key.clone(),
            log: log_file(site.scratch, &target.name),
            truth: truth_file(site.scratch, &target.name),
            slow_ms: 0.0,
            does: does(site.does),
            does_at: Some(does_file(site.scratch, &target.name)),
            backlog: queue.map_or(ORDINARY_BACKLOG, |q| q.backlog),
            before_tls: target.before_tls,
            hello_retry: target.hello_retry,
            client_roots: target.client_certificate.then(|| site.client_root.to_owned()),
            in_pieces: !target.nodelay,
            warmed_from: Some(site.address),
        };
        own_server("lab-edge", &config)
    }

    fn injects(&self) -> bool {
        true
    }
}
