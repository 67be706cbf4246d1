//! A reset in answer to a SYN.

use crate::clock::Domain;
use crate::tcp::flow::{Seen, Side, View};

impl<D: Domain> View<D> {
    /// The reset that answers a SYN, and the last SYN before it: it acknowledges it with all that it carried (RFC 9293, section 3.10.7.1).
    pub(crate) fn refusing_reset(&self) -> Option<(&Seen<D>, &Seen<D>)> {
        let reset = self.sent_by(Side::Server).find(|p| p.flags.rst() && !p.flags.syn() && p.ack().is_some())?;
        let syn = self.syns(Side::Client).filter(|syn| syn.at <= reset.at).last()?;
        let whole = [0, syn.end()];
        (self.syns(Side::Server).next().is_none() && whole.map(Some).contains(&reset.ack())).then_some((syn, reset))
    }
}
