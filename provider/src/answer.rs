//! What a provider says, line by line, and what may be believed of it.

use serde::{Deserialize, Serialize};

use crate::Settings;

/// One line of a provider.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Line {
    /// How far it is, for people.
    Progress {
        /// What is being done.
        what: String,
        /// How much of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        done: Option<f64>,
        /// Of how much, in the same unit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        of: Option<f64>,
    },
    /// What the order costs at most. Said before anything is begun that costs.
    Price {
        /// All of it until everything has ended, in US dollars; also if nobody takes it down before.
        usd: f64,
        /// While it is there.
        usd_per_hour: f64,
        /// What is counted and what not.
        what: String,
    },
    /// A vantage that is there.
    Vantage(Vantage),
    /// Something was marked: it has outlived its time, and is taken down after the grace.
    Marked {
        /// What.
        id: String,
        /// Why.
        why: String,
    },
    /// Something was taken down.
    Gone {
        /// What.
        id: String,
    },
    /// The last line: all went well.
    Done,
    /// The last line: it did not.
    Failed(Wrong),
}

/// A vantage that is there.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Vantage {
    /// Its name in the run.
    pub name: String,
    /// Whose it is.
    pub run: String,
    /// What its cloud calls it.
    pub id: String,
    /// In which state its cloud says that it is.
    pub state: String,
    /// How it is reached; absent where that cannot be known any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<Reach>,
    /// When it ends by itself: seconds since the epoch; absent where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// What it costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd_per_hour: Option<f64>,
    /// What bears on its measurements: kind of machine, place, credits. It goes into the run folder as it is.
    #[serde(default, skip_serializing_if = "Settings::is_empty")]
    pub facts: Settings,
}

/// How a vantage is reached.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Reach {
    /// As an agent of the fleet.
    Fleet {
        /// The agent.
        agent: String,
    },
    /// By ssh.
    Ssh {
        /// What ssh is to be given.
        host: String,
    },
}

/// What went wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{what}{}{}", todo.as_ref().map(|todo| format!("; {todo}")).unwrap_or_default(), left_behind(left))]
pub struct Wrong {
    /// Whose fault it is.
    pub fault: Fault,
    /// What failed, and where.
    pub what: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub todo: Option<String>,
    /// What may still be there: it ends by itself, or is reaped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

fn left_behind(left: &[String]) -> String {
    if left.is_empty() { String::new() } else { format!("; may still be there until it is reaped: {}", left.join(", ")) }
}

/// Whose fault something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// What was asked or set cannot be.
    Request,
    /// The caller may not, or is not known.
    Rights,
    /// The cloud has none now: another place or time may do.
    Capacity,
    /// The cloud did not answer as it should.
    Cloud,
    /// It was told to stop.
    Interrupted,
    /// The provider itself.
    Provider,
}

/// What became of one line.
#[derive(Clone, PartialEq, Debug)]
pub enum Heard {
    /// A line that we know.
    Line(Line),
    /// The last.
    Final(Final),
    /// A kind of line that only later versions know: for people at most.
    Unknown(String),
}

/// How it ended.
#[derive(Clone, PartialEq, Debug)]
pub enum Final {
    /// Well.
    Done,
    /// Not.
    Failed(Wrong),
}

/// Why a line is none of a provider's.
#[derive(Debug, thiserror::Error)]
pub enum NoLine {
    /// It is no JSON.
    #[error("no JSON: {0}")]
    NoJson(#[source] serde_json::Error),
    /// It says nothing.
    #[error("no \"say\" in it")]
    SaysNothing,
    /// It lacks what such a line must have.
    #[error("say = {say:?}: {why}")]
    Lacks {
        /// What it says.
        say: String,
        /// What is wrong.
        #[source]
        why: serde_json::Error,
    },
}

/// Reads one line of a provider.
///
/// # Errors
/// If it is no JSON object with a `say`, or lacks what such a line must have.
pub fn hear(line: &str) -> Result<Heard, NoLine> {
    let value: serde_json::Value = serde_json::from_str(line).map_err(NoLine::NoJson)?;
    let Some(say) = value.get("say").and_then(serde_json::Value::as_str) else { return Err(NoLine::SaysNothing) };
    if !["progress", "price", "vantage", "marked", "gone", "done", "failed"].contains(&say) {
        return Ok(Heard::Unknown(say.to_owned()));
    }
    let line = serde_json::from_value(value.clone()).map_err(|why| NoLine::Lacks { say: say.to_owned(), why })?;
    Ok(match line {
        Line::Done => Heard::Final(Final::Done),
        Line::Failed(wrong) => Heard::Final(Final::Failed(wrong)),
        line => Heard::Line(line),
    })
}
