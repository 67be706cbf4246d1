//! What passes over the server: announcements and questions as JSON, replies as JSON in parts ([`crate::parts`]).

use agent::{Answer, Ask, Hello, Pcapng};
use analysis::key::Key;
use serde::{Deserialize, Serialize};

/// An agent says who it is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Announcement {
    /// Its name.
    pub(crate) from: String,
    /// Its process: drawn at its start.
    pub(crate) instance: String,
    /// What it is and can do.
    pub(crate) hello: Hello,
    /// Groups that it belongs to.
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    /// The controller that has it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) busy: Option<String>,
    /// Bundles that wait for a controller.
    #[serde(default)]
    pub(crate) kept: usize,
    /// It launches no clients: it is there for its recorder alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) recorder_only: bool,
}

/// A controller asks one agent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    /// The session.
    pub(crate) session: String,
    /// Who asks, for people.
    pub(crate) controller: String,
    /// The agent's process; absent: whichever hears it, which is how a session begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instance: Option<String>,
    /// Questions of a session are numbered from 1; one that is repeated has its old number. Signs of life have 0.
    pub(crate) number: u64,
    /// All bundles up to this number lie on the controller's disk.
    #[serde(default)]
    pub(crate) stored: u64,
    /// The parts of the reply that are wanted; none: from the beginning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<u32>,
    /// What is asked.
    pub(crate) asked: Asked,
}

/// What a controller asks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Asked {
    /// Begin a session.
    Open {
        /// Capture packets, where the agent may.
        capture: bool,
    },
    /// A question of [`agent`].
    Do(Ask),
    /// A bundle of an earlier session.
    Kept(KeptId),
    /// It lies on the controller's disk.
    Taken(KeptId),
    /// What the recorder beside the agent has, of the last so many milliseconds, of the connections with these keys. It needs no session:
    /// several controllers may ask at once.
    Recorded {
        /// Milliseconds.
        last_ms: u64,
        /// None: it only has to be there.
        keys: Vec<Key>,
    },
    /// The controller is alive. This has no reply.
    Alive,
    /// End the session: take down what was set.
    Close,
}

/// Which reply a bundle was.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) struct KeptId {
    /// Of this session.
    pub(crate) session: String,
    /// To this question.
    pub(crate) number: u64,
}

/// Questions have higher numbers.
pub(crate) const FAREWELL: u64 = 0;

/// An agent replies.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// The session has begun.
    Opened {
        /// Who it is.
        hello: Box<Hello>,
        /// Bundles of earlier sessions that nobody has stored.
        kept: Vec<KeptId>,
    },
    /// Another controller has it.
    Busy {
        /// Which.
        with: String,
        /// It was last heard so long ago.
        heard_ms: u64,
    },
    /// It is at it. Another reply follows.
    Working,
    /// It knows no such session: it was started anew, or has given the controller up.
    NoSession,
    /// What was asked for.
    Answer(Answer),
    /// To [`Asked::Recorded`].
    Recorded(Pcapng),
    /// Its recorder does not answer, or there is none beside it.
    NotRecorded {
        /// Why, and what to do.
        why: String,
    },
    /// A bundle of an earlier session is gone from it.
    Taken,
    /// All is taken down.
    Closed,
    /// It was told to stop, and ends: nothing more comes from it. This answers no question and has the number [`FAREWELL`].
    Farewell,
}
