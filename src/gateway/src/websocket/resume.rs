//! A session's subscription, from the request to the first update: what it gets at once, and what it missed.

use super::delivery::may_see;
use super::protocol::{self, Complaint};
use super::requests::wants;
use super::session::{Session, Subscriptions, TokenChecked, Waiting};
use crate::live::hub::{AtOnce, Entered};
use crate::live::index::Pattern;
use crate::live::position::Position;
use crate::live::replay::{Replayed, Standing};
use crate::live::update::{Update, UpdateType};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tidecast_ports::live::{HistoryError, Stretch};
use tokio::io::{AsyncRead, AsyncWrite};

/// How long a client that comes back waits for a gateway that has just started to be on top of things.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(15);

/// What a session waits for before it goes on with what its client says.
pub(super) enum Pending {
    /// For who a token is.
    Token(TokenChecked),
    /// For the hub, where the client resumes.
    Hub(CatchingUp, Box<Asked>),
    /// For what was missed. Updates that are offered meanwhile wait in the outbox.
    Missed(ReadingMissed, Box<Missing>),
}

/// Whether it is on top of things, in time.
type CatchingUp = Pin<Box<dyn Future<Output = bool> + Send>>;
type ReadingMissed = Pin<Box<dyn Future<Output = Result<Replayed, HistoryError>> + Send>>;

/// What was asked for.
pub(super) struct Asked {
    pub(super) model_ids: Vec<String>,
    pub(super) update_types: Vec<UpdateType>,
    /// Where the client stood.
    pub(super) from: Option<Position>,
    /// It gave a place to resume from.
    pub(super) resumes: bool,
}

/// A subscription that is in the index and whose missed updates are not there yet.
pub(super) struct Missing {
    asked: Asked,
    /// Where the hub stood.
    head: Box<str>,
    /// What the client had before, and has now: what was wanted before came already.
    before: Subscriptions,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Begins a subscription whose names have been checked.
    pub(super) fn begin(&mut self, asked: Asked) {
        if asked.from.is_none() {
            return self.enter(asked);
        }
        let shared = self.shared.clone();
        let catching_up =
            async move { tokio::time::timeout(CATCH_UP_PATIENCE, shared.hub.when_caught_up()).await.is_ok() };
        self.pending = Some(Pending::Hub(Box::pin(catching_up), Box::new(asked)));
    }

    /// Goes on with what is waited for. Answers whether it came.
    pub(super) fn poll_pending(&mut self, cx: &mut Context<'_>) -> bool {
        match self.pending.take() {
            None => return false,
            Some(Pending::Token(mut checked)) => match checked.as_mut().poll(cx) {
                Poll::Pending => self.pending = Some(Pending::Token(checked)),
                Poll::Ready(checked) => {
                    self.authenticated(checked);
                    return true;
                }
            },
            Some(Pending::Hub(mut catching_up, mut asked)) => match catching_up.as_mut().poll(cx) {
                Poll::Pending => self.pending = Some(Pending::Hub(catching_up, asked)),
                Poll::Ready(is_on_top) => {
                    if !is_on_top {
                        asked.from = None;
                        self.cannot_resume(
                            "this gateway has just started and does not know yet what was missed",
                        );
                    }
                    self.enter(*asked);
                    return true;
                }
            },
            Some(Pending::Missed(mut reading, missing)) => match reading.as_mut().poll(cx) {
                Poll::Pending => self.pending = Some(Pending::Missed(reading, missing)),
                Poll::Ready(Ok(Replayed { updates, until, room })) => {
                    self.replay(&missing.asked, &missing.before, updates, Some(until));
                    self.replay_room = Some(room);
                    return true;
                }
                Poll::Ready(Err(error)) => {
                    self.give_newest(*missing, &error.to_string());
                    return true;
                }
            },
        }
        false
    }

    /// Puts a subscription into the index, and answers.
    fn enter(&mut self, asked: Asked) {
        let caller = self.caller.clone().expect("checked: there is a caller");
        let before = match asked.from {
            Some(_) => self.subscriptions.clone(),
            None => Subscriptions::default(),
        };
        let types = asked.types();
        let patterns = asked.patterns();
        let with_aggregates = types & UpdateType::Aggregation.bit() != 0;
        let found = if with_aggregates { (self.shared.series_of)(&patterns) } else { Vec::new() };
        let mut of_models = Vec::new();
        for (at, pattern) in patterns.iter().enumerate() {
            let subscription = self.subscriptions.entry(pattern.clone()).or_default();
            subscription.types |= types;
            for series in found.get(at).into_iter().flatten() {
                // Those of models that are no more stay until the end: they are in the index.
                if !subscription.series.contains(series) {
                    subscription.series.push(series.clone());
                }
                of_models.push(series.clone());
            }
        }
        let hub = self.shared.hub.clone();
        let may = |model: &str| caller.may_see_model(model);
        let Entered { head, at_once } =
            hub.subscribe(&self.outbox, (&patterns, types), &of_models, asked.from.as_ref(), may);
        match at_once {
            AtOnce::Newest(newest) => {
                let resumed = asked.resumes.then_some(false);
                self.reply(&protocol::subscribed(&asked.model_ids, &asked.update_types, &head, resumed));
                self.backlog.extend(newest.into_iter().map(Waiting::Newest));
            }
            AtOnce::Missed(missed) => {
                let missing = Missing { asked, head, before };
                if missed.len() > self.shared.replays.records_max {
                    return self.give_newest(missing, &HistoryError::TooMuch.to_string());
                }
                self.replay(&missing.asked, &missing.before, missed, None);
            }
            AtOnce::Elsewhere(stretches) => self.read_missed(Missing { asked, head, before }, stretches),
        }
    }

    fn read_missed(&mut self, missing: Missing, stretches: Vec<Stretch>) {
        let (replays, from) = (self.shared.replays.clone(), missing.asked.from.clone().unwrap_or_default());
        let reading = async move { replays.read(from, stretches).await };
        self.pending = Some(Pending::Missed(Box::pin(reading), Box::new(missing)));
    }

    /// Answers, and queues what was missed of what is new to this subscription. `until`: it was read for this client,
    /// which stands there once it has all.
    fn replay(
        &mut self,
        asked: &Asked,
        before: &Subscriptions,
        missed: Vec<Arc<Update>>,
        until: Option<Position>,
    ) {
        let from = asked.from.clone().unwrap_or_default();
        let position = from.encode();
        self.reply(&protocol::subscribed(&asked.model_ids, &asked.update_types, &position, Some(true)));
        let (caller, types_seen) = (self.caller.as_deref(), self.types_seen);
        let missed = missed.into_iter().filter(|update| {
            wants(&self.subscriptions, update)
                && !wants(before, update)
                && may_see(caller, types_seen, update)
        });
        match until {
            // Of the names it had before, the client stands further on: these must not take it back.
            _ if !before.is_empty() => self.backlog.extend(missed.map(Waiting::Newest)),
            Some(until) => {
                self.backlog.extend(missed.map(Waiting::Replayed));
                self.standing = Standing::at(until);
            }
            None => {
                self.backlog.extend(missed.map(Waiting::Missed));
                self.standing = Standing::at(from);
            }
        }
    }

    fn cannot_resume(&mut self, why: &str) {
        let message =
            format!("what was missed cannot be replayed: {why}; the newest value of each model follows");
        self.complain(&Complaint::new("resume_unavailable", message));
    }

    /// What was missed cannot be had: says so, and gives what a client gets that comes for the first time.
    fn give_newest(&mut self, missing: Missing, why: &str) {
        self.cannot_resume(why);
        let Missing { asked, head, .. } = missing;
        self.reply(&protocol::subscribed(&asked.model_ids, &asked.update_types, &head, Some(false)));
        let caller = self.caller.clone().expect("checked: there is a caller");
        let may = |model: &str| caller.may_see_model(model);
        let hub = self.shared.hub.clone();
        let entered = hub.subscribe(&self.outbox, (&asked.patterns(), asked.types()), &[], None, may);
        if let AtOnce::Newest(newest) = entered.at_once {
            self.backlog.extend(newest.into_iter().map(Waiting::Newest));
        }
    }
}

impl Asked {
    fn types(&self) -> u8 {
        self.update_types.iter().fold(0, |types, kind| types | kind.bit())
    }

    fn patterns(&self) -> Vec<Pattern> {
        self.model_ids.iter().map(|id| Pattern::parse(id)).collect()
    }
}
