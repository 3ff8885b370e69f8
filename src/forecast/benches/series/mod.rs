//! The series that the benches time fits on.

use serde_json::Value;

/// A seeded source of noise that is near enough to normal.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        let mut uniform = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1u64 << 53) as f64
        };
        (0..12).map(|_| uniform()).sum::<f64>() - 6.0
    }
}

fn golden(of: &str, case: usize) -> Vec<f64> {
    let all: Value = serde_json::from_str(of).expect("golden values are JSON");
    all["cases"][case]["series"].as_array().expect("a series").iter().filter_map(Value::as_f64).collect()
}

pub fn passengers() -> Vec<f64> {
    golden(include_str!("../../tests/golden/arima.json"), 0)
}

pub fn arima211() -> Vec<f64> {
    let mut noise = Noise(1);
    let (mut w, mut e0, mut level) = ([0.0; 2], 0.0, 0.0);
    (0..100)
        .map(|_| {
            let e = noise.next();
            let next = 0.5 * w[0] - 0.3 * w[1] + e + 0.4 * e0;
            (w, e0) = ([next, w[0]], e);
            level += next;
            level
        })
        .collect()
}

pub fn hourly() -> Vec<f64> {
    let mut noise = Noise(2);
    let wave = |t: usize, period: f64| (t as f64 * std::f64::consts::TAU / period).sin();
    (0..700).map(|t| 10.0 + 3.0 * wave(t, 24.0) + 2.0 * wave(t, 168.0) + noise.next()).collect()
}

pub fn returns() -> Vec<f64> {
    golden(include_str!("../../tests/golden/garch.json"), 0)
}
