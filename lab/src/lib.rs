//! Hosts in network namespaces on this machine, joined by a programmable wire.
