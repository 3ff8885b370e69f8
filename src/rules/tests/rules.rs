//! Rules as registered: what is read, what fires, what is counted.

use serde_json::{Value, json};
use tidecast_event::{EventKind, EventTime, Priority};
use tidecast_rules::{Action, LogLevel, Rule, RuleEvent, RuleSet, built_in};

fn event(kind: EventKind, priority: Priority, data: Value) -> RuleEvent {
    let Value::Object(data) = data else { panic!("data is an object") };
    RuleEvent {
        kind,
        priority,
        model_id: Some("m".into()),
        timestamp: EventTime(1_000_000),
        data,
        metadata: Default::default(),
    }
}

fn put(set: &mut RuleSet, name: &str, condition: &str) {
    let rule =
        json!({"name": name, "event_type": "ANOMALY_DETECTED", "condition": condition, "action": "log"});
    set.put(Rule::from_json(&rule).unwrap());
}

fn names(set: &RuleSet, event: &RuleEvent) -> Vec<String> {
    set.evaluate(event).iter().map(|fired| fired.rule.to_string()).collect()
}

#[test]
fn the_built_in_rules_do_what_their_names_say() {
    let mut set = RuleSet::default();
    built_in(false).iter().for_each(|rule| set.put(Rule::from_json(rule).unwrap()));
    assert_eq!(
        set.iter().map(|rule| &*rule.name).collect::<Vec<_>>(),
        ["log_all_events", "save_anomalies", "alert_critical_anomalies", "update_performance_metrics"]
    );
    let forecast = event(EventKind::ForecastGenerated, Priority::Medium, json!({}));
    assert_eq!(names(&set, &forecast), ["log_all_events", "update_performance_metrics"]);
    let anomaly = event(EventKind::AnomalyDetected, Priority::High, json!({}));
    assert_eq!(names(&set, &anomaly), ["log_all_events", "save_anomalies"]);
    let critical = event(EventKind::AnomalyDetected, Priority::Critical, json!({}));
    assert_eq!(names(&set, &critical), ["log_all_events", "save_anomalies", "alert_critical_anomalies"]);
    assert_eq!(
        names(&set, &event(EventKind::SystemError, Priority::Critical, json!({}))),
        ["log_all_events"]
    );
}

#[test]
fn a_rule_without_an_answer_is_counted_and_goes_on() {
    let mut set = RuleSet::default();
    put(&mut set, "missing", "data.x > 1");
    put(&mut set, "after", "true");
    let without = event(EventKind::AnomalyDetected, Priority::Low, json!({}));
    assert_eq!(names(&set, &without), ["after"]);
    assert_eq!(names(&set, &without), ["after"]);
    assert_eq!(
        names(&set, &event(EventKind::AnomalyDetected, Priority::Low, json!({"x": 2}))),
        ["missing", "after"]
    );
    let counts = &set.get("missing").unwrap().counts;
    assert_eq!((counts.fired(), counts.errors(), counts.last_fired()), (1, 2, Some(EventTime(1_000_000))));
    counts.add(2, EventTime(-5));
    assert_eq!(
        counts.last_fired(),
        Some(EventTime(1_000_000)),
        "of a batch the urgent come first, whatever their times"
    );
    assert_eq!(set.get("after").unwrap().counts.fired(), 3);
    put(&mut set, "missing", "data.get('x', 0) > 1");
    assert_eq!(set.get("missing").unwrap().counts.errors(), 2, "counts outlive a change");
    assert!(set.remove("missing") && !set.remove("missing") && set.len() == 1);
}

#[test]
fn disabled_rules_and_other_priorities_stay_quiet() {
    let mut set = RuleSet::default();
    let base = json!({"name": "off", "event_type": "SYSTEM_ERROR", "condition": "true", "action": "log"});
    let with = |name: &str, field: &str, value: Value| {
        let mut rule = base.clone();
        rule["name"] = json!(name);
        rule[field] = value;
        Rule::from_json(&rule).unwrap()
    };
    set.put(with("off", "enabled", json!(false)));
    set.put(with("high", "priority_filter", json!("HIGH")));
    set.put(with("any", "priority_filter", json!(null)));
    assert_eq!(names(&set, &event(EventKind::SystemError, Priority::Low, json!({}))), ["any"]);
    assert_eq!(names(&set, &event(EventKind::SystemError, Priority::High, json!({}))), ["high", "any"]);
    let run = set.get("off").unwrap().dry_run(&event(EventKind::SystemError, Priority::Low, json!({})));
    assert!(run.matched, "a dry run does not ask whether the rule is on");
    assert_eq!(set.get("off").unwrap().counts.fired(), 0);
}

#[test]
fn actions_are_read_in_every_form() {
    let read = |json: Value| Action::read(&json).unwrap();
    assert_eq!(read(json!("log")), [Action::Log { level: LogLevel::Info }]);
    assert_eq!(
        read(json!({"type": "publish", "topic": "hot"})),
        [Action::Publish { topic: Some("hot".into()) }]
    );
    let chain = read(
        json!(["log", {"type": "chain", "actions": ["publish", {"type": "save_to_file"}]}, ["update_metrics"]]),
    );
    assert_eq!(
        chain.iter().map(Action::name).collect::<Vec<_>>(),
        ["log", "publish", "save_to_file", "update_metrics"]
    );
    let hook = read(
        json!({"type": "webhook", "url": "https://h:1/canary?canary", "headers": {"authorization": "canary"}, "timeout_seconds": 1}),
    );
    assert!(!format!("{hook:?}").contains("canary") && !hook[0].describe().to_string().contains("canary"));
    let Action::Webhook { url, headers, .. } = &hook[0] else { panic!("a webhook") };
    assert_eq!((url.expose(), headers[0].1.expose()), ("https://h:1/canary?canary", "canary"));
    assert_eq!(url.to_string(), "https://h:1/…");
    assert_eq!(read(json!({"type": "send_alert", "to": ["a@b"]}))[0].describe()["to"], json!(["a@b"]));
    assert_eq!(
        read(json!({"type": "slack_notify", "url": "https://hooks.slack.com/x"}))[0].name(),
        "slack_notify"
    );
}

#[test]
fn a_wrong_action_names_its_field() {
    for (action, field) in [
        (json!(null), "action"),
        (json!([]), "action"),
        (json!(5), "action"),
        (json!("shout"), "action"),
        (json!({"type": "shout"}), "action.type"),
        (json!({}), "action.type"),
        (json!(["log", {"type": "log", "level": "loud"}]), "action[1].level"),
        (json!({"type": "log", "colour": "red"}), "action.colour"),
        (json!({"type": "save_to_file", "file": "../x"}), "action.file"),
        (json!({"type": "save_to_file", "file": "/etc/passwd"}), "action.file"),
        (json!({"type": "publish", "topic": "a b"}), "action.topic"),
        (json!({"type": "webhook"}), "action.url"),
        (json!({"type": "webhook", "url": "ftp://canary"}), "action.url"),
        (json!({"type": "webhook", "url": "https://u:canary@h/"}), "action.url"),
        (json!({"type": "webhook", "url": "https:///canary"}), "action.url"),
        (json!({"type": "webhook", "url": "https://h", "headers": {"a b": "canary"}}), "action.headers"),
        (
            json!({"type": "webhook", "url": "https://h", "headers": {"Content-Length": "5"}}),
            "action.headers",
        ),
        (json!({"type": "webhook", "url": "https://h", "headers": {"host": "canary"}}), "action.headers"),
        (
            json!({"type": "webhook", "url": "https://h", "headers": {"a": "canary\r\nb: c"}}),
            "action.headers",
        ),
        (json!({"type": "webhook", "url": "https://h", "timeout_seconds": 1000}), "action.timeout_seconds"),
        (json!({"type": "send_alert", "to": ["nobody"]}), "action.to"),
        (json!({"type": "chain"}), "action.actions"),
        (json!([[[["log"]]]]), "action[0][0][0]"),
        (json!(vec!["log"; 11]), "action"),
    ] {
        let fault = Action::read(&action).expect_err(&action.to_string());
        assert_eq!(fault.field, field, "{action}: {fault}");
        assert!(!fault.to_string().contains("canary"), "{fault}");
    }
}

#[test]
fn a_wrong_rule_names_its_field() {
    let base = json!({"name": "r", "event_type": "SYSTEM_ERROR", "condition": "true", "action": "log"});
    for (name, value, field) in [
        ("name", json!(""), "name"),
        ("event_type", json!("RAIN"), "event_type"),
        ("priority_filter", json!("URGENT"), "priority_filter"),
        ("enabled", json!(1), "enabled"),
        ("condition", json!("data."), "condition"),
        ("colour", json!("red"), "colour"),
    ] {
        let mut rule = base.clone();
        rule[name] = value;
        assert_eq!(Rule::from_json(&rule).expect_err(name).field, field);
    }
    assert_eq!(Rule::from_json(&json!([])).unwrap_err().message(), "found another value; allowed: an object");
}

#[test]
fn an_alert_says_what_happened() {
    let error = event(EventKind::SystemError, Priority::Critical, json!({"message": "the disk is full"}));
    let alert = error.alert("disk");
    assert_eq!(
        (alert.message.as_str(), alert.timestamp.as_str()),
        ("the disk is full", "1970-01-01T00:00:01Z")
    );
    assert_eq!(
        event(EventKind::ForecastGenerated, Priority::Low, json!({})).alert("r").message,
        "FORECAST_GENERATED of m"
    );
}

#[test]
fn samples_of_a_dry_run_are_checked() {
    let read = |json: Value| RuleEvent::from_json(&json, EventKind::SystemError, EventTime(7));
    let sample = read(json!({"data": {"x": 1}})).unwrap();
    assert_eq!(
        (sample.kind, sample.priority, sample.timestamp),
        (EventKind::SystemError, Priority::Medium, EventTime(7))
    );
    assert_eq!(read(json!({"data": {}, "timestamp": 1.5})).unwrap().timestamp, EventTime(1_500_000));
    assert_eq!(
        read(json!({"data": {}, "timestamp": 1732150000000u64})).unwrap().timestamp,
        EventTime(1_732_150_000_000_000)
    );
    for (json, field) in [
        (json!(5), "event"),
        (json!({}), "event.data"),
        (json!({"data": 5}), "event.data"),
        (json!({"data": {}, "priority": "URGENT"}), "event.priority"),
        (json!({"data": {}, "event_type": "RAIN"}), "event.event_type"),
        (json!({"data": {}, "timestamp": "yesterday"}), "event.timestamp"),
        (json!({"data": {}, "model_id": 5}), "event.model_id"),
        (json!({"data": {}, "colour": 5}), "event.colour"),
    ] {
        assert_eq!(read(json.clone()).expect_err(&json.to_string()).field, field);
    }
}

#[test]
fn what_the_documentation_shows_is_taken() {
    let text = std::fs::read_to_string("../../docs/rules.md").unwrap();
    let blocks = |language: &str| -> Vec<String> {
        let begins = format!("```{language}\n");
        text.split(&begins).skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
    };
    let (rules, conditions) = (blocks("json"), blocks("cel"));
    assert!(!rules.is_empty() && !conditions.is_empty());
    for rule in rules {
        Rule::from_json(&serde_json::from_str(&rule).unwrap())
            .unwrap_or_else(|fault| panic!("{rule}: {fault:?}"));
    }
    for condition in conditions.iter().flat_map(|block| block.lines()) {
        let rule = json!({"name": "r", "event_type": "*", "condition": condition, "action": "log"});
        Rule::from_json(&rule).unwrap_or_else(|fault| panic!("{condition}: {fault:?}"));
    }
}
