//! Kernel timestamps of an ordinary TCP socket (Linux, `Documentation/networking/timestamping.rst`).

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};

use analysis::clock::{Client, Instant};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, TimestampingFlag, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use serde::{Deserialize, Serialize};

/// What the kernel stamped about bytes we sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sent {
    /// Handed to the device.
    Software,
    /// Acknowledged by the peer's kernel.
    Acknowledged,
}

/// One stamp of sent bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SentStamp {
    /// What happened.
    pub what: Sent,
    /// To the byte at this offset of the stream.
    pub byte: u32,
    /// When, on the kernel's wall clock, in nanoseconds since the Unix epoch.
    pub at: Instant<Client>,
}

/// Asks the kernel to stamp this socket's traffic; false if this kernel does not.
pub fn enable(stream: impl AsFd) -> bool {
    // TX_ACK, OPT_ID_TCP and OPT_CMSG have no names in nix yet; the values are the kernel's ABI.
    const TX_ACK: u32 = 1 << 9;
    const OPT_ID_TCP: u32 = 1 << 16;
    let named = TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_OPT_ID
        | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY;
    let all = TimestampingFlag::from_bits_retain(named.bits() | TX_ACK | OPT_ID_TCP);
    setsockopt(&stream, sockopt::Timestamping, &all).is_ok() || setsockopt(&stream, sockopt::Timestamping, &named).is_ok()
}

/// Reads what is there, with the time its last byte reached the kernel.
///
/// # Errors
/// As read(2).
pub fn read(stream: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Option<Instant<Client>>)> {
    let mut control = nix::cmsg_space!([TimeSpec; 3]);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(stream.as_fd().as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty())?;
    let stamp = message.cmsgs().ok().and_then(|mut all| {
        all.find_map(|c| match c {
            ControlMessageOwned::ScmTimestampsns(stamps) => Some(instant(stamps.system)),
            _ => None,
        })
    });
    Ok((message.bytes, stamp.filter(|at| at.nanos() > 0)))
}

/// Takes the stamps of sent bytes that the kernel has ready.
pub fn sent(stream: impl AsFd) -> Vec<SentStamp> {
    let mut found = Vec::new();
    let mut control = nix::cmsg_space!([TimeSpec; 3], [u8; 128]);
    loop {
        let mut byte = [0; 1];
        let mut slices = [IoSliceMut::new(&mut byte)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let Ok(message) = recvmsg::<()>(stream.as_fd().as_raw_fd(), &mut slices, Some(&mut control), flags) else { return found };
        let (mut at, mut id) = (None, None);
        for c in message.cmsgs().into_iter().flatten() {
            match c {
                ControlMessageOwned::ScmTimestampsns(stamps) => at = Some(instant(stamps.system)),
                ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
                    id = Some((error.ee_info, error.ee_data));
                }
                _ => {}
            }
        }
        if let (Some(at), Some((kind, byte))) = (at, id) {
            let what = match kind {
                0 => Sent::Software,
                _ => Sent::Acknowledged,
            };
            found.push(SentStamp { what, byte, at });
        }
    }
}

fn instant(t: TimeSpec) -> Instant<Client> {
    Instant::from_nanos(t.tv_sec() * 1_000_000_000 + t.tv_nsec())
}
