//! Bodies: read whole, unpacked, parsed, and all of that within the room that bodies may take together. What a client sends may
//! grow a thousandfold on its way (gzip, a list of empty lists), and clients send side by side.

use crate::problem::Problem;
use crate::services::App;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::BytesMut;
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a client may take to send a body.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many times its own size a compressed body may become.
const INFLATED_FACTOR: usize = 8;
/// Bytes that a JSON value takes beside its text, about.
const VALUE: usize = 64;
/// Room is given in so many bytes.
const UNIT: usize = 1_024;
/// Bytes unpacked before there is a look at the room again.
const STEP: usize = 1 << 20;

/// The room that bodies take together, with what is made of them.
pub(crate) struct Bodies {
    free: Arc<Semaphore>,
    all: usize,
}

/// What one body takes of it, given back when dropped.
pub(crate) struct Room {
    free: Arc<Semaphore>,
    all: usize,
    taken: usize,
    held: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    /// So many bytes.
    pub(crate) fn new(all: usize) -> Self {
        let units = (all / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Bodies { free: Arc::new(Semaphore::new(units)), all: units * UNIT }
    }

    fn room(&self) -> Room {
        Room { free: self.free.clone(), all: self.all, taken: 0, held: None }
    }
}

impl Room {
    /// Takes so many bytes more. Does not wait: two that did, each with half of the room, would wait for each other.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), Problem> {
        self.taken = self.taken.saturating_add(bytes);
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = self.taken.div_ceil(UNIT).saturating_sub(held);
        if more == 0 {
            return Ok(());
        }
        if self.taken > self.all {
            let detail = format!(
                "the body and what is made of it would take more than {} bytes (limits.request_bodies_size); send it in parts",
                self.all
            );
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        let permit =
            u32::try_from(more).ok().and_then(|more| self.free.clone().try_acquire_many_owned(more).ok());
        let Some(permit) = permit else {
            let detail = "other bodies take the room that there is (limits.request_bodies_size); send it again in a moment";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).with_header("retry-after", "1"));
        };
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        Ok(())
    }
}

/// A body, whole: within the limit, in time, unpacked when it came as gzip.
pub(crate) struct Whole {
    /// What was sent, unpacked.
    pub(crate) bytes: Bytes,
    /// `Content-Type` without parameters, lower case; empty when there is none.
    pub(crate) content_type: String,
    room: Mutex<Room>,
}

impl FromRequest<Arc<App>> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let most = app.settings().limits.request_body_size;
        let (parts, body) = request.into_parts();
        let mut room = app.bodies.room();
        let bytes = read_body(body, most, &mut room).await?;
        let (bytes, room) = match encoding(&parts.headers)? {
            Encoding::Identity => (bytes, room),
            Encoding::Gzip => {
                let unpacked = tokio::task::spawn_blocking(move || {
                    let unpacked = inflate(&bytes, most.saturating_mul(INFLATED_FACTOR), &mut room)?;
                    Ok::<_, Problem>((unpacked, room))
                });
                unpacked
                    .await
                    .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unpacking failed"))??
            }
        };
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
        let content_type = content_type.trim().to_ascii_lowercase();
        Ok(Whole { bytes, content_type, room: Mutex::new(room) })
    }
}

async fn read_body(body: Body, most: usize, room: &mut Room) -> Result<Bytes, Problem> {
    let reading = async {
        let mut body = Limited::new(body, most);
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| match error.is::<http_body_util::LengthLimitError>() {
                true => {
                    let detail = format!("at most {most} bytes (limits.request_body_size); send it in parts");
                    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
                }
                false => Problem::new(StatusCode::BAD_REQUEST, "the body broke off"),
            })?;
            let Ok(data) = frame.into_data() else { continue };
            room.take(data.len())?;
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    };
    let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come within 30 s");
    tokio::time::timeout(PATIENCE, reading).await.map_err(late)?
}

enum Encoding {
    Identity,
    Gzip,
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    // Names of codings are the same in capitals (RFC 9110, 8.4.1).
    let named = headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
    match named.as_deref() {
        None | Some(b"identity") => Ok(Encoding::Identity),
        Some(b"gzip" | b"x-gzip") => Ok(Encoding::Gzip),
        Some(_) => {
            let detail = "Content-Encoding: gzip, or none";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
                .with_header("accept-encoding", "gzip"))
        }
    }
}

fn inflate(bytes: &[u8], most: usize, room: &mut Room) -> Result<Bytes, Problem> {
    let mut unpacked = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(bytes);
    loop {
        let had = unpacked.len();
        let step = STEP.min(most + 1 - had);
        // What is reserved is more than what is asked for by a half at most, as a vector grows.
        if unpacked.capacity() - had < step {
            let capacity = unpacked.capacity();
            unpacked.reserve_exact(step.max((had / 2).min(most + 1 - had)));
            room.take(unpacked.capacity() - capacity)?;
        }
        decoder.by_ref().take(step as u64).read_to_end(&mut unpacked).map_err(|error| {
            Problem::new(StatusCode::BAD_REQUEST, format!("Content-Encoding: not gzip ({error})"))
        })?;
        if unpacked.len() > most {
            let detail = format!("the body unpacks to more than {most} bytes; send it in parts");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        if unpacked.len() == had {
            return Ok(unpacked.into());
        }
    }
}

impl Whole {
    /// Takes room for what is made of the body. It is given back with the body.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), Problem> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner).take(bytes)
    }

    /// The body as JSON of a known shape. 400 when it is not JSON, 422 with the field when it is another JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let plain = ["", "application/json", "text/json", "text/plain", "application/x-www-form-urlencoded"];
        if !plain.contains(&&*self.content_type) && !self.content_type.ends_with("+json") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Content-Type: application/json is read here",
            ));
        }
        self.take(made_of(&self.bytes))?;
        read_json(&self.bytes)
    }

    /// As [`Whole::json`], where nothing and `null` stand for all that is usual.
    pub(crate) fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        let is_empty = self.bytes.is_empty() || self.bytes.trim_ascii() == b"null";
        if is_empty { Ok(T::default()) } else { self.object() }
    }

    /// A body that is one object. Of a list the fields would be taken by their places.
    pub(crate) fn object<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        match self.bytes.trim_ascii_start().first() {
            Some(b'[') => {
                Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "found a list; allowed: an object"))
            }
            _ => self.json(),
        }
    }
}

/// Bytes that a JSON text takes as values, about: each but the first of a list or an object follows a comma. Those in texts
/// count, too: it is a bound, not a measure.
fn made_of(json: &[u8]) -> usize {
    let values = json.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{' | b':')).count();
    json.len() + values * VALUE
}

/// As [`Whole::json`], from bytes.
pub(crate) fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if !inner.is_data() {
            return Problem::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {inner}"));
        }
        let text = inner.to_string();
        let text = text.split(" at line ").next().unwrap_or(&text).to_owned();
        match path.as_str() {
            "." => match text.split('`').nth(1) {
                // "unknown field `x`" and "missing field `x`" name it themselves.
                Some(field) if text.contains("field `") => Problem::field(field, text.clone()),
                _ => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, text),
            },
            path => Problem::field(path, text),
        }
    })?;
    deserializer.end().map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, format!("the body is not one JSON value: {error}"))
    })?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidecast_ports::operations::ReplayRequest;

    #[test]
    fn json_faults_name_their_field() {
        let fault = |text: &str| {
            let problem = read_json::<ReplayRequest>(text.as_bytes()).unwrap_err();
            (problem.status, problem.field.clone().unwrap_or_default())
        };
        assert_eq!(fault("{\"ids\": 3}"), (422, "ids".into()));
        assert_eq!(fault("{\"ids\": [\"a\", 3]}"), (422, "ids[1]".into()));
        assert_eq!(fault("{\"everything\": true}").0, 422);
        assert!(fault("{\"everything\": true}").1.contains("everything"));
        assert_eq!(fault("{"), (400, String::new()));
        assert_eq!(fault("{} {}"), (400, String::new()));
        assert_eq!(fault(&format!("{{\"payload\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000))).0, 400);
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        use flate2::{Compression, write::GzEncoder};
        use std::io::Write;
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        bomb.write_all(&vec![b' '; 10 << 20]).unwrap();
        let bomb = bomb.finish().unwrap();
        let mut room = Bodies::new(64 << 20).room();
        assert_eq!(inflate(&bomb, 1 << 20, &mut room).unwrap_err().status, 413);
        assert_eq!(inflate(&bomb, 10 << 20, &mut room).unwrap().len(), 10 << 20);
        assert_eq!(inflate(b"plain", 100, &mut room).unwrap_err().status, 400);
    }

    #[test]
    fn bodies_share_the_room_and_give_it_back() {
        let bodies = Bodies::new(1 << 20);
        let (mut first, mut second) = (bodies.room(), bodies.room());
        first.take(700 << 10).unwrap();
        second.take(200 << 10).unwrap();
        assert_eq!(second.take(200 << 10).unwrap_err().status, 503, "others have it");
        assert_eq!(first.take(400 << 10).unwrap_err().status, 413, "more than all there is");
        drop(first);
        bodies.room().take(800 << 10).unwrap();
        // Many little pieces take no more than they are together.
        let mut third = bodies.room();
        (0..10_000).for_each(|_| third.take(50).unwrap());
    }

    #[test]
    fn a_list_of_empty_lists_takes_the_room_of_its_values() {
        assert!(made_of(&b"[],".repeat(1_000)) > 100_000);
        assert!(made_of(b"{\"a\": 1}") < 200);
        let packed = |unpacked: &[u8]| {
            use std::io::Write;
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(unpacked).unwrap();
            encoder.finish().unwrap()
        };
        // Unpacked within the room that there is, and told apart from what is too large in itself.
        let bomb = packed(&vec![b' '; 8 << 20]);
        assert_eq!(inflate(&bomb, 10 << 20, &mut Bodies::new(4 << 20).room()).unwrap_err().status, 413);
        let (bodies, mut room) = (Bodies::new(32 << 20), None);
        let mut other = bodies.room();
        other.take(28 << 20).unwrap();
        assert_eq!(inflate(&bomb, 10 << 20, room.insert(bodies.room())).unwrap_err().status, 503);
        drop((other, room));
        assert_eq!(inflate(&bomb, 10 << 20, &mut bodies.room()).unwrap().len(), 8 << 20);
    }
}
