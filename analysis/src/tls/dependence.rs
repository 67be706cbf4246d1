//! What of the peer's a message waits for (RFC 8446, section 2; RFC 5246, section 7.3).

use super::{Dialogue, Extent};
use crate::tcp::flow::Side;

impl Dialogue {
    /// How far the peer's stream must have come before this byte of a side's can leave; absent where any of it may have been waited for.
    /// False Start (RFC 7918), early data (RFC 8446, section 2.3) and what answers it come behind that, and hold nothing up.
    pub(crate) fn answers_upto(&self, side: Side, byte: i64) -> Option<i64> {
        let within = |extent: Option<Extent>| extent.is_some_and(|e| e.start <= byte && byte < e.end);
        let asked = match side {
            Side::Server if within(self.server_flight) => self.client_hello,
            Side::Server if self.server_finishes_last() && within(self.server_finished) => self.client_finished,
            Side::Client if within(self.client_finished) => self.server_flight,
            _ => None,
        };
        asked.map(|asked| asked.end)
    }
}
