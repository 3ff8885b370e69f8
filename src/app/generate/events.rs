//! Events as sensors, users and machines would send them: seeded, so that the same seed makes the same values.

use std::io::Write;

/// Makes events of a number of sources, one after the other.
#[derive(Debug)]
pub struct Maker {
    /// Begins the id of each event.
    run: String,
    sources: u32,
    next: u64,
    random: u64,
    /// Each source's slow wandering around its level.
    drift: Vec<f32>,
}

/// Events of a source in one of its days, whatever the clock says: the values are the seed's alone.
const DAY: u64 = 1_440;
/// Sources whose wandering is remembered; those past it share.
const REMEMBERED: u32 = 100_000;

impl Maker {
    /// Of `sources` sources, `sensor_0001` and on. `run` tells its ids from those of other makers, here and in earlier
    /// runs: an event sent again with the same source and id is taken for a repeat.
    pub fn new(sources: u32, seed: u64, run: String) -> Self {
        Maker {
            run,
            sources: sources.max(1),
            next: 0,
            random: seed ^ 0x9e37_79b9_7f4a_7c15,
            drift: vec![0.0; sources.clamp(1, REMEMBERED) as usize],
        }
    }

    /// SplitMix64 (Steele, Lea and Flood 2014).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Roughly normal with mean 0 and standard deviation 1: the sum of twelve uniforms, less six.
    fn normal(&mut self) -> f64 {
        let mut sum = -6.0;
        for _ in 0..3 {
            let mut bits = self.random();
            for _ in 0..4 {
                sum += (bits & 0xffff) as f64 / 65_536.0;
                bits >>= 16;
            }
        }
        sum
    }

    /// Appends the next event, of time `now_s` (epoch seconds). Returns the length of its source's name, which begins
    /// at byte 11.
    pub fn write(&mut self, now_s: f64, out: &mut Vec<u8>) {
        let (round, number) =
            (self.next / u64::from(self.sources), (self.next % u64::from(self.sources)) as u32);
        self.next += 1;
        let (noise, step) = (self.normal(), self.normal());
        let drift = &mut self.drift[(number % REMEMBERED) as usize];
        *drift = *drift * 0.99 + step as f32 * 0.3;
        let level = 20.0 + f64::from(number % 37) + f64::from(*drift);
        let day = ((round % DAY) as f64 / DAY as f64 * std::f64::consts::TAU).sin() * 5.0;
        // Now and then something odd, for the anomaly scores to find.
        let odd = if self.random().is_multiple_of(5_000) { 40.0 } else { 0.0 };
        let value = level + day + noise + odd;
        let (kind, unit, of) = match number % 10 {
            0..=6 => ("sensor_data", "celsius", "temperature"),
            7 | 8 => ("system_metric", "percent", "cpu"),
            _ => ("user_action", "ms", "page"),
        };
        let (run, place) = (&self.run, self.next);
        // A Vec takes every write.
        let _ = write!(
            out,
            r#"{{"source":"sensor_{:04}","type":"{kind}","timestamp":{now_s:.3},"data":{{"value":{value:.2},"unit":"{unit}"}},"metadata":{{"sensor_type":"{of}"}},"id":"{run}-{place}"}}"#,
            number + 1
        );
    }
}

#[cfg(test)]
mod tests {
    use super::Maker;

    #[test]
    fn values_are_the_seeds_whenever_they_are_made() {
        let (mut one, mut two) = (Maker::new(5, 7, "r".into()), Maker::new(5, 7, "r".into()));
        for at in 0..1_000 {
            let value = |maker: &mut Maker, now_s: f64| {
                let mut out = Vec::new();
                maker.write(now_s, &mut out);
                let event: serde_json::Value = serde_json::from_slice(&out).expect("is JSON");
                event["data"]["value"].clone()
            };
            assert_eq!(value(&mut one, 1.7e9 + f64::from(at)), value(&mut two, 1.7e9 + 20_000.0), "{at}");
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_valid_events() {
        let (mut one, mut two) = (Maker::new(3, 7, "r".into()), Maker::new(3, 7, "r".into()));
        for at in 0..1_000 {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            one.write(1.7e9 + f64::from(at), &mut a);
            two.write(1.7e9 + f64::from(at), &mut b);
            assert_eq!(a, b);
            let event: serde_json::Value = serde_json::from_slice(&a).expect("is JSON");
            assert!(event["data"]["value"].as_f64().is_some_and(f64::is_finite));
            assert_eq!(event["source"], format!("sensor_{:04}", at % 3 + 1));
            assert_eq!(event["id"], format!("r-{}", at + 1));
        }
    }
}
