//! Session windows of one series: events of a key at most a gap apart belong together.
//!
//! A session's window runs from its first event to a gap after its last. An event within the gap of two sessions joins
//! them; the joined window supersedes both, with a revision above theirs. Once a session has been emitted, by the
//! watermark or by idleness, whatever changes it is emitted at once, also when that moves its end past the watermark.

use crate::cells::{Cells, Held};
use crate::closed::{Outcome, Sink};
use crate::emit::{Emitter, Part, Window};
use crate::fields::{Fields, SKIP};
use crate::group::Interned;
use crate::slab::{NONE, Slab};
use crate::state::{Reader, StateError, Writer};
use crate::types::TypeSeen;
use hashbrown::HashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Debug, Clone, Copy)]
struct Session {
    first: i64,
    last: i64,
    count: u64,
    key: u32,
    /// The key's session before this one.
    next: u32,
    held: Held,
    emissions: u32,
    event_type: TypeSeen,
    /// Joined into another; its place is freed when its turn in the queue comes.
    joined: bool,
}

/// All sessions of a series.
#[derive(Debug)]
pub(crate) struct Sessions {
    gap: i64,
    pub grace: i64,
    cells: Cells,
    sessions: Slab<Session>,
    /// The newest session of each key; they are a gap or more apart, so in order of first and last alike.
    heads: HashMap<u32, u32, foldhash::fast::FixedState>,
    /// Each session once, by a watermark at which it may close or be forgotten: never later than it really does.
    queue: BinaryHeap<Reverse<(i64, u32)>>,
    pub watermark: i64,
    /// Sessions that are being closed, and how many of them were: the others wait for room.
    closing: Vec<u32>,
    closed: usize,
}

impl Sessions {
    pub fn new(gap: i64, grace: i64, percentiles: bool) -> Self {
        Sessions {
            gap,
            grace,
            cells: Cells::new(percentiles),
            sessions: Slab::default(),
            heads: HashMap::default(),
            queue: BinaryHeap::new(),
            watermark: i64::MIN,
            closing: Vec::new(),
            closed: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    fn end(&self, at: u32) -> i64 {
        self.sessions[at].last.saturating_add(self.gap)
    }

    /// The watermark at which a session next wants something.
    fn due(&self, at: u32) -> i64 {
        let end = self.end(at);
        if self.sessions[at].emissions > 0 && end <= self.watermark {
            end.saturating_add(self.grace)
        } else {
            end
        }
    }

    /// Keeps the key's newest session open for an event exactly a gap after its last, where that event itself moves
    /// the watermark to the session's end: events at most a gap apart belong together.
    #[inline]
    pub fn reach(&mut self, who: Interned, time: i64, watermark: i64) {
        if watermark != time {
            return;
        }
        if let Some(&head) = self.heads.get(&who.key)
            && self.end(head) == time
            && self.sessions[head].emissions == 0
        {
            self.sessions[head].last = time;
        }
    }

    /// One event; the watermark has been advanced to what it makes it.
    pub fn observe<'n>(
        &mut self,
        who: Interned,
        time: i64,
        numbers: impl Iterator<Item = (&'n str, f64)>,
        fields: &mut Fields,
        emitter: &mut Emitter<'_>,
        sink: &mut Sink<'_>,
    ) -> Outcome {
        // From the newest session back to the first that is not all after the event.
        let mut after = NONE;
        let mut at = self.heads.get(&who.key).copied().unwrap_or(NONE);
        while at != NONE && self.sessions[at].first.saturating_sub(self.gap) > time {
            after = at;
            at = self.sessions[at].next;
        }
        let joins = at != NONE && time <= self.end(at);
        let own_end = time.saturating_add(self.gap);
        if !joins && own_end.saturating_add(self.grace) <= self.watermark {
            return Outcome::Late;
        }
        let into = if joins { at } else { self.insert(who.key, time, after, at) };
        self.add(into, who, time, numbers, fields);
        let before = self.sessions[into].next;
        if before != NONE && self.sessions[into].first <= self.end(before) {
            self.join(before, into);
        }
        let changed = self.sessions[into].emissions > 0 || self.end(into) <= self.watermark;
        if changed {
            self.emit(into, fields, emitter, sink);
        } else if !joins && emitter.partial {
            let window = Window { key: who.key, start: time, end: own_end, revision: 0 };
            emitter.announce(window, sink);
        }
        Outcome::Taken
    }

    /// A new session between the key's session after it and the one before.
    fn insert(&mut self, key: u32, time: i64, after: u32, before: u32) -> u32 {
        let session = Session {
            first: time,
            last: time,
            count: 0,
            key,
            next: before,
            held: Held::default(),
            emissions: 0,
            event_type: TypeSeen::default(),
            joined: false,
        };
        let at = self.sessions.insert(session);
        match after {
            NONE => {
                self.heads.insert(key, at);
            }
            after => self.sessions[after].next = at,
        }
        self.queue.push(Reverse((self.end(at), at)));
        at
    }

    fn add<'n>(
        &mut self,
        at: u32,
        who: Interned,
        time: i64,
        numbers: impl Iterator<Item = (&'n str, f64)>,
        fields: &mut Fields,
    ) {
        let session = &mut self.sessions[at];
        session.first = session.first.min(time);
        session.last = session.last.max(time);
        session.count += 1;
        session.event_type.add(who.event_type);
        let mut held = session.held;
        let mut cursor = held.first();
        for (place, (path, value)) in numbers.enumerate() {
            let field = fields.at(place, path);
            if field != SKIP {
                self.cells.add(&mut held, &mut cursor, field, value);
            }
        }
        self.sessions[at].held = held;
    }

    /// Takes the session before into the one after it.
    fn join(&mut self, before: u32, after: u32) {
        let from = self.sessions[before];
        let mut held = self.sessions[after].held;
        let parts: Vec<_> = self.cells.fields(from.held).collect();
        for (field, place) in parts {
            let portable = self.cells.export(place);
            self.cells.import(&mut held, field, &portable);
        }
        self.cells.free(from.held);
        let into = &mut self.sessions[after];
        into.held = held;
        into.first = from.first.min(into.first);
        into.last = from.last.max(into.last);
        into.count += from.count;
        into.emissions = into.emissions.max(from.emissions);
        into.event_type.add(from.event_type);
        into.next = from.next;
        let gone = &mut self.sessions[before];
        (gone.joined, gone.held) = (true, Held::default());
    }

    fn emit(&mut self, at: u32, fields: &Fields, emitter: &mut Emitter<'_>, sink: &mut Sink<'_>) {
        let Session { first, count, key, held, emissions, event_type, .. } = self.sessions[at];
        self.sessions[at].emissions += 1;
        let window = Window { key, start: first, end: self.end(at), revision: emissions };
        let part = Part { count, event_type, held };
        emitter.emit(window, std::iter::once(part), &self.cells, fields, sink);
    }

    /// Closes every session that has ended by `watermark`, in the order of (end, key), and forgets what is past grace.
    /// Tells whether there were any. What `room` is not enough for waits for the next call, which must be the same one.
    #[inline]
    pub fn advance(
        &mut self,
        watermark: i64,
        room: &mut u64,
        fields: &Fields,
        emitter: &mut Emitter<'_>,
        sink: &mut Sink<'_>,
    ) -> bool {
        let forgot = if self.closing.is_empty() {
            self.watermark = watermark.max(self.watermark);
            if self.queue.peek().is_none_or(|Reverse((due, _))| *due > self.watermark) {
                return false;
            }
            self.take_due(emitter)
        } else {
            false
        };
        if !self.emit_closing(room, fields, emitter, sink) {
            return true;
        }
        let closed = std::mem::take(&mut self.closing);
        for &at in &closed {
            self.queue_or_forget(at);
        }
        forgot || !closed.is_empty()
    }

    /// A close has begun and waits for room.
    pub fn is_midway(&self) -> bool {
        !self.closing.is_empty()
    }

    /// Takes what is due from the queue: what is to be closed waits for that, what is past grace is forgotten. Tells whether
    /// anything was.
    fn take_due(&mut self, emitter: &Emitter<'_>) -> bool {
        let mut closing = Vec::new();
        let mut forgot = false;
        while let Some(&Reverse((due, at))) = self.queue.peek()
            && due <= self.watermark
        {
            self.queue.pop();
            if self.sessions[at].joined {
                self.sessions.free(at);
            } else if self.sessions[at].emissions == 0 && self.end(at) <= self.watermark {
                closing.push(at);
            } else {
                forgot |= self.queue_or_forget(at);
            }
        }
        self.begin_closing(closing, emitter);
        forgot
    }

    /// These are emitted next, in order.
    fn begin_closing(&mut self, mut sessions: Vec<u32>, emitter: &Emitter<'_>) {
        let keys = emitter.keys;
        sessions.sort_unstable_by(|&a, &b| {
            let by_end = self.end(a).cmp(&self.end(b));
            by_end.then_with(|| keys.get(self.sessions[a].key).cmp(keys.get(self.sessions[b].key)))
        });
        (self.closing, self.closed) = (sessions, 0);
    }

    /// Emits what there is room for; false when some are left.
    fn emit_closing(
        &mut self,
        room: &mut u64,
        fields: &Fields,
        emitter: &mut Emitter<'_>,
        sink: &mut Sink<'_>,
    ) -> bool {
        while let Some(&at) = self.closing.get(self.closed) {
            if *room == 0 {
                return false;
            }
            *room -= 1;
            self.closed += 1;
            self.emit(at, fields, emitter, sink);
        }
        true
    }

    fn queue_or_forget(&mut self, at: u32) -> bool {
        let due = self.due(at);
        if due > self.watermark {
            self.queue.push(Reverse((due, at)));
            return false;
        }
        let Session { key, next, held, .. } = self.sessions[at];
        self.cells.free(held);
        let head = self.heads.get(&key).copied().unwrap_or(NONE);
        if head == at {
            match next {
                NONE => self.heads.remove(&key),
                next => self.heads.insert(key, next),
            };
        } else {
            let mut after = head;
            while after != NONE && self.sessions[after].next != at {
                after = self.sessions[after].next;
            }
            if after != NONE {
                self.sessions[after].next = next;
            }
        }
        self.sessions.free(at);
        true
    }

    /// Closes every open session without moving the watermark. What `room` is not enough for waits for the next call.
    pub fn close_idle(
        &mut self,
        room: &mut u64,
        fields: &Fields,
        emitter: &mut Emitter<'_>,
        sink: &mut Sink<'_>,
    ) {
        if self.closing.is_empty() {
            let open = self.live().filter(|&at| self.sessions[at].emissions == 0).collect();
            self.begin_closing(open, emitter);
        }
        if self.emit_closing(room, fields, emitter, sink) {
            self.closing.clear();
        }
    }

    fn live(&self) -> impl Iterator<Item = u32> + '_ {
        let queued = self.queue.iter().map(|Reverse((_, at))| *at);
        queued.filter(|&at| !self.sessions[at].joined)
    }

    pub fn mark(&self, keys: &mut [bool], types: &mut [bool]) {
        for at in self.live() {
            keys[self.sessions[at].key as usize] = true;
            if let Some(number) = self.sessions[at].event_type.one() {
                types[number as usize] = true;
            }
        }
    }

    pub fn fields_in_use(&self) -> Vec<bool> {
        let mut fields = vec![false; crate::fields::MAX_FIELDS];
        for (field, _) in self.live().flat_map(|at| self.cells.fields(self.sessions[at].held)) {
            fields[usize::from(field)] = true;
        }
        fields
    }

    pub fn renumber_keys(&mut self, renumbered: &[u32]) {
        self.heads = self.heads.drain().map(|(key, head)| (renumbered[key as usize], head)).collect();
        let live: Vec<u32> = self.live().collect();
        for at in live {
            self.sessions[at].key = renumbered[self.sessions[at].key as usize];
        }
    }

    pub fn renumber_types(&mut self, renumbered: &[u32]) {
        let live: Vec<u32> = self.live().collect();
        for at in live {
            if let Some(number) = self.sessions[at].event_type.one() {
                self.sessions[at].event_type = TypeSeen::of(renumbered[number as usize]);
            }
        }
    }

    /// Writes the state; keys by their numbers in the snapshot.
    pub fn encode(&self, renumbered: &[u32], out: &mut Writer<'_>) {
        out.put(&self.watermark);
        out.put(&(self.live().count() as u64));
        for at in self.live() {
            let session = &self.sessions[at];
            let fields = self.cells.fields(session.held).count() as u16;
            let Session { first, last, count, emissions, event_type, .. } = *session;
            out.put(&(renumbered[session.key as usize], first, last, count, emissions, event_type, fields));
            for (field, place) in self.cells.fields(session.held) {
                out.put(&field);
                out.put(&self.cells.export(place));
            }
        }
    }

    /// Reads what [`Sessions::encode`] wrote, into sessions that are new.
    pub fn decode(&mut self, fields: &[u16], input: &mut Reader<'_>) -> Result<(), StateError> {
        self.watermark = input.get()?;
        for _ in 0..input.get::<u64>()? {
            type Stored = (u32, i64, i64, u64, u32, TypeSeen, u16);
            let (key, first, last, count, emissions, event_type, field_count): Stored = input.get()?;
            let key = input.key(key)?;
            let mut after = NONE;
            let mut before = self.heads.get(&key).copied().unwrap_or(NONE);
            while before != NONE && self.sessions[before].first > first {
                after = before;
                before = self.sessions[before].next;
            }
            let at = self.insert(key, first, after, before);
            let mut held = Held::default();
            for _ in 0..field_count {
                let field: u16 = input.get()?;
                let field =
                    *fields.get(usize::from(field)).ok_or_else(|| input.broken("a field without a name"))?;
                self.cells.import(&mut held, field, &input.get()?);
            }
            let session = &mut self.sessions[at];
            (session.last, session.count, session.emissions) = (last, count, emissions);
            (session.event_type, session.held) = (input.event_type(event_type)?, held);
        }
        Ok(())
    }
}
