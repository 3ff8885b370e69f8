//! `/ws/ingest`: one event a frame, acknowledged by count once Kafka has them.
//!
//! One future per connection owns the socket, what is on its way to Kafka, and the answers. It reads no further while
//! more than its credit is on the way; it never waits for its client to read an answer.

use super::access::Access;
use super::rate::{EventRate, Over};
use crate::access::Caller;
use crate::gate::Peer;
use crate::live::roster::{About, Kind, SenderPlace};
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::services::App;
use crate::websocket::frame::{Decoder, Message, Opcode, close_frame, frame};
use crate::websocket::handshake::{accept_headers, accept_key};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Buf, Bytes, BytesMut};
use futures::Stream;
use futures::stream::FuturesOrdered;
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tidecast_ports::IngestError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

/// Between two rounds of answers.
const ANSWER_EVERY: Duration = Duration::from_millis(100);
/// Bytes on their way to Kafka for one connection; past it the client is not read from.
const CREDIT_BYTES: usize = 4 << 20;
/// Bytes of refusals that wait for a client that does not read; past it they are counted, and the count is told.
const REFUSAL_BYTES_MAX: usize = 1 << 20;
/// Bytes of a chunk that is read into, and the least room that is worth a read.
const READ_BYTES: usize = 64 << 10;
const READ_BYTES_LEAST: usize = 4 << 10;
/// How long the end waits for Kafka, and then for the client.
const END_PATIENCE: Duration = Duration::from_secs(5);
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// Opens a WebSocket for events: one a frame, text or binary, JSON or MessagePack, stored as it came. Answers are
/// `{"type":"ack","data":{"accepted":n}}`, cumulative (with `?credit=true` also how much more may be sent at once), and `{"type":"error","data":{"code","message","index"}}`.
pub(crate) async fn upgrade(State(app): State<Arc<App>>, mut request: Request) -> Result<Response, Problem> {
    let accept = accept_key(request.headers()).map_err(|refusal| {
        let problem = Problem::new(refusal.status, refusal.detail);
        problem.with_header("upgrade", "websocket").with_header("sec-websocket-version", "13")
    })?;
    let Some(upgrade) = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>() else {
        return Err(Problem::new(StatusCode::UPGRADE_REQUIRED, "WebSocket is spoken over HTTP/1.1 here"));
    };
    let caller = request.extensions().get::<Arc<Caller>>().cloned();
    if let Some(caller) = &caller
        && !caller.may_see_topic(&app.settings().topics.events)
    {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "the token's topics do not include the events topic",
        ));
    }
    let shows_credit =
        request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "credit=true"));
    let peer = request.extensions().get::<Peer>().map(|Peer(address)| *address);
    let task = app.clone();
    app.tasks.spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let user = caller.as_ref().and_then(|caller| caller.subject.clone());
            let place = task.services.hub.join_sender(About::new(Kind::Ingest, peer, user));
            Connection::new(TokioIo::new(upgraded), task, caller, place, shows_credit).await;
        }
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().extend(accept_headers(accept));
    Ok(response)
}

struct Batch {
    events: u64,
    bytes: usize,
    /// Place of the first frame.
    index: u64,
    sent: Instant,
}

type OnTheWay = Pin<Box<dyn Future<Output = (Batch, Result<(), IngestError>)> + Send>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// No more is read; what is on the way is waited for, then the close goes out with this code.
    Ending(u16),
    /// The close is out.
    Closed,
}

struct Connection<S> {
    socket: S,
    app: Arc<App>,
    metrics: Metrics,
    access: Access,
    /// In the list of who is connected.
    place: SenderPlace,
    decoder: Decoder,
    input: BytesMut,
    phase: Phase,
    frames: u64,
    on_the_way: FuturesOrdered<OnTheWay>,
    bytes_on_the_way: usize,
    accepted: u64,
    told: u64,
    refusals: BytesMut,
    untold: u64,
    output: Bytes,
    next_answer: Instant,
    timer: Pin<Box<Sleep>>,
    timer_at: Instant,
    ends_at: Option<Instant>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    rate: EventRate,
    /// The client asked for its credit beside acknowledgements (`?credit=true`).
    shows_credit: bool,
    close_sent: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn new(
        socket: S,
        app: Arc<App>,
        caller: Option<Arc<Caller>>,
        place: SenderPlace,
        shows_credit: bool,
    ) -> Self {
        let metrics = app.metrics().clone();
        let now = Instant::now();
        let settings = app.settings();
        let mut connection = Connection {
            socket,
            metrics,
            access: Access::new(caller.as_deref(), now),
            place,
            decoder: Decoder::new(settings.kafka.max_request_size as usize),
            input: BytesMut::new(),
            phase: Phase::Open,
            frames: 0,
            on_the_way: FuturesOrdered::new(),
            bytes_on_the_way: 0,
            accepted: 0,
            told: 0,
            refusals: BytesMut::new(),
            untold: 0,
            output: Bytes::new(),
            next_answer: now,
            timer: Box::pin(tokio::time::sleep_until(now.into())),
            timer_at: now,
            ends_at: None,
            stopping: Box::pin(app.stopping.clone().cancelled_owned()),
            rate: EventRate::new(settings.limits.ingest_events_per_second, now),
            shows_credit,
            close_sent: false,
            app,
        };
        if shows_credit {
            let credit = json!({"type": "credit", "data": connection.credit()});
            connection.output = frame(Opcode::Text, credit.to_string().as_bytes());
        }
        connection
    }

    fn end(&mut self, code: u16) {
        if self.phase == Phase::Open {
            self.phase = Phase::Ending(code);
            self.ends_at = Some(Instant::now() + END_PATIENCE);
        }
    }

    fn refuse(&mut self, code: &str, message: &str, index: u64) {
        self.tell(code, json!({"code": code, "message": message, "index": index}));
    }

    fn tell(&mut self, code: &str, data: serde_json::Value) {
        self.metrics.ingest_refused.with_label_values(&[code]).inc();
        if self.refusals.len() >= REFUSAL_BYTES_MAX {
            self.untold += 1;
            return;
        }
        let error = json!({"type": "error", "data": data});
        self.refusals.extend_from_slice(&frame(Opcode::Text, error.to_string().as_bytes()));
    }

    /// `Ready(true)`: something was read; `Ready(false)`: the client hung up.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        // A chunk is filled before another is made: events on their way share the chunk that they came in.
        if self.input.capacity() - self.input.len() < READ_BYTES_LEAST {
            self.input.reserve(READ_BYTES);
        }
        let read = ready!(tokio_util::io::poll_read_buf(Pin::new(&mut self.socket), cx, &mut self.input))?;
        Poll::Ready(Ok(read > 0))
    }

    /// More is waiting than the second allows: the client is told, and closed when it goes on like this.
    fn over_the_limit(&mut self) {
        let over = self.rate.over();
        if over == Over::Told {
            return;
        }
        let most = self.rate.most();
        let message = format!("at most {most} events a second; the connection is read from at that rate");
        // Of no frame: what is read later is stored like any other.
        self.tell("rate_limited", json!({"code": "rate_limited", "message": message}));
        if over == Over::Close {
            self.end(4429);
        }
    }

    /// Takes whole frames out of what was read. Answers whether events went on their way, or a token: those have
    /// to be polled.
    fn take_frames(&mut self) -> bool {
        let room = self.rate.room(Instant::now());
        let mut events = Vec::new();
        let mut bytes = 0;
        while self.phase == Phase::Open
            && !self.access.is_checking()
            && self.bytes_on_the_way + bytes < CREDIT_BYTES
        {
            if events.len() >= room {
                if !self.input.is_empty() {
                    self.over_the_limit();
                }
                break;
            }
            match self.decoder.decode(&mut self.input) {
                Ok(Some(Message::Text(text))) if self.access.take(&self.app, &text) => {}
                Ok(Some(Message::Text(_) | Message::Binary(_))) if self.access.is_unknown() => self.end(4401),
                Ok(Some(Message::Text(event) | Message::Binary(event))) => {
                    bytes += event.len() + 64;
                    events.push(event);
                }
                Ok(Some(Message::Ping(payload))) => {
                    // A pong is an answer like any other: it waits its turn, and is dropped past the bound.
                    if self.refusals.len() < REFUSAL_BYTES_MAX {
                        self.refusals.extend_from_slice(&frame(Opcode::Pong, &payload));
                    }
                }
                Ok(Some(Message::Pong)) => {}
                Ok(Some(Message::Close(_))) => self.end(1000),
                Ok(None) => break,
                Err(error) => self.end(error.close_code()),
            }
        }
        let sent = !events.is_empty();
        if sent {
            self.send(events, bytes);
        }
        sent || self.access.is_checking()
    }

    fn send(&mut self, events: Vec<Bytes>, bytes: usize) {
        self.rate.count(events.len());
        let index = self.frames;
        self.frames += events.len() as u64;
        let (results, acknowledged) = self.app.services.ingest.ingest_batch(events, super::http::now_ms());
        let mut accepted = 0;
        for (place, result) in results.into_iter().enumerate() {
            match result {
                Ok(()) => accepted += 1,
                Err(rejection) => {
                    self.place.figures.refused.fetch_add(1, Relaxed);
                    self.refuse(rejection.reason.as_str(), &rejection.detail, index + place as u64)
                }
            }
        }
        if accepted > 0 {
            let batch = Batch { events: accepted, bytes, index, sent: Instant::now() };
            self.bytes_on_the_way += bytes;
            self.place.figures.on_the_way.fetch_add(accepted, Relaxed);
            self.place.figures.bytes_on_the_way.fetch_add(bytes as u64, Relaxed);
            self.on_the_way.push_back(Box::pin(async move { (batch, acknowledged.await) }));
        }
    }

    fn poll_acknowledged(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        while let Poll::Ready(Some((batch, result))) = Pin::new(&mut self.on_the_way).poll_next(cx) {
            progress = true;
            self.bytes_on_the_way -= batch.bytes;
            let figures = &self.place.figures;
            figures.on_the_way.fetch_sub(batch.events, Relaxed);
            figures.bytes_on_the_way.fetch_sub(batch.bytes as u64, Relaxed);
            match result {
                Ok(()) => {
                    self.accepted += batch.events;
                    figures.accepted.store(self.accepted, Relaxed);
                    self.metrics.ingest_accepted.with_label_values(&["websocket"]).inc_by(batch.events);
                    self.metrics.ingest_seconds.observe(batch.sent.elapsed().as_secs_f64());
                }
                Err(error) => {
                    let message = format!("{} events from this one on: {error}", batch.events);
                    self.refuse("unavailable", &message, batch.index);
                }
            }
        }
        progress
    }

    /// Puts the next round of answers together, when it is time and the last one is out.
    fn gather(&mut self) {
        let due = Instant::now() >= self.next_answer || matches!(self.phase, Phase::Ending(_));
        let news = self.accepted > self.told || !self.refusals.is_empty() || self.untold > 0;
        if !self.output.is_empty() || self.phase == Phase::Closed {
            return;
        }
        let mut output = BytesMut::new();
        if news && due {
            output = std::mem::take(&mut self.refusals);
            if self.untold > 0 {
                let message =
                    format!("{} refusals were not told, for the answers before were not read", self.untold);
                let error = json!({"type": "error", "data": {"code": "answers_dropped", "message": message,
                    "index": self.frames}});
                output.extend_from_slice(&frame(Opcode::Text, error.to_string().as_bytes()));
                self.untold = 0;
            }
            if self.accepted > self.told {
                let mut ack = json!({"type": "ack", "data": {"accepted": self.accepted}});
                if self.shows_credit {
                    ack["credit"] = self.credit();
                }
                output.extend_from_slice(&frame(Opcode::Text, ack.to_string().as_bytes()));
                self.told = self.accepted;
            }
            self.next_answer = Instant::now() + ANSWER_EVERY;
        }
        if let Phase::Ending(code) = self.phase
            && (self.on_the_way.is_empty() || self.ends_at.is_some_and(|at| at <= Instant::now()))
            && !self.close_sent
        {
            output.extend_from_slice(&close_frame(code, reason_of(code)));
            self.close_sent = true;
        }
        self.output = output.freeze();
    }

    /// What the client may send before it is slowed: bytes that are not acknowledged, and events a second.
    fn credit(&self) -> serde_json::Value {
        json!({"bytes": CREDIT_BYTES.saturating_sub(self.bytes_on_the_way), "events_per_second": self.rate.most()})
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.output))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(written);
        }
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    /// Arms the timer for the next thing that time alone brings.
    fn poll_timer(&mut self, cx: &mut Context<'_>) {
        let news = self.accepted > self.told || !self.refusals.is_empty() || self.untold > 0;
        let answer = (news && self.output.is_empty()).then_some(self.next_answer);
        let access = self.access.ends().filter(|_| self.phase == Phase::Open);
        let Some(at) = [answer, self.rate.paused_until(Instant::now()), self.ends_at, access]
            .into_iter()
            .flatten()
            .min()
        else {
            return;
        };
        if at != self.timer_at {
            self.timer_at = at;
            self.timer.as_mut().reset(at.into());
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..16 {
            if self.phase == Phase::Open && self.stopping.as_mut().poll(cx).is_ready() {
                self.end(1012);
            }
            if self.access.ends().is_some_and(|at| at <= Instant::now()) {
                self.end(4401);
            }
            let mut progress = self.poll_acknowledged(cx);
            if let Poll::Ready(checked) = self.access.poll(cx) {
                match checked {
                    Ok(caller) => self.place.is_of(caller.subject.clone()),
                    Err(code) => self.end(code),
                }
                progress = true;
            }
            let may_read =
                self.bytes_on_the_way < CREDIT_BYTES && self.rate.paused_until(Instant::now()).is_none();
            if self.phase == Phase::Open && may_read {
                // What was left for want of credit comes before what is still in the socket.
                progress |= self.take_frames();
                if let Poll::Ready(read) = self.poll_read(cx) {
                    if !read? {
                        return Poll::Ready(Ok(()));
                    }
                    self.take_frames();
                    progress = true;
                }
            } else if self.phase == Phase::Closed
                && let Poll::Ready(read) = self.poll_read(cx)
            {
                self.input.clear();
                if !read? {
                    return Poll::Ready(Ok(()));
                }
                progress = true;
            }
            self.gather();
            let was_empty = self.output.is_empty();
            if let Poll::Ready(written) = self.poll_write(cx) {
                written?;
                progress |= !was_empty;
                if self.close_sent && self.phase != Phase::Closed {
                    let _ = Pin::new(&mut self.socket).poll_shutdown(cx);
                    self.phase = Phase::Closed;
                    self.ends_at = Some(Instant::now() + CLOSE_PATIENCE);
                    progress = true;
                }
            }
            if self.is_over() {
                return Poll::Ready(Ok(()));
            }
            if !progress {
                self.poll_timer(cx);
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The end's patience is over: the client does not take its close, or does not close in turn.
    fn is_over(&self) -> bool {
        let late = self.ends_at.is_some_and(|at| Instant::now() >= at);
        late && (self.phase == Phase::Closed || !self.output.is_empty())
    }
}

/// What a client is told with a close code, as on `/forecast-updates`.
fn reason_of(code: u16) -> &'static str {
    match code {
        1012 => "the service restarts; connect again",
        4401 => "no token came in time, it cannot be used, or it has expired",
        4403 => "this token may not send events",
        4429 => "went on past the limit of events",
        1009 => "a frame past the size limit",
        1002 | 1007 => "not as the WebSocket protocol has it",
        _ => "",
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Connection<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // An error of the socket is a lost connection: there is nobody to tell. What was not acknowledged may be stored.
        self.get_mut().poll_connection(cx).map(|_| ())
    }
}
