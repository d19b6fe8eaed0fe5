//! Computes the statistics of a series of numbers that a service reports.

use serde_json::{Value, json};

/// Count, extremes, mean and deviation of a series.
#[derive(Default)]
pub struct Stats {
    count: u64,
    min: f64,
    max: f64,
    mean: f64,
    /// The sum of the squared differences from the mean.
    squares: f64,
}

impl Stats {
    /// Adds a number.
    pub fn push(&mut self, value: f64) {
        self.count += 1;
        self.min = if self.count == 1 {
            value
        } else {
            self.min.min(value)
        };
        self.max = if self.count == 1 {
            value
        } else {
            self.max.max(value)
        };
        let from_mean = value - self.mean;
        self.mean += from_mean / self.count as f64;
        self.squares += from_mean * (value - self.mean);
    }

    /// The number of values in the series.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The statistics in the form in which a service reports them.
    pub fn to_json(&self) -> Value {
        let deviation = match self.count {
            0 | 1 => 0.0,
            count => (self.squares / (count - 1) as f64).sqrt(),
        };
        json!({
            "count": self.count,
            "max": self.max as i64,
            "mean": self.mean,
            "min": self.min as i64,
            "stddev": deviation,
        })
    }
}
