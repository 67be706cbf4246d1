//! Live capture: one thread per interface, libpcap in front, a [`Ring`] behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use analysis::clock::Instant;
use analysis::wire::packet::LinkType;

use crate::ring::{Captured, Ring};

/// Why a capture could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// libpcap refused.
    #[error("capture on {interface}: {source} (it needs CAP_NET_RAW in the namespace of the interface)")]
    Pcap {
        /// The interface.
        interface: String,
        /// What libpcap said.
        source: pcap::Error,
    },
    /// An interface that cannot be captured on as wished.
    #[error("capture on {0}: {1}")]
    Interface(String, String),
    /// The kernel does not filter for us.
    #[cfg(kernel_filter)]
    #[error(transparent)]
    Kernel(#[from] crate::kernel::Error),
}

/// What a capture lost so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Losses {
    /// Frames received.
    pub received: u64,
    /// Frames the kernel dropped for want of buffer.
    pub dropped: u64,
    /// Frames evicted from the ring before anyone took them.
    pub evicted: u64,
}

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    losses: Mutex<Losses>,
    failed: Mutex<Option<String>>,
    stop: AtomicBool,
}

/// A running capture; dropping it ends it.
#[derive(Debug)]
pub struct Live {
    shared: Arc<Shared>,
    link: Option<LinkType>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Starts capturing on `interface`, as seen from the calling thread's network namespace.
    ///
    /// # Errors
    /// If libpcap cannot open the interface.
    pub fn start(interface: &str, filter: &str, ring_bytes: usize) -> Result<Self, Error> {
        let failed = |source| Error::Pcap { interface: interface.to_owned(), source };
        let mut handle = pcap::Capture::from_device(interface)
            .and_then(|c| {
                c.snaplen(65_535).buffer_size(8 << 20).immediate_mode(true).timeout(20).precision(pcap::Precision::Nano).open()
            })
            .map_err(failed)?;
        handle.filter(filter, true).map_err(failed)?;
        let link = u32::try_from(handle.get_datalink().0).ok().and_then(LinkType::from_number);
        let mut handle = handle.setnonblock().map_err(failed)?;
        let shared = Arc::new(Shared {
            ring: Mutex::new(Ring::new(ring_bytes)),
            losses: Mutex::default(),
            failed: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(format!("capture {interface}"))
            .spawn(move || {
                if let Err(error) = pump(&mut handle, &theirs) {
                    *lock(&theirs.failed) = Some(error.to_string());
                }
            })
            .map_err(|e| Error::Pcap { interface: interface.to_owned(), source: pcap::Error::IoError(e.kind()) })?;
        Ok(Self { shared, link, thread: Some(thread) })
    }

    /// How its frames begin; absent for a link type that nobody here can read.
    pub fn link(&self) -> Option<LinkType> {
        self.link
    }

    /// Takes the frames captured since the last call.
    pub fn drain(&self) -> Vec<Captured> {
        lock(&self.shared.ring).drain()
    }

    /// What was lost so far.
    pub fn losses(&self) -> Losses {
        Losses { evicted: lock(&self.shared.ring).evicted(), ..*lock(&self.shared.losses) }
    }

    /// Why the capture ended by itself, if it did.
    pub fn failure(&self) -> Option<String> {
        lock(&self.shared.failed).clone()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn pump(handle: &mut pcap::Capture<pcap::Active>, shared: &Shared) -> Result<(), pcap::Error> {
    while !shared.stop.load(Ordering::Relaxed) {
        match handle.next_packet() {
            Ok(packet) => lock(&shared.ring).push(Captured {
                // Precision::Nano: libpcap puts nanoseconds where microseconds stand.
                at: Instant::from_nanos(packet.header.ts.tv_sec * 1_000_000_000 + packet.header.ts.tv_usec),
                wire_len: packet.header.len,
                outgoing: None,
                bytes: packet.data.to_vec(),
            }),
            Err(pcap::Error::TimeoutExpired | pcap::Error::NoMorePackets) => {
                if let Ok(stat) = handle.stats() {
                    let mut losses = lock(&shared.losses);
                    losses.received = u64::from(stat.received);
                    losses.dropped = u64::from(stat.dropped) + u64::from(stat.if_dropped);
                }
                // libpcap's own timeout does not apply in non-blocking mode; kernel stamps make the wait harmless.
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic elsewhere must not hide the packets already captured.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
