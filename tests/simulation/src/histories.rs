//! Many histories, a seed each, on as many threads as there are processors.

use crate::run::{Report, run};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What became of them.
#[derive(Debug, Default)]
pub struct Histories {
    /// Those in which the oracle finds something wrong, by seed.
    pub failures: Vec<(u64, Report)>,
    /// Windows committed in all of them.
    pub windows: usize,
    /// Forecasts committed.
    pub forecasts: usize,
    /// Processes that died.
    pub deaths: usize,
    /// Threads that ran them.
    pub threads: usize,
}

impl Histories {
    fn add(&mut self, seed: u64, report: Report) {
        self.windows += report.windows;
        self.forecasts += report.forecasts;
        self.deaths += report.deaths;
        if !report.problems.is_empty() {
            self.failures.push((seed, report));
        }
    }

    fn append(&mut self, more: Histories) {
        self.failures.extend(more.failures);
        self.windows += more.windows;
        self.forecasts += more.forecasts;
        self.deaths += more.deaths;
        self.threads += more.threads;
    }
}

/// Runs the history of every seed in the range.
pub fn run_all(seeds: Range<u64>) -> Histories {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut found = Histories { threads: 1, ..Histories::default() };
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end {
                return found;
            }
            found.add(seed, run(seed, None));
        }
    };
    let mut all = Histories::default();
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            all.append(worker.join().expect("a worker ends"));
        }
    });
    all.failures.sort_by_key(|(seed, _)| *seed);
    all
}
