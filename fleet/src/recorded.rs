//! What controllers ask of the recorder beside an agent. Time is an argument; nothing is sent or asked here.
//!
//! In: questions, answers, moments. Out: what to do. Each question is asked once of the recorder, however often it comes; several
//! controllers may ask, and no session is needed: nothing is set, and what is handed over is read only.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::parts::Whole;

/// Answers that are remembered, so that their parts can be had again.
const MOST: usize = 16;

/// Questions of a while ago, and their answers.
pub(crate) struct Looks {
    looks: VecDeque<Look>,
    patience: Duration,
}

struct Look {
    session: String,
    number: u64,
    heard: Instant,
    /// Absent while the recorder is at it.
    whole: Option<Arc<Whole>>,
}

/// What to do about a question.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Next {
    /// Ask the recorder.
    Ask,
    /// Say that it is at it.
    Wait,
    /// Say the parts that are wanted.
    Say(Arc<Whole>),
    /// Say nothing: the asker comes again, and others are served first.
    Later,
}

impl Looks {
    /// Answers are remembered as long as whoever asked may be silent.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { looks: VecDeque::new(), patience }
    }

    /// What to do about a question of a session.
    pub(crate) fn hear(&mut self, session: &str, number: u64, now: Instant) -> Next {
        self.looks.retain(|look| look.whole.is_none() || now.saturating_duration_since(look.heard) <= self.patience);
        if let Some(look) = self.looks.iter_mut().find(|look| look.session == session && look.number == number) {
            look.heard = now;
            return look.whole.as_ref().map_or(Next::Wait, |whole| Next::Say(Arc::clone(whole)));
        }
        if self.looks.len() >= MOST {
            // One that was answered makes room; where all wait, the recorder has enough to do.
            let Some(oldest) = self.looks.iter().position(|look| look.whole.is_some()) else { return Next::Later };
            self.looks.remove(oldest);
        }
        self.looks.push_back(Look { session: session.to_owned(), number, heard: now, whole: None });
        Next::Ask
    }

    /// The recorder has answered.
    pub(crate) fn answered(&mut self, session: &str, number: u64, whole: &Arc<Whole>) {
        let look = self.looks.iter_mut().find(|look| look.session == session && look.number == number);
        look.into_iter().for_each(|look| look.whole = Some(Arc::clone(whole)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_question_is_asked_once_and_answered_as_often_as_it_comes() {
        let now = Instant::now();
        let mut looks = Looks::new(Duration::from_secs(20));
        let whole = Arc::new(Whole::of(b"packets".to_vec()));
        assert_eq!(looks.hear("a", 1, now), Next::Ask);
        assert_eq!(looks.hear("a", 1, now), Next::Wait);
        assert_eq!(looks.hear("b", 1, now), Next::Ask, "another controller need not wait");
        looks.answered("a", 1, &whole);
        assert_eq!(looks.hear("a", 1, now), Next::Say(Arc::clone(&whole)));
        assert_eq!(looks.hear("b", 1, now), Next::Wait);
        assert_eq!(looks.hear("a", 2, now), Next::Ask);
        let later = now + Duration::from_secs(21);
        assert_eq!(looks.hear("a", 1, later), Next::Ask, "what nobody asks for any more is forgotten");
        assert_eq!(looks.hear("b", 1, later), Next::Wait, "but not what is under way");
    }

    #[test]
    fn memory_is_bounded_whoever_asks() {
        let now = Instant::now();
        let mut looks = Looks::new(Duration::from_secs(20));
        let waiting: Vec<Next> = (0..100).map(|number| looks.hear("a", number, now)).collect();
        assert_eq!(waiting.iter().filter(|next| **next == Next::Ask).count(), MOST);
        assert!(waiting[MOST..].iter().all(|next| *next == Next::Later));
        looks.answered("a", 3, &Arc::new(Whole::of(Vec::new())));
        assert_eq!(looks.hear("b", 1, now), Next::Ask);
        assert_eq!(looks.looks.len(), MOST);
    }
}
