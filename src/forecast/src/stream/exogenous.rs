//! Values of the exogenous series beside the observations that are kept.

use serde::{Deserialize, Serialize};

/// Rows of `count` values, one beside each kept observation, oldest first. Nothing where `count` is 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exogenous {
    count: usize,
    /// Those that the fit in use has, by place.
    used: Vec<u16>,
    rows: std::collections::VecDeque<Box<[f64]>>,
}

impl Exogenous {
    /// For `count` series.
    pub fn new(count: usize) -> Exogenous {
        Exogenous { count, used: Vec::new(), rows: std::collections::VecDeque::new() }
    }

    /// Adds a row, dropping the oldest beyond `keep`. A value not given, or not finite, is its last one, or 0.
    pub fn push(&mut self, values: &[f64], keep: usize) {
        if self.count == 0 {
            return;
        }
        let last = self.rows.back();
        let row = (0..self.count)
            .map(|i| match values.get(i) {
                Some(v) if v.is_finite() => *v,
                _ => last.map_or(0.0, |row| row[i]),
            })
            .collect();
        if self.rows.len() >= keep {
            self.rows.pop_front();
        }
        self.rows.push_back(row);
    }

    /// The row beside kept observation `at`.
    pub fn at(&self, at: usize) -> &[f64] {
        self.rows.get(at).map_or(&[], |row| row)
    }

    /// Follows a new fit.
    pub fn set_used(&mut self, used: Vec<u16>) {
        self.used = used;
    }

    /// Those that the fit in use has, by place.
    pub fn used(&self) -> &[u16] {
        &self.used
    }

    /// What the fit in use takes beside kept observation `at`.
    pub fn for_fit(&self, at: usize) -> Vec<f64> {
        let row = self.rows.get(at);
        self.used.iter().filter_map(|place| row?.get(usize::from(*place)).copied()).collect()
    }

    /// The series as columns over kept observations `from..end`.
    pub fn columns(&self, from: usize, end: usize) -> Vec<Vec<f64>> {
        (0..self.count).map(|i| (from..end).map(|at| self.at(at)[i]).collect()).collect()
    }

    /// Whether decoded rows fit `kept` observations.
    pub fn is_consistent(&self, kept: usize) -> bool {
        let whole = |row: &[f64]| row.len() == self.count && row.iter().all(|v| v.is_finite());
        if self.used.iter().any(|place| usize::from(*place) >= self.count) {
            return false;
        }
        if self.count == 0 {
            self.rows.is_empty()
        } else {
            self.rows.len() == kept && self.rows.iter().all(|row| whole(row))
        }
    }
}
