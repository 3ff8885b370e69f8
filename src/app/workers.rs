//! Work on many things at once, results in the order of the things, progress on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// Results that wait to be taken.
const WAITING: usize = 64;

/// A bar on standard error, where that is a terminal.
pub fn progress(things: usize, what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(things as u64), ProgressDrawTarget::stderr_with_hz(10));
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed} (~{eta} left)");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what.to_owned());
    if !bar.is_hidden() {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    bar
}

/// A count of rows on standard error, where that is a terminal.
pub fn rows(what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    let style = ProgressStyle::with_template("{msg} {human_pos} rows {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.with_message(what.to_owned())
}

/// `work` on each of `things`, on as many threads as there are processors; `take` gets the results in the things' order,
/// on this thread. An error of `take` ends it.
pub fn in_order<T: Sync, R: Send>(
    things: &[T],
    bar: &ProgressBar,
    work: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(usize, R) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(things.len());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (done, results) = sync_channel(WAITING);
        for _ in 0..threads {
            let (done, next, work) = (done.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Relaxed);
                    let Some(thing) = things.get(at) else { return };
                    // Nobody listens any more: the others stop here as well.
                    if done.send((at, work(thing))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        let (mut early, mut due) = (BTreeMap::new(), 0);
        for (at, result) in results {
            early.insert(at, result);
            bar.inc(1);
            while let Some(result) = early.remove(&due) {
                take(due, result)?;
                due += 1;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whoever_is_first() {
        let things: Vec<u64> = (0..500).collect();
        let mut taken = Vec::new();
        let spin = |n: &u64| (0..(500 - n) * 50).fold(*n, |a, b| std::hint::black_box(a ^ b ^ b));
        in_order(&things, &ProgressBar::hidden(), spin, |at, result| {
            taken.push((at as u64, result));
            Ok(())
        })
        .unwrap();
        assert_eq!(taken, things.iter().map(|n| (*n, *n)).collect::<Vec<_>>());
    }

    #[test]
    fn an_error_ends_it_early() {
        let things: Vec<u64> = (0..100_000).collect();
        let done = AtomicUsize::new(0);
        let ended = in_order(
            &things,
            &ProgressBar::hidden(),
            |_| done.fetch_add(1, Relaxed),
            |at, _| if at == 3 { anyhow::bail!("enough") } else { Ok(()) },
        );
        assert!(ended.is_err() && done.load(Relaxed) < 50_000);
    }

    #[test]
    fn nothing_to_do_is_done() {
        in_order(&[0_u8; 0], &ProgressBar::hidden(), |_| (), |_, ()| Ok(())).unwrap();
    }
}
