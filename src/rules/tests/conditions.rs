//! Conditions as users write them, and what each says of an event.

use serde_json::{Value, json};
use tidecast_event::{EventKind, EventTime};
use tidecast_rules::{Filter, FilterEvent, Rule, RuleEvent};

fn event() -> RuleEvent {
    let sample = json!({
        "event_type": "FORECAST_GENERATED", "priority": "HIGH", "model_id": "sales_model_001",
        "timestamp": "2026-01-20T22:30:00Z",
        "data": {"predicted_value": 5285.4, "count": 51, "zero": 0, "confidence_interval": [1180.5, 1390.3],
            "tags": ["a", "b"], "nested": {"deep": {"x": 1}}, "text": "hello", "level": "CRITICAL", "flag": true, "nothing": null},
        "metadata": {"region": "Nord"}
    });
    RuleEvent::from_json(&sample, EventKind::ForecastGenerated, EventTime(0)).unwrap()
}

fn rule(condition: &str) -> Result<Rule, tidecast_rules::RuleFault> {
    Rule::from_json(&json!({"name": "r", "event_type": "*", "condition": condition, "action": "log"}))
}

/// `Ok` of the answer, or `Err` of why there is none.
fn answer(condition: &str) -> Result<bool, String> {
    let run = rule(condition).unwrap_or_else(|fault| panic!("{condition}: {fault}")).dry_run(&event());
    run.error.map_or(Ok(run.condition), |error| Err(error.to_string()))
}

#[test]
fn the_forms_that_users_have_evaluate_as_they_read() {
    assert_eq!(answer("data.get('predicted_value', 0) > 5000"), Ok(true));
    assert_eq!(answer("data.get('predicted_value', 0) > 6000"), Ok(false));
    assert_eq!(answer("data.get('missing', 0) > 5000"), Ok(false));
    assert_eq!(answer("data.get('model_accuracy', 1) < 0.7"), Ok(false));
    assert_eq!(answer("data.get('count', 1) < 51.5"), Ok(true));
    assert_eq!(answer("priority == EventPriority.CRITICAL"), Ok(false));
    assert_eq!(answer("priority == EventPriority.HIGH"), Ok(true));
    assert_eq!(answer("event_type == EventType.FORECAST_GENERATED"), Ok(true));
    assert_eq!(answer("event_type != EventType.SYSTEM_ERROR && model_id == 'sales_model_001'"), Ok(true));
}

#[test]
fn plain_cel_works() {
    for (condition, expected) in [
        ("data.nested.deep.x == 1", true),
        ("data['nested']['deep']['x'] == 1", true),
        ("has(data.text) && !has(data.other)", true),
        ("'a' in data.tags && 'c' in data.tags == false", true),
        ("data.tags.exists(t, t == 'b')", true),
        ("data.tags.all(t, t.size() == 1)", true),
        ("data.tags.map(t, t + '!') == ['a!', 'b!']", true),
        ("data.tags.filter(t, t != 'a').size() == 1", true),
        ("data.tags.exists_one(t, t == 'a')", true),
        ("data.confidence_interval[1] - data.confidence_interval[0] > 200", true),
        ("size(data.tags) == 2 && data.tags.size() + 1 == 3", true),
        ("data.text.startsWith('he') && data.text.matches('^h.*o$')", true),
        ("matches(data.text, '[0-9]')", false),
        ("data.flag ? data.count > 1 : false", true),
        ("metadata.region in ['Nord', 'Sud']", true),
        ("data.nothing == null && data.get('nothing', 5) == null && data.get('gone') == null", true),
        ("data.get('nested', {}).get('deep', {}).get('x', 0) == 1", true),
        ("data.get('none', {}).get('x', 7) == 7", true),
        ("timestamp.getHours() >= 22 && timestamp.getFullYear() == 2026", true),
        ("timestamp > timestamp('2026-01-01T00:00:00Z')", true),
        ("timestamp != null && model_id != null && data.count != 'text'", true),
        ("[1, 2].exists(timestamp, timestamp > 1)", true),
        ("type(data.text) == string && type(data.count) == double", true),
        ("int(data.predicted_value) == 5285", true),
        ("true", true),
    ] {
        assert_eq!(answer(condition), Ok(expected), "{condition}");
    }
}

#[test]
fn whole_and_broken_numbers_behave_alike() {
    for (condition, expected) in [
        ("data.count / 2 == 25.5", true),
        ("data.count * 2 > 101.9", true),
        ("2 * data.predicted_value > 10000", true),
        ("data.predicted_value + 1 > 5286", true),
        ("-data.count < 0", true),
        ("data.count % 2 == 1", true),
        ("data.predicted_value % 2 == 1", true),
        ("7 % 4 == 3 && (data.count + 1) % 4 * 2 == 0", true),
        ("data.count == 51 && data.count == 51.0", true),
        ("{1: 'one'}[1] == 'one' && ['x', 'y'][1] == 'y'", true),
        ("size(data.tags) / 4 == 0.5", true),
    ] {
        assert_eq!(answer(condition), Ok(expected), "{condition}");
    }
    assert_eq!(answer("data.count % data.zero == 0"), Err("division by zero".into()));
}

#[test]
fn priorities_compare_in_their_own_order() {
    assert_eq!(answer("priority >= EventPriority.HIGH"), Ok(true));
    assert_eq!(answer("priority < EventPriority.CRITICAL && priority > EventPriority.MEDIUM"), Ok(true));
    assert_eq!(answer("'LOW' < priority && EventPriority.LOW < priority"), Ok(true));
    assert_eq!(answer("priority in [EventPriority.HIGH, EventPriority.LOW]"), Ok(true));
}

#[test]
fn priorities_compare_in_their_own_order_wherever_they_come_from() {
    for (condition, expected) in [
        ("EventPriority.CRITICAL > EventPriority.HIGH", true),
        ("EventPriority.LOW < EventPriority.HIGH", true),
        ("EventPriority.LOW < 'HIGH' && EventPriority.HIGH >= EventPriority.HIGH", true),
        ("[priority].exists(p, p > EventPriority.MEDIUM)", true),
        ("[EventPriority.LOW, EventPriority.MEDIUM].all(p, p < priority)", true),
        ("[EventPriority.LOW].exists(p, p > 'HIGH')", false),
        ("[priority].exists(p, [EventPriority.LOW].exists(q, p > q))", true),
        ("[priority, 'CRITICAL'].filter(p, p > 'HIGH').size() == 1", true),
        ("data.tags.map(t, priority).all(p, p < 'CRITICAL')", true),
        ("([priority] + ['LOW']).exists(p, p < 'HIGH')", true),
        ("(data.flag ? priority : EventPriority.LOW) < EventPriority.CRITICAL", true),
        ("(data.flag ? 'CRITICAL' : priority) > (data.flag ? priority : 'LOW')", true),
        ("[priority][0] > 'CRITICAL' || {'p': priority}.p > 'CRITICAL'", false),
        ("optional.of(priority).optMap(p, p < 'CRITICAL').orValue(false)", true),
        ("dyn(priority) < 'CRITICAL'", true),
        ("data.level > EventPriority.HIGH && priority < data.level", true),
        ("data.get('level', EventPriority.LOW) > 'HIGH' && data.get('none', priority) < 'CRITICAL'", true),
    ] {
        assert_eq!(answer(condition), Ok(expected), "{condition}");
    }
    let none = "a comparison of a priority with something that is no priority";
    for condition in ["data.text > EventPriority.HIGH", "priority < data.count", "[1].all(p, p < priority)"] {
        assert_eq!(answer(condition), Err(none.into()), "{condition}");
    }
    assert_eq!(answer("data.gone > EventPriority.HIGH"), Err("no field gone".into()));
}

#[test]
fn priorities_are_texts_where_they_are_not_ordered() {
    for (condition, expected) in [
        ("priority == 'HIGH' && priority != 'LOW' && priority in ['HIGH']", true),
        ("priority.startsWith('HI') && priority.size() == 4 && type(priority) == string", true),
        ("priority + '!' == 'HIGH!' && priority + '!' < 'LOW'", true),
        ("'a' < 'b' && 'CRITICAL' < 'HIGH' && data.level < 'D' && data.tags.exists(t, t > 'a')", true),
        ("{'HIGH': 5}[priority] > 4 && {'HIGH': 5}.get(priority, 0) < data.count", true),
        ("size(priority) > 3 && (priority == 'HIGH' ? 1 : 2) < 2", true),
        ("[1, 2].exists(priority, priority > 1)", true),
    ] {
        assert_eq!(answer(condition), Ok(expected), "{condition}");
    }
}

#[test]
fn what_has_no_answer_is_false_and_says_why() {
    assert_eq!(answer("data.x > 1"), Err("no field x".into()));
    assert_eq!(answer("data.x > 1 || true"), Ok(true));
    assert_eq!(answer("data.x > 1 && false"), Ok(false));
    assert_eq!(answer("data.text"), Err("a string instead of true or false".into()));
    assert_eq!(answer("data.count / 0 == 1"), Ok(false)); // as doubles do: infinity
    assert_eq!(answer("data.tags[5] == 'x'"), Err("an index past the end".into()));
    for condition in
        ["data.text > 1", "data.text + 1 == 2", "data.get(5, 1) == 1", "!data.count", "data.flag.x == 1"]
    {
        let error = answer(condition).expect_err(condition);
        assert!(!error.contains("hello"), "an event's value in {error}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused_when_it_is_written() {
    for (condition, part) in [
        ("", "an empty text"),
        ("data.x >", "line 1"),
        ("data.x > 1)", "line 1"),
        ("dat.x > 1", "the name dat"),
        ("data.x > 1 and True", "line 1"),
        ("True", "CEL writes true"),
        ("data.fetch('x') > 1", "the function fetch"),
        ("priority == EventPriority.URGENT", "EventPriority.URGENT"),
        ("priority > 3", "no priority"),
        ("3 > EventPriority.HIGH", "as priority, EventPriority.HIGH and 'HIGH' are"),
        ("EventPriority.HIGH > 'high'", "no priority"),
        ("EventPriority.HIGH < EventType.SYSTEM_ERROR", "no priority"),
        ("event_type < EventPriority.HIGH", "no priority"),
        ("priority > size(data.tags)", "no priority"),
        ("(data.flag ? priority : 1) > EventPriority.LOW", "no priority"),
        ("[priority] > EventPriority.LOW", "no priority"),
        ("priority > EventPriority.URGENT", "EventPriority.URGENT"),
        ("priority == 3", "no text"),
        ("timestamp > 1700000000", "no time"),
        ("data.x > 1 || '2026-01-01T00:00:00Z' <= timestamp", "no time"),
        ("model_id != 7", "no text"),
        ("data.text.matches(data.text)", "not a literal"),
        ("data.text.matches('(')", "pattern"),
        ("data.text.matches('a{1000}{1000}{1000}')", "pattern"),
        ("Thing{x: 1} == null", "structure"),
        ("data.a.all(x, data.b.all(y, data.c.all(z, z > 0)))", "loops nested"),
        ("source == 'x'", "the name source"),
        ("type == 'x'", "a type of CEL"),
        ("1", "neither true nor false"),
        ("'text'", "neither true nor false"),
        ("EventType.SYSTEM_ERROR", "neither true nor false"),
        ("data", "neither true nor false"),
        ("[data.x > 1.0]", "neither true nor false"),
        ("data.x + 1", "neither true nor false"),
        ("data.x > 1 && size(data.tags)", "neither true nor false"),
        ("!(data.flag ? data.other : model_id)", "neither true nor false"),
    ] {
        let fault = rule(condition).expect_err(condition);
        assert_eq!(fault.field, "condition", "{condition}");
        assert!(fault.to_string().contains(part), "{condition}: {fault}");
    }
}

#[test]
fn what_no_event_could_answer_is_refused_when_it_is_written() {
    for (condition, part) in [
        ("get(data, 'x') == 1", "not called as in data.get('x', 0)"),
        ("data.get() == 1", "data.get('x', 0)"),
        ("data.get('x', 0, 1) == 1", "data.get('x', 0)"),
        ("priority.get('x', 0) == 1", "data.get('x', 0)"),
        ("contains(data.text, 'a')", "data.x.contains('a')"),
        ("data.startsWith('a')", "data.x.startsWith('a')"),
        ("data.text.matches()", "data.x.matches('^a')"),
        ("data.count.int() == 1", "int(data.x)"),
        ("size() == 1", "size(data.x)"),
        ("getHours(timestamp) == 1", "timestamp.getHours()"),
        ("data.getHours() == 1", "timestamp.getHours()"),
        ("data.of(1) == 1", "optional.of(data.x)"),
        ("data.value() == 1", "data.?x.value()"),
        ("no_such(1) == 1", "the function no_such"),
        ("timestamp.year == 2026", "timestamp.getFullYear()"),
        ("has(timestamp.year)", "timestamp.getFullYear()"),
        ("timestamp['year'] == 2026", "timestamp.getFullYear()"),
        ("timestamp(data.text).year == 2026", "timestamp.getFullYear()"),
        ("model_id.name == 'x'", "a field of a text"),
        ("priority[0] == 'H'", "a field of a text"),
    ] {
        let fault = rule(condition).expect_err(condition);
        assert!(fault.to_string().contains(part), "{condition}: {fault}");
    }
    for (condition, expected) in [
        ("timestamp.getHours('UTC') == 22 && duration('3h').getHours() == 3", true),
        ("data.?x.orValue(1) == 1 && !timestamp.?year.hasValue() && optional.none() != optional.of(1)", true),
        ("[{'year': 1}].exists(timestamp, timestamp.year == 1)", true),
        ("[{'x': 1}].exists(priority, priority.get('x') == 1)", true),
    ] {
        assert_eq!(answer(condition), Ok(expected), "{condition}");
    }
}

#[test]
fn what_is_nested_too_deep_is_refused_in_one_sentence() {
    let nested = |levels: usize| format!("{}true{}", "(".repeat(levels), ")".repeat(levels));
    assert!(rule(&nested(48)).is_ok());
    for source in [nested(49), nested(500), "data".to_owned() + &".x".repeat(2_000) + " > EventPriority.LOW"]
    {
        let fault = rule(&source).expect_err(&source);
        assert!(fault.found.starts_with("a condition nested deeper than "), "{fault}");
        assert!(
            fault.found.ends_with(", which has to be written with fewer, or as several conditions"),
            "{fault}"
        );
    }
}

#[test]
fn cost_is_bounded_before_it_is_spent() {
    assert!(rule(&"1 + ".repeat(2_000)).is_err());
    assert!(rule(&format!("{}true{}", "(".repeat(500), ")".repeat(500))).is_err());
    assert!(rule(&format!("[{}] == []", vec!["1"; 600].join(","))).is_err());
    let mut large = event();
    large.data.insert("list".into(), Value::from((0..20_000).collect::<Vec<i32>>()));
    let run = rule("data.list.all(x, data.list.all(y, x + y >= 0))").unwrap().dry_run(&large);
    assert!(!run.condition && run.error.unwrap().to_string().contains("steps"));
    let run = rule("data.list.all(x, x >= 0)").unwrap().dry_run(&large);
    assert_eq!((run.condition, run.error), (true, None));
}

#[test]
fn filters_see_events() {
    let data = json!({"dep_delay": 20, "origin": "JFK"});
    let metadata = json!({"region": "north"});
    let check = |source: &str| {
        let filter = Filter::compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        let event = FilterEvent {
            kind: "departure",
            source: "JFK/B6",
            timestamp: Some(EventTime(1_700_000_000_000_000)),
            data: data.as_object().unwrap(),
            metadata: metadata.as_object(),
        };
        (filter.is_quick(), filter.evaluate(&event).unwrap_or_else(|error| panic!("{source}: {error}")))
    };
    for (source, expected) in [
        ("type == \"departure\"", (true, true)),
        ("'arrival' == type", (true, false)),
        ("type != 'arrival' && source.startsWith('JFK/')", (true, true)),
        ("type in ['arrival', 'departure'] && !(source == 'LGA/B6' || source.endsWith('/AA'))", (true, true)),
        ("source.contains('/B') && true", (true, true)),
        ("type == 'departure' && data.dep_delay > 15", (false, true)),
        ("data.origin == 'LGA'", (false, false)),
        ("metadata.region == 'north'", (false, true)),
        ("timestamp.getFullYear() == 2023", (false, true)),
        ("type == source", (false, false)),
    ] {
        assert_eq!(check(source), expected, "{source}");
    }
    assert!(Filter::compile("model_id == 'x'").is_err());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(400))]

    /// Whatever is written, compiling answers and evaluating ends.
    #[test]
    fn no_source_panics(source in "(data|priority|'x'|1|[.]count|[.]get\\('x', 1\\)|[(\\[{})\\]]| [-+*/%<>=!&|?:]{1,2} |[.]map\\(x, |has\\(|EventPriority|[^a-z]){0,12}") {
        if let Ok(rule) = rule(&source) {
            let _ = rule.dry_run(&event());
        }
    }

    /// The quick answer and CEL's are the same.
    #[test]
    fn quick_answers_are_cels(kind in "a|ab|b", source in "a|ab|b|", text in "a|b|ab", form in 0usize..7) {
        let condition = match form {
            0 => format!("type == '{text}'"),
            1 => format!("source != '{text}' || type == 'a'"),
            2 => format!("type in ['{text}', 'b'] && !(source == 'ab')"),
            3 => format!("source.startsWith('{text}')"),
            4 => format!("type.endsWith('{text}') && source.contains('a')"),
            5 => format!("!(type.contains('{text}') && source != '')"),
            _ => format!("'{text}' == source"),
        };
        let quick = Filter::compile(&condition).unwrap();
        proptest::prop_assert!(quick.is_quick());
        // A clause on data that always holds takes the quick way out.
        let slow = Filter::compile(&format!("({condition}) && data.one == 1")).unwrap();
        proptest::prop_assert!(!slow.is_quick());
        let data = json!({"one": 1});
        let event = FilterEvent { kind: &kind, source: &source, timestamp: None, data: data.as_object().unwrap(), metadata: None };
        proptest::prop_assert_eq!(quick.quick(&kind, &source), Some(slow.evaluate(&event).unwrap()));
    }
}
