//! The state of a merger.

use super::windows::{Window, window_at};
use super::{IDLE_RETENTION_MICROS, Merger, Upstream};
use crate::spec::SeriesSpec;
use crate::state::{StateError, get, put};
use std::sync::Arc;

const VERSION: u8 = 4;

impl Merger {
    /// Appends the whole state.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        put(&self.spec, out);
        put(&(&self.upstreams, self.watermark, self.forgotten, self.order.len() as u64), out);
        for (_, key, start) in &self.order {
            let window = self.windows.get(key).and_then(|windows| window_at(windows, *start));
            put(&(&**key, window), out);
        }
        put(&(self.late.len() as u64), out);
        for (key, count) in &self.late {
            put(&(&**key, *count), out);
        }
        put(&(self.known.len() as u64), out);
        for (key, windows) in &self.known {
            put(&(&**key, *windows), out);
        }
    }

    /// A merger of `spec` with what was encoded; without state when the series' definition has changed.
    pub fn decode(spec: SeriesSpec, upstreams: u32, bytes: &[u8]) -> Result<Self, StateError> {
        let mut merger = Merger::new(spec, upstreams)?;
        match bytes.first() {
            Some(1..=VERSION) => {}
            Some(&found) if found > VERSION => return Err(StateError::Newer { found }),
            _ => return Err(StateError::Broken { at: 0, what: "no version".to_owned() }),
        }
        let mut at = 1;
        let stored: SeriesSpec = get(bytes, &mut at)?;
        if !merger.spec.continues(&stored) {
            merger.gave_up = true;
            return Ok(merger);
        }
        let longer_grace = merger.spec.grace_micros.saturating_sub(stored.grace_micros).max(0);
        let stored = match bytes[0] {
            // What each told itself was not kept.
            1 => {
                let stored: Vec<(i64, bool)> = get(bytes, &mut at)?;
                let of = |(watermark, idle)| Upstream { watermark, idle, told: i64::MIN };
                stored.into_iter().map(of).collect()
            }
            _ => get::<Vec<Upstream>>(bytes, &mut at)?,
        };
        let watermark: i64 = get(bytes, &mut at)?;
        let forgotten = match bytes[0] {
            // Windows were forgotten as soon as all had passed them.
            1 | 2 => stored.iter().map(|upstream: &Upstream| upstream.watermark).min().unwrap_or(i64::MIN),
            _ => get(bytes, &mut at)?,
        };
        let forgotten = match bytes[0] {
            // So old ones were forgotten whatever they took.
            1..=3 => forgotten.max(watermark.saturating_sub(IDLE_RETENTION_MICROS)),
            _ => forgotten,
        };
        // What was forgotten under a shorter grace is forgotten: an event for it would open it a second time.
        merger.forgotten = forgotten.saturating_add(longer_grace);
        let windows: u64 = get(bytes, &mut at)?;
        // As many as were waited for then: what has grown since is heard of at the same record as the first time.
        merger.upstreams = stored;
        merger.watermark = watermark;
        for _ in 0..windows {
            let (key, window): (String, Option<Window>) = get(bytes, &mut at)?;
            let Some(window) = window else { continue };
            let key: Arc<str> = match merger.windows.get_key_value(key.as_str()) {
                Some((key, _)) => key.clone(),
                None => key.into(),
            };
            merger.order.insert((window.end, key.clone(), window.start));
            merger.weight += window.weight();
            let of_key = merger.windows.entry(key).or_default();
            of_key.insert(of_key.partition_point(|other| other.start < window.start), window);
        }
        for _ in 0..get::<u64>(bytes, &mut at)? {
            let (key, count): (String, u64) = get(bytes, &mut at)?;
            merger.late.insert(key.into(), count);
        }
        for _ in 0..get::<u64>(bytes, &mut at)? {
            let (key, windows): (String, (i64, i64)) = get(bytes, &mut at)?;
            merger.known.insert(key.into(), windows);
        }
        if at != bytes.len() {
            return Err(StateError::Broken { at, what: "more than was expected".to_owned() });
        }
        Ok(merger)
    }
}
