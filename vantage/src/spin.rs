//! A calibrated spin: the same piece of work, timed again and again, as a witness of CPU that is taken away without a word. In: nothing. Out:
//! least, median and longest time of one piece.

use std::hint::black_box;
use std::time::{Duration, Instant};

use agent::Spin;
use analysis::clock::Span;

/// About half a millisecond on a CPU of 2020: long beside the clock's grain, short beside a scheduler's turn.
const ROUNDS: u64 = 200_000;
/// So many times, so that the least is one without an interruption.
const TIMES: usize = 16;

/// Times it, in the calling thread.
pub(crate) fn spin() -> Spin {
    let mut taken: Vec<Duration> = (0..TIMES).map(|_| once(ROUNDS)).collect();
    taken.sort_unstable();
    let [least_ns, median_ns, most_ns] = [taken[0], taken[TIMES / 2], taken[TIMES - 1]].map(Span::from);
    Spin { rounds: ROUNDS, n: TIMES as u32, least_ns, median_ns, most_ns }
}

/// Each step needs the one before: no CPU does two at once.
fn once(rounds: u64) -> Duration {
    let begun = Instant::now();
    let mut state = black_box(0x9e37_79b9_7f4a_7c15_u64);
    for _ in 0..rounds {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    black_box(state);
    begun.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_work_takes_longer() {
        let least = |rounds: u64| (0..8).map(|_| once(rounds)).min().expect("eight");
        assert!(least(ROUNDS) > 2 * least(ROUNDS / 8), "it is timed, and not optimised away");
        let spin = spin();
        assert!(spin.least_ns > Span::ZERO && spin.least_ns <= spin.median_ns && spin.median_ns <= spin.most_ns, "{spin:?}");
    }
}
