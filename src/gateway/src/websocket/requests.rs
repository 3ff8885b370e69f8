//! What a session does with what its client asks.

use super::protocol::{self, ClientMessage, Complaint};
use super::session::{Pending, Session, Subscriptions};
use crate::access::Caller;
use crate::live::index::Pattern;
use crate::live::outbox::Closing;
use crate::live::pulse::Due;
use crate::live::update::{Update, UpdateType};
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn handle_request(&mut self, request: Result<ClientMessage, Complaint>) {
        let request = match request {
            Ok(request) => request,
            Err(complaint) => return self.complain(&complaint),
        };
        if let ClientMessage::Auth { token } = request {
            return self.authenticate(&token);
        }
        if self.caller.is_none() {
            return self.close(4401, "the first message must be auth with a token");
        }
        match request {
            ClientMessage::Subscribe { model_ids, update_types, format, resume } => {
                if let Some(format) = format {
                    self.format = format;
                }
                if resume.is_some() {
                    self.complain(&Complaint::new(
                        "resume_unavailable",
                        "what was missed cannot be replayed; the newest value of each model follows",
                    ));
                }
                self.subscribe(model_ids, update_types);
            }
            ClientMessage::Unsubscribe { model_ids, update_types } => {
                self.unsubscribe(model_ids, update_types)
            }
            ClientMessage::Ping => {
                if self.pings == 0 {
                    self.updates_before_ping = self.backlog.len() + self.outbox.len();
                }
                self.pings += 1;
            }
            ClientMessage::Auth { .. } => {}
        }
    }

    fn authenticate(&mut self, token: &str) {
        match (self.shared.check_token)(token) {
            Ok(caller) if caller.may(crate::access::SUBSCRIBE) => {
                self.set_deadline(&caller);
                self.caller = Some(caller);
            }
            Ok(_) => self.close(4403, "this token may not subscribe"),
            Err(_) => self.close(4401, "this token cannot be used"),
        }
    }

    fn set_deadline(&self, caller: &Caller) {
        let left =
            caller.expires.map(|at| at.duration_since(std::time::SystemTime::now()).unwrap_or_default());
        let closing = Closing { code: 4401, reason: "the token has expired" };
        self.outbox.set_deadline(left.map(|left| (Instant::now() + left, closing)));
        if let Some(left) = left {
            self.shared.hub.pulse.schedule(&self.outbox, Due::Deadline, left);
        }
    }

    fn subscribe(&mut self, model_ids: Vec<String>, update_types: Vec<UpdateType>) {
        let caller = self.caller.clone().expect("checked: there is a caller");
        let (seen, hidden): (Vec<String>, Vec<String>) = model_ids
            .into_iter()
            .partition(|id| id.ends_with('*') || caller.may_see_model(id) || is_series(id));
        for id in hidden {
            self.complain(&Complaint::new("unknown_model", format!("there is no model \"{id}\"")));
        }
        if seen.is_empty() {
            return;
        }
        let new = seen.iter().filter(|id| !self.subscriptions.contains_key(&Pattern::parse(id))).count();
        let most = self.shared.limits.subscriptions_max;
        if self.subscriptions.len() + new > most {
            return self.complain(&Complaint::new(
                "rate_limited",
                format!("at most {most} subscriptions; patterns such as \"sales_*\" take one each"),
            ));
        }
        let exact: Vec<Arc<str>> = match update_types.contains(&UpdateType::Aggregation) {
            true => seen.iter().filter(|id| !id.ends_with('*')).map(|id| Arc::from(&**id)).collect(),
            false => Vec::new(),
        };
        if exact.is_empty() {
            return self.enter(seen, update_types, Vec::new());
        }
        let lookup = (self.shared.series_of)(exact);
        self.pending = Some(Box::new(Pending { lookup, model_ids: seen, update_types }));
    }

    /// Puts a subscription into the index, and answers.
    pub(super) fn enter(
        &mut self,
        model_ids: Vec<String>,
        update_types: Vec<UpdateType>,
        series: Vec<(Arc<str>, Arc<str>)>,
    ) {
        let caller = self.caller.clone().expect("checked: there is a caller");
        let types = update_types.iter().fold(0, |types, kind| types | kind.bit());
        let patterns: Vec<Pattern> = model_ids.iter().map(|id| Pattern::parse(id)).collect();
        for pattern in &patterns {
            self.subscriptions.entry(pattern.clone()).or_default().types |= types;
        }
        let mut of_models = Vec::new();
        for (model, series) in series {
            if let Some(subscription) = self.subscriptions.get_mut(&Pattern::Exact(model)) {
                subscription.series = Some(series.clone());
                of_models.push(Pattern::Exact(series));
            }
        }
        self.reply(&protocol::answer("subscribed", &model_ids, &update_types));
        let hub = self.shared.hub.clone();
        let newest = hub.subscribe(&self.outbox, &patterns, types, |model| caller.may_see_model(model));
        self.backlog.extend(newest);
        if !of_models.is_empty() {
            hub.subscribe(&self.outbox, &of_models, UpdateType::Aggregation.bit(), |_| true);
        }
    }

    fn unsubscribe(&mut self, model_ids: Vec<String>, update_types: Vec<UpdateType>) {
        let types = match update_types.is_empty() {
            true => u8::MAX,
            false => update_types.iter().fold(0, |types, kind| types | kind.bit()),
        };
        let patterns: Vec<Pattern> = match model_ids.is_empty() {
            true => self.subscriptions.keys().cloned().collect(),
            false => model_ids.iter().map(|id| Pattern::parse(id)).collect(),
        };
        let hub = self.shared.hub.clone();
        for pattern in &patterns {
            let Some(subscription) = self.subscriptions.get_mut(pattern) else { continue };
            subscription.types &= !types;
            let ends = subscription.types == 0;
            let series = match types & UpdateType::Aggregation.bit() != 0 {
                true => subscription.series.take(),
                false => None,
            };
            if ends {
                self.subscriptions.remove(pattern);
            }
            if let Some(series) = series
                && !self.wants_series(&series)
            {
                hub.unsubscribe(&self.outbox, &[Pattern::Exact(series)], UpdateType::Aggregation.bit());
            }
        }
        hub.unsubscribe(&self.outbox, &patterns, types);
        let subscriptions = &self.subscriptions;
        self.outbox.forget(|update| !wants(subscriptions, update));
        self.backlog.retain(|update| wants(subscriptions, update));
        let model_ids: Vec<String> = patterns.iter().map(Pattern::to_string).collect();
        let gone = match update_types.is_empty() {
            true => UpdateType::ALL.to_vec(),
            false => update_types,
        };
        self.reply(&protocol::answer("unsubscribed", &model_ids, &gone));
    }

    fn wants_series(&self, series: &Arc<str>) -> bool {
        self.subscriptions.iter().any(|(pattern, subscription)| {
            subscription.series.as_ref() == Some(series)
                || (subscription.types & UpdateType::Aggregation.bit() != 0
                    && *pattern == Pattern::Exact(series.clone()))
        })
    }
}

/// A name that can only be a series: it is not narrowed by the claim `models`.
fn is_series(name: &str) -> bool {
    name.contains(':')
}

fn wants(subscriptions: &Subscriptions, update: &Update) -> bool {
    subscriptions.iter().any(|(pattern, subscription)| {
        let by_series =
            subscription.series.as_ref() == Some(&update.name) && update.kind == UpdateType::Aggregation;
        by_series
            || (subscription.types & update.kind.bit() != 0
                && (update.kind == UpdateType::Metrics || pattern.matches(&update.name)))
    })
}
