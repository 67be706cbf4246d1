//! What goes wrong around `whostalled watch`: no alert may be lost, no process may die, every refusal must be clear. Loopback only.

mod alerts;
mod files;
mod serving;
mod watcher;
