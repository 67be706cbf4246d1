//! How much may be had at most. In: what is asked for and what it would cost. Out: what of it is beyond a cap.

use serde::{Deserialize, Serialize};

/// Caps of one order. They are checked before anything is begun, by whoever asks and by the provider.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Caps {
    /// Vantages that are there at once, those of other runs counted.
    pub instances: u32,
    /// Hours until they end.
    pub hours: f64,
    /// What all of the order may cost, in US dollars.
    pub usd: f64,
}

/// What is beyond a cap.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Beyond {
    /// Too many.
    #[error("{wanted} vantages and {there} that are there already are more than {most}: take some down, or say --max-instances {}", wanted + there)]
    Instances {
        /// Asked for.
        wanted: u32,
        /// There already.
        there: u32,
        /// The cap.
        most: u32,
    },
    /// Too long.
    #[error("{wanted:.2} hours are more than {most:.2}: ask for less, or say --max-hours")]
    Hours {
        /// Asked for.
        wanted: f64,
        /// The cap.
        most: f64,
    },
    /// Too much.
    #[error("it would cost up to ${wanted:.2}, more than ${most:.2}: ask for less, or say --max-cost")]
    Usd {
        /// Asked for.
        wanted: f64,
        /// The cap.
        most: f64,
    },
}

impl Caps {
    /// Whether so many vantages for so long are within the caps, beside those that are `there`.
    ///
    /// # Errors
    /// If not.
    pub fn bear(&self, wanted: u32, there: u32, hours: f64, usd: f64) -> Result<(), Beyond> {
        if wanted.saturating_add(there) > self.instances {
            return Err(Beyond::Instances { wanted, there, most: self.instances });
        }
        // What is no number is not within anything.
        if !matches!(hours.partial_cmp(&self.hours), Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal)) {
            return Err(Beyond::Hours { wanted: hours, most: self.hours });
        }
        if !matches!(usd.partial_cmp(&self.usd), Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal)) {
            return Err(Beyond::Usd { wanted: usd, most: self.usd });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_a_cap_is_said() {
        let caps = Caps { instances: 2, hours: 1.0, usd: 0.5 };
        assert_eq!(caps.bear(1, 1, 1.0, 0.5), Ok(()));
        assert!(matches!(caps.bear(1, 2, 1.0, 0.5), Err(Beyond::Instances { there: 2, .. })));
        assert!(matches!(caps.bear(u32::MAX, 2, 1.0, 0.5), Err(Beyond::Instances { .. })));
        assert!(matches!(caps.bear(1, 0, 1.01, 0.5), Err(Beyond::Hours { .. })));
        assert!(matches!(caps.bear(1, 0, f64::NAN, 0.5), Err(Beyond::Hours { .. })));
        assert!(matches!(caps.bear(1, 0, 1.0, 0.51), Err(Beyond::Usd { .. })));
        assert!(matches!(caps.bear(1, 0, 1.0, f64::NAN), Err(Beyond::Usd { .. })));
    }
}
