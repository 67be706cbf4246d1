//! Packets in: capture files, live interfaces. Evidence out: pcapng.
//!
//! ```text
//! file, set, source ─ frames of capture files, in order of time
//! live ─ ring        everything on an interface of the lab, for as long as a run lasts
//! tap, waiting ─ chains  handshake packets of an edge, for ever: kernel (bpf/) or limits (the same rule in user space) lets them pass
//! sockets            what the server's threads did with a connection, where the kernel's tracepoints may be used
//! evidence           what stock Wireshark opens
//! clock              this host's monotonic and wall clock, and the way between them
//! ```
//! This crate knows nothing of verdicts. Unsafe code: `socket` (borrows libpcap's descriptor).

mod buffer;
pub mod chains;
pub mod clock;
pub mod ends;
pub mod evidence;
pub mod file;
mod interface;
#[cfg(kernel_filter)]
pub mod kernel;
pub mod limits;
pub mod live;
pub mod ring;
pub mod seen;
pub mod set;
mod socket;
pub mod sockets;
pub mod source;
pub mod tap;
mod waiting;

pub use ring::Captured;
pub use socket::libpcap_version;

/// Whether the programs for the kernel are in this build: clang compiles them.
pub const HAS_KERNEL_FILTER: bool = cfg!(kernel_filter);
