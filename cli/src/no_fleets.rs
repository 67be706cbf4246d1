//! In place of `fleets`, where the binary is built without the feature `fleet`: says so.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use analysis::key::Key;
use repro::Scenario;
use repro::places::Place;
use vantage::{Leave, Vantage};
use watch::checks::CheckFile;

use crate::args::{Agent, Nats, WatchedFleet};

type Failure = Box<dyn std::error::Error>;

const NONE: &str = "this binary is built without the fleet (cargo feature `fleet`)";

pub(crate) fn agent(_: &Agent, _: &str, _: &Arc<AtomicBool>) -> Result<(), Failure> {
    Err(NONE.into())
}

pub(crate) fn watch(
    _: &WatchedFleet,
    _: &Path,
    _: &Arc<AtomicBool>,
    _: &AtomicBool,
    _: impl FnOnce(&CheckFile),
) -> Result<(), Failure> {
    Err(NONE.into())
}

/// No fleet.
pub(crate) struct Reached;

impl Reached {
    pub(crate) fn none() -> Self {
        Self
    }

    pub(crate) fn connect(nats: &Nats, _: &Path) -> Result<Self, Failure> {
        if nats.nats.is_some() { Err(NONE.into()) } else { Ok(Self) }
    }

    pub(crate) fn places(&self, places: Vec<Place>) -> Result<Vec<Place>, Failure> {
        places.into_iter().map(|place| place.each(|_| Err(NONE.into()))).collect::<Result<Vec<_>, _>>().map(|each| each.concat())
    }

    pub(crate) fn agents(&self, scenario: &mut Scenario) -> Result<(), Failure> {
        scenario.each_agent(|_| Err(NONE.into()))
    }

    pub(crate) fn present(&self) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }

    pub(crate) fn await_agent(&self, _: &str, _: Duration, _: &AtomicBool) -> Result<(), Failure> {
        Err(NONE.into())
    }

    pub(crate) fn recorded(
        &self,
        _: &str,
        name: &str,
        _: Duration,
        _: &[Key],
        _: &AtomicBool,
    ) -> Result<Vec<u8>, vantage::Error> {
        Err(vantage::Error::Gone { vantage: name.to_owned(), what: NONE.into() })
    }

    pub(crate) fn open(&self, _: &str, name: &str, _: Leave, _: &AtomicBool) -> Result<Box<dyn Vantage + '_>, vantage::Error> {
        Err(vantage::Error::Gone { vantage: name.to_owned(), what: NONE.into() })
    }
}
