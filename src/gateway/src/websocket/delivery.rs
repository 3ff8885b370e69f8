//! What a session's client gets: answers, the newest values, what it missed, a gap, updates; in this order.

use super::deflate::Deflate;
use super::protocol::{self, Format};
use super::resume::Pending;
use super::session::{Phase, ROUNDS, Session, Waiting};
use crate::access::Caller;
use crate::live::outbox::{Closing, Heartbeat};
use crate::live::pulse::heartbeat;
use crate::live::replay::Goes;
use crate::live::update::{Form, Update};
use bytes::{Buf, Bytes};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};

/// Frames that go out in one system call.
const FRAMES_A_WRITE: usize = 64;

/// How a client's frames are written.
#[derive(Clone, Copy)]
struct Written {
    format: Format,
    deflate: Option<Deflate>,
}

impl Written {
    fn newest(self, update: &Update) -> Bytes {
        let form = match self.format {
            Format::Json => Form::NewestText,
            Format::MessagePack => Form::NewestBinary,
        };
        update.frame(form, self.deflate)
    }

    /// What is made for one client alone is not compressed: many come back at once, and each stands elsewhere.
    fn update(self, update: &Update, goes: Goes) -> Option<Bytes> {
        Some(match (self.format, goes) {
            (_, Goes::Not) => return None,
            (Format::Json, Goes::AsItIs) => update.frame(Form::Text, self.deflate),
            (Format::MessagePack, Goes::AsItIs) => update.frame(Form::Binary, self.deflate),
            (Format::Json, Goes::At(position)) => update.text_at(Some(&position)),
            (Format::MessagePack, Goes::At(position)) => update.binary_at(Some(&position)),
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
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
        let written = Written { format: self.format, deflate: self.deflate };
        while frames.len() < FRAMES_A_WRITE
            && let Some(waiting) = self.backlog.pop_front()
        {
            self.updates_before_ping = self.updates_before_ping.saturating_sub(1);
            match waiting {
                Waiting::Newest(update) => frames.push(written.newest(&update)),
                Waiting::Replayed(update) => frames.extend(written.update(&update, Goes::AsItIs)),
                Waiting::Missed(update) => {
                    let goes = self.standing.step(&update);
                    frames.extend(written.update(&update, goes));
                }
            }
        }
        if matches!(self.pending, Some(Pending::Missed(..))) {
            // What was missed goes before what is offered meanwhile.
            return !frames.is_empty();
        }
        if !self.backlog.is_empty() || frames.len() >= FRAMES_A_WRITE - 2 {
            return true;
        }
        self.backlog = VecDeque::new();
        self.replay_room = None;
        // Two places are kept for a gap and a heartbeat. The gap is told before what came after it.
        let place = frames.len();
        let (caller, types_seen) = (self.caller.as_deref(), self.types_seen);
        let format = self.format;
        let before_ping = &mut self.updates_before_ping;
        let standing = &mut self.standing;
        let mut took = false;
        let taken = self.outbox.take(FRAMES_A_WRITE - 2 - place, |update| {
            took = true;
            *before_ping = before_ping.saturating_sub(1);
            if !may_see(caller, types_seen, &update) {
                return;
            }
            let goes = standing.step(&update);
            frames.extend(written.update(&update, goes));
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
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
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
}

/// Whether a caller may see this update, by its model and by the topic that it comes from.
pub(super) fn may_see(caller: Option<&Caller>, types_seen: u8, update: &Update) -> bool {
    types_seen & update.kind.bit() != 0
        && (!update.is_model || caller.is_none_or(|caller| caller.may_see_model(&update.name)))
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
