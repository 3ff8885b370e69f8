//! The process itself, as Linux tells it under `/proc/self`; nothing elsewhere.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts};
use std::fs;

/// Clock ticks a second in `/proc`: fixed at 100 for programs on every architecture Linux runs on.
const TICKS: f64 = 100.0;

/// What the process uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Address space, bytes.
    pub virtual_bytes: u64,
    /// Processor time of all threads, user and system, seconds.
    pub cpu_seconds: f64,
    /// Threads.
    pub threads: u64,
    /// When it started, epoch seconds.
    pub start_seconds: f64,
    /// Open files and sockets.
    pub open_files: u64,
}

/// What the process uses now; `None` where the system does not tell.
pub fn usage() -> Option<Usage> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let system = fs::read_to_string("/proc/stat").ok()?;
    parse(&status, &stat, &system, fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64)
}

fn parse(status: &str, stat: &str, system: &str, open_files: u64) -> Option<Usage> {
    let line = |text: &str, name: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
    };
    // The program's name may hold blanks and brackets; the fields are counted from behind its last bracket.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| -> Option<f64> { fields.get(number - 3)?.parse().ok() };
    Some(Usage {
        resident_bytes: line(status, "VmRSS:")? * 1024,
        virtual_bytes: line(status, "VmSize:")? * 1024,
        cpu_seconds: (field(14)? + field(15)?) / TICKS,
        threads: line(status, "Threads:")?,
        start_seconds: line(system, "btime ")? as f64 + field(22)? / TICKS,
        // Listing them opened one more.
        open_files: open_files.saturating_sub(1),
    })
}

/// Asks the system at every scrape.
pub(crate) struct ProcessCollector {
    resident: Gauge,
    virtual_: Gauge,
    threads: Gauge,
    start: Gauge,
    files: Gauge,
    cpu: Counter,
}

impl ProcessCollector {
    pub fn new() -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| Gauge::with_opts(Opts::new(name, help));
        Ok(ProcessCollector {
            resident: gauge("process_resident_memory_bytes", "Resident memory, bytes.")?,
            virtual_: gauge("process_virtual_memory_bytes", "Address space, bytes.")?,
            threads: gauge("process_threads", "Threads.")?,
            start: gauge("process_start_time_seconds", "When the process started, epoch seconds.")?,
            files: gauge("process_open_fds", "Open files and sockets.")?,
            cpu: Counter::with_opts(Opts::new(
                "process_cpu_seconds_total",
                "Processor time, user and system, seconds.",
            ))?,
        })
    }

    fn gauges(&self) -> [&Gauge; 5] {
        [&self.resident, &self.virtual_, &self.threads, &self.start, &self.files]
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges().into_iter().flat_map(Collector::desc).chain(self.cpu.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(usage) = usage() else { return Vec::new() };
        self.resident.set(usage.resident_bytes as f64);
        self.virtual_.set(usage.virtual_bytes as f64);
        self.threads.set(usage.threads as f64);
        self.start.set(usage.start_seconds);
        self.files.set(usage.open_files as f64);
        // Two scrapes at once may both add; the next one finds nothing to add, and a counter never goes back.
        let more = usage.cpu_seconds - self.cpu.get();
        if more > 0.0 {
            self.cpu.inc_by(more);
        }
        self.gauges().into_iter().flat_map(Collector::collect).chain(self.cpu.collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, usage};

    #[test]
    fn the_systems_files_are_read_by_their_fields() {
        let status = "Name:\tx\nVmSize:\t  2000 kB\nVmRSS:\t  1000 kB\nThreads:\t7\n";
        let stat = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 7 0 3000 99 0\n";
        let usage = parse(status, stat, "cpu 1\nbtime 1700000000\n", 11).unwrap();
        assert_eq!((usage.resident_bytes, usage.virtual_bytes, usage.threads), (1_024_000, 2_048_000, 7));
        assert_eq!((usage.cpu_seconds, usage.start_seconds, usage.open_files), (2.0, 1_700_000_030.0, 10));
        assert_eq!(parse("", stat, "", 0), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_told() {
        let usage = usage().unwrap();
        assert!(usage.resident_bytes > 1 << 20 && usage.virtual_bytes >= usage.resident_bytes);
        assert!(usage.threads >= 1 && usage.start_seconds > 1.6e9);
    }
}
