//! Values of the exogenous series beside the observations that are kept.

use serde::{Deserialize, Serialize};

/// Rows of `count` values, one beside each kept observation, oldest first. Nothing where `count` is 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exogenous {
    count: usize,
    rows: std::collections::VecDeque<Box<[f64]>>,
}

impl Exogenous {
    /// For `count` series.
    pub fn new(count: usize) -> Exogenous {
        Exogenous { count, rows: std::collections::VecDeque::new() }
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

    /// The newest row.
    pub fn last(&self) -> &[f64] {
        self.rows.back().map_or(&[], |row| row)
    }

    /// The series as columns over kept observations `from..end`.
    pub fn columns(&self, from: usize, end: usize) -> Vec<Vec<f64>> {
        (0..self.count).map(|i| (from..end).map(|at| self.at(at)[i]).collect()).collect()
    }

    /// Whether decoded rows fit `kept` observations.
    pub fn is_consistent(&self, kept: usize) -> bool {
        let whole = |row: &[f64]| row.len() == self.count && row.iter().all(|v| v.is_finite());
        if self.count == 0 {
            self.rows.is_empty()
        } else {
            self.rows.len() == kept && self.rows.iter().all(|row| whole(row))
        }
    }
}
