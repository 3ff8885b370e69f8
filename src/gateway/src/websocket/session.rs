//! One connection to `/forecast-updates`: an actor on a task of its own, with the outbox for its mailbox.
//!
//! It owns its socket and its subscriptions, receives what the client says and what the hub offers, and emits frames.
//! It is one future polled by hand rather than an actor of the framework or a pair of tasks, for the memory of an idle
//! connection: no buffer while nothing is said, no timer (the pulse has them), no second task.

use super::deflate::Deflate;
use super::frame::{Decoder, Message, Opcode, close_frame, frame};
use super::protocol::{self, Complaint, Format};
use super::resume::Pending;
use crate::access::{Caller, Right};
use crate::auth::Unusable;
use crate::live::Hub;
use crate::live::index::Pattern;
use crate::live::outbox::Outbox;
use crate::live::pulse::{CLOSE_PATIENCE, Due};
use crate::live::replay::{Replays, Standing};
use crate::live::update::Update;
use bytes::{Bytes, BytesMut};
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tidecast_config::Topics;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

/// Bytes of answers that may wait; a client that asks and does not read is not read from any further.
const REPLY_BYTES_MAX: usize = 64 << 10;
/// Rounds of reading and writing before other connections get their turn.
pub(super) const ROUNDS: usize = 8;

/// The limits of a session.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// Bytes of a client's message.
    pub message_bytes_max: usize,
    /// Names and patterns subscribed to.
    pub subscriptions_max: usize,
    /// Control messages a second.
    pub messages_per_second_max: u32,
}

/// Finds the series (`<series>:<key>`) of the models that each pattern means, so that their aggregates come to who subscribes
/// to the models.
pub type SeriesLookup = Arc<dyn Fn(&[Pattern]) -> Vec<Vec<Pattern>> + Send + Sync>;

/// Checks a token that comes in an `auth` message.
pub type TokenCheck = Arc<dyn Fn(String) -> TokenChecked + Send + Sync>;

/// Who the token is, in time.
pub type TokenChecked = Pin<Box<dyn Future<Output = Result<Arc<Caller>, Unusable>> + Send>>;

/// What all sessions share.
pub struct Shared {
    /// Where updates come from.
    pub hub: Arc<Hub>,
    /// Limits.
    pub limits: SessionLimits,
    /// Where each type of update comes from: a token may name topics.
    pub topics: Topics,
    /// Models' series.
    pub series_of: SeriesLookup,
    /// Tokens.
    pub check_token: TokenCheck,
    /// What clients missed.
    pub replays: Arc<Replays>,
}

/// An update that goes before what the outbox has.
#[derive(Debug)]
pub(super) enum Waiting {
    /// The newest value of its model: the client does not come to stand where it stood.
    Newest(Arc<Update>),
    /// Missed while the client was away, and still known to the hub.
    Missed(Arc<Update>),
    /// Missed, and read for this client: its position is the client's.
    Replayed(Arc<Update>),
}

impl Waiting {
    pub(super) fn update(&self) -> &Update {
        match self {
            Waiting::Newest(update) | Waiting::Missed(update) | Waiting::Replayed(update) => update,
        }
    }
}

/// What a client gets for one name or pattern.
#[derive(Debug, Default, Clone)]
pub(super) struct Subscription {
    pub(super) types: u8,
    /// The models' own series, whose aggregates come with them.
    pub(super) series: Vec<Pattern>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Phase {
    Open,
    /// A close frame is on its way; then what the client still says is passed over until it closes too.
    Closing,
    Draining,
}

/// A session's names and patterns.
pub(super) type Subscriptions = HashMap<Pattern, Subscription, foldhash::fast::RandomState>;

/// A session; await it to run it to its end, which is the close code and who closed.
pub struct Session<S> {
    pub(super) socket: S,
    pub(super) shared: Arc<Shared>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) caller: Option<Arc<Caller>>,
    /// The types that the caller may see, bits of `UpdateType::bit`.
    pub(super) types_seen: u8,
    pub(super) format: Format,
    /// What of what it is sent may be compressed.
    pub(super) deflate: Option<Deflate>,
    pub(super) phase: Phase,
    decoder: Decoder,
    input: BytesMut,
    /// Written in part, or not yet.
    pub(super) output: VecDeque<Bytes>,
    /// Answers, which go before updates.
    pub(super) replies: VecDeque<Bytes>,
    pub(super) reply_bytes: usize,
    /// The newest values on a subscription, or what was missed, before what the outbox has.
    pub(super) backlog: VecDeque<Waiting>,
    /// Where a client stands that came back.
    pub(super) standing: Standing,
    /// Room taken by what it missed.
    pub(super) replay_room: Option<OwnedSemaphorePermit>,
    pub(super) subscriptions: Subscriptions,
    pub(super) pending: Option<Pending>,
    /// Pings without their answer, and how many updates that waited before the first of them are still to go out.
    pub(super) pings: u32,
    pub(super) updates_before_ping: usize,
    second_started: Instant,
    messages_this_second: u32,
    ended: u16,
    /// What comes is no protocol any more, and is passed over.
    deaf: bool,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The close code: ours, or the client's; 1006 where the connection was lost.
    pub code: u16,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// A session over `socket`; `already_read` are bytes that came with the handshake. Without a `caller` it waits
    /// for an `auth` message until the deadline that its maker has set. `deflate` is what the handshake agreed on.
    pub fn new(
        socket: S,
        already_read: Bytes,
        shared: Arc<Shared>,
        outbox: Arc<Outbox>,
        caller: Option<Arc<Caller>>,
        deflate: Option<Deflate>,
    ) -> Self {
        let decoder = Decoder::new(shared.limits.message_bytes_max);
        let types_seen = caller.as_ref().map_or(0, |caller| caller.types_seen(&shared.topics));
        let input = if already_read.is_empty() { BytesMut::new() } else { BytesMut::from(&already_read[..]) };
        Session {
            decoder: if deflate.is_some() { decoder.with_deflate() } else { decoder },
            socket,
            shared,
            outbox,
            caller,
            types_seen,
            format: Format::Json,
            deflate,
            phase: Phase::Open,
            input,
            output: VecDeque::new(),
            replies: VecDeque::new(),
            reply_bytes: 0,
            backlog: VecDeque::new(),
            standing: Standing::default(),
            replay_room: None,
            subscriptions: HashMap::default(),
            pending: None,
            pings: 0,
            updates_before_ping: 0,
            second_started: Instant::now(),
            messages_this_second: 0,
            ended: 1006,
            deaf: false,
        }
    }

    pub(super) fn reply(&mut self, message: &serde_json::Value) {
        let frame = self.format.frame(message);
        self.push_reply(match self.deflate {
            Some(deflate) => deflate.apply(&frame),
            None => frame,
        });
    }

    fn push_reply(&mut self, frame: Bytes) {
        self.reply_bytes += frame.len();
        self.replies.push_back(frame);
    }

    pub(super) fn complain(&mut self, complaint: &Complaint) {
        self.reply(&complaint.to_message());
    }

    /// Starts the closing handshake. What waits in the outbox goes first only where the hub asked for the close.
    pub(super) fn close(&mut self, code: u16, reason: &str) {
        if self.phase != Phase::Open {
            return;
        }
        self.phase = Phase::Closing;
        self.ended = code;
        self.backlog = VecDeque::new();
        self.pending = None;
        self.push_reply(close_frame(code, reason));
        self.shared.hub.pulse.schedule(&self.outbox, Due::Cut, CLOSE_PATIENCE);
    }

    // -- what the client says ---------------------------------------------------------------------------------------

    /// Reads what there is. `Ready(true)`: something came; `Ready(false)`: the client hung up.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut scratch = [std::mem::MaybeUninit::<u8>::uninit(); 4_096];
        let mut read = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut read))?;
        if read.filled().is_empty() {
            return Poll::Ready(Ok(false));
        }
        if self.phase == Phase::Open {
            self.input.extend_from_slice(read.filled());
        } else if !self.deaf && find_close(read.filled(), &mut self.decoder, &mut self.input) {
            return Poll::Ready(Ok(false));
        }
        Poll::Ready(Ok(true))
    }

    /// Handles whole messages until one has to be waited for.
    fn handle_input(&mut self) {
        while self.phase == Phase::Open && self.pending.is_none() && self.reply_bytes < REPLY_BYTES_MAX {
            match self.decoder.decode(&mut self.input) {
                Ok(Some(message)) => self.handle_message(message),
                Ok(None) => break,
                Err(error) => {
                    self.deaf = true;
                    self.close(error.close_code(), &error.to_string());
                }
            }
        }
        if self.input.is_empty() || self.deaf {
            self.input = BytesMut::new();
        }
    }

    fn handle_message(&mut self, message: Message) {
        if !self.within_rate() {
            return;
        }
        match message {
            Message::Text(text) => self.handle_request(protocol::read_text(&text)),
            Message::Binary(bytes) => self.handle_request(protocol::read_binary(&bytes)),
            Message::Ping(payload) => self.push_reply(frame(Opcode::Pong, &payload)),
            Message::Pong => {}
            Message::Close(code) => {
                self.close(1000, "");
                self.ended = code.unwrap_or(1005);
            }
        }
    }

    /// Counts a message. Over the limit the client is told, once a second; twice over it the session ends.
    fn within_rate(&mut self) -> bool {
        let most = self.shared.limits.messages_per_second_max;
        if self.second_started.elapsed() >= Duration::from_secs(1) {
            self.second_started = Instant::now();
            self.messages_this_second = 0;
        }
        self.messages_this_second += 1;
        if self.messages_this_second <= most {
            return true;
        }
        if self.messages_this_second == most + 1 {
            self.complain(&Complaint::new("rate_limited", format!("at most {most} messages a second")));
        } else if self.messages_this_second > most.saturating_mul(2) {
            self.close(4429, "went on past the limit of messages");
        }
        false
    }

    fn poll_session(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.register(cx.waker());
        for _ in 0..ROUNDS {
            if self.outbox.is_cut() {
                return Poll::Ready(Ok(()));
            }
            let mut progress = self.poll_pending(cx);
            let waited = self.pending.is_some();
            self.handle_input();
            // What is waited for from now on has to be polled once.
            progress |= !waited && self.pending.is_some();
            let may_read = self.pending.is_none() && self.reply_bytes < REPLY_BYTES_MAX;
            if may_read && let Poll::Ready(read) = self.poll_read(cx) {
                if !read? {
                    return Poll::Ready(Ok(()));
                }
                self.handle_input();
                progress = true;
            }
            if self.phase != Phase::Draining {
                match self.poll_write(cx) {
                    Poll::Ready(wrote) => progress |= wrote?,
                    Poll::Pending => {}
                }
                if self.phase == Phase::Closing && self.output.is_empty() && self.replies.is_empty() {
                    ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
                    let _ = Pin::new(&mut self.socket).poll_shutdown(cx);
                    self.phase = Phase::Draining;
                    progress = true;
                }
            }
            if !progress {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// While closing, everything but the client's own close frame is passed over.
fn find_close(bytes: &[u8], decoder: &mut Decoder, input: &mut BytesMut) -> bool {
    input.extend_from_slice(bytes);
    loop {
        match decoder.decode(input) {
            Ok(Some(Message::Close(_))) => return true,
            Ok(Some(_)) => {}
            Ok(None) => break,
            // Nothing that follows can be told apart: the end comes by the client's hanging up, or by the clock.
            Err(_) => {
                *input = BytesMut::new();
                break;
            }
        }
    }
    false
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Session<S> {
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self.get_mut();
        // An error of the socket is a lost connection: there is nobody to tell.
        let _ = ready!(this.poll_session(cx));
        Poll::Ready(Ended { code: this.ended })
    }
}

impl<S> Drop for Session<S> {
    fn drop(&mut self) {
        let patterns =
            self.subscriptions.iter().flat_map(|(pattern, s)| std::iter::once(pattern).chain(&s.series));
        self.shared.hub.leave(&self.outbox, patterns);
    }
}

/// What a client needs to subscribe; also asked at the handshake.
pub const RIGHT: Right = crate::access::SUBSCRIBE;
