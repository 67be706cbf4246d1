//! One observer: an interface of a capture, from frames to connections whose handshake is over.

use analysis::clock::{Instant, Unplaced};
use analysis::flow::View;
use analysis::fragments::Defragmenter;
use analysis::packet::{LinkType, NoSegment, TcpSegment, Transport, decode};
use analysis::settle::Progress;
use analysis::table::FlowTable;
use capture::file::Frame;
use serde::Serialize;

/// What passed an observer.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Counts {
    /// Frames.
    pub packets: u64,
    /// Of these, with a TCP segment.
    pub tcp: u64,
    /// Frames that contradict themselves or are cut before their headers end.
    pub malformed: u64,
    /// Frames of a link type that cannot be read.
    pub unknown_link: u64,
    /// Connections that are no TLS.
    pub not_tls: u64,
    /// TLS connections whose handshake lies before the capture.
    pub late: u64,
}

/// One interface of one capture.
#[derive(Default)]
pub struct Observer {
    table: FlowTable<Unplaced>,
    fragments: Defragmenter,
    counts: Counts,
    /// Time of the latest frame.
    now: i64,
}

impl Observer {
    /// What passed so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes one frame; gives a connection whose handshake it ended.
    pub fn push(&mut self, frame: &Frame<'_>) -> Option<Box<View<Unplaced>>> {
        self.counts.packets += 1;
        self.now = self.now.max(frame.at);
        let Some(link) = frame.link else {
            self.counts.unknown_link += 1;
            return None;
        };
        match decode(link, frame.bytes) {
            Ok(Transport::Tcp(segment)) => self.segment(frame, &segment),
            Ok(Transport::Fragment(piece)) => {
                let whole = self.fragments.push(piece)?;
                match decode(LinkType::RawIp, &whole) {
                    Ok(Transport::Tcp(segment)) => self.segment(frame, &segment),
                    _ => None,
                }
            }
            Ok(Transport::Udp(_)) | Err(NoSegment::OtherProtocol) => None,
            Err(NoSegment::Incomplete | NoSegment::Malformed(_)) => {
                self.counts.malformed += 1;
                None
            }
        }
    }

    fn segment(&mut self, frame: &Frame<'_>, segment: &TcpSegment<'_>) -> Option<Box<View<Unplaced>>> {
        self.counts.tcp += 1;
        let slot = self.table.push(Instant::from_nanos(frame.at), frame.number, segment)?;
        match self.table.view(slot)?.progress() {
            Progress::Going => None,
            Progress::Over => self.table.take(slot),
            Progress::NotTls => {
                let view = self.table.take(slot)?;
                self.dismiss(&view);
                None
            }
        }
    }

    /// A connection in which nothing happened for long, or that must go because memory is short.
    pub fn overdue(&mut self) -> Option<Box<View<Unplaced>>> {
        self.table.overdue(Instant::from_nanos(self.now))
    }

    /// What is left at the end of the capture.
    pub fn finish(&mut self) -> Vec<View<Unplaced>> {
        std::mem::take(&mut self.table).into_views()
    }

    /// Counts a connection that holds no handshake.
    pub fn dismiss(&mut self, view: &View<Unplaced>) {
        if view.late_tls() {
            self.counts.late += 1;
        } else {
            self.counts.not_tls += 1;
        }
    }
}
