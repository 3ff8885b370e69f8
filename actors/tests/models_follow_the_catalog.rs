//! Templates make a model for each key; what is removed or changed stops; what is restored goes on where it was.

mod stage;

use stage::{batch, register, start, start_with};
use std::sync::Arc;
use tidecast_actors::brain::{BrainMaker, StreamModels};
use tidecast_actors::catalog::{Catalog, Registered, Registrar};
use tidecast_actors::messages::{BatchOutput, SnapshotParts};
use tidecast_config::ModelSpec;
use tidecast_forecast::stream::State;

fn naive() -> serde_json::Value {
    serde_json::json!({"model_id": "naive", "model_type": "SeasonalNaive", "series": "departures:*", "horizon": 2})
}

#[tokio::test]
async fn a_template_makes_models_and_its_removal_ends_them() {
    let mut stage = start(&[naive()], Arc::new(StreamModels), Vec::new()).await;
    for hour in 0..4 {
        stage.pass(batch(hour, &[("JFK", 10), ("LGA", 20)])).await;
    }
    assert_eq!(stage.registry.names(), ["naive/JFK", "naive/LGA"]);
    stage.catalog.set_model("naive", None);
    let output = stage.pass(batch(4, &[("JFK", 10), ("LGA", 20)])).await;
    assert!(output.forecasts.is_empty());
    assert!(stage.registry.is_empty());
}

#[tokio::test]
async fn a_model_registered_later_forecasts_its_running_series() {
    let mut stage = start(&[], Arc::new(StreamModels), Vec::new()).await;
    stage.pass(batch(0, &[("JFK", 10)])).await;
    let model = serde_json::json!({"model_id": "one", "model_type": "SeasonalNaive", "series": "departures:JFK",
        "history": [8.0, 9.0, 10.0, 11.0]});
    register(&stage.catalog, &model, 1);
    let output = stage.pass(batch(1, &[("JFK", 12)])).await;
    let [forecast] = output.forecasts.as_slice() else { panic!("one forecast, not {:?}", output.forecasts) };
    let message: serde_json::Value = serde_json::from_slice(&forecast.json).expect("is JSON");
    assert_eq!(message["model_id"], "one");
    assert_eq!(message["predicted_value"], 12.0);
    assert_eq!(message["timestamp"], "1970-01-01T02:00:00Z");
}

#[tokio::test]
async fn a_model_that_is_forecast_elsewhere_is_not_fitted_here() {
    let external =
        serde_json::json!({"model_id": "far", "model_type": "External", "series": "departures:JFK"});
    let mut stage = start(&[external], Arc::new(StreamModels), Vec::new()).await;
    let output = stage.pass(batch(0, &[("JFK", 10)])).await;
    assert!(output.forecasts.is_empty() && stage.registry.is_empty(), "{:?}", stage.registry.names());
}

#[tokio::test]
async fn a_snapshot_carries_models_into_the_next_life() {
    let mut stage = start(&[naive()], Arc::new(StreamModels), Vec::new()).await;
    for hour in 0..10 {
        stage.pass(batch(hour, &[("JFK", 10 + hour as u64)])).await;
    }
    let mut asking = batch(10, &[]);
    asking.snapshot = Some(SnapshotParts::default());
    let models = stage.pass(asking).await.snapshot.expect("the snapshot comes out").models;
    assert_eq!(models.len(), 1);
    let next = stage.pass(batch(11, &[("JFK", 30)])).await;

    let mut restored = start(&[naive()], Arc::new(StreamModels), models).await;
    let entry = restored.registry.get("naive/JFK").expect("there before its series is seen again");
    assert_eq!(entry.status().observations, 10);
    let again = restored.pass(batch(11, &[("JFK", 30)])).await;
    assert_eq!(again.forecasts[0].json, next.forecasts[0].json, "the same input gives the same bytes");
    assert_eq!(
        again.records.iter().map(|record| record.id).collect::<Vec<_>>(),
        next.records.iter().map(|record| record.id).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_fit_that_is_asked_for_comes_with_the_next_window_and_once() {
    let mut stage = start(&[naive()], Arc::new(StreamModels), Vec::new()).await;
    let ask = |catalog: &Catalog, version, refits: &[(&str, u64)]| {
        let mut template = Registered::new(ModelSpec::from_json(&naive()).ok(), Registrar::Api, version);
        template.refits = refits.iter().map(|(id, times)| ((*id).to_owned(), *times)).collect();
        catalog.set_model("naive", Some(template));
    };
    let hour = |hour: i64| batch(hour, &[("JFK", 10 + hour as u64), ("LGA", 20)]);
    let retrained = |output: &BatchOutput| -> Vec<String> {
        let forecasts = output.forecasts.iter().filter(|forecast| forecast.retrained);
        let mut models: Vec<String> = forecasts.map(|forecast| forecast.model_id.to_string()).collect();
        models.sort_unstable();
        models
    };
    for at in 0..6 {
        stage.pass(hour(at)).await;
    }
    assert!(retrained(&*stage.pass(hour(6)).await).is_empty());
    ask(&stage.catalog, 1, &[("naive/JFK", 1)]);
    assert_eq!(retrained(&*stage.pass(hour(7)).await), ["naive/JFK"]);
    assert!(retrained(&*stage.pass(hour(8)).await).is_empty(), "once");
    ask(&stage.catalog, 1, &[("naive/JFK", 1), ("naive", 1)]);
    assert_eq!(
        retrained(&*stage.pass(hour(9)).await),
        ["naive/JFK", "naive/LGA"],
        "all that the template made"
    );

    let mut asking = batch(10, &[]);
    asking.snapshot = Some(SnapshotParts::default());
    let models = stage.pass(asking).await.snapshot.expect("the snapshot comes out").models;
    let catalog = Catalog::default();
    ask(&catalog, 1, &[("naive/JFK", 1), ("naive", 1), ("naive/LGA", 1)]);
    let mut restored = start_with(catalog, Arc::new(StreamModels), models).await;
    let output = restored.pass(hour(11)).await;
    assert_eq!(
        retrained(&output),
        ["naive/LGA"],
        "what was asked for while nobody ran it, and nothing twice"
    );
    ask(&restored.catalog, 2, &[]);
    assert!(retrained(&*restored.pass(hour(12)).await).is_empty());
    ask(&restored.catalog, 2, &[("naive/LGA", 1)]);
    assert_eq!(retrained(&*restored.pass(hour(13)).await), ["naive/LGA"], "registered anew, counted anew");
}

#[tokio::test]
async fn one_batch_with_more_windows_than_a_model_has_room_for_comes_through() {
    let mut stage = start(&[naive()], Arc::new(StreamModels), Vec::new()).await;
    let mut history = batch(0, &[("JFK", 10)]);
    for hour in 1..500 {
        history.closed.extend(batch(hour, &[("JFK", 10 + hour as u64 % 24)]).closed);
    }
    let output = stage.pass(history).await;
    assert_eq!(output.closed.len(), 500);
    assert!(output.forecasts.len() > 400, "{} forecasts", output.forecasts.len());
}

#[tokio::test]
async fn windows_without_an_event_count_zero_and_the_forecast_after_them_knows() {
    let mut stage = start(&[naive()], Arc::new(StreamModels), Vec::new()).await;
    for hour in [0, 1, 2, 3, 4, 5, 8] {
        stage.pass(batch(hour, &[("JFK", 10)])).await;
    }
    let history = stage.registry.get("naive/JFK").expect("is registered").history(10);
    let predicted: Vec<Option<f64>> = history.iter().map(|point| point.predicted).collect();
    assert_eq!(predicted[5], Some(10.0), "the value before");
    assert_eq!(predicted[6], Some(0.0), "two hours without an event came before");
    assert_eq!(stage.registry.get("naive/JFK").expect("is registered").status().observations, 9);
}

#[tokio::test]
async fn the_summary_is_that_of_the_fit_in_use() {
    let model = serde_json::json!({"model_id": "m", "model_type": "ARIMA", "order": [1, 0, 0],
        "series": "departures:JFK", "field": "event_count"});
    let mut stage = start(std::slice::from_ref(&model), Arc::new(StreamModels), Vec::new()).await;
    let mut beside = StreamModels.make(&ModelSpec::from_json(&model).expect("a model")).expect("a model");
    let mut fits = 0;
    for hour in 0..120 {
        let count = 50 + (hour as u64 * 31) % 17;
        stage.pass(batch(hour, &[("JFK", count)])).await;
        let before = beside.summary();
        beside.observe(count as f64, &[]);
        if beside.state() == State::Fitting {
            beside.install(beside.take_fit().expect("a fit is asked for").run());
        }
        fits += u32::from(beside.summary() != before);
        let told = stage.registry.get("m").expect("the model runs").status().summary;
        let in_use = beside.summary().map(|summary| serde_json::to_string(&summary).expect("plain data"));
        assert_eq!(told.as_deref().map(serde_json::value::RawValue::get), in_use.as_deref(), "hour {hour}");
    }
    assert!(fits >= 3, "{fits} fits");
}
