//! Chrome's NetLog: events of the browser's network stack, each with its source, by the browser's clock in milliseconds.
//!
//! In: the file, as a stream; that of a browser that crashed breaks off. Out: each socket with its lookup, TCP and TLS, and the request that
//! first used it; further requests on it as such. ClientHello.random is in it, and the client's end: a full key.
//!
//! What events are called is a table in the file (`constants`); numbers differ from version to version.

mod socket;
mod state;

use std::collections::HashMap;
use std::io::{BufReader, Read};
use std::ops::ControlFlow;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess};

use crate::Found;
use crate::har::skip_mark;
use crate::json::{Each, Fields, Number, Object, TakeField, Text, Truth, was_enough};
use state::{State, What};

/// A table of names and numbers.
type Table = Object<HashMap<String, Number>>;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Constants {
    #[serde(rename = "logEventTypes")]
    types: Table,
    #[serde(rename = "logEventPhase")]
    phases: Table,
    /// Milliseconds of the epoch where the events' times have their zero.
    #[serde(rename = "timeTickOffset")]
    offset: Number,
}

/// An event.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Event {
    params: Object<Params>,
    phase: Number,
    source: Object<SourceOf>,
    time: Number,
    #[serde(rename = "type")]
    kind: Number,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SourceOf {
    id: Number,
}

/// What events say, those that are asked.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Params {
    address: Text,
    bytes: Text,
    group_id: Text,
    hex_encoded_bytes: Text,
    host: Text,
    is_resumed: Truth,
    local_address: Text,
    net_error: Number,
    remote_address: Text,
    source_address: Text,
    source_dependency: Object<SourceOf>,
    #[serde(rename = "type")]
    message: Number,
    url: Text,
    version: Text,
}

pub(crate) fn read(from: impl Read, found: &mut Found<'_, '_>) {
    let mut from = BufReader::with_capacity(256 << 10, from);
    skip_mark(&mut from);
    let mut json = serde_json::Deserializer::from_reader(from);
    let mut top = Top { kinds: None, state: State::default(), events: 0 };
    let read = Fields(&mut top).deserialize(&mut json);
    let (mut state, events) = (top.state, top.events);
    match read {
        Err(error) if was_enough(&error) => {}
        Err(error) if error.is_eof() => found.cut(format!("the file ends behind event {events}")),
        Err(error) => found.cut(format!("behind event {events}: {error}")),
        Ok(()) => {}
    }
    state.cut = found.contents.cut.is_some();
    state.finish(found);
}

/// What numbers of types and phases stand for.
struct Kinds {
    types: HashMap<u32, What>,
    begin: u32,
    end: u32,
}

struct Top {
    kinds: Option<Kinds>,
    state: State,
    events: u64,
}

impl TakeField for Top {
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "constants" => {
                let constants = map.next_value::<Object<Constants>>()?.0.unwrap_or_default();
                self.state.offset = constants.offset.0;
                self.kinds = Some(kinds(&constants));
                Ok(())
            }
            "events" => {
                let Some(kinds) = &self.kinds else {
                    return Err(A::Error::custom("no constants before the events: nothing tells what their numbers mean"));
                };
                let (state, events) = (&mut self.state, &mut self.events);
                map.next_value_seed(Each(&mut |event: Object<Event>| {
                    *events += 1;
                    if let Some(event) = event.0 {
                        take(kinds, state, event);
                    }
                    ControlFlow::Continue(())
                }))
            }
            _ => map.next_value::<IgnoredAny>().map(|_| ()),
        }
    }
}

fn kinds(constants: &Constants) -> Kinds {
    let number = |table: &Table, name: &str| table.0.as_ref().and_then(|table| table.get(name)?.whole());
    let types = What::ALL.iter().filter_map(|what| Some((number(&constants.types, what.into())?, *what))).collect();
    let phase = |name, usual| number(&constants.phases, name).unwrap_or(usual);
    Kinds { types, begin: phase("PHASE_BEGIN", 1), end: phase("PHASE_END", 2) }
}

/// Milliseconds since a machine began to count: ten years, and none has run for longer.
const MOST_TICKS: f64 = 3.2e11;

fn take(kinds: &Kinds, state: &mut State, event: Event) {
    let Some(at) = event.time.0.filter(|at| at.abs() < MOST_TICKS).map(|at| at as i64) else { return };
    state.last = state.last.max(Some(at));
    let what = event.kind.whole().and_then(|kind: u32| kinds.types.get(&kind));
    let (Some(what), Some(id)) = (what, event.source.0.and_then(|source| source.id.whole())) else { return };
    let phase: u32 = event.phase.whole().unwrap_or_default();
    let params = event.params.0.unwrap_or_default();
    state.take(*what, phase == kinds.begin, phase == kinds.end, id, at, &params);
}
