//! What a finding claims, held against its own packets ([`analysis::claims`]): in builds for development every finding is, and what is
//! contradicted is said on stderr.

use analysis::claims::{Broken, check};
use analysis::conversation::handshake::Handshake;
use analysis::judging::sentence::explain;

use crate::judging::{Finding, Opinion};

/// What the packets of a finding contradict of its opinion and of the sentence that says it; nothing, if it was not judged.
pub fn broken(finding: &Finding) -> Vec<Broken> {
    let (Ok(opinion), Some(sentence)) = (&finding.judged, sentence(finding)) else { return Vec::new() };
    check(read(finding, opinion), &opinion.reading, &opinion.judgement, &sentence)
}

/// The sentence that says it, with packets called by their numbers in the views.
pub fn sentence(finding: &Finding) -> Option<String> {
    let opinion = finding.judged.as_ref().ok()?;
    Some(explain(read(finding, opinion), &opinion.reading, &opinion.judgement, &|number| number.into()))
}

/// The handshake that the opinion is on.
fn read<'a>(finding: &'a Finding, opinion: &Opinion) -> &'a Handshake {
    finding.placed.otherwise.as_ref().filter(|_| opinion.of_otherwise).unwrap_or(&finding.placed.handshake)
}

/// Says what is contradicted.
#[cfg(debug_assertions)]
pub(crate) fn warn(finding: &Finding) {
    for broken in broken(finding) {
        eprintln!("handshake {}: a claim does not hold: {broken}", finding.id);
    }
}
