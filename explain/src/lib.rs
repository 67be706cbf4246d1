//! Capture files in, the verdict of every handshake in them out.
#![forbid(unsafe_code)]

pub mod observer;
