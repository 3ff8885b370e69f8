//! Events a second through many complex rules. Promised: 500; printed beside it: what one evaluation costs.

#![allow(missing_docs)] // made by criterion's macros

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;
use tidecast_event::{EventKind, EventTime};
use tidecast_rules::{Filter, FilterEvent, Rule, RuleEvent, RuleSet};

fn forecast() -> RuleEvent {
    let path: Vec<_> = (0..12)
        .map(|step| json!({"timestamp": "2026-01-20T10:30:00Z", "mean": step, "lower": 0.5, "upper": 2.5}))
        .collect();
    let sample = json!({
        "model_id": "sales_model_001", "priority": "HIGH", "timestamp": "2026-01-20T10:30:00Z",
        "data": {"model_id": "sales_model_001", "predicted_value": 5285.4, "confidence_interval": [1180.5, 1390.3],
            "forecast_horizon": 7, "model_type": "SARIMA", "model_accuracy": 0.92, "metadata": {"path": path}},
        "metadata": {"region": "Nord", "product_id": "PROD-001"}
    });
    RuleEvent::from_json(&sample, EventKind::ForecastGenerated, EventTime(0)).expect("the sample is an event")
}

fn rules(count: usize) -> RuleSet {
    let mut set = RuleSet::default();
    for index in 0..count {
        let condition = format!(
            "data.get('predicted_value', 0) > {index} * 10 && (metadata.region in ['Nord', 'Sud'] || priority >= \
             EventPriority.HIGH) && data.confidence_interval[1] - data.confidence_interval[0] < data.predicted_value * 2 \
             && model_id.startsWith('sales_') && data.get('model_accuracy', 1) >= 0.7"
        );
        let rule = json!({"name": format!("r{index}"), "event_type": "FORECAST_GENERATED", "condition": condition, "action": "log"});
        set.put(Rule::from_json(&rule).expect("the rule compiles"));
    }
    set
}

fn benches(criterion: &mut Criterion) {
    let event = forecast();
    let mut group = criterion.benchmark_group("rules");
    for count in [1usize, 100, 500] {
        let set = rules(count);
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("events through {count} complex rules"), |bencher| {
            bencher.iter(|| set.evaluate(&event).len());
        });
    }
    let quick = Filter::compile("type == \"departure\"").expect("the filter compiles");
    group.bench_function("where on type alone", |bencher| {
        bencher.iter(|| quick.quick(std::hint::black_box("departure"), std::hint::black_box("JFK/B6")));
    });
    let slow = Filter::compile("type == \"departure\" && data.dep_delay > 15").expect("the filter compiles");
    let data = json!({"dep_delay": 20, "arr_delay": 3, "origin": "JFK", "dest": "BOS", "carrier": "B6", "distance": 187});
    let data = data.as_object().expect("an object");
    group.bench_function("where on a field of data", |bencher| {
        bencher.iter(|| {
            slow.evaluate(&FilterEvent {
                kind: "departure",
                source: "JFK/B6",
                timestamp: None,
                data,
                metadata: None,
            })
        });
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
