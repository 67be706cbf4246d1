//! Names of agents, and the NATS subjects on which they are spoken to.

use std::fmt::{self, Display};
use std::str::FromStr;

/// On it all agents are asked to say who they are.
pub(crate) const CALL: &str = "whostalled.call";
/// On it controllers of a watch say which checks they hand out.
pub(crate) const CHECKS: &str = "whostalled.checks";
const AGENTS: &str = "whostalled.agent.";
/// A label of a host name is no longer (RFC 1035), and a host is what an agent is called after.
const LONGEST: usize = 63;

/// The name of an agent, of a group of them, or of a session: letters, digits and `-`, so that it is one token of a subject and no
/// wildcard.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Name(String);

/// What is no [`Name`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no name of an agent: use letters, digits and `-`, {LONGEST} at most")]
pub struct NoName(String);

impl FromStr for Name {
    type Err = NoName;

    fn from_str(text: &str) -> Result<Self, NoName> {
        let good = (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if good { Ok(Self(text.to_owned())) } else { Err(NoName(text.to_owned())) }
    }
}

impl Name {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where an agent is asked.
pub(crate) fn ask(agent: &Name) -> String {
    format!("{AGENTS}{agent}.ask")
}

/// Where an agent says who it is.
pub(crate) fn hello(agent: &Name) -> String {
    format!("{AGENTS}{agent}.hello")
}

/// Where all agents say who they are.
pub(crate) fn hellos() -> String {
    format!("{AGENTS}*.hello")
}

/// Where an agent answers in a session.
pub(crate) fn answer(agent: &Name, session: &Name) -> String {
    format!("{AGENTS}{agent}.answer.{session}")
}

/// Where anybody would answer in a session: whoever else does is to be noticed.
pub(crate) fn answers(session: &Name) -> String {
    format!("{AGENTS}*.answer.{session}")
}

/// Where an agent asks for the checks of a watch.
pub(crate) fn fetch(agent: &Name) -> String {
    format!("{AGENTS}{agent}.fetch")
}

/// Where all agents ask for them.
pub(crate) fn fetches() -> String {
    format!("{AGENTS}*.fetch")
}

/// Where an agent is given them, in parts.
pub(crate) fn checks(agent: &str) -> String {
    format!("{AGENTS}{agent}.checks")
}

/// Where an agent hands over its rounds.
pub(crate) fn rounds(agent: &Name) -> String {
    format!("{AGENTS}{agent}.rounds")
}

/// Where all agents hand over theirs.
pub(crate) fn all_rounds() -> String {
    format!("{AGENTS}*.rounds")
}

/// Where an agent hears which of its rounds a controller's store has.
pub(crate) fn stored(agent: &str) -> String {
    format!("{AGENTS}{agent}.stored")
}

/// Whose subject it is. The server lets nobody else publish on it.
pub(crate) fn whose(subject: &str) -> Option<&str> {
    subject.strip_prefix(AGENTS)?.split('.').next()
}

/// A name that nobody else has: 64 random bits.
pub(crate) fn unique() -> Name {
    let mut bytes = [0; 8];
    // It fails where the kernel has no random numbers; then this process's own are as good as any.
    if ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).is_err() {
        bytes = (u64::from(std::process::id()) << 32).to_be_bytes();
    }
    Name(hex(&bytes))
}

/// In hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_token_and_no_wildcard() {
        for good in ["fra", "fra-1", "aB9", &"x".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "*", ">", "fra.1", "a_b", "a b", "é", &"x".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_subject_says_whose_it_is() {
        let (name, session) = ("fra".parse().expect("a name"), unique());
        for subject in [ask(&name), hello(&name), answer(&name, &session)] {
            assert_eq!(whose(&subject), Some("fra"), "{subject}");
        }
        assert_eq!(whose("whostalled.call"), None);
        assert_ne!(unique(), unique());
    }
}
