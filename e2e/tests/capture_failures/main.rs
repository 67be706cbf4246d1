//! What goes wrong around `whostalled capture`: no torn file, no lost acknowledged trigger, every loss said. Loopback and own namespaces.
//!
//! `KILLS`: how often the recorder is killed at random (20; `make capture-kills` does 200).

mod beginnings;
mod interfaces;
mod journal;
mod losses;
mod recorder;
mod triggers;
