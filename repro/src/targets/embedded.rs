//! `server = "embedded"`: the lab's own rustls edge, which logs every handshake and can be slow on purpose.

use lab::edge::EdgeConfig;
use settings::Wrong;

use super::{CommandLine, Server, Site, TargetSpec, log_file, truth_file};
use crate::Error;
use crate::vantages::own_server;

/// An accept queue that nothing fills.
const ORDINARY_BACKLOG: u32 = 1_024;

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
            app_delay_ms: site.does.answer_delay.as_millis(),
            accept_interval_ms: queue.map_or(0.0, |q| q.interval.as_millis()),
            backlog: queue.map_or(ORDINARY_BACKLOG, |q| q.backlog),
        };
        own_server("lab-edge", &config)
    }

    fn injects(&self) -> bool {
        true
    }
}
