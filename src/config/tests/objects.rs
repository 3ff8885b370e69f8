//! `[[series]]`, `[[models]]` and `[[rules]]`: what is taken, what is refused, and the field at fault.

use serde_json::{Value, json};
use std::time::Duration;
use tidecast_config::{
    EmptyWindows, ModelSpec, ModelType, Order, RuleSpec, SeriesSpec, Settings, Sources, WindowSpec,
};

fn load(text: &str) -> Result<Settings, String> {
    let sources = Sources { file: Some(("t.toml".into(), text.into())), ..Sources::default() };
    Settings::load(&sources).map_err(|error| error.to_string())
}

#[test]
fn the_contracts_series_reads_as_it_is_written() {
    let text = r#"
        [[series]]
        name = "departures"
        topic = "flights"
        where = 'type == "departure"'
        key = "source"
        values = ["dep_delay"]
        window = { kind = "tumbling", size = "1h" }
        lateness = "5s"
        grace = "1m"
        idle_after = "30s"
        empty_windows = "emit"
        percentiles = false

        [[series]]
        name = "hops"
        window = { kind = "hopping", size = "10s", advance = "1s" }
        [[series]]
        name = "visits"
        window = { kind = "session", gap = "5m" }
    "#;
    let settings = load(text).unwrap();
    let series = &settings.series[0];
    assert_eq!(series.topic.as_deref(), Some("flights"));
    assert_eq!(series.filter.as_deref(), Some("type == \"departure\""));
    assert_eq!(series.values.as_deref(), Some(&["dep_delay".to_owned()][..]));
    assert_eq!(series.window, WindowSpec::Tumbling { size: Duration::from_secs(3600) });
    assert_eq!((series.lateness, series.grace), (Duration::from_secs(5), Duration::from_secs(60)));
    assert_eq!((series.empty_windows, series.percentiles), (EmptyWindows::Emit, false));
    let hop = WindowSpec::Hopping { size: Duration::from_secs(10), advance: Duration::from_secs(1) };
    assert_eq!(settings.series[1].window, hop);
    assert_eq!(settings.series[1].lateness, Duration::from_secs(5));
    assert_eq!(settings.series[2].window, WindowSpec::Session { gap: Duration::from_secs(300) });
    assert_eq!(settings.input_topics(), ["flights", "analytics-events"]);
    let written = serde_json::to_value(series).unwrap();
    assert_eq!(
        (&written["window"], &written["grace"]),
        (&json!({"kind": "tumbling", "size": "1h"}), &json!("1m"))
    );
}

#[test]
fn a_series_that_makes_no_sense_is_refused() {
    let cases = [
        ("key = \"x\"", "series[0].name (t.toml:1): found nothing"),
        ("name = \"a:b\"", "without :"),
        ("name = \"a\"\nwindow = { size = 5 }", "series[0].window.size (t.toml:3): found 5"),
        ("name = \"a\"\nwindow = { size = \"0s\" }", "at least 1ms"),
        ("name = \"a\"\nwindow = { size = \"-1s\" }", "\"-1s\""),
        ("name = \"a\"\nwindow = { kind = \"rolling\" }", "tumbling, hopping or session"),
        ("name = \"a\"\nwindow = { kind = \"hopping\", size = \"10s\" }", "series[0].window.advance"),
        (
            "name = \"a\"\nwindow = { kind = \"hopping\", size = \"10s\", advance = \"3s\" }",
            "3s in a window of size 10s",
        ),
        ("name = \"a\"\nwindow = { kind = \"hopping\", size = \"10s\", advance = \"20s\" }", "divides 10s"),
        ("name = \"a\"\nwindow = { kind = \"session\" }", "series[0].window.gap"),
        ("name = \"a\"\nwindow = { size = \"10s\", gap = \"1s\" }", "series[0].window.gap"),
        ("name = \"a\"\nwindow = \"1h\"", "series[0].window (t.toml:3): found a text; allowed: a table"),
        ("name = \"a\"\nlateness = 5", "series[0].lateness (t.toml:3): found 5"),
        ("name = \"a\"\nvalues = [\"x\", \"x\"]", "series[0].values[1]"),
        ("name = \"a\"\nvalues = [\"x..y\"]", "series[0].values[0]"),
        ("name = \"a\"\nkey = \"data.\"", "series[0].key"),
        ("name = \"a\"\nempty_windows = \"maybe\"", "skip or emit"),
    ];
    for (text, part) in cases {
        let message = load(&format!("[[series]]\n{text}\n")).expect_err(text);
        assert!(message.contains(part), "{text}: {message}");
    }
}

fn sarima() -> Value {
    json!({"model_id": "sales_sarima", "model_type": "SARIMA", "order": [1,1,1], "seasonal_order": [1,1,1,7],
        "series": "departures:JFK", "field": "event_count", "history": [1012.5, 998, null],
        "horizon": 7, "level": 0.95, "anomaly_threshold": 0.8, "update_frequency_seconds": 60,
        "metadata": {"product": "Widget A", "region": "North"}, "enabled": true})
}

fn with(changes: Value) -> Value {
    let mut model = sarima();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::String(text) if text == "REMOVE" => drop(model.as_object_mut().unwrap().remove(name)),
            _ => model[name] = value.clone(),
        }
    }
    model
}

#[test]
fn the_contracts_model_reads_and_writes_as_it_is_written() {
    let model = ModelSpec::from_json(&sarima()).unwrap();
    assert_eq!(model.model_type, ModelType::Sarima);
    assert_eq!(model.order, Some(Order::Arima { p: 1, d: 1, q: 1 }));
    assert_eq!(model.seasonal_order, Some([1, 1, 1, 7]));
    assert_eq!(model.history, [Some(1012.5), Some(998.0), None]);
    assert_eq!(model.series.as_ref().unwrap().to_string(), "departures:JFK");
    let written = serde_json::to_value(&model).unwrap();
    assert_eq!(serde_json::from_value::<ModelSpec>(written.clone()).unwrap(), model);
    assert_eq!(
        (&written["model_type"], &written["order"], &written["series"]),
        (&json!("SARIMA"), &json!([1, 1, 1]), &json!("departures:JFK"))
    );
}

#[test]
fn the_contracts_types_all_have_their_names() {
    for name in [
        "ARIMA",
        "SARIMA",
        "SARIMAX",
        "AutoARIMA",
        "ETS",
        "AutoETS",
        "Theta",
        "DynamicOptimizedTheta",
        "GARCH",
        "SeasonalNaive",
        "Ensemble",
        "External",
    ] {
        let model = ModelType::parse(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!((model.as_str(), serde_json::to_value(model).unwrap()), (name, json!(name)));
    }
}

#[test]
fn a_model_that_makes_no_sense_names_its_field() {
    let cases = [
        (json!({"model_id": ""}), "model_id"),
        (json!({"model_id": "a*"}), "model_id"),
        (json!({"model_id": "REMOVE"}), "model_id"),
        (json!({"model_type": "LSTM"}), "model_type"),
        (json!({"model_type": "REMOVE"}), "model_type"),
        (json!({"model_type": "ETS"}), "order"),
        (json!({"model_type": "ETS", "order": "REMOVE"}), "seasonal_order"),
        (json!({"model_type": "ARIMA"}), "seasonal_order"),
        (json!({"order": "REMOVE"}), "order"),
        (json!({"order": [1, 1]}), "order"),
        (json!({"order": [1, -1, 1]}), "order[1]"),
        (json!({"order": [1, 1, 1.5]}), "order[2]"),
        (json!({"order": [99, 1, 1]}), "order[0]"),
        (json!({"order": "1,1,1"}), "order"),
        (json!({"seasonal_order": "REMOVE"}), "seasonal_order"),
        (json!({"seasonal_order": [1, 1, 1, 1]}), "seasonal_order[3]"),
        (json!({"season": 12}), "season"),
        (json!({"series": "REMOVE"}), "series"),
        (json!({"series": "departures"}), "series"),
        (json!({"field": "dep_delay"}), "field"),
        (json!({"field": "dep_delay.median"}), "field"),
        (json!({"history": [1, "two"]}), "history[1]"),
        (json!({"history": "many"}), "history"),
        (json!({"horizon": 0}), "horizon"),
        (json!({"horizon": 100000}), "horizon"),
        (json!({"level": 1}), "level"),
        (json!({"level": 95}), "level"),
        (json!({"anomaly_threshold": -0.1}), "anomaly_threshold"),
        (json!({"update_frequency_seconds": 0}), "update_frequency_seconds"),
        (json!({"exogenous": ["weather:JFK/temp.avg"]}), "exogenous"),
        (json!({"model_type": "SARIMAX", "exogenous": ["weather"]}), "exogenous[0]"),
        (json!({"metadata": 5}), "metadata"),
        (json!({"enabled": "yes"}), "enabled"),
        (json!({"colour": "red"}), "colour"),
    ];
    for (changes, field) in cases {
        let fault = ModelSpec::from_json(&with(changes.clone())).expect_err(&changes.to_string());
        assert_eq!(fault.field, field, "{changes}: {fault}");
    }
    let fault = ModelSpec::from_json(&json!([1])).unwrap_err();
    assert_eq!(fault.message(), "found a list; allowed: an object");
}

#[test]
fn garch_and_external_ask_for_less() {
    let garch =
        ModelSpec::from_json(&json!({"model_id": "g", "model_type": "garch", "series": "s:k"})).unwrap();
    assert_eq!(garch.order, Some(Order::Garch { p: 1, q: 1 }));
    let external = ModelSpec::external("anything at all").unwrap();
    assert!(external.series.is_none() && external.check_series(&[]).is_ok());
}

#[test]
fn a_template_is_bound_to_a_key() {
    let template = ModelSpec::from_json(&with(json!({
        "model_type": "SARIMAX", "series": "departures:*", "exogenous": ["weather:*/temp.avg", "weather:all/temp.avg"]
    })))
    .unwrap();
    assert!(template.is_template());
    let model = template.instance("JFK/B6");
    assert_eq!(model.model_id, "sales_sarima/JFK/B6");
    assert_eq!(model.series.as_ref().unwrap().to_string(), "departures:JFK/B6");
    let exogenous = serde_json::to_value(&model.exogenous).unwrap();
    assert_eq!(exogenous, json!(["weather:JFK/B6/temp.avg", "weather:all/temp.avg"]));
    assert!(!model.is_template());
}

#[test]
fn a_model_has_to_fit_the_series_there_are() {
    let mut series = SeriesSpec::defaults();
    series[0].name = "departures".into();
    series[0].values = Some(vec!["dep_delay".into()]);
    series[0].percentiles = false;
    let check = |changes: Value| ModelSpec::from_json(&with(changes)).unwrap().check_series(&series);
    assert!(check(json!({})).is_ok());
    assert!(check(json!({"field": "dep_delay.avg"})).is_ok());
    assert_eq!(check(json!({"series": "arrivals:JFK"})).unwrap_err().field, "series");
    assert_eq!(check(json!({"field": "arr_delay.avg"})).unwrap_err().field, "field");
    assert_eq!(check(json!({"field": "dep_delay.p95"})).unwrap_err().field, "field");
    let fault = check(json!({"model_type": "SARIMAX", "exogenous": ["weather:JFK/temp.avg"]})).unwrap_err();
    assert_eq!(fault.field, "exogenous[0]");
    // Windows are joined by their start, when the model's own closes.
    let sarimax = json!({"model_type": "SARIMAX", "series": "departures:JFK", "exogenous": ["by_type:rain/event_count"]});
    let joined =
        |series: &[SeriesSpec]| ModelSpec::from_json(&with(sarimax.clone())).unwrap().check_series(series);
    assert!(joined(&series).is_ok());
    let mut later = series.clone();
    later[1].lateness += Duration::from_secs(1);
    let mut longer = series.clone();
    longer[1].window = WindowSpec::Tumbling { size: Duration::from_secs(60) };
    for (series, word) in [(later, "close later"), (longer, "windows are others")] {
        let fault = joined(&series).unwrap_err();
        assert!(fault.field == "exogenous[0]" && fault.found.contains(word), "{fault}");
    }
    let text = "[[models]]\nmodel_id = \"m\"\nmodel_type = \"ETS\"\nseries = \"nowhere:x\"\n";
    let message = load(text).unwrap_err();
    assert!(
        message.contains("models[0].series (t.toml:4)") && message.contains("by_source, by_type"),
        "{message}"
    );
}

#[test]
fn a_rule_that_was_read_keeps_its_secrets_when_it_is_written_back() {
    let with = |action: serde_json::Value| {
        let rule = json!({"name": "r", "event_type": "*", "condition": "true", "action": action});
        RuleSpec::from_json(&rule).unwrap()
    };
    let hook =
        |url: &str, token: &str| json!({"type": "webhook", "url": url, "headers": {"authorization": token}});
    let hidden = "[REDACTED]";
    let stored = with(hook("https://a/1", "canary"));
    let kept = |action| with(action).with_secrets_of(&stored).map(|spec| spec.action);
    assert_eq!(kept(hook(hidden, hidden)).unwrap(), stored.action);
    assert_eq!(kept(hook("https://a/1", hidden)).unwrap(), stored.action);
    assert_eq!(kept(hook(hidden, "new")).unwrap(), hook("https://a/1", "new"));
    assert_eq!(kept(hook("https://b/2", "new")).unwrap(), hook("https://b/2", "new"));
    // Nobody has a secret sent to an address of their own.
    let fault = kept(hook("https://b/2", hidden)).unwrap_err();
    assert_eq!(fault.field, "action.headers.authorization", "{fault}");
    let fault = kept(json!({"type": "slack_notify", "url": hidden})).unwrap_err();
    assert_eq!(fault.field, "action.url", "{fault}");
    let fault = kept(json!({"type": "webhook", "url": hidden, "headers": {"x": hidden}})).unwrap_err();
    assert_eq!(fault.field, "action.headers.x", "{fault}");

    let list = with(json!(["log", hook("https://a/1", "one"), hook("https://b/2", "two")]));
    assert_eq!(list.redacted().with_secrets_of(&list).unwrap(), list);
    let shorter = with(json!(["log", hook(hidden, hidden)])).with_secrets_of(&list);
    assert!(shorter.unwrap_err().field.starts_with("action[1]."));
    // Where nothing is secret these are words like any others.
    let words = json!({"type": "send_alert", "to": ["a@b.example"], "subject": hidden});
    assert_eq!(kept(words.clone()).unwrap(), words);
}

#[test]
fn a_rule_reads_and_names_its_field() {
    let rule = json!({"name": "r", "event_type": "FORECAST_GENERATED", "condition": "true",
        "action": ["log", {"type": "webhook", "url": "http://h/canary", "headers": {"authorization": "canary"}}],
        "priority_filter": null, "enabled": true});
    let spec = RuleSpec::from_json(&rule).unwrap();
    assert_eq!(serde_json::to_value(&spec).unwrap(), rule);
    assert!(!format!("{spec:?}").contains("canary"));
    let shown = spec.redacted();
    assert!(!serde_json::to_string(&shown).unwrap().contains("canary"));
    assert_eq!(shown.action[1]["type"], "webhook");
    assert_eq!(shown.with_secrets_of(&spec).unwrap(), spec);
    for (name, value, field) in [
        ("name", json!(""), "name"),
        ("event_type", json!("RAIN"), "event_type"),
        ("condition", json!(""), "condition"),
        ("condition", json!(5), "condition"),
        ("action", json!(5), "action"),
        ("action", json!(null), "action"),
        ("priority_filter", json!("URGENT"), "priority_filter"),
        ("enabled", json!("no"), "enabled"),
        ("colour", json!("red"), "colour"),
    ] {
        let mut wrong = rule.clone();
        wrong[name] = value.clone();
        assert_eq!(RuleSpec::from_json(&wrong).expect_err(name).field, field, "{name} = {value}");
    }
}
