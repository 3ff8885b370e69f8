//! A model with an exogenous series sees the window of that series that begins with its own, in whatever order the two
//! close, and also where another partition or process closed it.

mod stage;

use stage::{batch, start};
use std::sync::Arc;
use tidecast_actors::brain::StreamModels;
use tidecast_actors::messages::{BatchOutput, ClosedWindow};
use tidecast_event::Aggregate;

fn model() -> serde_json::Value {
    serde_json::json!({"model_id": "m", "model_type": "SARIMAX", "order": [1, 0, 0],
        "series": "departures:JFK", "field": "event_count", "exogenous": ["departures:weather/event_count"]})
}

fn weather(hour: i64) -> u64 {
    (hour as u64 * 31) % 17
}

/// Three departures for each degree, and a little that it does not explain.
fn departures(hour: i64) -> u64 {
    500 + 30 * weather(hour) + (hour as u64 * 7) % 5
}

fn slope(stage: &stage::Stage) -> f64 {
    let summary = stage.registry.get("m").expect("the model runs").status().summary.expect("it is fitted");
    let summary: serde_json::Value = serde_json::from_str(summary.get()).expect("JSON");
    summary["params"]["x1"].as_f64().expect("a coefficient")
}

#[tokio::test]
async fn windows_of_one_batch_are_joined_in_any_order() {
    let mut stage = start(&[model()], Arc::new(StreamModels), Vec::new()).await;
    for hour in 0..80 {
        let both = [("JFK", departures(hour)), ("weather", weather(hour))];
        let output = if hour % 2 == 0 { batch(hour, &both) } else { batch(hour, &[both[1], both[0]]) };
        stage.pass(output).await;
    }
    assert!((slope(&stage) - 30.0).abs() < 0.5, "{}", slope(&stage));
}

#[tokio::test]
async fn windows_that_were_closed_elsewhere_are_joined() {
    let mut stage = start(&[model()], Arc::new(StreamModels), Vec::new()).await;
    let windows = |output: &BatchOutput| -> Vec<Aggregate> {
        output.closed.iter().map(|ClosedWindow { aggregate, .. }| (**aggregate).clone()).collect()
    };
    // Ahead of this partition by all of it, as a quick partition would be.
    for hour in 0..80 {
        stage.regressors.put(&windows(&batch(hour, &[("weather", weather(hour))])));
    }
    for hour in 0..80 {
        stage.pass(batch(hour, &[("JFK", departures(hour))])).await;
    }
    assert!((slope(&stage) - 30.0).abs() < 0.5, "{}", slope(&stage));
}
