//! What an owner was doing: the kinds, and a row for each.

use enumset::{EnumSet, enum_set};
use serde::{Deserialize, Serialize};

use super::Owner;

/// What the owner was doing.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// Ready to run, waiting for a CPU.
    CpuStarved,
    /// Stopped by a signal.
    Stopped,
    /// The hypervisor gave the CPU to somebody else.
    CpuStolen,
    /// Asleep by its own choice.
    Asleep,
    /// It had nothing to say yet: what it speaks is not TLS, and nobody knows what it waited for.
    Idle,
    /// Busy on a CPU.
    Computing,
    /// Waiting for somebody else's answer: another connection of the same host began and ended within the time.
    Dependency,
    /// It let data lie in its receive buffer until that was full, and its kernel closed the window.
    ZeroWindow,
    /// Every round trip is longer than the path's baseline.
    Detour,
    /// Some round trips are longer than others.
    Delay,
    /// Client to edge.
    Out,
    /// Edge to client.
    Back,
    /// Full-size packets vanish, small ones pass.
    MtuBlackhole,
    /// The kernel did not hand the connection to the program, or not yet.
    AcceptQueue,
    /// It still held an earlier connection of the same addresses and ports, and answered SYN with that (RFC 5961, section 4).
    OldConnection,
    /// It went on with packets of a size that it was told is too big (RFC 1191).
    IgnoredTooBig,
    /// Looking up a name.
    Lookup,
    /// A round trip for leave to send more than the receiver had room for.
    ReceiveWindow,
    /// A HelloRetryRequest's extra round trip.
    HelloRetry,
    /// The server's flight waited for acknowledgements to open the window.
    InitialWindow,
    /// TCP held a small segment until the one before it was acknowledged (Nagle's algorithm).
    Nagle,
    /// Waiting for an acknowledgement that nothing else waits for. No reading gives it now; files of earlier versions have it.
    FinalAck,
}

/// What a sentence says of an owner's kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clause {
    /// What it was doing, as in "For 312 ms of TCP connect …".
    Doing(&'static str),
    /// A sentence of its own, in which `{span}` stands for the time.
    Whole(&'static str),
    /// Nothing in particular: the sentence is the owner's, or depends on more than the kind.
    Nothing,
}

use Clause::{Doing, Whole};

/// What is said of a kind: its words, who may have it, and by side what a sentence says of it.
struct Row(&'static str, EnumSet<Owner>, &'static [(Owner, Clause)]);

const HOSTS: EnumSet<Owner> = enum_set!(Owner::ClientHost | Owner::EdgeHost);
const APPS: EnumSet<Owner> = enum_set!(Owner::ClientApp | Owner::EdgeApp);
const PATH: EnumSet<Owner> = enum_set!(Owner::Path);
const PROTOCOL: EnumSet<Owner> = enum_set!(Owner::Protocol);

impl Kind {
    /// All there are.
    pub const ALL: &[Kind] = <Kind as strum::VariantArray>::VARIANTS;

    const fn row(self) -> Row {
        match self {
            Kind::CpuStarved => Row(
                "waiting for a CPU",
                HOSTS,
                &[
                    (Owner::Client, Doing("its thread waited for a CPU")),
                    (Owner::Edge, Doing("the edge's thread waited for a CPU")),
                ],
            ),
            Kind::Stopped => Row(
                "stopped",
                HOSTS,
                &[(Owner::Client, Doing("its process was stopped")), (Owner::Edge, Doing("the edge's process was stopped"))],
            ),
            Kind::CpuStolen => Row("CPU taken by the hypervisor", HOSTS, &[(Owner::Client, Doing("the hypervisor had its CPU"))]),
            Kind::Asleep => Row(
                "asleep",
                APPS,
                &[
                    (Owner::Client, Doing("its own program slept, the data waiting")),
                    (Owner::Edge, Doing("the edge's program slept")),
                ],
            ),
            Kind::Idle => Row("had nothing to say yet", enum_set!(Owner::Client), &[]),
            Kind::Computing => Row(
                "computing",
                APPS,
                &[(Owner::Client, Doing("its own program computed")), (Owner::Edge, Doing("the edge's program computed"))],
            ),
            Kind::Dependency => Row(
                "waiting for somebody else's answer",
                APPS,
                &[
                    (Owner::Client, Doing("its program waited for somebody else's answer, on another connection")),
                    (Owner::Edge, Doing("the edge's program waited for somebody else's answer, on another connection")),
                ],
            ),
            Kind::ZeroWindow => Row(
                "receive window closed",
                enum_set!(Owner::ClientApp | Owner::Edge),
                &[(
                    Owner::Client,
                    Whole(
                        "For {span} the client's program read nothing: its receive window was closed and the edge could not send",
                    ),
                )],
            ),
            Kind::Detour => Row("round trip, longer throughout", PATH, &[]),
            Kind::Delay => Row("round trip", PATH, &[]),
            Kind::Out => Row("from the client", enum_set!(Owner::Loss), &[]),
            Kind::Back => Row("from the edge", enum_set!(Owner::Loss), &[]),
            Kind::MtuBlackhole => Row(
                "full-size packets vanish",
                PATH,
                &[(Owner::Path, Whole("Full-size packets vanished on the path while smaller ones arrived ({span} lost to it)"))],
            ),
            Kind::AcceptQueue => Row(
                "accept queue",
                enum_set!(Owner::EdgeHost),
                &[(Owner::Edge, Doing("the connection waited in the edge's kernel for its program to accept it"))],
            ),
            Kind::OldConnection => Row("held an old connection", enum_set!(Owner::EdgeHost), &[]),
            Kind::IgnoredTooBig => Row(
                "deaf to ICMP",
                HOSTS,
                &[
                    (
                        Owner::Client,
                        Whole(
                            "For {span} the client's host sent packets as big as before, although ICMP had told it that they are \
                             too big for the path",
                        ),
                    ),
                    (
                        Owner::Edge,
                        Whole(
                            "For {span} the edge's host sent packets as big as before, although ICMP had told it that they are too \
                             big for the path",
                        ),
                    ),
                ],
            ),
            Kind::Lookup => Row("lookup", enum_set!(Owner::Resolver), &[(Owner::Resolver, Whole("The name lookup took {span}"))]),
            Kind::ReceiveWindow => Row("small receive window", enum_set!(Owner::Path | Owner::Protocol), &[]),
            Kind::HelloRetry => Row(
                "HelloRetryRequest",
                PROTOCOL,
                &[(Owner::Protocol, Whole("Nobody stalled: a HelloRetryRequest cost one more round trip, {span}"))],
            ),
            Kind::InitialWindow => Row(
                "initial window",
                PROTOCOL,
                &[(
                    Owner::Protocol,
                    Whole(
                        "Nobody stalled: the server's flight was larger than its initial congestion window and waited {span} for \
                         acknowledgements",
                    ),
                )],
            ),
            Kind::Nagle => Row(
                "small segment held (Nagle)",
                PROTOCOL,
                &[(
                    Owner::Protocol,
                    Whole(
                        "Nobody stalled: TCP held a small segment of the handshake for {span} until the one before it was \
                         acknowledged (Nagle's algorithm; the TLS stack wrote its flight in pieces without TCP_NODELAY)",
                    ),
                )],
            ),
            Kind::FinalAck => Row("last acknowledgement", PROTOCOL, &[]),
        }
    }

    /// Its name in labels and in files.
    pub fn label(self) -> &'static str {
        self.into()
    }

    /// Words for people.
    pub const fn words(self) -> &'static str {
        self.row().0
    }

    /// Who may have it.
    pub const fn owners(self) -> EnumSet<Owner> {
        self.row().1
    }

    /// What a sentence says of it where `owner` has it.
    pub fn clause(self, owner: Owner) -> Clause {
        let side = owner.side();
        self.row().2.iter().find(|(of, _)| *of == side).map_or(Clause::Nothing, |(_, clause)| *clause)
    }
}
