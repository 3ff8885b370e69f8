//! Who may do what (contract section 12): one table of routes, one function that every route passes.

use crate::live::index::Pattern;
use crate::live::update::UpdateType;
use axum::http::Method;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::SystemTime;
use tidecast_config::Topics;

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Nothing: health, and the pages' own files, which hold no data.
    Anyone,
    /// Read stats, models, forecasts, rules, alerts, history; subscribe.
    View,
    /// Send events, forecasts and anomalies.
    Publish,
    /// Change models, rules and jobs; replay.
    Operate,
    /// Connections, messages by hand.
    Administer,
    /// Read `/metrics`.
    ReadMetrics,
    /// A ticket for a WebSocket, whichever of the two the caller may use.
    TakeTicket,
}

/// A role of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May view.
    Viewer,
    /// May publish.
    Publisher,
    /// May view, publish and operate.
    Operator,
    /// May do everything.
    Admin,
    /// May read `/metrics` and nothing else.
    Metrics,
}

impl Role {
    /// Reads a name of the claim `roles`; others mean nothing here.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "viewer" => Role::Viewer,
            "publisher" => Role::Publisher,
            "operator" => Role::Operator,
            "admin" => Role::Admin,
            "metrics" => Role::Metrics,
            _ => return None,
        })
    }

    /// Whether this role alone gives the right.
    pub fn gives(self, right: Right) -> bool {
        match right {
            Right::Anyone => true,
            Right::View => matches!(self, Role::Viewer | Role::Operator | Role::Admin),
            Right::Publish => matches!(self, Role::Publisher | Role::Operator | Role::Admin),
            Right::Operate => matches!(self, Role::Operator | Role::Admin),
            Right::Administer => self == Role::Admin,
            Right::TakeTicket => self != Role::Metrics,
            Right::ReadMetrics => matches!(self, Role::Metrics | Role::Operator | Role::Admin),
        }
    }
}

/// Somebody whose token was good; or anybody, where no authentication is configured (loopback, or by choice).
#[derive(Debug, Clone)]
pub struct Caller {
    /// `sub`; `None` without authentication.
    pub subject: Option<Arc<str>>,
    /// `roles`.
    pub roles: Vec<Role>,
    /// `models`; `None`: every one.
    pub models: Option<Vec<Pattern>>,
    /// `topics`; `None`: every one.
    pub topics: Option<Vec<Pattern>>,
    /// `exp`; `None` without authentication.
    pub expires: Option<SystemTime>,
}

impl Caller {
    /// The caller of an instance without authentication, who may do everything: config refuses such an instance past
    /// loopback, unless the operator says so by name.
    pub fn anybody() -> Arc<Self> {
        Arc::new(Caller {
            subject: None,
            roles: vec![Role::Admin],
            models: None,
            topics: None,
            expires: None,
        })
    }

    /// Whether a role gives the right.
    pub fn may(&self, right: Right) -> bool {
        right == Right::Anyone || self.roles.iter().any(|role| role.gives(right))
    }

    /// Whether a model may be seen. One that may not is as one that does not exist.
    pub fn may_see_model(&self, model: &str) -> bool {
        self.models.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(model)))
    }

    /// Whether every model that a pattern means may be seen.
    pub fn may_see_all_of(&self, models: &Pattern) -> bool {
        self.models.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern.includes(models)))
    }

    /// Whether some model that a pattern means may be seen.
    pub fn may_see_some_of(&self, models: &Pattern) -> bool {
        let meet = |pattern: &Pattern| pattern.includes(models) || models.includes(pattern);
        self.models.as_ref().is_none_or(|patterns| patterns.iter().any(meet))
    }

    /// Whether a topic may be seen.
    pub fn may_see_topic(&self, topic: &str) -> bool {
        self.topics.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(topic)))
    }

    /// Whether updates of a type may be seen: those come from a topic, live and later.
    pub fn may_see_type(&self, kind: UpdateType, topics: &Topics) -> bool {
        self.may_see_topic(kind.topic(topics))
    }

    /// The types that may be seen, as bits of [`UpdateType::bit`].
    pub fn types_seen(&self, topics: &Topics) -> u8 {
        let seen = UpdateType::ALL.into_iter().filter(|kind| self.may_see_type(*kind, topics));
        seen.fold(0, |types, kind| types | kind.bit())
    }

    /// The token's life is over.
    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// Why a caller was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 401, or close 4401: there is no usable token.
    NoToken,
    /// 403, or close 4403: the token may not.
    MayNot,
}

/// Every route and what it asks. A route that is not here is refused to everybody.
pub const ROUTES: &[(Method, &str, Right)] = &[
    (Method::GET, "/health", Right::Anyone),
    (Method::GET, "/health/live", Right::Anyone),
    (Method::GET, "/health/ready", Right::Anyone),
    (Method::GET, "/health/startup", Right::Anyone),
    (Method::GET, "/health/kafka", Right::Anyone),
    (Method::GET, "/health/websocket", Right::Anyone),
    (Method::GET, "/metrics", Right::ReadMetrics),
    (Method::GET, "/api/client-config", Right::Anyone),
    (Method::GET, "/openapi.json", Right::Anyone),
    (Method::GET, "/asyncapi.json", Right::Anyone),
    (Method::GET, "/api/stats", Right::View),
    (Method::GET, "/api/alerts", Right::View),
    (Method::POST, "/api/alerts/{id}/acknowledge", Right::Operate),
    (Method::DELETE, "/api/alerts/{id}/acknowledge", Right::Operate),
    (Method::GET, "/api/silences", Right::View),
    (Method::POST, "/api/silences", Right::Operate),
    (Method::DELETE, "/api/silences/{name}", Right::Operate),
    (Method::GET, "/api/audit", Right::Administer),
    (Method::GET, "/api/sessions", Right::Administer),
    (Method::GET, "/stream/metrics", Right::View),
    (Method::GET, "/ws/ingest", Right::Publish),
    (Method::POST, "/api/ws-tickets", Right::TakeTicket),
    (Method::POST, "/api/events", Right::Publish),
    (Method::POST, "/api/forecasts", Right::Publish),
    (Method::POST, "/api/anomalies", Right::Publish),
    (Method::GET, "/api/models", Right::View),
    (Method::POST, "/api/models", Right::Operate),
    (Method::GET, "/api/models/{id}", Right::View),
    (Method::PUT, "/api/models/{id}", Right::Operate),
    (Method::DELETE, "/api/models/{id}", Right::Operate),
    (Method::POST, "/api/models/{id}/refit", Right::Operate),
    (Method::GET, "/api/models/{id}/forecast", Right::View),
    (Method::GET, "/api/models/{id}/history", Right::View),
    (Method::GET, "/api/rules", Right::View),
    (Method::POST, "/api/rules", Right::Operate),
    (Method::GET, "/api/rules/{name}", Right::View),
    (Method::PUT, "/api/rules/{name}", Right::Operate),
    (Method::DELETE, "/api/rules/{name}", Right::Operate),
    (Method::POST, "/api/rules/test", Right::Operate),
    (Method::POST, "/api/rules/try", Right::Operate),
    (Method::GET, "/api/dlq", Right::View),
    (Method::POST, "/api/dlq/replay", Right::Operate),
    (Method::GET, "/api/kafka/health", Right::View),
    (Method::GET, "/api/kafka/topics", Right::View),
    (Method::GET, "/api/kafka/topics/{topic}/records", Right::View),
    (Method::GET, "/api/kafka/metrics", Right::View),
    (Method::GET, "/api/kafka/metrics/summary", Right::View),
    (Method::GET, "/api/kafka/metrics/hourly", Right::View),
    (Method::GET, "/api/kafka/metrics/topic/{topic}", Right::View),
    (Method::POST, "/api/kafka/metrics/cleanup", Right::Operate),
    (Method::POST, "/api/kafka/test", Right::Administer),
    (Method::POST, "/api/kafka/send", Right::Administer),
];

/// What `/forecast-updates` asks, on a listener of its own.
pub const SUBSCRIBE: Right = Right::View;

/// What a route asks; `HEAD` asks what `GET` does. `None`: nobody may.
pub fn right_of(method: &Method, route: &str) -> Option<Right> {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    ROUTES.iter().find(|(known, path, _)| known == method && *path == route).map(|(_, _, right)| *right)
}

/// The one decision: may this caller use a route that asks for `right`?
pub fn authorize(right: Option<Right>, caller: Option<&Caller>) -> Result<(), Refusal> {
    match (right, caller) {
        (Some(Right::Anyone), _) => Ok(()),
        (_, None) => Err(Refusal::NoToken),
        (Some(right), Some(caller)) if caller.may(right) => Ok(()),
        _ => Err(Refusal::MayNot),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(roles: &[Role]) -> Caller {
        Caller { roles: roles.to_vec(), ..(*Caller::anybody()).clone() }
    }

    #[test]
    fn roles_give_what_the_contract_says() {
        let table = [
            (Role::Viewer, [true, false, false, false, false]),
            (Role::Publisher, [false, true, false, false, false]),
            (Role::Operator, [true, true, true, false, true]),
            (Role::Admin, [true, true, true, true, true]),
            (Role::Metrics, [false, false, false, false, true]),
        ];
        let rights = [Right::View, Right::Publish, Right::Operate, Right::Administer, Right::ReadMetrics];
        for (role, gives) in table {
            for (right, given) in rights.into_iter().zip(gives) {
                let expected = if given { Ok(()) } else { Err(Refusal::MayNot) };
                assert_eq!(authorize(Some(right), Some(&caller(&[role]))), expected, "{role:?} {right:?}");
                assert_eq!(authorize(Some(right), None), Err(Refusal::NoToken));
            }
        }
    }

    #[test]
    fn a_route_without_a_rule_is_nobodys() {
        assert_eq!(right_of(&Method::PATCH, "/api/models"), None);
        assert_eq!(authorize(None, Some(&Caller::anybody())), Err(Refusal::MayNot));
        assert_eq!(right_of(&Method::HEAD, "/api/stats"), Some(Right::View));
    }
}
