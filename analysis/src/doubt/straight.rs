//! Views with their clocks set straight: steps taken out, and what cannot be taken out said.
//!
//! In: the view of one end, or those of both. Out: the same without the steps, and [`Note`]s, of which some are doubts.

use std::fmt;

use crate::clock::{Client, Domain, Edge, Span};
use crate::conversation::handshake::Handshake;
use crate::doubt::offset::{
    Apart, Step, apart, crossings, host_step, lacks_time, own_step, runs_backwards, step_between, take_out, waited_in_no_time,
};
use crate::tcp::flow::{Side, View};

/// What was found out about a capture's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Note {
    /// It was set by so much during the handshake, and was set back.
    Set {
        /// The clock.
        clock: &'static str,
        /// Forwards by.
        by: Span,
    },
    /// One of two clocks was set by so much, and it is not known which.
    OneWasSet {
        /// Forwards or back by.
        by: Span,
    },
    /// Packets did not lie in the order of time, and were put in it.
    Sorted,
    /// So many packets have stamps that no clock can have had.
    Garbage(usize),
    /// It ran backwards.
    Backwards {
        /// The clock.
        clock: &'static str,
    },
    /// A SYN waited for longer than any stack waits.
    Leapt,
    /// It does not count time that both ends count.
    Lacking {
        /// The clock.
        clock: &'static str,
    },
}

impl Note {
    /// Whether times of this capture cannot be trusted.
    pub fn is_doubt(self) -> bool {
        match self {
            Self::Set { .. } | Self::OneWasSet { .. } | Self::Sorted => false,
            Self::Garbage(_) | Self::Backwards { .. } | Self::Leapt | Self::Lacking { .. } => true,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set { clock, by } => {
                write!(f, "the capture's clock ({clock}) was set by {by} during this handshake; what follows is set back")
            }
            Self::OneWasSet { by } => write!(f, "one of the captures' clocks was set by {} during this handshake", by.abs()),
            Self::Sorted => f.write_str("packets did not lie in the order of time, and were put in it"),
            Self::Garbage(n) => {
                let packets = if *n == 1 { "packet" } else { "packets" };
                write!(f, "{n} {packets} stamped with a time that no clock can have had")
            }
            Self::Backwards { clock } => write!(f, "the capture's clock ({clock}) ran backwards during this handshake"),
            Self::Leapt => f.write_str(
                "a SYN waited for its answer longer than any stack waits before it repeats one: the clock was set, or the client was paused",
            ),
            Self::Lacking { clock } => {
                write!(f, "both ends' TCP timestamps count time that the capture's clock ({clock}) does not")
            }
        }
    }
}

/// A view with its clock's steps taken out; `own` is the end on whose host it was made.
pub fn straight<D: Domain>(mut view: View<D>, own: Option<Side>) -> (View<D>, Vec<Note>) {
    let (clock, mut notes) = (D::NAME, Vec::new());
    if let Some(step) = own_step(&view).or_else(|| host_step(&view, own?)) {
        take_out(&mut view, step);
        notes.push(Note::Set { clock, by: step.by });
    }
    if view.mended.sorted {
        notes.push(Note::Sorted);
    }
    if view.mended.garbage > 0 {
        notes.push(Note::Garbage(view.mended.garbage));
    }
    if runs_backwards(&view) {
        notes.push(Note::Backwards { clock });
    } else if own == Some(Side::Client) && waited_in_no_time(&view) {
        notes.push(Note::Leapt);
    }
    if lacks_time(&view) {
        notes.push(Note::Lacking { clock });
    }
    (view, notes)
}

/// A handshake of two captures with their clocks set straight.
pub struct Straight {
    /// The handshake.
    pub handshake: Box<Handshake>,
    /// What it is if the other clock was the one that was set; absent if that is known, or none was.
    pub otherwise: Option<Box<Handshake>>,
    /// How far the two clocks are apart at its end.
    pub apart: Option<Apart>,
    /// What was found out.
    pub notes: Vec<Note>,
}

/// Both ends' views with their clocks set straight; `earlier` is how far the clocks were apart in an earlier handshake over the same path.
pub fn straight_pair(client: View<Client>, edge: View<Edge>, earlier: Option<Apart>) -> Straight {
    let (mut client, mut notes) = straight(client, Some(Side::Client));
    let (mut edge, of_edge) = straight(edge, Some(Side::Server));
    let doubtful = |notes: &[Note]| notes.iter().any(|note| note.is_doubt());
    let (client_doubt, edge_doubt) = (doubtful(&notes), doubtful(&of_edge));
    notes.extend(of_edge);
    let crossings = crossings(&client, &edge);
    let Some(step) = step_between(&crossings, earlier) else {
        let mut handshake = Box::new(Handshake::of(Some(client), Some(edge)));
        handshake.clock_in_doubt = client_doubt || edge_doubt;
        return Straight { handshake, otherwise: None, apart: apart(&crossings), notes };
    };
    let at = crossings[step.from];
    notes.push(Note::OneWasSet { by: step.by });
    let (client_as_it_was, edge_as_it_was) = (client.clone(), edge.clone());
    take_out(&mut client, Step { from: at.client, by: Span::ZERO - step.by });
    take_out(&mut edge, Step { from: at.edge, by: step.by });
    let (of_client, of_edge) =
        [(client, edge_as_it_was), (client_as_it_was, edge)].map(|(c, e)| Box::new(Handshake::of(Some(c), Some(e)))).into();
    // A clock that ran backwards is the one that was set.
    let apart = apart(crossings.split_at(step.from).1);
    let (handshake, otherwise) = match (client_doubt, edge_doubt) {
        (true, _) => (of_client, None),
        (_, true) => (of_edge, None),
        _ => (of_client, Some(of_edge)),
    };
    Straight { handshake, otherwise, apart, notes }
}
