//! One thing that was measured.

use serde::{Deserialize, Serialize};

use super::Part;

/// What somebody needs for something, in every round.
#[derive(Clone, Serialize)]
pub struct Row {
    pub part: Part,
    /// What was measured.
    pub case: String,
    /// Whose it is.
    pub who: String,
    pub unit: &'static str,
    /// One value a round.
    pub samples: Vec<f64>,
    /// What the measurement itself cost in the same rounds; empty where that is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub floor: Vec<f64>,
    /// The least share of the packets of a round that arrived; where packets move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered: Option<f64>,
    /// Read in a publication, or measured elsewhere: not beside the others.
    pub published: bool,
}

/// The least, the middle and the most of some rounds.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Spread {
    pub least: f64,
    pub median: f64,
    pub most: f64,
}

impl Row {
    /// Measured now.
    pub fn new(part: Part, case: &str, who: &str, unit: &'static str, samples: Vec<f64>) -> Self {
        let (case, who) = (case.to_owned(), who.to_owned());
        Self { part, case, who, unit, samples, floor: Vec::new(), delivered: None, published: false }
    }

    /// Read somewhere.
    pub fn published(part: Part, case: &str, who: &str, unit: &'static str, value: f64) -> Self {
        Self { published: true, ..Self::new(part, case, who, unit, vec![value]) }
    }

    /// The values, without what the measurement itself costs.
    pub fn net(&self) -> Vec<f64> {
        if self.floor.is_empty() {
            return self.samples.clone();
        }
        self.samples.iter().zip(&self.floor).map(|(sample, floor)| sample - floor).collect()
    }

    /// Of the values as measured.
    pub fn gross(&self) -> Spread {
        spread(self.samples.clone())
    }

    /// Whether it may be compared: all packets arrived.
    pub fn is_valid(&self) -> bool {
        self.delivered.is_none_or(|share| share >= 1.0)
    }

    /// How many times as much this is as another, net, round by round where both were measured in the same
    /// rounds. None if one of the two is not valid.
    pub fn times(&self, other: &Self) -> Option<f64> {
        if !self.is_valid() || !other.is_valid() {
            return None;
        }
        let (these, those) = (self.net(), other.net());
        if these.len() == those.len() {
            return Some(spread(these.iter().zip(&those).map(|(this, that)| this / that).collect()).median);
        }
        Some(spread(these).median / spread(those).median)
    }
}

/// Of at least one value.
pub fn spread(mut values: Vec<f64>) -> Spread {
    values.sort_by(f64::total_cmp);
    Spread { least: values[0], median: values[values.len() / 2], most: values[values.len() - 1] }
}

#[cfg(test)]
mod tests {
    use super::{Part, Row};

    fn row(samples: &[f64]) -> Row {
        Row::new(Part::Micro, "case", "who", "ns", samples.to_vec())
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        // The second round was disturbed for both, the third for neither.
        assert_eq!(row(&[10.0, 90.0, 12.0]).times(&row(&[5.0, 30.0, 6.0])), Some(2.0));
    }

    #[test]
    fn what_the_measurement_costs_does_not_count() {
        let floored = Row { floor: vec![5.0, 6.0], ..row(&[10.0, 11.0]) };
        assert_eq!(floored.times(&row(&[5.0, 5.0])), Some(1.0));
    }

    #[test]
    fn lost_packets_make_a_row_worthless() {
        let lossy = Row { delivered: Some(0.99), ..row(&[1.0]) };
        assert_eq!(row(&[1.0]).times(&lossy), None);
    }
}
