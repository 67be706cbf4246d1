//! `server = "nginx"`: the real one.

use settings::Wrong;
use vantage::command_line::installed;

use super::{CommandLine, Server, Site, TargetSpec};
use crate::Error;

/// nginx's own default.
const BACKLOG: u32 = 511;

/// Real nginx.
pub struct Nginx;

impl Server for Nginx {
    fn check(&self, _: &TargetSpec) -> Result<(), Wrong> {
        Ok(())
    }

    fn ready(&self, _: &TargetSpec) -> Result<(), Error> {
        Ok(installed("nginx", "apt-get install nginx-light")?)
    }

    fn command(&self, target: &TargetSpec, site: &Site<'_>) -> Result<CommandLine, Error> {
        self.ready(target)?;
        let args = lab::nginx::arguments(site.scratch, &site.listen, site.certificates, BACKLOG)?;
        Ok(CommandLine { program: "nginx".into(), args })
    }

    fn injects(&self) -> bool {
        false
    }
}
