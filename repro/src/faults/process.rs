//! `process`: a program of a target is gone, stopped, dies and returns, or runs with another command.

use std::collections::BTreeMap;

use lab::truth::Injected;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::Wrong;

use super::{Inject, Keeps, Named, Variation, injected};
use crate::conditions::Conditions;
use crate::duration::Length;
use crate::limits::{MOST_TIME, at_most};
use crate::scenario::Scenario;
use crate::targets::SERVER;

/// A program of a target does not run as it should.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// The target.
    pub on: String,
    /// Which of its programs: the name of a `[[target.process]]`, or `server`.
    #[serde(default = "server")]
    pub process: String,
    /// What becomes of it.
    pub does: Does,
}

/// What becomes of a program.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Does {
    /// It is killed, and there no more.
    Gone,
    /// It is stopped: its kernel still takes connections.
    Stopped,
    /// It is killed after a while as by the kernel when memory is short, comes back, and so on.
    Crashes(Crashes),
    /// It runs with this command instead; it is started anew.
    Runs(Vec<String>),
}

/// A program that dies and returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Crashes {
    /// How long it runs.
    pub up: Length,
    /// How long it is gone.
    pub down: Length,
}

fn server() -> String {
    SERVER.into()
}

impl Inject for Process {
    fn names(&self) -> Vec<Named<'_>> {
        vec![Named::on_target(&self.on)]
    }

    fn check(&self, scenario: &Scenario) -> Result<(), Wrong> {
        let Some(target) = scenario.targets.iter().find(|t| t.name == self.on) else { return Ok(()) };
        let known: Vec<&str> = [SERVER].into_iter().chain(target.processes.iter().map(|p| p.name.as_str())).collect();
        if !known.contains(&self.process.as_str()) {
            let what = format!("`process = {:?}`: the target {} has {}", self.process, self.on, known.join(", "));
            return Err(Wrong::at("process", what));
        }
        match &self.does {
            Does::Runs(command) if command.is_empty() => Err(Wrong::at("does", "`runs` needs a program")),
            Does::Crashes(Crashes { up, down }) => {
                at_most("does", *up, MOST_TIME).and_then(|()| at_most("does", *down, MOST_TIME))?;
                let none = up.0.is_zero() || down.0.is_zero();
                if none { Err(Wrong::at("does", "`up` and `down` are longer than nothing")) } else { Ok(()) }
            }
            Does::Gone | Does::Stopped | Does::Runs(_) => Ok(()),
        }
    }

    fn apply(&self, conditions: &mut Conditions) {
        let programs: &mut BTreeMap<_, _> = &mut conditions.processes;
        programs.insert((self.on.clone(), self.process.clone()), self.does.clone());
    }

    fn anywhere(&self, _: &Scenario) -> bool {
        false
    }

    fn fixed(&self) -> Option<&'static str> {
        None
    }

    fn truth(&self) -> Option<Injected> {
        let what = match &self.does {
            Does::Gone => "is gone".to_owned(),
            Does::Stopped => "is stopped".into(),
            Does::Crashes(Crashes { up, down }) => {
                format!("dies after {} ms and is gone for {} ms, again and again", up.as_millis(), down.as_millis())
            }
            Does::Runs(command) => format!("runs as {}", command.join(" ")),
        };
        let injected = injected("edge_app", format!("the program {} of {} {what}", self.process, self.on));
        Some(Injected { target: Some(self.on.clone()), ..injected })
    }

    fn keeps(&self) -> Vec<Keeps<'_>> {
        vec![Keeps::Server(&self.on)]
    }

    fn vary(&self, _: &Variation) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}
