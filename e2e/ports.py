"""Ports for servers that are opened later, or never.

A port that the kernel picks (bind to 0, close) may be handed out again while it is not listened on: to the next caller, or as
the source of anybody's connection. These lie below the range it picks from, and none is given twice in a run.
"""
import random, socket

with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
    FIRST_EPHEMERAL = int(file.read().split()[0])
untried = list(range(1024, FIRST_EPHEMERAL))
random.shuffle(untried)


def free_port(kind=socket.SOCK_STREAM):
    """A port of 127.0.0.1 that nobody has now; `kind` is SOCK_STREAM or SOCK_DGRAM."""
    while untried:
        port = untried.pop()
        with socket.socket(type=kind) as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no port from 1024 to {FIRST_EPHEMERAL} of 127.0.0.1 is free")
