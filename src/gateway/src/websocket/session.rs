//! One connection to `/forecast-updates`: an actor on a task of its own, with the outbox for its mailbox.
//!
//! It owns its socket and its subscriptions, receives what the client says and what the hub offers, and emits frames.
//! It is one future polled by hand rather than an actor of the framework or a pair of tasks, for the memory of an idle
//! connection: no buffer while nothing is said, no timer (the pulse has them), no second task.

use super::frame::{Decoder, Message, Opcode, close_frame, frame};
use super::protocol::{self, Complaint, Format};
use crate::access::{Caller, Right};
use crate::live::Hub;
use crate::live::index::Pattern;
use crate::live::outbox::{Closing, Heartbeat, Outbox};
use crate::live::pulse::{CLOSE_PATIENCE, Due, heartbeat};
use crate::live::update::{Update, UpdateType};
use bytes::{Buf, Bytes, BytesMut};
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Frames that go out in one system call.
const FRAMES_A_WRITE: usize = 64;
/// Bytes of answers that may wait; a client that asks and does not read is not read from any further.
const REPLY_BYTES_MAX: usize = 64 << 10;
/// Rounds of reading and writing before other connections get their turn.
const ROUNDS: usize = 8;

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

/// Finds the series (`<series>:<key>`) of a model, so that its aggregates come to who subscribes to the model.
pub type SeriesLookup = Arc<dyn Fn(Vec<Arc<str>>) -> SeriesFound + Send + Sync>;

/// Pairs of a model and its series, in time.
pub type SeriesFound = Pin<Box<dyn Future<Output = Vec<(Arc<str>, Arc<str>)>> + Send>>;

/// Checks a token that comes in an `auth` message.
pub type TokenCheck = Arc<dyn Fn(&str) -> Result<Arc<Caller>, String> + Send + Sync>;

/// What all sessions share.
pub struct Shared {
    /// Where updates come from.
    pub hub: Arc<Hub>,
    /// Limits.
    pub limits: SessionLimits,
    /// Models' series.
    pub series_of: SeriesLookup,
    /// Tokens.
    pub check_token: TokenCheck,
}

/// What a client gets for one name or pattern.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    pub(super) types: u8,
    /// The model's own series, whose aggregates come with it.
    pub(super) series: Option<Arc<str>>,
}

#[derive(Debug, PartialEq)]
enum Phase {
    Open,
    /// A close frame is on its way; then what the client still says is passed over until it closes too.
    Closing,
    Draining,
}

/// A session's names and patterns.
pub(super) type Subscriptions = HashMap<Pattern, Subscription, foldhash::fast::RandomState>;

/// A subscription that waits for the series of its models.
pub(super) struct Pending {
    pub(super) lookup: SeriesFound,
    pub(super) model_ids: Vec<String>,
    pub(super) update_types: Vec<UpdateType>,
}

/// A session; await it to run it to its end, which is the close code and who closed.
pub struct Session<S> {
    socket: S,
    pub(super) shared: Arc<Shared>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) caller: Option<Arc<Caller>>,
    pub(super) format: Format,
    phase: Phase,
    decoder: Decoder,
    input: BytesMut,
    /// Written in part, or not yet.
    output: VecDeque<Bytes>,
    /// Answers, which go before updates.
    replies: VecDeque<Bytes>,
    reply_bytes: usize,
    /// The newest values on a subscription, before what the outbox has.
    pub(super) backlog: VecDeque<Arc<Update>>,
    pub(super) subscriptions: Subscriptions,
    pub(super) pending: Option<Box<Pending>>,
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
    /// for an `auth` message until the deadline that its maker has set.
    pub fn new(
        socket: S,
        already_read: Bytes,
        shared: Arc<Shared>,
        outbox: Arc<Outbox>,
        caller: Option<Arc<Caller>>,
    ) -> Self {
        let input = if already_read.is_empty() { BytesMut::new() } else { BytesMut::from(&already_read[..]) };
        Session {
            decoder: Decoder::new(shared.limits.message_bytes_max),
            socket,
            shared,
            outbox,
            caller,
            format: Format::Json,
            phase: Phase::Open,
            input,
            output: VecDeque::new(),
            replies: VecDeque::new(),
            reply_bytes: 0,
            backlog: VecDeque::new(),
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
        self.push_reply(frame);
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

    fn poll_pending(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(pending) = &mut self.pending else { return false };
        let Poll::Ready(series) = pending.lookup.as_mut().poll(cx) else { return false };
        if let Some(pending) = self.pending.take() {
            let Pending { model_ids, update_types, .. } = *pending;
            self.enter(model_ids, update_types, series);
        }
        true
    }

    // -- what the client gets ---------------------------------------------------------------------------------------

    fn encoded(&self, update: &Update) -> Bytes {
        match self.format {
            Format::Json => update.text_frame(),
            Format::MessagePack => update.binary_frame(),
        }
    }

    /// The next frames in their order: answers, newest values, a gap, updates. Where the caller may not see a model
    /// that a pattern matched, its update is left out here. Answers whether anything was taken, sent or not.
    fn gather(&mut self, frames: &mut SmallVec<[Bytes; FRAMES_A_WRITE]>) -> bool {
        while frames.len() < FRAMES_A_WRITE
            && let Some(reply) = self.replies.pop_front()
        {
            self.reply_bytes -= reply.len();
            frames.push(reply);
        }
        if self.replies.is_empty() && self.replies.capacity() > 0 {
            self.replies = VecDeque::new();
        }
        if self.phase != Phase::Open {
            return !frames.is_empty();
        }
        while frames.len() < FRAMES_A_WRITE
            && let Some(update) = self.backlog.pop_front()
        {
            self.updates_before_ping = self.updates_before_ping.saturating_sub(1);
            frames.push(self.encoded(&update));
        }
        if !self.backlog.is_empty() || frames.len() >= FRAMES_A_WRITE - 2 {
            return true;
        }
        self.backlog = VecDeque::new();
        // Two places are kept for a gap and a heartbeat. The gap is told before what came after it.
        let place = frames.len();
        let caller = self.caller.as_deref();
        let format = self.format;
        let before_ping = &mut self.updates_before_ping;
        let mut took = false;
        let taken = self.outbox.take(FRAMES_A_WRITE - 2 - place, |update| {
            took = true;
            *before_ping = before_ping.saturating_sub(1);
            if update.is_model && caller.is_some_and(|caller| !caller.may_see_model(&update.name)) {
                return;
            }
            frames.push(match format {
                Format::Json => update.text_frame(),
                Format::MessagePack => update.binary_frame(),
            });
        });
        if let Some(mut gap) = taken.gap {
            gap.names.retain(|name| &**name == "*" || caller.is_none_or(|caller| caller.may_see_model(name)));
            frames.insert(place, format.frame(&protocol::gap(&gap)));
        }
        let beat_frame = |beat: &Heartbeat| match format {
            Format::Json => beat.text.clone(),
            Format::MessagePack => beat.binary.clone(),
        };
        if let Some(beat) = taken.heartbeat {
            frames.push(beat_frame(&beat));
        }
        if self.pings > 0 && (self.updates_before_ping == 0 || self.outbox.is_empty()) {
            // A ping is answered in its place: what was on its way when it came is out.
            let beat = beat_frame(&heartbeat());
            frames.extend(std::iter::repeat_n(beat, std::mem::take(&mut self.pings) as usize));
        }
        if let Some(Closing { code, reason }) = taken.closing {
            self.close(code, reason);
            took = true;
        }
        took || !frames.is_empty()
    }

    /// Writes until there is nothing more (`Ready`: whether anything went out) or the socket takes no more (`Pending`).
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut wrote = false;
        for _ in 0..ROUNDS {
            while !self.output.is_empty() {
                let pieces = self.output.iter().take(FRAMES_A_WRITE);
                let written = ready!(write_pieces(&mut self.socket, cx, pieces))?;
                advance(&mut self.output, written);
                wrote = true;
            }
            let mut frames: SmallVec<[Bytes; FRAMES_A_WRITE]> = SmallVec::new();
            let took = self.gather(&mut frames);
            if frames.is_empty() && !took {
                self.output = VecDeque::new();
                return Poll::Ready(Ok(wrote));
            }
            if frames.is_empty() {
                continue;
            }
            let written = match write_pieces(&mut self.socket, cx, frames.iter()) {
                Poll::Ready(written) => written?,
                Poll::Pending => 0,
            };
            wrote = true;
            if written < frames.iter().map(Bytes::len).sum() {
                // Only a client that is behind has a queue of frames of its own.
                self.output.extend(frames);
                advance(&mut self.output, written);
            }
        }
        // There may be more: the others' turn first.
        Poll::Ready(Ok(true))
    }

    fn poll_session(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.register(cx.waker());
        for _ in 0..ROUNDS {
            if self.outbox.is_cut() {
                return Poll::Ready(Ok(()));
            }
            let mut progress = self.poll_pending(cx);
            self.handle_input();
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

/// Writes frames in one system call.
fn write_pieces<'a, S: AsyncWrite + Unpin>(
    socket: &mut S,
    cx: &mut Context<'_>,
    pieces: impl Iterator<Item = &'a Bytes>,
) -> Poll<io::Result<usize>> {
    let slices: SmallVec<[IoSlice<'_>; FRAMES_A_WRITE]> = pieces.map(|piece| IoSlice::new(piece)).collect();
    let written = ready!(Pin::new(socket).poll_write_vectored(cx, &slices))?;
    Poll::Ready(if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) })
}

fn advance(output: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = output.front_mut() {
        if written < front.len() {
            front.advance(written);
            break;
        }
        written -= front.len();
        output.pop_front();
    }
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
        let series: Vec<Pattern> =
            self.subscriptions.values().filter_map(|s| s.series.clone()).map(Pattern::Exact).collect();
        self.shared.hub.leave(&self.outbox, self.subscriptions.keys().chain(&series));
    }
}

/// What a client needs to subscribe; also asked at the handshake.
pub const RIGHT: Right = crate::access::SUBSCRIBE;
