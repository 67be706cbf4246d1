//! From a ledger to a verdict and its sentence: what is usual, what counts, and how many handshakes make a run.

pub mod baseline;
pub mod decide;
pub mod ledger;
pub mod policy;
pub mod run;
pub mod sentence;
pub mod siblings;
pub mod stats;
pub mod verdict;
pub mod vocabulary;
