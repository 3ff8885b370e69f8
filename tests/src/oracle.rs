//! Windows computed a second way: straight from the interface's words, slowly, sharing no code with the program.

use serde_json::Value;
use std::collections::BTreeMap;

/// An event, as the oracle sees it: where it lies, and what it says.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The partition, whose own watermark decides what is late.
    pub partition: i32,
    /// The grouping key.
    pub key: String,
    /// `type`.
    pub kind: String,
    /// Event time.
    pub at_ms: i64,
    /// Numeric leaves by dotted path.
    pub values: Vec<(String, f64)>,
}

impl Seen {
    /// The event in JSON, its time as seconds with three decimals.
    pub fn json(&self) -> String {
        let data: BTreeMap<&str, f64> =
            self.values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        format!(
            r#"{{"source":{},"type":{},"timestamp":{}.{:03},"data":{}}}"#,
            Value::from(self.key.as_str()),
            Value::from(self.kind.as_str()),
            self.at_ms / 1000,
            self.at_ms % 1000,
            serde_json::to_string(&data).unwrap()
        )
    }
}

/// A series' settings. Tumbling when `advance_ms` is the size.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Width of a window.
    pub size_ms: i64,
    /// Distance between the starts of two windows.
    pub advance_ms: i64,
    /// The watermark is the newest event time of the partition less this.
    pub lateness_ms: i64,
    /// A closed window is corrected until the watermark passes its end by this.
    pub grace_ms: i64,
}

/// All values of one field in one window, and what follows from them.
#[derive(Clone, Debug, Default)]
pub struct Field(Vec<f64>);

/// What a window must say in the end.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Events in it, with or without numbers.
    pub count: u64,
    /// Their type; none once two differ.
    pub kind: Option<String>,
    /// Values by field.
    pub fields: BTreeMap<String, Field>,
    mixed: bool,
}

/// (key, window start in ms) → window.
pub type Windows = BTreeMap<(String, i64), Window>;

/// Computes every window that some event is in. The events of a partition must be in its order; partitions may be
/// interleaved in any way, for none looks at another's watermark. Also returns how many events no window took (late).
pub fn windows(events: &[Seen], rules: Rules) -> (Windows, u64) {
    let mut newest: BTreeMap<i32, i64> = BTreeMap::new();
    let (mut all, mut late) = (Windows::new(), 0);
    for event in events {
        let newest = newest.entry(event.partition).or_insert(i64::MIN);
        *newest = (*newest).max(event.at_ms);
        let watermark = *newest - rules.lateness_ms;
        let mut taken = false;
        let mut start = event.at_ms.div_euclid(rules.advance_ms) * rules.advance_ms;
        while start + rules.size_ms > event.at_ms {
            let end = start + rules.size_ms;
            if end + rules.grace_ms > watermark {
                all.entry((event.key.clone(), start)).or_default().add(event);
                taken = true;
            }
            start -= rules.advance_ms;
        }
        late += u64::from(!taken);
    }
    (all, late)
}

impl Window {
    fn add(&mut self, event: &Seen) {
        self.count += 1;
        match &self.kind {
            None if !self.mixed => self.kind = Some(event.kind.clone()),
            Some(kind) if *kind != event.kind => (self.kind, self.mixed) = (None, true),
            _ => {}
        }
        for (name, value) in &event.values {
            self.fields.entry(name.clone()).or_default().0.push(*value);
        }
    }

    /// Compares an aggregate message with this window; an answer says what is wrong.
    pub fn differs(&self, aggregate: &Value) -> Option<String> {
        if aggregate["event_count"] != self.count {
            return Some(format!("event_count {} instead of {}", aggregate["event_count"], self.count));
        }
        if aggregate["event_type"].as_str() != self.kind.as_deref() {
            return Some(format!("event_type {} instead of {:?}", aggregate["event_type"], self.kind));
        }
        let Some(found) = aggregate["aggregates"].as_object() else { return Some("no aggregates".into()) };
        if found.len() != self.fields.len() {
            return Some(format!("fields {:?} instead of {:?}", found.keys(), self.fields.keys()));
        }
        self.fields.iter().find_map(|(name, field)| Some(format!("{name}: {}", field.differs(&found[name])?)))
    }
}

impl Field {
    fn differs(&self, found: &Value) -> Option<String> {
        let n = self.0.len() as f64;
        let sum: f64 = self.0.iter().sum();
        let mean = sum / n;
        let std = (self.0.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = |p: f64| sorted[((p * n).ceil() as usize).max(1) - 1];
        let size = sorted.iter().fold(0.0f64, |most, v| most.max(v.abs()));
        // Sums may be taken in another order: a few last bits. Percentiles are promised to 1 % of the value.
        let near = 1e-9 * size * n.max(1.0);
        let expected = [
            ("count", n, 0.0),
            ("sum", sum, near),
            ("avg", mean, 1e-9 * size),
            ("min", sorted[0], 0.0),
            ("max", sorted[sorted.len() - 1], 0.0),
            ("std", std, 1e-6 * size),
            ("p50", rank(0.50), 0.01 * rank(0.50).abs() + 1e-12),
            ("p95", rank(0.95), 0.01 * rank(0.95).abs() + 1e-12),
            ("p99", rank(0.99), 0.01 * rank(0.99).abs() + 1e-12),
        ];
        expected.into_iter().find_map(|(name, want, within)| {
            let got = found[name].as_f64();
            let good = got.is_some_and(|got| (got - want).abs() <= within);
            (!good).then(|| format!("{name} {} instead of {want}", found[name]))
        })
    }
}

/// What a topic of aggregates says in the end: per (key, window start in ms) the message with the highest revision.
/// Panics when revisions do not count up from 0, when a record key is not `<series>:<key>`, or when a window is not
/// `size_ms` wide and aligned to the epoch.
pub fn last_revisions(
    records: &[crate::kafka::Record],
    series: &str,
    size_ms: i64,
    advance_ms: i64,
) -> BTreeMap<(String, i64), Value> {
    let mut last: BTreeMap<(String, i64), Value> = BTreeMap::new();
    for record in records {
        let aggregate = record.json();
        if aggregate["series"] != series {
            continue;
        }
        let key = aggregate["key"].as_str().expect("a key").to_string();
        assert_eq!(record.key_text(), format!("{series}:{key}"));
        let ms = |name: &str| (aggregate[name].as_f64().expect("epoch seconds") * 1000.0).round() as i64;
        let (start, end) = (ms("window_start"), ms("window_end"));
        assert_eq!((end - start, start.rem_euclid(advance_ms)), (size_ms, 0), "{aggregate}");
        let before = last.get(&(key.clone(), start)).map(|a| a["revision"].as_u64().unwrap());
        let expected = before.map_or(0, |revision| revision + 1);
        assert_eq!(aggregate["revision"], expected, "revisions of a window count up from 0: {aggregate}");
        last.insert((key, start), aggregate);
    }
    last
}

/// Compares what came with what must have come; empty when every window is there and right.
pub fn differences(expected: &Windows, found: &BTreeMap<(String, i64), Value>) -> Vec<String> {
    let name = |(key, start): &(String, i64)| format!("{key} at {start}");
    let missing =
        expected.keys().filter(|at| !found.contains_key(*at)).map(|at| format!("{}: missing", name(at)));
    let extra =
        found.keys().filter(|at| !expected.contains_key(*at)).map(|at| format!("{}: not expected", name(at)));
    let wrong = expected.iter().filter_map(|(at, window)| {
        let differs = window.differs(found.get(at)?)?;
        Some(format!("{}: {differs}", name(at)))
    });
    missing.chain(extra).chain(wrong).collect()
}

/// SplitMix64: the same stream of numbers for the same seed, on every machine.
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    /// A stream of its own for each seed.
    pub fn new(seed: u64) -> Seeded {
        Seeded(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(at_ms: i64, value: f64) -> Seen {
        Seen { partition: 0, key: "a".into(), kind: "t".into(), at_ms, values: vec![("v".into(), value)] }
    }

    const TUMBLING: Rules = Rules { size_ms: 1000, advance_ms: 1000, lateness_ms: 500, grace_ms: 1000 };

    #[test]
    fn a_window_takes_what_its_grace_allows() {
        // 0....1....2....3....4   the watermark stands at 2.9 after the event of 3.4
        //   a                     its window ends at 1, its grace at 2: gone
        //        b                its window ends at 2, its grace at 3: still corrected
        let events = [at(3400, 1.0), at(500, 2.0), at(1500, 3.0)];
        let (windows, late) = windows(&events, TUMBLING);
        let starts: Vec<_> = windows.keys().map(|(_, start)| *start).collect();
        assert_eq!((starts, late), (vec![1000, 3000], 1));
    }

    #[test]
    fn an_event_is_in_every_hopping_window_over_it() {
        let rules = Rules { size_ms: 3000, ..TUMBLING };
        let (windows, _) = windows(&[at(5000, 1.0)], rules);
        let starts: Vec<_> = windows.keys().map(|(_, start)| *start).collect();
        assert_eq!(starts, [3000, 4000, 5000]);
    }

    #[test]
    fn a_wrong_aggregate_is_told() {
        let (windows, _) = windows(&[at(0, 1.0), at(1, 3.0)], TUMBLING);
        let window = &windows[&("a".to_string(), 0)];
        let v = json!({"count": 2, "sum": 4.0, "avg": 2.0, "min": 1.0, "max": 3.0, "std": 1.0, "p50": 1.0, "p95": 3.02, "p99": 3.0});
        let mut right = json!({"event_count": 2, "event_type": "t", "aggregates": {"v": v}});
        assert_eq!(window.differs(&right), None);
        right["aggregates"]["v"]["p95"] = json!(3.04);
        assert!(window.differs(&right).unwrap().contains("p95"));
        right["event_count"] = json!(3);
        assert!(window.differs(&right).unwrap().contains("event_count"));
    }
}
