//! Regressors joined by window: the closed windows that models have as exogenous series, kept by event time, so that a
//! model finds the one that begins with its own whichever partition or process closed it.
//!
//! Windows come from this process' own partitions as they close, before any model is shown the batch, and from other
//! processes through the topic of aggregates. A regressor that is behind is waited for, a moment only: after one wait in
//! vain nobody waits for it again until its next window is here.

use crate::by_series::BySeries;
use crate::catalog::Catalog;
use dashmap::DashMap;
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tidecast_config::Regressor;
use tidecast_event::Aggregate;
use tidecast_ports::{LiveRecord, LiveSink, OutputKind};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Windows kept of all regressors together, and the least and most of one.
const KEPT: usize = 4_000_000;
const KEPT_LEAST: usize = 64;
const KEPT_MOST: usize = 16_384;
/// Regressors kept; those met first stay.
const REGRESSORS: usize = 50_000;
/// How long a window waits for the one of a regressor that is behind. Long, for a busy process reads a backlog of one
/// partition before that of another, and a model that has learnt without its regressor is wrong for long; but once.
const PATIENCE: Duration = Duration::from_secs(5);

/// The fields that are wanted.
type Wants = BySeries<String>;

/// A family's key and the field that is wanted of it.
type Name = (Arc<str>, Arc<str>, String);

/// The windows of regressors. One for the process.
#[derive(Debug, Default)]
pub struct Regressors {
    wants: RwLock<(Option<u64>, Arc<Wants>)>,
    kept: DashMap<Name, Kept>,
    changed: Notify,
}

/// One regressor's windows, oldest first.
#[derive(Debug, Default)]
struct Kept {
    /// Starts, in microseconds, and values; `NaN` where the window had none.
    windows: VecDeque<(i64, f64)>,
}

/// Regressors that were waited for in vain, by place; the newest window that each had then.
#[derive(Debug, Default)]
pub struct GivenUp(Vec<Option<Option<i64>>>);

enum Found {
    Value(f64),
    /// Its newest window is older; `None`: it has none yet.
    Behind(Option<i64>),
}

impl Regressors {
    /// Follows the catalog. Cheap where nothing changed.
    pub fn follow(&self, catalog: &Catalog) {
        let generation = Some(catalog.generation());
        if self.wants.read().unwrap_or_else(PoisonError::into_inner).0 == generation {
            return;
        }
        let wants = catalog.regressors_by_series();
        self.kept.retain(|(family, key, field), _| fields(&wants, family, key).any(|wanted| wanted == field));
        *self.wants.write().unwrap_or_else(PoisonError::into_inner) = (generation, Arc::new(wants));
    }

    /// Some model has a regressor.
    pub fn are_wanted(&self) -> bool {
        !self.wants().is_empty()
    }

    fn wants(&self) -> Arc<Wants> {
        self.wants.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Keeps what is wanted of closed windows. Corrections are not: models learn from first emissions only.
    pub fn put<'w>(&self, windows: impl IntoIterator<Item = &'w Aggregate>) {
        let wants = self.wants();
        if wants.is_empty() {
            return;
        }
        let mut kept_any = false;
        for window in windows.into_iter().filter(|window| window.revision == 0) {
            for field in fields(&wants, &window.series, &window.key) {
                kept_any |= self.keep(window, field);
            }
        }
        if kept_any {
            self.changed.notify_waiters();
        }
    }

    fn keep(&self, window: &Aggregate, field: &str) -> bool {
        let name = (window.series.clone(), window.key.clone(), field.to_owned());
        if self.kept.len() >= REGRESSORS && !self.kept.contains_key(&name) {
            return false;
        }
        let most = (KEPT / self.kept.len().max(1)).clamp(KEPT_LEAST, KEPT_MOST);
        let value = window.field(field).filter(|value| value.is_finite()).unwrap_or(f64::NAN);
        self.kept.entry(name).or_default().keep(window.window_start.0, value, most)
    }

    /// What the regressors were in the window that begins at `start`, in their order: `NaN` where that is not known. A
    /// window without an event is 0 for what counts or sums.
    pub async fn row(&self, of: &[Regressor], start: i64, given_up: &mut GivenUp) -> Vec<f64> {
        given_up.0.resize(of.len(), None);
        let patient_until = Instant::now() + PATIENCE;
        let mut row = Vec::with_capacity(of.len());
        for (regressor, given_up) in of.iter().zip(&mut given_up.0) {
            let value = loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                // Told of what comes from here on, so that nothing is missed between the look and the wait.
                changed.as_mut().enable();
                match self.find(regressor, start) {
                    Found::Value(value) => break value,
                    Found::Behind(newest) if *given_up == Some(newest) => break f64::NAN,
                    Found::Behind(newest) => {
                        if timeout_at(patient_until, changed).await.is_err() {
                            *given_up = Some(newest);
                            break f64::NAN;
                        }
                    }
                }
            };
            row.push(value);
        }
        row
    }

    fn find(&self, of: &Regressor, start: i64) -> Found {
        let name = (of.series.family.as_str().into(), of.series.key.as_str().into(), of.field.clone());
        self.kept.get(&name).map_or(Found::Behind(None), |kept| kept.find(&of.field, start))
    }
}

/// What is wanted of one series. A field that is wanted both of its key and of all keys comes twice.
fn fields<'w>(wants: &'w Wants, family: &str, key: &str) -> impl Iterator<Item = &'w String> {
    wants.of_key(family, key).iter().chain(wants.of_all(family))
}

impl Kept {
    /// True if the window was not there yet.
    fn keep(&mut self, start: i64, value: f64, most: usize) -> bool {
        let at = self.windows.partition_point(|(known, _)| *known < start);
        if self.windows.get(at).is_some_and(|(known, _)| *known == start) {
            return false;
        }
        self.windows.insert(at, (start, value));
        while self.windows.len() > most {
            self.windows.pop_front();
        }
        true
    }

    fn find(&self, field: &str, start: i64) -> Found {
        let at = self.windows.partition_point(|(known, _)| *known < start);
        match self.windows.get(at) {
            None => Found::Behind(self.windows.back().map(|(newest, _)| *newest)),
            Some((known, value)) if *known == start => Found::Value(*value),
            // Older than anything known is unknown; between two windows there was none.
            Some(_) if at > 0 && counts(field) => Found::Value(0.0),
            Some(_) => Found::Value(f64::NAN),
        }
    }
}

/// Whether a window without an event is a zero of this field, rather than unknown.
pub fn counts(field: &str) -> bool {
    field == "event_count" || field.ends_with(".count") || field.ends_with(".sum")
}

/// Hears windows that other processes closed, and passes everything on.
pub struct FarRegressors {
    /// Where they are kept.
    pub regressors: Arc<Regressors>,
    /// What is wanted.
    pub catalog: Arc<Catalog>,
    /// The next hearer, in a process that has one.
    pub next: Option<Arc<dyn LiveSink>>,
}

impl LiveSink for FarRegressors {
    fn publish(&self, records: Vec<LiveRecord>) {
        self.regressors.follow(&self.catalog);
        let wants = self.regressors.wants();
        if !wants.is_empty() {
            let wanted = |record: &&LiveRecord| {
                // The key is `<series>:<key>`: most records are passed over without a look inside.
                record.kind == OutputKind::Aggregate
                    && wants.families().any(|family| {
                        record.key.strip_prefix(family.as_bytes()).is_some_and(|rest| rest.starts_with(b":"))
                    })
            };
            let windows: Vec<Aggregate> = records
                .iter()
                .filter(wanted)
                .filter_map(|record| serde_json::from_slice(&record.value).ok())
                .collect();
            self.regressors.put(&windows);
        }
        if let Some(next) = &self.next {
            next.publish(records);
        }
    }

    fn caught_up(&self) {
        if let Some(next) = &self.next {
            next.caught_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{GivenUp, Regressors};
    use crate::catalog::{Catalog, Registered, Registrar};
    use std::time::Duration;
    use tidecast_config::ModelSpec;
    use tidecast_event::{Aggregate, EventTime};

    fn window(key: &str, start: i64, count: u64) -> Aggregate {
        Aggregate {
            series: "weather".into(),
            key: key.into(),
            event_type: None,
            window_start: EventTime(start),
            window_end: EventTime(start + 10),
            event_count: count,
            aggregates: Default::default(),
            revision: 0,
            late_count: 0,
        }
    }

    fn wanting() -> (Regressors, ModelSpec) {
        let spec = serde_json::json!({"model_id": "m", "model_type": "SARIMAX", "order": [1, 0, 0], "series": "departures:JFK", "field": "event_count",
            "exogenous": ["weather:JFK/event_count", "weather:JFK/temp.avg"]});
        let spec = ModelSpec::from_json(&spec).expect("a model");
        let catalog = Catalog::default();
        let registered = Registered::new(Some(spec.clone()), Registrar::File, 1);
        catalog.set_model("m", Some(registered));
        let regressors = Regressors::default();
        assert!(!regressors.are_wanted());
        regressors.follow(&catalog);
        assert!(regressors.are_wanted());
        (regressors, spec)
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_is_found_by_its_start_and_one_without_events_is_none() {
        let (regressors, spec) = wanting();
        let mut given_up = GivenUp::default();
        regressors.put(&[window("JFK", 0, 7), window("EWR", 10, 9), window("JFK", 20, 8)]);
        let row = async |start, given_up: &mut _| regressors.row(&spec.exogenous, start, given_up).await;
        assert!(
            matches!(row(0, &mut given_up).await[..], [count, temperature] if count == 7.0 && temperature.is_nan())
        );
        assert!(
            matches!(row(10, &mut given_up).await[..], [count, temperature] if count == 0.0 && temperature.is_nan())
        );
        assert_eq!(row(20, &mut given_up).await[0], 8.0);
        // Before anything that is known.
        assert!(row(-10, &mut given_up).await[0].is_nan());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_behind_is_waited_for_once() {
        let (regressors, spec) = wanting();
        let count = &spec.exogenous[..1];
        let mut given_up = GivenUp::default();
        regressors.put(&[window("JFK", 0, 7)]);
        let late = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            regressors.put(&[window("JFK", 10, 8)]);
        };
        let (row, ()) = tokio::join!(regressors.row(count, 10, &mut given_up), late);
        assert_eq!(row[0], 8.0);
        // It stops: the first window waits, those after it do not, until it goes on.
        let started = tokio::time::Instant::now();
        for start in [20, 30, 40] {
            assert!(regressors.row(count, start, &mut given_up).await[0].is_nan());
        }
        assert_eq!(started.elapsed(), super::PATIENCE);
        regressors.put(&[window("JFK", 50, 9)]);
        assert_eq!(regressors.row(count, 50, &mut given_up).await[0], 9.0);
    }
}
