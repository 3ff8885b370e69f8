//! How many events are due: a rate and a shape over time.

use crate::cli::Pattern;

/// Seconds of one burst and the quiet after it, of one wave, and of the ramp where there is no end to ramp to.
const PERIOD_S: f64 = 20.0;
const BURST_S: f64 = 2.0;
const RAMP_S: f64 = 60.0;

/// Events due within the first `seconds`, of a run of `duration` seconds at `rate` events a second.
pub fn due(pattern: Pattern, rate: f64, duration: Option<f64>, seconds: f64) -> f64 {
    match pattern {
        Pattern::Steady => rate * seconds,
        Pattern::Ramp => {
            let ramp = duration.unwrap_or(RAMP_S);
            if seconds < ramp {
                rate * seconds * seconds / (2.0 * ramp)
            } else {
                rate * (seconds - ramp / 2.0)
            }
        }
        // Each period: the rate, and four times as much on top for the length of a burst.
        Pattern::Spike => {
            let (periods, within) = ((seconds / PERIOD_S).floor(), seconds % PERIOD_S);
            rate * seconds + 4.0 * rate * (periods * BURST_S + within.min(BURST_S))
        }
        // rate · (1 + 0.6 sin), integrated.
        Pattern::Wave => {
            let turn = std::f64::consts::TAU / PERIOD_S;
            rate * (seconds + 0.6 * (1.0 - (turn * seconds).cos()) / turn)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_never_take_back_and_keep_their_rate() {
        for pattern in [Pattern::Steady, Pattern::Ramp, Pattern::Spike, Pattern::Wave] {
            let mut before = 0.0;
            for tenth in 0..3_000 {
                let now = due(pattern, 100.0, None, f64::from(tenth) / 10.0);
                assert!(now >= before - 1e-9, "{pattern:?} at {tenth}");
                before = now;
            }
        }
        assert_eq!(due(Pattern::Steady, 100.0, None, 20.0), 2_000.0);
        assert!((due(Pattern::Spike, 100.0, None, 20.0) - 2_800.0).abs() < 1e-6);
        assert!((due(Pattern::Wave, 100.0, None, 20.0) - 2_000.0).abs() < 1e-6);
        assert!((due(Pattern::Ramp, 100.0, Some(10.0), 10.0) - 500.0).abs() < 1e-6);
    }
}
