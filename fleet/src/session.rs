//! Who has an agent, and what is to be done about a question. Time is an argument; nothing is sent or done here.
//!
//! In: questions, ends of work, moments. Out: what to do. Each question is carried out once, however often it comes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::Ask;

use crate::Name;
use crate::message::{Asked, KeptId, Question, Reply};
use crate::parts::Whole;

/// The sessions of controllers with this agent: one at a time.
pub(crate) struct Sessions {
    instance: Name,
    silence: Duration,
    session: Option<Session>,
}

struct Session {
    id: Name,
    controller: String,
    heard: Instant,
    /// The question that is being carried out.
    working: Option<u64>,
    /// The last reply.
    replied: Option<(u64, Arc<Whole>)>,
    /// It is being taken down.
    closing: bool,
}

/// What to do.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Do {
    /// Nothing.
    Nothing,
    /// Say this.
    Say(Reply),
    /// Say these parts of what was said before.
    Repeat(Arc<Whole>, Vec<u32>),
    /// Say these parts of a bundle, if it is still here.
    Hand(KeptId, Vec<u32>),
    /// It is stored elsewhere.
    Forget(KeptId),
    /// Begin: make the vantage.
    Open { session: Name, number: u64, capture: bool },
    /// Carry out.
    Work { session: Name, number: u64, ask: Ask },
    /// Stop what goes on and take down what was set; then say so, if a question asked for it.
    Close { session: Name, number: u64 },
}

impl Sessions {
    pub(crate) fn new(instance: Name, silence: Duration) -> Self {
        Self { instance, silence, session: None }
    }

    /// The controller that has it.
    pub(crate) fn busy(&self) -> Option<&str> {
        self.session.as_ref().map(|session| session.controller.as_str())
    }

    /// The session that it has.
    pub(crate) fn session(&self) -> Option<&Name> {
        self.session.as_ref().map(|session| &session.id)
    }

    /// What to do about a question. What it says of bundles that are stored is whoever calls' to heed, whatever the session.
    pub(crate) fn hear(&mut self, question: Question, now: Instant) -> Do {
        if question.instance.as_deref().is_some_and(|instance| instance != self.instance.as_str()) {
            return self.of_another(question);
        }
        let Ok(id) = question.session.parse::<Name>() else { return Do::Nothing };
        let number = question.number;
        match &mut self.session {
            Some(session) if session.id == id => {
                session.heard = now;
                if question.asked == Asked::Alive {
                    return Do::Nothing;
                }
                if let Some((last, whole)) = &session.replied {
                    if number < *last {
                        return Do::Nothing;
                    }
                    if number == *last {
                        return Do::Repeat(Arc::clone(whole), question.parts);
                    }
                }
                match question.asked {
                    // It ends what goes on.
                    Asked::Close if !session.closing => {
                        (session.closing, session.working) = (true, Some(number));
                        Do::Close { session: id, number }
                    }
                    _ if session.working.is_some() => Do::Say(Reply::Working),
                    _ if session.closing => Do::Say(Reply::NoSession),
                    Asked::Do(ask) => {
                        session.working = Some(number);
                        Do::Work { session: id, number, ask }
                    }
                    Asked::Kept(kept) => Do::Hand(kept, question.parts),
                    Asked::Taken(kept) => Do::Forget(kept),
                    Asked::Open { .. } | Asked::Close | Asked::Alive | Asked::Recorded { .. } => Do::Nothing,
                }
            }
            Some(session) => match question.asked {
                Asked::Open { .. } => {
                    let heard = now.saturating_duration_since(session.heard);
                    let heard_ms = u64::try_from(heard.as_millis()).unwrap_or(u64::MAX);
                    Do::Say(Reply::Busy { with: session.controller.clone(), heard_ms })
                }
                _ => Self::unknown(question),
            },
            None => match question.asked {
                Asked::Open { capture } => {
                    self.session = Some(Session {
                        id: id.clone(),
                        controller: question.controller,
                        heard: now,
                        working: Some(number),
                        replied: None,
                        closing: false,
                    });
                    Do::Open { session: id, number, capture }
                }
                _ => Self::unknown(question),
            },
        }
    }

    /// A question to a process that is no more, or to a namesake: a bundle that it left here is handed over.
    fn of_another(&self, question: Question) -> Do {
        match question.asked {
            Asked::Open { .. } => Do::Nothing,
            _ => Self::unknown(question),
        }
    }

    /// A session that this process does not have: a bundle that it left is handed over, else it is said.
    fn unknown(question: Question) -> Do {
        match question.asked {
            Asked::Do(Ask::Collect) => Do::Hand(KeptId { session: question.session, number: question.number }, question.parts),
            Asked::Alive => Do::Nothing,
            _ => Do::Say(Reply::NoSession),
        }
    }

    /// Work has ended: its reply, to be said if its session still stands.
    pub(crate) fn done(&mut self, id: &Name, number: u64, whole: &Arc<Whole>) -> bool {
        let session = self.session.as_mut().filter(|session| session.id == *id && session.working == Some(number));
        let Some(session) = session else { return false };
        (session.working, session.replied) = (None, Some((number, Arc::clone(whole))));
        true
    }

    /// A session is taken down.
    pub(crate) fn closed(&mut self, id: &Name) {
        self.session.take_if(|session| session.id == *id);
    }

    /// A session whose controller has fallen silent, once; it is to be closed.
    pub(crate) fn silent(&mut self, now: Instant) -> Option<(Name, String)> {
        let session = self.session.as_mut()?;
        let silent = !session.closing && now.saturating_duration_since(session.heard) > self.silence;
        silent.then(|| {
            (session.closing, session.working) = (true, None);
            (session.id.clone(), session.controller.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(20);

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn question(session: &str, number: u64, asked: Asked) -> Question {
        let (session, controller) = (session.to_owned(), format!("of {session}"));
        Question { session, controller, instance: None, number, stored: 0, parts: Vec::new(), asked }
    }

    fn whole(text: &str) -> Arc<Whole> {
        Arc::new(Whole::of(text.into()))
    }

    /// Sessions with `a` whose first question is answered.
    fn opened(now: Instant) -> Sessions {
        let mut sessions = Sessions::new(name("i1"), SILENCE);
        let open = question("a", 1, Asked::Open { capture: true });
        assert!(matches!(sessions.hear(open.clone(), now), Do::Open { number: 1, capture: true, .. }));
        assert_eq!(sessions.hear(open.clone(), now), Do::Say(Reply::Working));
        assert!(sessions.done(&name("a"), 1, &whole("opened")));
        assert_eq!(sessions.hear(open, now), Do::Repeat(whole("opened"), Vec::new()));
        sessions
    }

    #[test]
    fn a_question_is_carried_out_once_and_answered_as_often_as_it_comes() {
        let now = Instant::now();
        let mut sessions = opened(now);
        let go = question("a", 2, Asked::Do(Ask::Go(agent::Go { at: None })));
        assert!(matches!(sessions.hear(go.clone(), now), Do::Work { number: 2, .. }));
        assert_eq!(sessions.hear(go.clone(), now), Do::Say(Reply::Working));
        assert!(!sessions.done(&name("b"), 2, &whole("gone")) && !sessions.done(&name("a"), 1, &whole("gone")));
        assert!(sessions.done(&name("a"), 2, &whole("gone")));
        let parts = Question { parts: vec![3, 4], ..go };
        assert_eq!(sessions.hear(parts, now), Do::Repeat(whole("gone"), vec![3, 4]));
        assert_eq!(sessions.hear(question("a", 1, Asked::Open { capture: true }), now), Do::Nothing, "it is late");
    }

    #[test]
    fn one_controller_has_it() {
        let now = Instant::now();
        let mut sessions = opened(now);
        let later = now + Duration::from_secs(3);
        let busy = Reply::Busy { with: "of a".into(), heard_ms: 3_000 };
        assert_eq!(sessions.hear(question("b", 1, Asked::Open { capture: true }), later), Do::Say(busy));
        assert_eq!(sessions.hear(question("b", 2, Asked::Do(Ask::Time)), later), Do::Say(Reply::NoSession));
        assert_eq!(sessions.hear(question("b", 0, Asked::Alive), later), Do::Nothing);
        assert_eq!(sessions.busy(), Some("of a"));
        sessions.closed(&name("b"));
        assert_eq!(sessions.busy(), Some("of a"));
        sessions.closed(&name("a"));
        assert!(matches!(sessions.hear(question("b", 1, Asked::Open { capture: false }), later), Do::Open { .. }));
    }

    #[test]
    fn closing_ends_what_goes_on() {
        let now = Instant::now();
        let mut sessions = opened(now);
        assert!(matches!(sessions.hear(question("a", 2, Asked::Do(Ask::Collect)), now), Do::Work { .. }));
        let close = question("a", 3, Asked::Close);
        assert_eq!(sessions.hear(close.clone(), now), Do::Close { session: name("a"), number: 3 });
        assert!(!sessions.done(&name("a"), 2, &whole("a bundle")), "nobody waits for it any more");
        assert_eq!(sessions.hear(close.clone(), now), Do::Say(Reply::Working));
        assert!(sessions.done(&name("a"), 3, &whole("closed")));
        sessions.closed(&name("a"));
        assert_eq!(sessions.hear(close, now), Do::Say(Reply::NoSession));
    }

    #[test]
    fn a_silent_controller_is_given_up_once() {
        let now = Instant::now();
        let mut sessions = opened(now);
        let later = now + SILENCE;
        assert_eq!(sessions.silent(later), None);
        assert_eq!(sessions.hear(question("a", 0, Asked::Alive), later), Do::Nothing);
        let end = later + SILENCE + Duration::from_secs(1);
        assert_eq!(sessions.silent(end), Some((name("a"), "of a".into())));
        assert_eq!(sessions.silent(end), None);
        let back = sessions.hear(question("a", 2, Asked::Do(Ask::Collect)), end);
        assert_eq!(back, Do::Say(Reply::NoSession), "nothing begins in what is taken down");
        let other = sessions.hear(question("b", 1, Asked::Open { capture: true }), end);
        assert!(matches!(other, Do::Say(Reply::Busy { .. })), "until it is taken down");
    }

    #[test]
    fn what_a_dead_process_left_is_handed_over() {
        let now = Instant::now();
        let mut sessions = Sessions::new(name("i2"), SILENCE);
        let to_the_dead = |asked| Question { instance: Some("i1".into()), ..question("a", 7, asked) };
        let kept = KeptId { session: "a".into(), number: 7 };
        assert_eq!(sessions.hear(to_the_dead(Asked::Do(Ask::Collect)), now), Do::Hand(kept, Vec::new()));
        assert_eq!(sessions.hear(to_the_dead(Asked::Do(Ask::Time)), now), Do::Say(Reply::NoSession));
        assert_eq!(sessions.hear(to_the_dead(Asked::Alive), now), Do::Nothing);
    }
}
