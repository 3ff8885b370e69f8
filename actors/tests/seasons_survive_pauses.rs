//! A season is where it was after a pause, however long it took and whatever part of it is gone through.

mod stage;

use stage::{Stage, batch, start};
use std::sync::Arc;
use tidecast_actors::brain::StreamModels;
use tidecast_event::FieldStats;

const SEASON: i64 = 7;

/// Sends the window of that hour in, with this mean of the load, and gives the forecasts that it led to, by model.
async fn pass(stage: &mut Stage, hour: i64) -> Vec<(String, f64)> {
    let load = load(hour);
    let mut output = batch(hour, &[("JFK", 1)]);
    let aggregate = Arc::make_mut(&mut output.closed[0].aggregate);
    let one = FieldStats {
        count: 1,
        sum: load,
        avg: load,
        min: load,
        max: load,
        std: 0.0,
        p50: None,
        p95: None,
        p99: None,
    };
    aggregate.aggregates = [("load".into(), one)].into_iter().collect();
    let output = stage.pass(output).await;
    let next = |json: &[u8]| {
        let forecast: serde_json::Value = serde_json::from_slice(json).expect("JSON");
        forecast["metadata"]["path"][0]["mean"].as_f64().expect("a mean")
    };
    output.forecasts.iter().map(|f| (f.model_id.to_string(), next(&f.json))).collect()
}

fn load(hour: i64) -> f64 {
    let place = hour.rem_euclid(SEASON);
    100.0 + 20.0 * place as f64 + 0.1 * ((hour * 31) % 10) as f64
}

#[tokio::test]
async fn the_next_window_has_the_place_that_it_would_have_had() {
    let families = ["SeasonalNaive", "ETS", "Theta", "Ensemble"];
    let models: Vec<serde_json::Value> = families
        .iter()
        .map(|family| {
            serde_json::json!({"model_id": family, "model_type": family, "season": SEASON,
                "series": "departures:JFK", "field": "load.avg"})
        })
        .collect();
    let mut stage = start(&models, Arc::new(StreamModels), Vec::new()).await;
    let mut hour = 0;
    for _ in 0..70 {
        pass(&mut stage, hour).await;
        hour += 1;
    }
    // All of a pause, and no more than the end of one that is too long to go through.
    for pause in [25, 20_001] {
        hour += pause;
        let forecasts = pass(&mut stage, hour).await;
        hour += 1;
        assert_eq!(forecasts.len(), families.len(), "{forecasts:?}");
        for (model, mean) in forecasts {
            let off = (mean - load(hour)).abs();
            assert!(off < 10.0, "{model} after {pause}: {mean} where {} comes", load(hour));
        }
        for _ in 0..14 {
            pass(&mut stage, hour).await;
            hour += 1;
        }
    }
}
