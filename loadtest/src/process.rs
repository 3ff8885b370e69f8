//! What processes cost, read from /proc.

use std::fs::read_to_string;
use std::process::Command;

/// Clock ticks a second of /proc on Linux; fixed since the beginning.
const TICKS: f64 = 100.0;

/// A process and all its children.
pub fn tree(pid: u32) -> Vec<u32> {
    let (mut all, mut next) = (Vec::new(), vec![pid]);
    while let Some(pid) = next.pop() {
        all.push(pid);
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let children = read_to_string(task.path().join("children")).unwrap_or_default();
            next.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    all
}

/// Sends a signal to a process and all its children: a broker is the child of the script that keeps it.
pub fn signal(pid: u32, name: &str) {
    for pid in tree(pid) {
        // One that has just ended needs none.
        let _ = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
    }
}

/// CPU seconds, user and system, of a process and its children so far.
pub fn cpu_seconds(pid: u32) -> f64 {
    let of = |pid: u32| {
        let stat = read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>()
    };
    tree(pid).into_iter().map(of).sum::<f64>() / TICKS
}

/// CPU seconds that the whole machine has spent on anything.
pub fn machine_cpu_seconds() -> f64 {
    let stat = read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|t| t.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal
    let idle: f64 = fields.iter().skip(3).take(2).sum();
    (fields.iter().take(8).sum::<f64>() - idle) / TICKS
}

/// Resident memory in megabytes: now (`VmRSS`) or the most so far (`VmHWM`).
pub fn resident_mb(pid: u32, which: &str) -> f64 {
    let status = read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':'));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.unwrap_or(f64::NAN) / 1024.0
}
