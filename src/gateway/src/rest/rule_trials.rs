//! `POST /api/rules/try`: a rule over what happened in the last hours, as the output topics have it.

use super::body::Whole;
use super::extract::Who;
use super::rules::{asked_for, below};
use super::{schemas, visible};
use crate::access::Caller;
use crate::problem::Problem;
use crate::services::App;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tidecast_config::{Fault, RuleSpec};
use tidecast_ports::control::PastEvent;
use tidecast_ports::operations::{RecordsRequest, TopicRecord};
use tidecast_ports::{ControlError, OutputKind};

/// Hours looked back where none are asked for, and at most.
const HOURS: f64 = 2.0;
const HOURS_MAX: f64 = 24.0;
/// Records of one topic that are looked at, the newest.
const RECORDS_MAX: usize = 10_000;
/// Records asked for at once.
const PAGE: usize = 1_000;

/// A dry run over what happened: which events of the last hours a rule fires on. Nothing is sent, written or counted.
#[utoipa::path(post, path = "/api/rules/try", tag = "rules", request_body = schemas::RuleTry, responses(
    (status = 200, description = "What it would have done", body = schemas::RuleTrial),
    (status = 404, description = "There is no rule of that name", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Kafka is away", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn try_on(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    body: Whole,
) -> Result<Response, Problem> {
    let mut fields: Map<String, Value> = body.json()?;
    let hours = match fields.remove("hours") {
        None | Some(Value::Null) => HOURS,
        Some(found) => match found.as_f64().filter(|hours| *hours > 0.0 && *hours <= HOURS_MAX) {
            Some(hours) => hours,
            None => {
                return Err(Problem::field(
                    "hours",
                    format!("found {found}; allowed: above 0, at most {HOURS_MAX}"),
                ));
            }
        },
    };
    let rule = asked_for(&app, &mut fields, &Value::Null).await?;
    if let Some(unknown) = fields.keys().next() {
        return Err(Fault::new(unknown, "an unknown field", "rule or condition, and hours").into());
    }
    let since = Utc::now() - Duration::milliseconds((hours * 3_600_000.0) as i64);
    let (mut past, mut complete) = (Vec::new(), true);
    for kind in kinds(&rule)? {
        complete &= read(&app, &caller, kind, since, &mut past).await?;
    }
    let tried = app.services.control.try_rule(rule, past).await.map_err(|error| match error {
        ControlError::Invalid { field, message } => below("rule", Problem::field(field, message)),
        other => other.into(),
    })?;
    let mut answer = json!(tried);
    answer["since"] = since.to_rfc3339_opts(SecondsFormat::Secs, true).into();
    answer["complete"] = complete.into();
    Ok(Json(answer).into_response())
}

/// The topics that have what a rule looks at.
fn kinds(rule: &RuleSpec) -> Result<Vec<OutputKind>, Problem> {
    Ok(match rule.event_type.as_str() {
        "FORECAST_GENERATED" => vec![OutputKind::Forecast],
        "WINDOW_CLOSED" => vec![OutputKind::Aggregate],
        "ANOMALY_DETECTED" | "SYSTEM_ERROR" => vec![OutputKind::Alert],
        "MODEL_RETRAINED" => {
            let detail = "fits leave no records of their own: try the rule on a sample event";
            return Err(Problem::field("rule.event_type", detail));
        }
        _ => vec![OutputKind::Alert, OutputKind::Forecast, OutputKind::Aggregate],
    })
}

/// Adds the records of a topic since then, newest first; false where there are more than are looked at.
async fn read(
    app: &App,
    caller: &Caller,
    kind: OutputKind,
    since: DateTime<Utc>,
    past: &mut Vec<PastEvent>,
) -> Result<bool, Problem> {
    let topics = &app.settings().topics;
    let topic = match kind {
        OutputKind::Forecast => &topics.predictions,
        OutputKind::Aggregate => &topics.aggregates,
        OutputKind::Alert | OutputKind::Metrics => &topics.alerts,
    };
    if !caller.may_see_topic(topic) {
        return Ok(true);
    }
    let is_recent = |record: &TopicRecord| {
        DateTime::parse_from_rfc3339(&record.timestamp).is_ok_and(|at| at.with_timezone(&Utc) >= since)
    };
    let (mut cursor, mut seen) = (None, 0);
    loop {
        let request =
            RecordsRequest { topic: topic.clone(), limit: PAGE, cursor, ..RecordsRequest::default() };
        let page = app.services.kafka.records(request).await?;
        let older = page.items.last().is_some_and(|record| !is_recent(record));
        seen += page.items.len();
        let wanted = page.items.into_iter().filter(|record| {
            is_recent(record) && !record.truncated && visible::may_show(caller, app.settings(), topic, record)
        });
        past.extend(wanted.filter_map(|record| Some(PastEvent { kind, value: record.value? })));
        cursor = page.next;
        if older || cursor.is_none() {
            return Ok(true);
        }
        if seen >= RECORDS_MAX {
            return Ok(false);
        }
    }
}
