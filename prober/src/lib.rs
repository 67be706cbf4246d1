//! The TLS client with kernel timestamps.
