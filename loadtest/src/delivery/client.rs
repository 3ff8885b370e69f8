//! One client of the crowd: its bytes, and the numbers that it wants next.

use super::dialect::{Dialect, Place, Said};
use super::record::{Mark, Marks, Models};
use super::wire::{self, CLOSE, PING, PONG, TEXT};
use memchr::memchr;
use mio::net::TcpStream;
use std::io::{self, Read, Write};

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not connected, or not any more.
    Away,
    /// Has said what opens a WebSocket.
    Knocking,
    /// Has said what comes first in its protocol.
    Greeting,
    /// May subscribe.
    Idle,
    /// So many answers are not there yet.
    Asking(u32),
    /// Gets updates.
    Live,
}

/// What one reading brought.
#[derive(Default)]
pub(super) struct Brought {
    /// Updates with their marks.
    pub marks: Vec<Mark>,
    /// What was refused; the first one of this reading.
    pub refused: Option<String>,
    /// The connection is over; its close code where there was one.
    pub ended: Option<u16>,
}

/// See the module.
pub(super) struct Client {
    pub stream: Option<TcpStream>,
    pub stage: Stage,
    pub models: Models,
    /// The number wanted next of each model.
    pub next: Vec<u32>,
    pub missed: u64,
    pub repeated: u64,
    /// Updates that the server told it had left out.
    pub told: u64,
    pub place: Place,
    /// When it was answered, on the machine's clock; 0 before.
    pub answered_at: u64,
    /// It has had an update that was sent after that.
    pub is_back: bool,
    /// Nobody reads for it.
    pub is_stalled: bool,
    rest: Vec<u8>,
    unsent: Vec<u8>,
}

impl Client {
    pub fn new(models: Models) -> Client {
        Client {
            stream: None,
            stage: Stage::Away,
            models,
            next: vec![0; models.count as usize],
            missed: 0,
            repeated: 0,
            told: 0,
            place: Place::default(),
            answered_at: 0,
            is_back: false,
            is_stalled: false,
            rest: Vec::new(),
            unsent: Vec::new(),
        }
    }

    /// Begins on a connection that is being made.
    pub fn knock(&mut self, stream: TcpStream, hello: &[u8]) {
        self.stream = Some(stream);
        self.stage = Stage::Knocking;
        self.rest.clear();
        self.unsent = hello.to_vec();
        (self.answered_at, self.is_back) = (0, false);
    }

    pub fn leave(&mut self) {
        self.stream = None;
        self.stage = Stage::Away;
    }

    /// Has this sent.
    pub fn say(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.send();
    }

    /// Sends what it can. What goes wrong is found when it is read from.
    pub fn send(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        while !self.unsent.is_empty() {
            match stream.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(_) => return,
            }
        }
        self.unsent = Vec::new();
    }

    /// Reads all there is. `scratch` is for any client's bytes.
    pub fn receive(&mut self, dialect: Dialect, marks: &Marks, scratch: &mut [u8], brought: &mut Brought) {
        loop {
            let Some(stream) = &mut self.stream else { return };
            let before = self.rest.len();
            scratch[..before].copy_from_slice(&self.rest);
            let room = scratch.len() - before;
            let read = match stream.read(&mut scratch[before..]) {
                Ok(0) => return brought.ended = Some(1006),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return brought.ended = Some(1006),
            };
            let came = &scratch[..before + read];
            let used = self.take(dialect, marks, came, brought);
            self.rest.clear();
            self.rest.extend_from_slice(&came[used..]);
            if self.rest.is_empty() && self.rest.capacity() > 4_096 {
                self.rest = Vec::new();
            }
            if read < room {
                return;
            }
        }
    }

    fn take(&mut self, dialect: Dialect, marks: &Marks, came: &[u8], brought: &mut Brought) -> usize {
        let mut used = 0;
        if self.stage == Stage::Knocking {
            match wire::welcome(came) {
                None => return 0,
                Some(Err(line)) => {
                    brought.refused = Some(line);
                    brought.ended = Some(1006);
                    return came.len();
                }
                Some(Ok(end)) => used = end,
            }
            self.stage = Stage::Idle;
            if let Some(greeting) = dialect.greeting() {
                self.stage = Stage::Greeting;
                self.say(&greeting);
            }
        }
        while let Some(frame) = wire::frame(&came[used..]) {
            used += frame.bytes;
            match frame.opcode {
                TEXT => {
                    marks.each(frame.payload, |mark| brought.marks.push(mark));
                    self.read_lines(dialect, marks, frame.payload, brought);
                }
                CLOSE => {
                    let code = frame.payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    brought.ended = Some(code);
                }
                PING => {
                    let mut pong = Vec::new();
                    wire::put(&mut pong, PONG, frame.payload);
                    self.say(&pong);
                }
                _ => {}
            }
        }
        used
    }

    fn read_lines(&mut self, dialect: Dialect, marks: &Marks, payload: &[u8], brought: &mut Brought) {
        let mut rest = payload;
        while !rest.is_empty() {
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            let line = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            if dialect.is_update(line) {
                self.note_position(dialect, marks, line);
                continue;
            }
            match dialect.read(line, &mut self.place) {
                Said::Welcome => self.stage = Stage::Idle,
                Said::Subscribed => {
                    self.stage = match self.stage {
                        Stage::Asking(left @ 2..) => Stage::Asking(left - 1),
                        _ => {
                            self.answered_at = super::record::micros();
                            Stage::Live
                        }
                    };
                }
                Said::Refused(why) => drop(brought.refused.get_or_insert(why)),
                Said::Skipped(skipped) => self.told += skipped,
                Said::Beat(answer) => {
                    let mut out = Vec::new();
                    wire::put(&mut out, TEXT, answer);
                    self.say(&out);
                }
                Said::Nothing => {}
            }
        }
    }

    /// An update of ours says where the client stands that has it.
    fn note_position(&mut self, dialect: Dialect, marks: &Marks, line: &[u8]) {
        if dialect != Dialect::Tidecast {
            return;
        }
        let Some(from) = marks.position(line) else { return };
        let Some(length) = memchr(b'"', &line[from..]) else { return };
        self.place.position.clear();
        self.place.position.extend_from_slice(&line[from..from + length]);
    }

    /// Checks an update's number against what comes next. `false`: it is not one of its models.
    pub fn check(&mut self, mark: &Mark) -> bool {
        let place = mark.model.wrapping_sub(self.models.first) as usize;
        let Some(next) = self.next.get_mut(place) else { return false };
        if mark.number < *next {
            self.repeated += 1;
            return true;
        }
        self.missed += u64::from(mark.number - *next);
        *next = mark.number + 1;
        if self.answered_at > 0 && mark.sent_at >= self.answered_at {
            self.is_back = true;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_accounted_for() {
        let mut client = Client::new(Models { first: 100_000, count: 2 });
        let mut came = |model, number| client.check(&Mark { model, number, sent_at: 0 });
        assert!(came(100_000, 0) && came(100_001, 0) && came(100_000, 1));
        assert!(came(100_000, 4), "two are missed");
        assert!(came(100_000, 4), "one is repeated");
        assert!(!came(100_002, 0), "not asked for");
        assert_eq!((client.missed, client.repeated), (2, 1));
        assert_eq!(client.next, [5, 1]);
    }
}
