//! `server = "command"`: any program that listens.

use settings::Wrong;
use vantage::command_line::named;

use super::process::command_line;
use super::{CommandLine, Server, Site, TargetSpec};
use crate::Error;

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
        Ok(command_line(&target.command, &target.name, site))
    }

    fn injects(&self) -> bool {
        false
    }
}
