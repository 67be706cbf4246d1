//! Runs in, bytes out: terminal, JSON, HTML.
