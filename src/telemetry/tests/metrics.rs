//! What a scraper reads.

use prometheus::{Counter, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};
use tidecast_telemetry::{Build, OPENMETRICS, TEXT, registry, render};

fn sample() -> Registry {
    let registry = Registry::new();
    let events =
        IntCounterVec::new(Opts::new("events_in_total", "Records \"read\"\nin all."), &["topic"]).unwrap();
    events.with_label_values(&["a\"b\\c\nd"]).inc_by(3);
    let odd = Counter::with_opts(Opts::new("odd_name", "Without a suffix.")).unwrap();
    odd.inc_by(1.5);
    let age = IntGauge::new("age_seconds", "Age.").unwrap();
    age.set(7);
    let options = HistogramOpts::new("event_processing_duration_ms", "Time.").buckets(vec![0.5, 1.0, 10.0]);
    let time = Histogram::with_opts(options).unwrap();
    time.observe(0.7);
    time.observe(100.0);
    registry.register(Box::new(events)).unwrap();
    registry.register(Box::new(odd)).unwrap();
    registry.register(Box::new(age)).unwrap();
    registry.register(Box::new(time)).unwrap();
    registry
}

#[test]
fn openmetrics_is_written_to_the_letter() {
    let rendered = render(&sample(), Some("application/openmetrics-text; version=1.0.0")).unwrap();
    assert_eq!(rendered.content_type, OPENMETRICS);
    assert_eq!(
        rendered.body,
        "# TYPE age_seconds gauge\n# UNIT age_seconds seconds\n# HELP age_seconds Age.\nage_seconds 7\n\
         # TYPE event_processing_duration_ms histogram\n# HELP event_processing_duration_ms Time.\n\
         event_processing_duration_ms_bucket{le=\"0.5\"} 0\nevent_processing_duration_ms_bucket{le=\"1.0\"} 1\n\
         event_processing_duration_ms_bucket{le=\"10.0\"} 1\nevent_processing_duration_ms_bucket{le=\"+Inf\"} 2\n\
         event_processing_duration_ms_count 2\nevent_processing_duration_ms_sum 100.7\n\
         # TYPE events_in counter\n# HELP events_in Records \\\"read\\\"\\nin all.\n\
         events_in_total{topic=\"a\\\"b\\\\c\\nd\"} 3\n\
         # TYPE odd_name counter\n# HELP odd_name Without a suffix.\nodd_name_total 1.5\n# EOF\n"
    );
}

#[test]
fn prometheus_text_is_the_default() {
    for accept in [None, Some("*/*"), Some("text/plain")] {
        let rendered = render(&sample(), accept).unwrap();
        assert_eq!(rendered.content_type, TEXT);
        assert!(
            rendered
                .body
                .contains("# TYPE events_in_total counter\nevents_in_total{topic=\"a\\\"b\\\\c\\nd\"} 3\n")
        );
        assert!(!rendered.body.contains("# EOF"));
    }
}

#[test]
fn the_process_and_the_build_are_told() {
    let registry = registry(&Build { version: "1.2.3", commit: "abc", roles: "worker" }).unwrap();
    let body = render(&registry, None).unwrap().body;
    assert!(
        body.contains("tidecast_build_info{commit=\"abc\",roles=\"worker\",version=\"1.2.3\"} 1\n"),
        "{body}"
    );
    if cfg!(target_os = "linux") {
        for name in [
            "process_resident_memory_bytes",
            "process_cpu_seconds_total",
            "process_open_fds",
            "process_threads",
            "process_start_time_seconds",
        ] {
            let value: f64 =
                body.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).expect(name);
            assert!(value.is_finite() && value >= 0.0, "{name} {value}");
        }
    }
}
