//! Packets in from live interfaces through a fixed-size ring; evidence pcapng out.
