//! What a verb that runs for ever says of itself on standard error: lines of text, or of JSON.

use std::io::stderr;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;

/// How each line is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub enum LogFormat {
    /// Time, level, words, fields
    Text,
    /// One JSON object
    Json,
}

/// What is said.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub enum LogLevel {
    /// What was lost or refused
    Error,
    /// Alerts, and what is in trouble
    Warn,
    /// Deliveries, reloads, the start too
    Info,
    /// Repetitions too
    Debug,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
        }
    }
}

/// Begins to log. Once a process: a second call changes nothing.
pub fn start(format: LogFormat, level: LogLevel) {
    let log = tracing_subscriber::fmt().with_writer(stderr).with_max_level(LevelFilter::from(level)).with_target(false);
    // Whoever set one up before us keeps it.
    let _ = match format {
        LogFormat::Text => tracing::subscriber::set_global_default(log.with_ansi(false).finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(log.json().flatten_event(true).finish()),
    };
}
