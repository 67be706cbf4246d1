//! `server = "command"`: any program that listens.

use settings::Wrong;
use vantage::command_line::named;

use super::{CommandLine, Server, Site, TargetSpec};
use crate::Error;
use crate::vantages::PORT;

/// Any program.
pub struct Command;

impl Server for Command {
    fn check(&self, target: &TargetSpec) -> Result<(), Wrong> {
        if target.command.is_empty() {
            return Err(Wrong::at("server", "a target with server \"command\" needs `command = [\"program\", …]`"));
        }
        Ok(())
    }

    fn ready(&self, target: &TargetSpec) -> Result<(), Error> {
        Ok(named(&format!("target.{}.command", target.name), &target.command)?)
    }

    fn command(&self, target: &TargetSpec, site: &Site<'_>) -> Result<CommandLine, Error> {
        let mut words = target.command.iter().map(|w| {
            w.replace("{address}", &site.address.to_string())
                .replace("{port}", &PORT.to_string())
                .replace("{chain}", &site.certificates.chain.display().to_string())
                .replace("{key}", &site.certificates.key.display().to_string())
        });
        Ok(CommandLine { program: words.next().unwrap_or_default(), args: words.collect() })
    }

    fn injects(&self) -> bool {
        false
    }
}
