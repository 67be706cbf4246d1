//! TCP's answers to the walk: both ends as tapes.
//!
//! In: [`View`](crate::tcp::flow::View)s of both ends, or of one. Out: two [`tape::Tape`]s, each an
//! [`Endpoint`](super::transport::Endpoint): [`pairing`] says which departure became which arrival, [`far`] what one end tells of the
//! other, [`limits`] what let a departure go.

pub(super) mod far;
pub(super) mod limits;
pub(super) mod pairing;
pub(super) mod tape;
