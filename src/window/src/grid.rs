//! The arithmetic of aligned windows: panes, windows over panes, and their bounds.
//!
//! Time is cut into panes of the greatest common divisor of size and advance; a window is a run of panes. A tumbling
//! window is one pane. An event touches its pane only, whatever the overlap; windows are put together when they close.

use crate::spec::greatest_common_divisor;

/// Sizes in microseconds, and in panes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    pub pane_micros: i64,
    size_micros: i64,
    advance_micros: i64,
    /// Panes of a window.
    pub size: i64,
    /// Panes from one window's start to the next's.
    pub advance: i64,
}

impl Grid {
    pub fn new(size_micros: i64, advance_micros: i64) -> Self {
        let pane_micros = greatest_common_divisor(size_micros, advance_micros);
        let (size, advance) = (size_micros / pane_micros, advance_micros / pane_micros);
        Grid { pane_micros, size_micros, advance_micros, size, advance }
    }

    /// The pane of an instant.
    pub fn pane(&self, time: i64) -> i64 {
        time.div_euclid(self.pane_micros)
    }

    /// The first window that holds a pane.
    pub fn first_window(&self, pane: i64) -> i64 {
        (pane - self.size).div_euclid(self.advance) + 1
    }

    /// The last window that holds a pane.
    pub fn last_window(&self, pane: i64) -> i64 {
        pane.div_euclid(self.advance)
    }

    /// The window that begins at an instant.
    pub fn number(&self, start: i64) -> i64 {
        start.div_euclid(self.advance_micros)
    }

    /// First and last pane of a window.
    pub fn panes(&self, window: i64) -> (i64, i64) {
        (window * self.advance, window * self.advance + self.size - 1)
    }

    pub fn start(&self, window: i64) -> i64 {
        window.saturating_mul(self.advance_micros)
    }

    pub fn end(&self, window: i64) -> i64 {
        self.start(window).saturating_add(self.size_micros)
    }

    /// The first window whose end is after an instant; all before it have ended.
    pub fn first_open(&self, watermark: i64) -> i64 {
        watermark.saturating_sub(self.size_micros).div_euclid(self.advance_micros) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::Grid;

    #[test]
    fn panes_and_windows_agree_with_plain_intervals() {
        for (size, advance) in [(10, 10), (10, 1), (10, 4), (9, 6), (7, 7), (5, 3)] {
            let grid = Grid::new(size, advance);
            for time in -40..40 {
                let pane = grid.pane(time);
                let windows: Vec<i64> =
                    (-60..60).filter(|at| at * advance <= time && time < at * advance + size).collect();
                assert_eq!(grid.first_window(pane), windows[0], "{size} {advance} {time}");
                assert_eq!(grid.last_window(pane), *windows.last().unwrap());
                for &window in &windows {
                    let (first, last) = grid.panes(window);
                    assert!(first <= pane && pane <= last);
                    assert_eq!(first * grid.pane_micros, grid.start(window));
                    assert_eq!((last + 1) * grid.pane_micros, grid.end(window));
                }
                let open = grid.first_open(time);
                assert!(grid.end(open) > time && grid.end(open - 1) <= time);
            }
        }
    }
}
