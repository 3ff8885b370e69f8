//! The service: accepts, serves, and ends in order.

use crate::access::{self, Refusal};
use crate::addresses::Addresses;
use crate::browser::{self, Doorway};
use crate::gate::Gate;
use crate::health::Watched;
use crate::http_serving::{HEAD_PATIENCE, HttpServing, peer_of, shake_hands};
use crate::listeners::{Listener, Listeners, accept};
use crate::live::outbox::Closing;
use crate::live::pulse::{self, Due};
use crate::live::replay::Replays;
use crate::live::roster::{About, Kind};
use crate::problem::Problem;
use crate::rest;
use crate::rest::body::Bodies;
use crate::services::{AdminServices, App, Services};
use crate::websocket::deflate::{self, Deflate};
use crate::websocket::handshake::{accept_headers, accept_key};
use crate::websocket::series::series_of;
use crate::websocket::session::{Session, SessionLimits, Shared};
use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidecast_config::ListenerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections to the app listener, and to the admin listener.
const APP_CONNECTIONS_MAX: usize = 16_384;
const ADMIN_CONNECTIONS_MAX: usize = 256;
/// Connections to the WebSocket listener past its limit, which are told that it is full.
const HANDSHAKES_MAX: usize = 1_024;
/// How long a client has for its first `auth` message.
const AUTH_PATIENCE: Duration = Duration::from_secs(5);
/// How long connections have to end once the service does.
const END_PATIENCE: Duration = Duration::from_millis(2_500);

/// Serves until `shutdown` resolves, then ends: no new connection, close frames to every client (1012: come back),
/// requests under way finished, all within three seconds.
pub async fn serve(listeners: Listeners, services: Services, shutdown: impl Future<Output = ()> + Send) {
    let gate = Arc::new(Gate::new(&services.settings, &services.authenticator, &services.hub.metrics));
    if services.authenticator.is_required() {
        services.authenticator.tickets.share(services.notes.clone());
    }
    let replays = Replays::new(services.history.clone(), services.settings.limits.resume_records);
    let websocket_address =
        listeners.websocket.socket.local_addr().unwrap_or_else(|_| ([127, 0, 0, 1], 0).into());
    let app = Arc::new(App {
        bodies: Bodies::new(services.settings.limits.request_bodies_size),
        services,
        gate: gate.clone(),
        replays,
        silencing: tokio::sync::Mutex::default(),
        websocket_address,
        tasks: TaskTracker::new(),
        stopping: CancellationToken::new(),
    });
    let watched = Arc::new(Watched {
        gate,
        health: app.services.health.clone(),
        render_metrics: app.services.render_metrics.clone(),
        hub: Some(app.services.hub.clone()),
        stopping: app.stopping.clone(),
    });
    let settings = app.settings();
    let doorway = |name| Doorway::new(settings, name);
    let app_router = rest::app_router(app.clone(), watched.clone(), doorway(ListenerName::App));
    let admin_router = rest::admin_router(watched, doorway(ListenerName::Admin));
    let http = HttpServing {
        tasks: app.tasks.clone(),
        stopping: app.stopping.clone(),
        connections_per_address: settings.limits.connections_per_address,
    };
    let clock = tokio::spawn(pulse::run(app.services.hub.clone()));
    let keeping_fresh = tokio::spawn({
        let app = app.clone();
        let certificates = [&listeners.app, &listeners.websocket, &listeners.admin].map(|l| l.tls.clone());
        async move {
            let certificates = certificates.iter().flatten().map(|tls| tls.keep_fresh());
            let authenticator = app.authenticator();
            let cleaning = async {
                if authenticator.is_required() {
                    authenticator.tickets.keep_clean().await;
                }
            };
            tokio::join!(authenticator.keep_fresh(), cleaning, futures::future::join_all(certificates));
        }
    });
    let flushing = tokio::spawn({
        let hub = app.services.hub.clone();
        async move { hub.flusher.run().await }
    });
    let accepting = [
        tokio::spawn(http.clone().accept(listeners.app, app_router, APP_CONNECTIONS_MAX)),
        tokio::spawn(http.accept(listeners.admin, admin_router, ADMIN_CONNECTIONS_MAX)),
        tokio::spawn(accept_websockets(listeners.websocket, app.clone(), doorway(ListenerName::WebSocket))),
    ];
    shutdown.await;
    app.stopping.cancel();
    app.services.hub.close_all(1012, "the service restarts; connect again");
    for task in accepting {
        let _ = task.await;
    }
    end(&app.tasks).await;
    clock.abort();
    keeping_fresh.abort();
    flushing.abort();
}

/// The admin listener alone, of a process that serves no clients: health and metrics, until `shutdown` resolves.
pub async fn serve_admin(
    listener: Listener,
    services: AdminServices,
    shutdown: impl Future<Output = ()> + Send,
) {
    let AdminServices { settings, metrics, health, authenticator, render_metrics } = services;
    let gate = Arc::new(Gate::new(&settings, &authenticator, &metrics));
    let (tasks, stopping) = (TaskTracker::new(), CancellationToken::new());
    let watched = Arc::new(Watched { gate, health, render_metrics, hub: None, stopping: stopping.clone() });
    let router = rest::admin_router(watched, Doorway::new(&settings, ListenerName::Admin));
    let keeping_fresh = tokio::spawn({
        let tls = listener.tls.clone();
        async move {
            let certificate = async {
                if let Some(tls) = &tls {
                    tls.keep_fresh().await;
                }
            };
            tokio::join!(authenticator.keep_fresh(), certificate);
        }
    });
    let connections_per_address = settings.limits.connections_per_address;
    let http = HttpServing { tasks: tasks.clone(), stopping: stopping.clone(), connections_per_address };
    let accepting = tokio::spawn(http.accept(listener, router, ADMIN_CONNECTIONS_MAX));
    shutdown.await;
    stopping.cancel();
    let _ = accepting.await;
    end(&tasks).await;
    keeping_fresh.abort();
}

/// Waits for connections to end.
async fn end(tasks: &TaskTracker) {
    tasks.close();
    if tokio::time::timeout(END_PATIENCE, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "some connections did not end in time and are cut");
    }
}

async fn accept_websockets(listener: Listener, app: Arc<App>, doorway: Doorway) {
    let settings = app.settings();
    let most = settings.websocket.max_connections;
    let permits = Arc::new(Semaphore::new(most.saturating_add(HANDSHAKES_MAX).min(Semaphore::MAX_PERMITS)));
    let shared = Arc::new(Shared {
        hub: app.services.hub.clone(),
        limits: SessionLimits {
            message_bytes_max: settings.websocket.max_message_size,
            subscriptions_max: settings.limits.subscriptions,
            messages_per_second_max: settings.limits.control_messages_per_second,
        },
        topics: settings.topics.clone(),
        series_of: series_lookup(&app),
        replays: app.replays.clone(),
        check_token: {
            let app = app.clone();
            Arc::new(move |token| {
                let app = app.clone();
                Box::pin(async move { app.authenticator().check(&token).await })
            })
        },
    });
    let active = Arc::new(AtomicUsize::new(0));
    let addresses = Addresses::new(settings.limits.connections_per_address);
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let stream = tokio::select! {
            () = app.stopping.cancelled() => return,
            stream = accept(&listener.socket) => stream,
        };
        let peer = peer_of(&stream);
        let Ok(counted) = addresses.count(peer) else { continue };
        let door = Door { app: app.clone(), doorway: doorway.clone(), active: active.clone(), most };
        let (tls, shared) = (listener.tls.clone(), shared.clone());
        app.tasks.spawn(async move {
            // The handshake's memory is given back before the session begins, which may live for days.
            match tls {
                None => {
                    if let Some(admitted) = Box::pin(door.open(stream)).await {
                        run_session(admitted, shared, peer).await;
                    }
                }
                Some(tls) => {
                    let stopping = door.app.stopping.clone();
                    if let Some(stream) = shake_hands(&tls, stream, &stopping).await
                        && let Some(admitted) = Box::pin(door.open(stream)).await
                    {
                        Box::pin(run_session(admitted, shared, peer)).await;
                    }
                }
            }
            drop((permit, counted));
        });
    }
}

fn series_lookup(app: &Arc<App>) -> crate::websocket::session::SeriesLookup {
    let control = app.services.control.clone();
    Arc::new(move |wanted| {
        let registered = control.registered();
        wanted.iter().map(|pattern| series_of(&registered, pattern)).collect()
    })
}

/// What a handshake passes, and what comes out of it.
struct Door {
    app: Arc<App>,
    doorway: Doorway,
    active: Arc<AtomicUsize>,
    most: usize,
}

/// Counts an open connection; the count goes down when the session is dropped, however it ends.
struct Place {
    app: Arc<App>,
    active: Arc<AtomicUsize>,
    reason: &'static str,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.active.fetch_sub(1, Ordering::AcqRel);
        let metrics = self.app.metrics();
        metrics.disconnects.with_label_values(&[self.reason]).inc();
        metrics.connections.dec();
    }
}

struct Admitted<S> {
    stream: S,
    already_read: Bytes,
    pass: Pass,
}

/// What the handshake settled.
struct Pass {
    caller: Option<Arc<access::Caller>>,
    deflate: Option<Deflate>,
    place: Place,
}

impl Door {
    /// One HTTP/1.1 request, which becomes a WebSocket or is answered and done with.
    async fn open<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self,
        stream: S,
    ) -> Option<Admitted<S>> {
        let granted: Mutex<Option<(hyper::upgrade::OnUpgrade, Pass)>> = Mutex::new(None);
        let stopping = self.app.stopping.clone();
        let (this, given) = (&self, &granted);
        let service = service_fn(move |mut request: Request<Incoming>| async move {
            let response = match this.admit(&request).await {
                Ok((response, pass)) => {
                    let upgrade = hyper::upgrade::on(&mut request);
                    if let Ok(mut granted) = given.lock() {
                        *granted = Some((upgrade, pass));
                    }
                    response
                }
                Err(problem) => {
                    let mut response = problem.into_response();
                    browser::add_security_headers(response.headers_mut());
                    // Said here and not for the whole connection: strict clients want a 101 with `upgrade` alone.
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                    response
                }
            };
            Ok::<_, Infallible>(response)
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE).max_buf_size(8 << 10);
        let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        tokio::select! {
            ended = connection => if ended.is_err() { return None },
            () = stopping.cancelled() => return None,
        }
        let (upgrade, pass) = granted.lock().ok()?.take()?;
        let upgraded = upgrade.await.ok()?;
        let parts = upgraded.downcast::<TokioIo<S>>().ok()?;
        Some(Admitted { stream: parts.io.into_inner(), already_read: parts.read_buf, pass })
    }

    async fn admit(&self, request: &Request<Incoming>) -> Result<(Response<Body>, Pass), Problem> {
        let metrics = self.app.metrics();
        let refuse = |reason: &str, problem: Problem| {
            metrics.refused.with_label_values(&[reason]).inc();
            Err(problem)
        };
        if !matches!(request.uri().path(), "/" | "/forecast-updates") {
            return refuse("path", Problem::not_found("there are / and /forecast-updates, both WebSocket"));
        }
        if request.method() != Method::GET {
            let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket begins with GET");
            return refuse("method", problem.with_header("allow", "GET"));
        }
        if let Some(detail) = browser::misnamed_host(request.headers(), None, request.version()) {
            return refuse("handshake", Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        if let Err(detail) = browser::check_host_and_origin(request.headers(), None, &self.doorway) {
            return refuse("origin", Problem::new(StatusCode::FORBIDDEN, detail));
        }
        let accept = match accept_key(request.headers()) {
            Ok(accept) => accept,
            Err(refusal) => {
                let problem = Problem::new(refusal.status, refusal.detail);
                let problem =
                    problem.with_header("upgrade", "websocket").with_header("sec-websocket-version", "13");
                return refuse("handshake", problem);
            }
        };
        let caller = self.app.authenticator().caller(request.headers(), request.uri(), true).await;
        let caller = match caller {
            Ok(None) => None,
            Ok(Some(caller)) => match access::authorize(Some(access::SUBSCRIBE), Some(&caller)) {
                Ok(()) => Some(caller),
                Err(_) => {
                    return refuse(
                        "access",
                        Problem::new(StatusCode::FORBIDDEN, "this token may not subscribe"),
                    );
                }
            },
            Err(Refusal::NoToken | Refusal::MayNot) => {
                let problem = Problem::new(StatusCode::UNAUTHORIZED, "this token cannot be used");
                return refuse("access", problem.with_header("www-authenticate", "Bearer"));
            }
        };
        if self.active.fetch_add(1, Ordering::AcqRel) >= self.most {
            self.active.fetch_sub(1, Ordering::AcqRel);
            let detail = format!("{} clients are connected already (websocket.max_connections)", self.most);
            let problem =
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).with_header("retry-after", "5");
            return refuse("full", problem);
        }
        metrics.connections.inc();
        let place = Place { app: self.app.clone(), active: self.active.clone(), reason: "lost" };
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().extend(accept_headers(accept));
        let settings = &self.app.settings().websocket;
        let agreed = settings.compression.then(|| deflate::negotiate(request.headers())).flatten();
        let deflate = agreed.map(|agreed| {
            response.headers_mut().insert(header::SEC_WEBSOCKET_EXTENSIONS, agreed.answer());
            agreed.session(settings.compression_min_size)
        });
        Ok((response, Pass { caller, deflate, place }))
    }
}

async fn run_session<S: AsyncRead + AsyncWrite + Unpin>(
    admitted: Admitted<S>,
    shared: Arc<Shared>,
    peer: IpAddr,
) {
    let Admitted { stream, already_read, pass: Pass { caller, deflate, mut place } } = admitted;
    let hub = &shared.hub;
    let user = caller.as_ref().and_then(|caller| caller.subject.clone());
    let about = About::new(Kind::WebSocket, Some(peer), user);
    let outbox = hub.join(hub.options.heartbeat_interval, about);
    let deadline = match &caller {
        None => Some((AUTH_PATIENCE, "no token came within 5 s")),
        Some(caller) => {
            let left =
                caller.expires.map(|at| at.duration_since(std::time::SystemTime::now()).unwrap_or_default());
            left.map(|left| (left, "the token has expired"))
        }
    };
    if let Some((after, reason)) = deadline {
        outbox.set_deadline(Some((Instant::now() + after, Closing { code: 4401, reason })));
        hub.pulse.schedule(&outbox, Due::Deadline, after);
    }
    let ended = Session::new(stream, already_read, shared, outbox, caller, deflate).await;
    place.reason = match ended.code {
        1000 | 1001 | 1005 => "closed",
        1012 => "restart",
        1006 => "lost",
        1002 | 1007 | 1008 | 1009 => "protocol",
        4401 | 4403 => "access",
        4429 => "rate",
        _ => "other",
    };
}
