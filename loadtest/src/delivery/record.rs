//! What is fed: forecast messages that say which they are and when they were sent, found again in whatever frame carries
//! them.

use memchr::memmem::Finder;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Numbers of models begin here, so that all have six digits.
pub(super) const MODELS_FROM: u32 = 100_000;
/// The same for the number of a model's message, with ten.
const NUMBERS_FROM: u64 = 1_000_000_000;

/// Models that a client subscribes to.
pub(super) const MODELS_EACH: u32 = 10;

/// Models in a row, each with a message in its turn. The models of one client follow each other in the row and not in the
/// turns: one that waits for its next update does not wait for all the others' to have theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Models {
    pub first: u32,
    pub count: u32,
}

impl Models {
    /// The model and its message's number of the record with this number.
    pub fn of(self, record: u32) -> (u32, u32) {
        let (turn, clients) = (record % self.count, self.clients());
        (self.first + turn % clients * self.each() + turn / clients, record / self.count)
    }

    /// The record's number; `None` for a model of others.
    pub fn record(self, mark: &Mark) -> Option<u32> {
        let place = mark.model.checked_sub(self.first).filter(|place| *place < self.count)?;
        Some(mark.number * self.count + self.turn(place))
    }

    /// How many messages of a model are among so many records.
    pub fn messages(self, model: u32, records: u32) -> u32 {
        records / self.count + u32::from(records % self.count > self.turn(model - self.first))
    }

    fn turn(self, place: u32) -> u32 {
        place % self.each() * self.clients() + place / self.each()
    }

    fn each(self) -> u32 {
        if self.count.is_multiple_of(MODELS_EACH) { MODELS_EACH } else { 1 }
    }

    fn clients(self) -> u32 {
        self.count / self.each()
    }
}

/// What a message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub model: u32,
    pub number: u32,
    /// Microseconds of the machine's clock.
    pub sent_at: u64,
}

/// The machine's clock.
pub(super) fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// A model's id, and the channel's name on the other server.
pub(super) fn name(model: u32) -> String {
    format!("model_{model}")
}

/// A forecast message with its mark, replacing what is in `out`: about 480 bytes, with a path of three steps.
pub(super) fn write(mark: &Mark, out: &mut Vec<u8>) {
    out.clear();
    let Mark { model, number, sent_at } = *mark;
    let number = NUMBERS_FROM + u64::from(number);
    // A Vec takes every write.
    let _ = write!(
        out,
        r#"{{"model_id":"model_{model}","timestamp":"2026-01-20T10:30:00Z","predicted_value":1285.4,"confidence_interval":[1180.5,1390.3],"forecast_horizon":3,"model_type":"SARIMA","metadata":{{"path":[{{"timestamp":"2026-01-20T10:31:00Z","mean":1281.2,"lower":1190.1,"upper":1380.4}},{{"timestamp":"2026-01-20T10:32:00Z","mean":1283.9,"lower":1184.7,"upper":1386.2}},{{"timestamp":"2026-01-20T10:33:00Z","mean":1285.4,"lower":1180.5,"upper":1390.3}}],"of":{model},"n":{number},"at":{sent_at}}}}}"#
    );
}

/// Finds marks in frames.
pub(super) struct Marks {
    finder: Finder<'static>,
    position: Finder<'static>,
}

impl Default for Marks {
    fn default() -> Self {
        Marks { finder: Finder::new(br#""of":1"#), position: Finder::new(br#""position":""#) }
    }
}

fn digits(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit.wrapping_sub(b'0')))
}

impl Marks {
    /// Where the position begins that an update of ours carries before its data.
    pub fn position(&self, line: &[u8]) -> Option<usize> {
        let head = &line[..line.len().min(160)];
        self.position.find(head).map(|at| at + self.position.needle().len())
    }

    /// Every mark in a payload, in order.
    pub fn each(&self, payload: &[u8], mut each: impl FnMut(Mark)) {
        let mut rest = payload;
        while let Some(at) = self.finder.find(rest) {
            // `"of":MMMMMM,"n":NNNNNNNNNN,"at":AAAAAAAAAAAAAAAA`
            let Some(mark) = rest.get(at..at + 48) else { return };
            each(Mark {
                model: digits(&mark[5..11]) as u32,
                number: digits(&mark[16..26]).wrapping_sub(NUMBERS_FROM) as u32,
                sent_at: digits(&mark[32..48]),
            });
            rest = &rest[at + 48..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found_again_wherever_it_is() {
        let marks = [(100_000, 0), (199_999, 123_456_789)].map(|(model, number)| Mark {
            model,
            number,
            sent_at: 1_732_150_000_123_456,
        });
        let (mut frame, mut one) = (b"{\"push\":".to_vec(), Vec::new());
        for mark in &marks {
            write(mark, &mut one);
            let message: serde_json::Value = serde_json::from_slice(&one).unwrap();
            assert_eq!(message["model_id"], name(mark.model));
            frame.extend_from_slice(&one);
            frame.push(b'\n');
        }
        let mut found = Vec::new();
        Marks::default().each(&frame, |mark| found.push(mark));
        assert_eq!(found, marks);
    }

    #[test]
    fn records_go_round_the_models() {
        for count in [1, 3, 30] {
            let models = Models { first: 100_010, count };
            let mut had = std::collections::BTreeSet::new();
            for record in 0..count * 3 + 1 {
                let (model, number) = models.of(record);
                assert_eq!(models.record(&Mark { model, number, sent_at: 0 }), Some(record));
                assert_eq!(models.messages(model, record), number);
                assert_eq!(models.messages(model, record + 1), number + 1);
                had.insert(model);
            }
            assert_eq!(had, (models.first..models.first + count).collect());
            assert_eq!(models.record(&Mark { model: models.first + count, number: 0, sent_at: 0 }), None);
        }
        let models = Models { first: 100_000, count: 3 * MODELS_EACH };
        let clients: Vec<u32> =
            (0..6).map(|record| (models.of(record).0 - models.first) / MODELS_EACH).collect();
        assert_eq!(clients, [0, 1, 2, 0, 1, 2], "each client's turn comes round soon");
    }
}
