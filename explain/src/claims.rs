//! What a finding claims, held against its own packets ([`analysis::claims`]): in builds for development every finding is, and what is
//! contradicted is said on stderr.

use analysis::claims::{Broken, check};
use analysis::sentence::explain;

use crate::judging::Finding;

/// What the packets of a finding contradict of its opinion and of the sentence that says it; nothing, if it was not judged.
pub fn broken(finding: &Finding) -> Vec<Broken> {
    let Ok(opinion) = &finding.judged else { return Vec::new() };
    let own = &finding.placed.handshake;
    let read = finding.placed.otherwise.as_ref().filter(|_| opinion.of_otherwise).unwrap_or(own);
    let sentence = explain(read, &opinion.reading, &opinion.judgement, &|number| number.to_string());
    check(read, &opinion.reading, &opinion.judgement, &sentence)
}

/// Says what is contradicted.
#[cfg(debug_assertions)]
pub(crate) fn warn(finding: &Finding) {
    for broken in broken(finding) {
        eprintln!("handshake {}: a claim does not hold: {broken}", finding.id);
    }
}
