//! Who sends on one `/ws/ingest` connection: by the handshake, or by an `auth` message, then and again later.

use crate::access::{Caller, Right};
use crate::services::App;
use serde::Deserialize;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

/// How long a client has for its first `auth` message, and how long such a message may be.
const PATIENCE: Duration = Duration::from_secs(5);
const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// What a token comes in, before the first event or when the last one runs out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthMessage {
    r#type: String,
    token: String,
}

type Checking = Pin<Box<dyn Future<Output = Result<Arc<Caller>, u16>> + Send>>;

/// Who sends, and until when.
pub(super) struct Access {
    known: bool,
    ends: Option<Instant>,
    checking: Option<Checking>,
}

impl Access {
    pub(super) fn new(caller: Option<&Caller>, now: Instant) -> Self {
        let ends = match caller {
            Some(caller) => end_of(caller),
            None => Some(now + PATIENCE),
        };
        Access { known: caller.is_some(), ends, checking: None }
    }

    /// Nobody has said yet who sends.
    pub(super) fn is_unknown(&self) -> bool {
        !self.known
    }

    /// When the wait for a token, or the token's life, is over.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.ends
    }

    /// A token is being checked: what comes after it waits.
    pub(super) fn is_checking(&self) -> bool {
        self.checking.is_some()
    }

    /// Takes a token that came as a message. `false`: it is an event like any other.
    pub(super) fn take(&mut self, app: &Arc<App>, text: &[u8]) -> bool {
        if !app.authenticator().is_required() || text.len() > MESSAGE_BYTES_MAX {
            return false;
        }
        let Ok(AuthMessage { r#type, token }) = serde_json::from_slice(text) else { return false };
        if r#type != "auth" {
            return false;
        }
        let app = app.clone();
        self.checking = Some(Box::pin(async move {
            let caller = app.authenticator().check(&token).await.map_err(|_| 4401u16)?;
            let may = caller.may(Right::Publish) && caller.may_see_topic(&app.settings().topics.events);
            if may { Ok(caller) } else { Err(4403) }
        }));
        true
    }

    /// Whether a check has ended, and who it is; `Err` is the code to close with.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Arc<Caller>, u16>> {
        let Some(checking) = &mut self.checking else { return Poll::Pending };
        let Poll::Ready(checked) = checking.as_mut().poll(cx) else { return Poll::Pending };
        self.checking = None;
        Poll::Ready(checked.inspect(|caller| {
            self.known = true;
            self.ends = end_of(caller);
        }))
    }
}

/// When a caller's token runs out, on the clock that does not jump.
fn end_of(caller: &Caller) -> Option<Instant> {
    let left = caller.expires?.duration_since(SystemTime::now()).unwrap_or_default();
    Some(Instant::now() + left)
}
