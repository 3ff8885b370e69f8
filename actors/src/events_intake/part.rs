//! Series of an events partition, by what they share.

use crate::metrics::PipelineMetrics;
use crate::repartition::Route;
use std::time::Duration;
use tidecast_config::{EmptyWindows, SeriesSpec, Settings, WindowSpec};
use tidecast_event::TopicPartition;
use tidecast_rules::Filter;
use tidecast_window::{Group, WindowKind};

/// A family of series as the window room wants it.
pub fn window_spec(spec: &SeriesSpec) -> tidecast_window::SeriesSpec {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    tidecast_window::SeriesSpec {
        name: spec.name.clone(),
        values: spec.values.clone(),
        window: match spec.window {
            WindowSpec::Tumbling { size } => WindowKind::Tumbling { size_micros: micros(size) },
            WindowSpec::Hopping { size, advance } => {
                WindowKind::Hopping { size_micros: micros(size), advance_micros: micros(advance) }
            }
            WindowSpec::Session { gap } => WindowKind::Session { gap_micros: micros(gap) },
        },
        lateness_micros: micros(spec.lateness),
        grace_micros: micros(spec.grace),
        percentiles: spec.percentiles,
        empty_windows: spec.empty_windows == EmptyWindows::Emit,
    }
}

/// From one window's start to the next's, microseconds; 0 for sessions.
pub fn advance_of(window: WindowKind) -> i64 {
    match window {
        WindowKind::Tumbling { size_micros } => size_micros,
        WindowKind::Hopping { advance_micros, .. } => advance_micros,
        WindowKind::Session { .. } => 0,
    }
}

/// Series of the partition that share a grouping field, a way and an idle time.
pub(super) struct Part {
    /// How decisions name it.
    pub mark: String,
    pub key: String,
    pub idle_after: Duration,
    pub group: Group,
    pub filters: Vec<Option<Filter>>,
    pub advances: Vec<i64>,
    /// The repartition topics, one a series; `None` where the record key groups already.
    pub routes: Option<Vec<Route>>,
    /// An event was taken since the windows were last closed by quiet.
    pub open: bool,
    /// Values that each series had left out when that was last told.
    pub left_out: Vec<u64>,
}

impl Part {
    /// Tells of values that are in no window, for their series has too many fields.
    pub fn tell_left_out(&mut self, partition: &TopicPartition, metrics: &PipelineMetrics) {
        for (at, spec) in self.group.specs().enumerate() {
            let (now, told) = (self.group.values_dropped(at), self.left_out[at]);
            if now > told {
                metrics.values_left_out.with_label_values(&[&spec.name]).inc_by(now - told);
                // Once for each doubling.
                if told == 0 || now.ilog2() > told.ilog2() {
                    let (series, most) = (&spec.name, tidecast_window::MAX_FIELDS);
                    tracing::warn!(%partition, series, values = now, "numeric values were left out: a series has at most {most} \
                        fields at a time; name those that are wanted in `values`");
                }
                self.left_out[at] = now;
            }
        }
    }

    /// Something of it is open, or downstream does not know yet that it is quiet.
    pub fn is_waiting(&self) -> bool {
        self.open || self.routes.iter().flatten().any(|route| !route.is_idle())
    }
}

/// How far the name of a part says what its state is of: its way and its key. How soon it is closed by quiet comes after.
pub(super) fn stem(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(stem, _)| stem)
}

/// How a decision names the part of that name: by what its state is of and how soon it is closed by quiet, whatever else is
/// configured beside it and in which order. Offsets of parts would be others after any change.
pub(super) fn mark(name: &str) -> String {
    // FNV-1a, 32 bits: it is written down, so it has to stay the same.
    let hash =
        |text: &str| text.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    let folded = |h: u32| h ^ (h >> 16);
    let (stem, quiet) = name.split_at(stem(name).len());
    format!("{:06x}{:04x}", folded(hash(stem)) & 0xff_ffff, folded(hash(quiet)) & 0xffff)
}

/// Which of these marks a decision means: the same; or the only one whose state is of the same, where only how soon it is
/// closed by quiet has changed.
pub(super) fn marked(marks: &[&str], wanted: &str) -> Option<usize> {
    let of_stem = |mark: &str| wanted.get(..6).is_some_and(|stem| mark.starts_with(stem));
    marks.iter().position(|mark| *mark == wanted).or_else(|| {
        let mut same = (0..marks.len()).filter(|at| of_stem(marks[*at]));
        same.next().filter(|_| same.next().is_none())
    })
}

/// The series of a topic, by what they can share. The name of a part finds its state again.
pub(super) fn by_part<'s>(settings: &'s Settings, topic: &str) -> Vec<(String, Vec<&'s SeriesSpec>)> {
    let mut parts: Vec<(String, Vec<&SeriesSpec>)> = Vec::new();
    for spec in &settings.series {
        if spec.topic.as_deref().unwrap_or(&settings.topics.events) != topic {
            continue;
        }
        let way = if spec.is_repartitioned() { "partial" } else { "direct" };
        let id = format!("{way}:{}:{}", spec.key, spec.idle_after.as_micros());
        match parts.iter_mut().find(|(known, _)| *known == id) {
            Some((_, specs)) => specs.push(spec),
            None => parts.push((id, vec![spec])),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_by_its_mark_wherever_it_stands() {
        let marks = ["direct:source:3600000000", "partial:type:1000000", "partial:type:2000000"].map(mark);
        // Written down: another build finds it.
        assert_eq!(marks[0], "94c43b5805");
        let [source, soon, later] = marks.each_ref().map(String::as_str);
        assert_eq!(marked(&[source, soon, later], soon), Some(1));
        assert_eq!(marked(&[later, soon], soon), Some(1), "in another order, without the first");
        assert_eq!(marked(&[source, later], soon), Some(1), "closed by quiet at another time than before");
        assert_eq!(marked(&[source], soon), None);
        assert_eq!(marked(&[soon, later], &mark("partial:type:3")), None, "either might be meant");
    }
}
