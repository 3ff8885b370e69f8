//! What a session does with what its client asks.

use super::delivery::may_see;
use super::protocol::{self, ClientMessage, Complaint, Format};
use super::resume::{Asked, Pending};
use super::session::{Session, Subscriptions};
use crate::access::Caller;
use crate::auth::Unusable;
use crate::live::index::Pattern;
use crate::live::outbox::Closing;
use crate::live::position::Position;
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
            self.pending = Some(Pending::Token((self.shared.check_token)(token)));
            return;
        }
        if self.caller.is_none() {
            return self.close(4401, "the first message must be auth with a token");
        }
        match request {
            ClientMessage::Subscribe { model_ids, update_types, format, resume } => {
                if let Some(format) = format {
                    self.format = format;
                    let is_binary = format == Format::MessagePack;
                    self.shared.hub.describe(self.outbox.id, |about| about.is_binary = is_binary);
                }
                self.subscribe(model_ids, update_types, resume);
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

    /// What became of a token that the client showed.
    pub(super) fn authenticated(&mut self, checked: Result<Arc<Caller>, Unusable>) {
        match checked {
            Ok(caller) if caller.may(crate::access::SUBSCRIBE) => {
                self.set_deadline(&caller);
                let user = caller.subject.clone();
                self.shared.hub.describe(self.outbox.id, |about| about.user = user);
                let types_seen = caller.types_seen(&self.shared.topics);
                self.backlog.retain(|waiting| may_see(Some(&caller), types_seen, waiting.update()));
                self.types_seen = types_seen;
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

    fn subscribe(&mut self, model_ids: Vec<String>, update_types: Vec<UpdateType>, resume: Option<String>) {
        let caller = self.caller.clone().expect("checked: there is a caller");
        let (seen, hidden): (Vec<String>, Vec<String>) = model_ids
            .into_iter()
            .partition(|id| id.ends_with('*') || caller.may_see_model(id) || is_series(id));
        for id in hidden {
            self.complain(&Complaint::new("unknown_model", format!("there is no model \"{id}\"")));
        }
        let (update_types, hidden): (Vec<UpdateType>, Vec<UpdateType>) =
            update_types.into_iter().partition(|kind| self.types_seen & kind.bit() != 0);
        for kind in hidden {
            self.complain(&Complaint::new(
                "invalid_update_type",
                format!("update_types: the token's topics do not include that of \"{}\"", kind.name()),
            ));
        }
        if seen.is_empty() || update_types.is_empty() {
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
        let from = resume.as_deref().map(Position::decode);
        let resumes = from.is_some();
        if matches!(from, Some(None)) {
            self.complain(&Complaint::new(
                "resume_unavailable",
                "resume: not a position of this service; the newest value of each model follows",
            ));
        }
        let from = from.flatten().filter(|_| self.shared.replays.records_max > 0);
        self.begin(Asked { model_ids: seen, update_types, from, resumes });
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
            let mut series = match types & UpdateType::Aggregation.bit() != 0 {
                true => std::mem::take(&mut subscription.series),
                false => Vec::new(),
            };
            if ends {
                self.subscriptions.remove(pattern);
            }
            series.retain(|series| !self.wants_series(series));
            hub.unsubscribe(&self.outbox, &series, UpdateType::Aggregation.bit());
        }
        hub.unsubscribe(&self.outbox, &patterns, types);
        let subscriptions = &self.subscriptions;
        self.outbox.forget(|update| !wants(subscriptions, update));
        self.backlog.retain(|waiting| wants(subscriptions, waiting.update()));
        let model_ids: Vec<String> = patterns.iter().map(Pattern::to_string).collect();
        let gone = match update_types.is_empty() {
            true => UpdateType::ALL.to_vec(),
            false => update_types,
        };
        self.reply(&protocol::answer("unsubscribed", &model_ids, &gone));
    }

    fn wants_series(&self, series: &Pattern) -> bool {
        self.subscriptions.iter().any(|(pattern, subscription)| {
            subscription.series.contains(series)
                || (subscription.types & UpdateType::Aggregation.bit() != 0 && pattern == series)
        })
    }
}

/// A name that can only be a series: it is not narrowed by the claim `models`.
fn is_series(name: &str) -> bool {
    name.contains(':')
}

pub(super) fn wants(subscriptions: &Subscriptions, update: &Update) -> bool {
    subscriptions.iter().any(|(pattern, subscription)| {
        let by_series = update.kind == UpdateType::Aggregation
            && subscription.series.iter().any(|series| series.matches(&update.name));
        by_series
            || (subscription.types & update.kind.bit() != 0
                && (update.kind == UpdateType::Metrics || pattern.matches(&update.name)))
    })
}
