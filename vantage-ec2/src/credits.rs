//! CPU credits of burstable instances: one credit is one vCPU for one minute. Figures: Amazon EC2 User Guide, "Key concepts for burstable
//! performance instances". In: a type. Out: what it has at launch, what it earns, how long it must be busy until it has none.

/// A burstable type.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Burstable {
    /// Its name.
    pub kind: &'static str,
    /// vCPUs.
    pub vcpus: u32,
    /// Credits earned an hour.
    pub per_hour: f64,
    /// Share of each vCPU that it has for ever, in per cent.
    pub baseline_percent: f64,
    /// Credits at launch: T2 alone has them, and no more than 100 launches or starts of an account, in a region and 24 h.
    pub at_launch: f64,
}

/// Those that we know, of x86_64: the program and the image are.
pub const BURSTABLE: [Burstable; 9] = [
    known("t2.micro", 1, 6.0, 10.0, 30.0),
    known("t2.small", 1, 12.0, 20.0, 30.0),
    known("t2.medium", 2, 24.0, 20.0, 60.0),
    known("t2.large", 2, 36.0, 30.0, 60.0),
    known("t3.micro", 2, 12.0, 10.0, 0.0),
    known("t3.small", 2, 24.0, 20.0, 0.0),
    known("t3.medium", 2, 24.0, 20.0, 0.0),
    known("t3.large", 2, 36.0, 30.0, 0.0),
    known("t3a.medium", 2, 24.0, 20.0, 0.0),
];

const fn known(kind: &'static str, vcpus: u32, per_hour: f64, baseline_percent: f64, at_launch: f64) -> Burstable {
    Burstable { kind, vcpus, per_hour, baseline_percent, at_launch }
}

/// The type of this name, if it is burstable and we know it.
#[must_use]
pub fn burstable(kind: &str) -> Option<&'static Burstable> {
    BURSTABLE.iter().find(|known| known.kind == kind)
}

/// Whether types of this name have credits at all: EC2 refuses to hear of credits for others (`trn1` begins with a t, too).
#[must_use]
pub fn has_credits(kind: &str) -> bool {
    let mut letters = kind.chars();
    letters.next() == Some('t') && letters.next().is_some_and(|c| c.is_ascii_digit())
}

impl Burstable {
    /// Credits left after so many minutes with so many vCPUs busy, of `credits` at their beginning.
    #[must_use]
    pub fn after(&self, credits: f64, minutes: f64, busy: f64) -> f64 {
        let (earned, spent) = (self.per_hour / 60.0 * minutes, busy * minutes);
        // What is earned is kept for a day.
        (credits + earned - spent).clamp(0.0, self.at_launch + self.per_hour * 24.0)
    }

    /// Minutes with all vCPUs busy until the credits of launch are spent.
    #[must_use]
    pub fn minutes_to_burn(&self) -> f64 {
        self.at_launch / (f64::from(self.vcpus) - self.per_hour / 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_t2_medium_is_at_its_baseline_after_37_and_a_half_minutes() {
        let t2 = burstable("t2.medium").expect("it is one");
        assert!((t2.minutes_to_burn() - 37.5).abs() < 1e-9);
        assert!(t2.after(60.0, 37.4, 2.0) > 0.0);
        assert!(t2.after(60.0, 37.5, 2.0).abs() < 1e-9);
        assert!((t2.after(60.0, 10.0, 0.4) - 60.0).abs() < 1e-9, "at its baseline it neither earns nor spends");
    }

    #[test]
    fn the_baseline_is_what_is_earned() {
        for known in BURSTABLE {
            let earned = known.per_hour / 60.0 / f64::from(known.vcpus) * 100.0;
            assert!((earned - known.baseline_percent).abs() < 0.01, "{known:?}");
            assert_eq!(known.at_launch > 0.0, known.kind.starts_with("t2."), "{known:?}");
            assert!(has_credits(known.kind), "{known:?}");
        }
        assert!(has_credits("t2.nano") && !has_credits("trn1.2xlarge") && !has_credits("m7i.large"));
    }
}
