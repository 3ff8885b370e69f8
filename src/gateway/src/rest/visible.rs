//! Which records of a topic a caller is shown: topics are read as they are, and hold more than one model's, and secrets.

use crate::access::{Caller, Right};
use crate::live::index::Pattern;
use crate::problem::Problem;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use tidecast_config::{GroupTable, Settings};
use tidecast_ports::Page;
use tidecast_ports::operations::TopicRecord;

/// Whether this caller may look into a topic that exists: first whether the token names it, then what it is for. Several
/// groups share a cluster, and a rule has the addresses and headers of its webhooks with it: what looks like any
/// group's own topic is an admin's, and rules are nobody's to read as they are written.
pub(super) fn check_topic(caller: &Caller, settings: &Settings, topic: &str) -> Result<(), Problem> {
    if !caller.may_see_topic(topic) {
        return Err(Problem::not_found(format!("there is no topic \"{topic}\"")));
    }
    let topics = &settings.topics;
    let named = [
        &topics.events,
        &topics.aggregates,
        &topics.predictions,
        &topics.alerts,
        &topics.metrics,
        &topics.dlq,
    ];
    // What the operator configured to carry data does, whatever it is called.
    if named.into_iter().any(|name| name == topic) {
        return Ok(());
    }
    let Some(table) = GroupTable::looks_like(topic) else { return Ok(()) };
    // Our own are unknown to readers, as to those of any other instance of this group.
    if topic == table.topic(&settings.kafka.group_id) {
        return Err(Problem::not_found(format!("the records of topic \"{topic}\" are not shown")));
    }
    let detail = if table == GroupTable::Rules {
        format!(
            "the rules that \"{topic}\" may hold carry secrets: GET /api/rules of that group's instances shows them without"
        )
    } else if !caller.may(Right::Administer) {
        format!(
            "\"{topic}\" is named like a group's own topic, which the role admin may read: ask with such a token"
        )
    } else {
        return Ok(());
    };
    Err(Problem::new(StatusCode::FORBIDDEN, detail))
}

/// Refuses a topic to write to that a group keeps for itself: models, rules and the audit log stand there, and each has its own
/// way to be changed, that is checked and written down.
pub(super) fn check_target(settings: &Settings, topic: &str) -> Result<(), Problem> {
    let topics = &settings.topics;
    let named = [&topics.events, &topics.aggregates, &topics.predictions, &topics.alerts, &topics.metrics];
    let is_ours = named.into_iter().any(|name| name == topic);
    match GroupTable::looks_like(topic).filter(|_| !is_ours) {
        None => Ok(()),
        Some(_) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!(
                "\"{topic}\" is named like a topic that a group keeps for itself: nothing is sent there by hand or by rule"
            ),
        )),
    }
}

/// Whether a caller may change what rules do: a rule looks at every model's events and may send them anywhere, so it is for those
/// who may see them all, and where it sends them.
pub(super) fn check_rule(caller: &Caller, settings: &Settings, action: &Value) -> Result<(), Problem> {
    let refuse = |what: String| Err(Problem::new(StatusCode::FORBIDDEN, what));
    if !caller.may_see_all_of(&Pattern::all()) {
        return refuse("rules look at every model, and the token's models are some".to_owned());
    }
    let topics = &settings.topics;
    let mut seen = [&topics.predictions, &topics.alerts, &topics.aggregates].into_iter();
    if let Some(hidden) = seen.find(|topic| !caller.may_see_topic(topic)) {
        return refuse(format!(
            "rules look at what goes to \"{hidden}\", which the token's topics do not include"
        ));
    }
    for topic in targets(action) {
        if !caller.may_see_topic(topic) {
            return refuse(format!(
                "the token's topics do not include \"{topic}\", where the rule would publish"
            ));
        }
        check_target(settings, topic)?;
    }
    Ok(())
}

/// The topics that an action, or a list of them, publishes to.
fn targets(action: &Value) -> Vec<&str> {
    match action {
        Value::Array(items) => items.iter().flat_map(targets).collect(),
        Value::Object(fields) => {
            let inner = fields.get("actions").map(targets).unwrap_or_default();
            let own = fields.get("topic").and_then(Value::as_str);
            own.into_iter().chain(inner).collect()
        }
        _ => Vec::new(),
    }
}

/// Pages that are looked through for one where not every item may be shown: each is a search in Kafka.
const PAGES_MAX: usize = 10;

/// A page of what may be shown: what may not makes it no shorter, as far as [`PAGES_MAX`] pages go.
pub(super) async fn filled<T, E, F: Future<Output = Result<Page<T>, E>>>(
    limit: usize,
    cursor: Option<String>,
    mut ask: impl FnMut(usize, Option<String>) -> F,
    shown: impl Fn(&T) -> bool,
) -> Result<Page<T>, E> {
    let mut page = Page { items: Vec::new(), next: cursor };
    for _ in 0..PAGES_MAX {
        // No more than there is room for: the cursor is behind the last of them.
        let found = ask(limit - page.items.len(), page.next.take()).await?;
        page.items.extend(found.items.into_iter().filter(&shown));
        page.next = found.next;
        if page.next.is_none() || page.items.len() >= limit {
            break;
        }
    }
    Ok(page)
}

/// What of a record says which model it is about.
#[derive(Deserialize)]
struct About<'a> {
    #[serde(borrow, default)]
    model_id: Option<Cow<'a, str>>,
}

/// Whether a record may be shown to a caller whose token names models. Forecasts and anomalies say theirs, and have it as
/// their key; a rule's alert is about one or none. Where that cannot be read, nothing is shown that may be about another.
pub(super) fn may_show(caller: &Caller, settings: &Settings, topic: &str, record: &TopicRecord) -> bool {
    if caller.models.is_none() {
        return true;
    }
    let key_is_seen = || record.key.as_deref().is_some_and(|key| caller.may_see_model(key));
    let topics = &settings.topics;
    if topic == topics.predictions && !key_is_seen() {
        return false;
    }
    let about = record.value.as_deref().map(serde_json::from_str::<About<'_>>);
    match about {
        Some(Ok(About { model_id: Some(model) })) => caller.may_see_model(&model),
        // A registered model has its name as the key.
        _ if GroupTable::looks_like(topic) == Some(GroupTable::Models) => key_is_seen(),
        Some(Ok(About { model_id: None })) => true,
        // Cut short, bytes, none, or no object.
        _ if topic == topics.predictions || topic == topics.alerts => key_is_seen(),
        Some(Err(_)) => !record.value.as_deref().is_some_and(|value| value.contains("\"model_id\"")),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_hidden_makes_a_page_no_shorter() {
        // The numbers below a hundred, in pages; every third may be shown.
        let ask = |limit: usize, cursor: Option<String>| async move {
            let from: usize = cursor.map_or(0, |cursor| cursor.parse().expect("a number"));
            let to = (from + limit).min(100);
            let next = (to < 100).then(|| to.to_string());
            Ok::<_, ()>(Page { items: (from..to).collect(), next })
        };
        let third = |n: &usize| n.is_multiple_of(3);
        let first = filled(5, None, ask, third).await.expect("no error");
        assert_eq!(first.items, [0, 3, 6, 9, 12]);
        let second = filled(5, first.next, ask, third).await.expect("no error");
        assert_eq!(second.items, [15, 18, 21, 24, 27], "none is left out and none comes twice");
        let last = filled(50, Some("95".to_owned()), ask, third).await.expect("no error");
        assert_eq!((last.items, last.next), (vec![96, 99], None));
        let none = filled(5, None, ask, |_| false).await.expect("no error");
        assert_eq!(
            (none.items.len(), none.next.as_deref()),
            (0, Some("50")),
            "it ends, and can be gone on with"
        );
    }

    use crate::access::Role;
    use serde_json::json;
    use tidecast_config::Sources;

    fn settings(overrides: &[&str]) -> Settings {
        let overrides = overrides.iter().map(|text| (*text).to_owned()).collect();
        Settings::load(&Sources { overrides, ..Sources::default() }).unwrap()
    }

    fn caller(role: Role, models: Option<&[&str]>) -> Caller {
        let models = models.map(|names| names.iter().map(|name| Pattern::parse(name)).collect());
        Caller { roles: vec![role], models, ..(*Caller::anybody()).clone() }
    }

    #[test]
    fn what_a_group_keeps_for_itself_is_not_for_readers() {
        let settings = settings(&["kafka.group_id=ours", "topics.predictions=weather-models"]);
        let status = |role, topic: &str| {
            check_topic(&caller(role, None), &settings, topic).err().map(|problem| problem.status)
        };
        for (topic, viewer, admin) in [
            ("analytics-events", None, None),
            ("weather-models", None, None),
            ("ours-rules", Some(404), Some(404)),
            ("ours-models", Some(404), Some(404)),
            ("theirs-rules", Some(403), Some(403)),
            ("theirs-models", Some(403), None),
            ("theirs-notes", Some(403), None),
            ("ours-too-rules", Some(403), Some(403)),
            ("rules", None, None),
        ] {
            assert_eq!(status(Role::Viewer, topic), viewer, "{topic}");
            assert_eq!(status(Role::Operator, topic), viewer, "{topic}");
            assert_eq!(status(Role::Admin, topic), admin, "{topic}");
        }
    }

    #[test]
    fn records_of_other_models_are_not_shown() {
        let settings = settings(&[]);
        let narrow = caller(Role::Viewer, Some(&["m/JFK"]));
        let shown = |topic: &str, key: Option<&str>, value: Option<&str>| {
            let record = TopicRecord {
                partition: 0,
                offset: 0,
                timestamp: String::new(),
                key: key.map(str::to_owned),
                value: value.map(str::to_owned),
                value_base64: None,
                headers: Default::default(),
                truncated: false,
            };
            may_show(&narrow, &settings, topic, &record)
        };
        let about = |model: &str| json!({"a": 1, "model_id": model}).to_string();
        let (ours, theirs) = (about("m/JFK"), about("m/EWR"));
        for (topic, key, value, expected) in [
            ("ml-predictions", Some("m/JFK"), Some(&*ours), true),
            ("ml-predictions", Some("m/EWR"), Some(&*theirs), false),
            ("ml-predictions", Some("m/JFK"), Some(&*theirs), false),
            ("ml-predictions", Some("m/EWR"), Some(&*ours), false),
            ("ml-predictions", None, None, false),
            ("ml-predictions", Some("m/JFK"), Some("{\"model_id\": \"m/J"), true),
            ("streaming-alerts", Some("m/EWR"), Some(&*theirs), false),
            ("streaming-alerts", Some("hot"), Some(&*theirs), false),
            ("streaming-alerts", Some("hot"), Some(&*ours), true),
            ("streaming-alerts", Some("hot"), Some("{\"rule\": \"hot\"}"), true),
            ("streaming-alerts", Some("hot"), Some("{\"rule\": \"hot\", \"mod"), false),
            ("streaming-aggregates", Some("by_type:x"), Some("{}"), true),
            ("published", Some("x"), Some(&*theirs), false),
            ("published", Some("x"), Some("{\"model_id\": \"m/EW"), false),
            ("published", Some("x"), Some("text"), true),
            ("their-models", Some("m/EWR"), Some("{\"spec\": {}}"), false),
        ] {
            assert_eq!(shown(topic, key, value), expected, "{topic} {key:?} {value:?}");
        }
    }
}
