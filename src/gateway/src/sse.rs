//! `GET /stream/metrics`: one server-sent event for each aggregate of a family.

use crate::live::Hub;
use crate::live::index::Pattern;
use crate::live::outbox::{Closing, Outbox};
use crate::live::pulse::Due;
use crate::problem::Problem;
use crate::rest::extract::{Params, Who};
use crate::services::App;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::Stream;
use serde::Deserialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

/// Between two comments that keep proxies from closing a quiet stream.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// The family that is streamed where none is named.
const DEFAULT_SERIES: &str = "by_type";
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
    greeted: bool,
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
        if !self.greeted {
            // The first bytes make proxies and browsers hand the headers over at once.
            self.greeted = true;
            return Poll::Ready(Some(Ok(Bytes::from_static(b"retry: 3000\n: aggregates follow\n\n"))));
        }
        self.outbox.register(cx.waker());
        if self.outbox.is_cut() {
            return Poll::Ready(None);
        }
        let mut piece = BytesMut::new();
        let taken =
            self.outbox.take(EVENTS_A_PIECE, |update| piece.extend_from_slice(&update.server_sent_event()));
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
    (status = 200, description = "One `data` line per aggregate; `id` is its position", content_type = "text/event-stream", body = String),
    (status = 404, description = "No such family of series", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn stream_metrics(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    Params(query): Params<StreamQuery>,
) -> Result<Response, Problem> {
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
    let outbox = hub.join(COMMENT_EVERY);
    if let Some(expires) = caller.expires {
        let left = expires.duration_since(SystemTime::now()).unwrap_or_default();
        outbox.set_deadline(Some((
            Instant::now() + left,
            Closing { code: 4401, reason: "the token has expired" },
        )));
        hub.pulse.schedule(&outbox, Due::Deadline, left);
    }
    hub.stream(&outbox, series.unwrap_or(DEFAULT_SERIES));
    hub.metrics.streams.inc();
    let body = Body::from_stream(EventStream { hub, outbox, greeted: false });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that gather answers would hold events back.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}
