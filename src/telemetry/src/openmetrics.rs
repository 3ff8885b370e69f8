//! OpenMetrics 1.0 text, which the metrics library does not write.
//!
//! It differs from Prometheus text where scrapers are strict: a counter's family is named without `_total` and its
//! sample with it, bounds and values are floats, quotes are escaped in help, and the end is marked.

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};
use std::fmt::Write;

/// Base units of the specification that our names end in.
const UNITS: [&str; 5] = ["seconds", "bytes", "ratio", "celsius", "volts"];

/// Writes the families.
pub(crate) fn encode(families: &[MetricFamily]) -> String {
    let mut out = String::new();
    for family in families {
        let kind = family.get_field_type();
        let base = match kind {
            MetricType::COUNTER => family.name().strip_suffix("_total").unwrap_or(family.name()),
            _ => family.name(),
        };
        head(&mut out, base, kind, family.help());
        for metric in family.get_metric() {
            samples(&mut out, base, kind, metric);
        }
    }
    out.push_str("# EOF\n");
    out
}

fn head(out: &mut String, base: &str, kind: MetricType, help: &str) {
    let kind = match kind {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        MetricType::SUMMARY => "summary",
        MetricType::UNTYPED => "unknown",
    };
    line(out, &format!("# TYPE {base} {kind}"));
    if let Some(unit) =
        UNITS.iter().find(|unit| base.strip_suffix(**unit).is_some_and(|rest| rest.ends_with('_')))
    {
        line(out, &format!("# UNIT {base} {unit}"));
    }
    if !help.is_empty() {
        line(out, &format!("# HELP {base} {}", escape(help)));
    }
}

fn samples(out: &mut String, base: &str, kind: MetricType, metric: &Metric) {
    let labels = metric.get_label();
    match kind {
        MetricType::COUNTER => sample(out, base, "_total", labels, None, metric.get_counter().get_value()),
        MetricType::GAUGE | MetricType::UNTYPED => {
            sample(out, base, "", labels, None, metric.get_gauge().get_value());
        }
        MetricType::HISTOGRAM => {
            let histogram = metric.get_histogram();
            let count = histogram.get_sample_count() as f64;
            let bounds = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite());
            for bucket in bounds {
                let bound = float(bucket.upper_bound());
                sample(out, base, "_bucket", labels, Some(("le", &bound)), bucket.cumulative_count() as f64);
            }
            sample(out, base, "_bucket", labels, Some(("le", "+Inf")), count);
            sample(out, base, "_count", labels, None, count);
            sample(out, base, "_sum", labels, None, histogram.get_sample_sum());
        }
        MetricType::SUMMARY => {
            let summary = metric.get_summary();
            for quantile in summary.get_quantile() {
                let rank = float(quantile.quantile());
                sample(out, base, "", labels, Some(("quantile", &rank)), quantile.value());
            }
            sample(out, base, "_count", labels, None, summary.sample_count() as f64);
            sample(out, base, "_sum", labels, None, summary.sample_sum());
        }
    }
}

fn sample(
    out: &mut String,
    base: &str,
    suffix: &str,
    labels: &[LabelPair],
    extra: Option<(&str, &str)>,
    value: f64,
) {
    out.push_str(base);
    out.push_str(suffix);
    let own = labels.iter().map(|label| (label.name(), label.value()));
    let mut opened = false;
    for (name, value) in own.chain(extra) {
        let before = if opened { ',' } else { '{' };
        opened = true;
        write!(out, "{before}{name}=\"{}\"", escape(value)).expect("writing to a String does not fail");
    }
    if opened {
        out.push('}');
    }
    line(out, &format!(" {}", number(value)));
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// Bounds are floats in their shortest form, never whole numbers: `1.0`.
fn float(value: f64) -> String {
    match number(value) {
        text if text.contains(['.', 'e', 'I', 'N']) => text,
        text => format!("{text}.0"),
    }
}

fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".into(),
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        value => value.to_string(),
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}
