//! `GET /stream/metrics`: one server-sent event for each aggregate of a family.

use crate::gate::Peer;
use crate::live::Hub;
use crate::live::hub::AtOnce;
use crate::live::index::Pattern;
use crate::live::outbox::{Closing, Outbox};
use crate::live::position::Position;
use crate::live::pulse::Due;
use crate::live::replay::{Goes, Replayed, Standing};
use crate::live::roster::{About, Kind};
use crate::live::update::{Update, UpdateType};
use crate::problem::Problem;
use crate::rest::extract::{Params, Who};
use crate::services::App;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::Stream;
use serde::Deserialize;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::OwnedSemaphorePermit;

/// Between two comments that keep proxies from closing a quiet stream.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// The family that is streamed where none is named.
const DEFAULT_SERIES: &str = "by_type";
/// How long a client that comes back waits for a gateway that has just started.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(5);
/// Events written in one piece.
const EVENTS_A_PIECE: usize = 64;

/// Parameters of `GET /stream/metrics`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamQuery {
    /// The family of series; `by_type` where none is named.
    series: Option<String>,
}

struct EventStream {
    hub: Arc<Hub>,
    outbox: Arc<Outbox>,
    greeting: Option<Bytes>,
    /// What a client that came back missed, and the room it takes.
    missed: VecDeque<Arc<Update>>,
    room: Option<OwnedSemaphorePermit>,
    standing: Standing,
}

impl EventStream {
    /// The next events of what was missed.
    fn missed(&mut self) -> Option<Bytes> {
        let mut piece = BytesMut::new();
        for update in self.missed.drain(..self.missed.len().min(EVENTS_A_PIECE)) {
            // What was read for this client has this client's position.
            let goes = if self.room.is_some() { Goes::AsItIs } else { self.standing.step(&update) };
            append(&mut piece, &update, goes);
        }
        if self.missed.is_empty() {
            self.room = None;
        }
        (!piece.is_empty()).then(|| piece.freeze())
    }
}

impl EventStream {
    /// Has aggregates offered, those after `Last-Event-ID` included. The error is why those cannot be had; what is live
    /// follows all the same.
    async fn begin(&mut self, app: &App, series: &str, headers: &HeaderMap) -> Result<(), String> {
        let hub = self.hub.clone();
        let Some(last) = headers.get("last-event-id").filter(|last| !last.is_empty()) else {
            hub.stream(&self.outbox, series, None);
            return Ok(());
        };
        let from = last.to_str().ok().and_then(Position::decode);
        let from = from.filter(|_| app.replays.records_max > 0);
        let caught_up = tokio::time::timeout(CATCH_UP_PATIENCE, hub.when_caught_up()).await.is_ok();
        let missed = match hub.stream(&self.outbox, series, from.as_ref().filter(|_| caught_up)) {
            _ if !caught_up => Err("this gateway has just started".to_owned()),
            AtOnce::Newest(_) => Err("Last-Event-ID is not a position of this service".to_owned()),
            AtOnce::Missed(missed) if missed.len() > app.replays.records_max => {
                Err("it is too much".to_owned())
            }
            AtOnce::Missed(missed) => Ok((missed, from.unwrap_or_default(), None)),
            AtOnce::Elsewhere(stretches) => {
                let read = app.replays.read(from.unwrap_or_default(), stretches).await;
                read.map(|Replayed { updates, until, room }| (updates, until, Some(room)))
                    .map_err(|error| error.to_string())
            }
        };
        let (missed, stands, room) = missed?;
        let of_series = |update: &Arc<Update>| update.series() == Some(series);
        self.missed = missed.into_iter().filter(of_series).collect();
        self.room = room.filter(|_| !self.missed.is_empty());
        self.standing = Standing::at(stands);
        Ok(())
    }
}

fn append(piece: &mut BytesMut, update: &Update, goes: Goes) {
    match goes {
        Goes::Not => {}
        Goes::AsItIs => piece.extend_from_slice(&update.server_sent_event()),
        Goes::At(position) => piece.extend_from_slice(&update.event_at(&position)),
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.hub.leave(&self.outbox, std::iter::empty::<&Pattern>());
        self.hub.metrics.streams.dec();
    }
}

impl Stream for EventStream {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // The first bytes make proxies and browsers hand the headers over at once.
        if let Some(greeting) = self.greeting.take() {
            return Poll::Ready(Some(Ok(greeting)));
        }
        while !self.missed.is_empty() {
            if let Some(piece) = self.missed() {
                return Poll::Ready(Some(Ok(piece)));
            }
        }
        self.outbox.register(cx.waker());
        if self.outbox.is_cut() {
            return Poll::Ready(None);
        }
        let mut piece = BytesMut::new();
        let EventStream { outbox, standing, .. } = &mut *self;
        let taken = outbox.take(EVENTS_A_PIECE, |update| append(&mut piece, &update, standing.step(&update)));
        let mut head = BytesMut::new();
        if let Some(gap) = taken.gap {
            head.extend_from_slice(
                format!(": {} skipped, for they were not taken in time\n\n", gap.skipped).as_bytes(),
            );
        }
        if taken.heartbeat.is_some() {
            head.extend_from_slice(b": still here\n\n");
        }
        head.extend_from_slice(&piece);
        if !head.is_empty() {
            return Poll::Ready(Some(Ok(head.freeze())));
        }
        if taken.closing.is_some() { Poll::Ready(None) } else { Poll::Pending }
    }
}

/// Streams aggregates as they close.
#[utoipa::path(get, path = "/stream/metrics", tag = "live", params(StreamQuery), responses(
    (status = 200, description = "One `data` line per aggregate; `id` is its position", content_type = "text/event-stream", body = Object),
    (status = 403, description = "The token's topics do not include that of the aggregates", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such family of series", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn stream_metrics(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Params(query): Params<StreamQuery>,
) -> Result<Response, Problem> {
    let topic = UpdateType::Aggregation.topic(&app.settings().topics);
    if !caller.may_see_topic(topic) {
        let detail = format!("the token's topics do not include \"{topic}\", which is streamed here");
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let series = query.series.as_deref();
    if let Some(name) = series
        && !app.settings().series.iter().any(|spec| spec.name == name)
    {
        let known: Vec<&str> = app.settings().series.iter().map(|spec| spec.name.as_str()).collect();
        let detail = format!("there is no series \"{name}\"; there are {}", known.join(", "));
        let mut problem = Problem::parameter("series", detail);
        problem = problem.with_status(StatusCode::NOT_FOUND);
        return Err(problem);
    }
    let hub = app.services.hub.clone();
    let most = i64::try_from(app.settings().websocket.max_connections).unwrap_or(i64::MAX);
    if hub.metrics.streams.get() >= most {
        let detail = format!("{most} streams are open already; try again later");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).with_header("retry-after", "5"));
    }
    let address = peer.map(|Extension(Peer(address))| address);
    let outbox = hub.join(COMMENT_EVERY, About::new(Kind::Sse, address, caller.subject.clone()));
    if let Some(expires) = caller.expires {
        let left = expires.duration_since(SystemTime::now()).unwrap_or_default();
        outbox.set_deadline(Some((
            Instant::now() + left,
            Closing { code: 4401, reason: "the token has expired" },
        )));
        hub.pulse.schedule(&outbox, Due::Deadline, left);
    }
    hub.metrics.streams.inc();
    // From here on the stream's end, however it comes, gives everything back.
    let mut stream = EventStream {
        hub,
        outbox,
        greeting: None,
        missed: VecDeque::new(),
        room: None,
        standing: Standing::default(),
    };
    let cannot = stream.begin(&app, series.unwrap_or(DEFAULT_SERIES), &headers).await.err();
    let told = cannot.map(|why| format!(": what was missed cannot be replayed, {why}\n")).unwrap_or_default();
    stream.greeting = Some(format!("retry: 3000\n: aggregates follow\n{told}\n").into());
    let body = Body::from_stream(stream);
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that gather answers would hold events back.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}
