//! permessage-deflate (RFC 7692), both ways and without context: neither side keeps anything from one message to the next.
//!
//! So a compressed update is the same bytes for every client, is made once, and a connection with compression takes no more
//! memory than one without. What works is kept by the threads: a compressor and a decompressor for each.

use super::frame::{FrameError, Opcode, put_header};
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::header::SEC_WEBSOCKET_EXTENSIONS;
use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::cell::RefCell;

/// The bit of a frame's first byte that says that its message is compressed.
pub(super) const COMPRESSED: u8 = 0x40;
/// What ends every message before it is sent, and is left out.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Offers that are looked at; a client has one or two.
const OFFERS_MAX: usize = 16;
/// The window that deflate has where no other is agreed, as a power of two.
const WINDOW_BITS: u8 = 15;
/// Bytes that are made room for first when a message is decompressed; more as they are needed.
const ROOM: usize = 4 << 10;

thread_local! {
    // 3: two thirds of what 9 saves, in a quarter of its time.
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(3), false));
    static DECOMPRESS: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// What a session and its client have agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deflate {
    /// Messages below this are sent as they are.
    pub bytes_min: usize,
    /// Messages above this are sent as they are: a match never reaches further back than a message is long, so one that
    /// fits into the client's window needs no smaller one of ours.
    pub bytes_max: usize,
}

impl Deflate {
    /// Whether the message in this frame is to be compressed.
    pub fn is_worth(self, frame: &Bytes) -> bool {
        parts(frame).is_some_and(|(_, payload)| (self.bytes_min..=self.bytes_max).contains(&payload.len()))
    }

    /// The frame with its message compressed, where that is worth it and makes it smaller.
    pub fn apply(self, frame: &Bytes) -> Bytes {
        let compressed = match parts(frame) {
            Some((opcode, payload)) if self.is_worth(frame) => compressed_frame(opcode, payload),
            _ => None,
        };
        compressed.unwrap_or_else(|| frame.clone())
    }
}

/// An offer of a client that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The window that the client has for what we send, where it gave one.
    server_bits: Option<u8>,
}

impl Agreed {
    /// The value of the answer's `Sec-WebSocket-Extensions`.
    pub fn answer(self) -> HeaderValue {
        let mut answer =
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover".to_owned();
        if let Some(bits) = self.server_bits {
            answer.push_str(&format!("; server_max_window_bits={bits}"));
        }
        HeaderValue::from_str(&answer).expect("letters and digits are a header value")
    }

    /// What it means for a session.
    pub fn session(self, bytes_min: usize) -> Deflate {
        let bytes_max = match self.server_bits {
            None | Some(WINDOW_BITS) => usize::MAX,
            Some(bits) => 1 << bits,
        };
        Deflate { bytes_min, bytes_max }
    }
}

/// The first offer of permessage-deflate that can be accepted. Others are declined, which is no error: the connection goes
/// on without compression.
pub fn negotiate(headers: &HeaderMap) -> Option<Agreed> {
    let values = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).into_iter();
    let offers = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    offers.take(OFFERS_MAX).find_map(accept)
}

fn accept(offer: &str) -> Option<Agreed> {
    let mut parts = offer.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("permessage-deflate") {
        return None;
    }
    let mut seen: [bool; 4] = [false; 4];
    let mut agreed = Agreed { server_bits: None };
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value.trim_start())),
            None => (part, None),
        };
        let place = match (name.to_ascii_lowercase().as_str(), value) {
            ("server_no_context_takeover", None) => 0,
            ("client_no_context_takeover", None) => 1,
            ("server_max_window_bits", Some(value)) => {
                agreed.server_bits = Some(bits(value)?);
                2
            }
            // How small the client's own window is; ours reads any.
            ("client_max_window_bits", None) => 3,
            ("client_max_window_bits", Some(value)) => bits(value).map(|_| 3)?,
            _ => return None,
        };
        if std::mem::replace(&mut seen[place], true) {
            return None;
        }
    }
    Some(agreed)
}

/// 8 to 15, in digits without a leading zero, perhaps in quotes.
fn bits(value: &str) -> Option<u8> {
    let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    if bare.starts_with(['0', '+']) {
        return None;
    }
    bare.parse().ok().filter(|bits| (8..=WINDOW_BITS).contains(bits))
}

/// A whole frame with a message compressed; `None` where that makes it no smaller.
fn compressed_frame(opcode: Opcode, payload: &[u8]) -> Option<Bytes> {
    let mut deflated = Vec::with_capacity(payload.len() / 2 + 64);
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        loop {
            let done = usize::try_from(compress.total_in()).ok()?;
            compress.compress_vec(&payload[done..], &mut deflated, FlushCompress::Sync).ok()?;
            let all_in = compress.total_in() == payload.len() as u64;
            // Room that is left over means that the flush is complete.
            if all_in && deflated.len() < deflated.capacity() {
                return Some(());
            }
            deflated.reserve(payload.len() / 2 + 64);
        }
    })?;
    let bare = deflated.strip_suffix(&TAIL)?;
    if bare.len() >= payload.len() {
        return None;
    }
    let mut frame = Vec::with_capacity(bare.len() + 10);
    put_header(&mut frame, opcode, bare.len());
    frame[0] |= COMPRESSED;
    frame.extend_from_slice(bare);
    Some(frame.into())
}

/// A message in one of our own frames.
fn parts(frame: &Bytes) -> Option<(Opcode, &[u8])> {
    let opcode = match frame.first()? & 0x0f {
        1 => Opcode::Text,
        2 => Opcode::Binary,
        _ => return None,
    };
    let head = match frame.get(1)? {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    Some((opcode, frame.get(head..)?))
}

/// Decompresses a message; refuses one that comes to more than `bytes_max`, without making room for more.
pub(super) fn inflate(payload: &[u8], bytes_max: usize) -> Result<Bytes, FrameError> {
    let not_deflate = FrameError::NotDeflate;
    let mut inflated = Vec::new();
    DECOMPRESS.with_borrow_mut(|decompress| {
        decompress.reset(false);
        for (input, is_tail) in [(payload, false), (&TAIL[..], true)] {
            let before = decompress.total_in();
            loop {
                let done = usize::try_from(decompress.total_in() - before).map_err(|_| not_deflate)?;
                let had = inflated.len();
                if had == inflated.capacity() {
                    if had > bytes_max {
                        return Err(FrameError::TooBig);
                    }
                    // One byte past the limit tells a message that ends there from one that goes on.
                    inflated.reserve_exact(had.max(ROOM).min(bytes_max + 1 - had));
                }
                let status = decompress
                    .decompress_vec(&input[done..], &mut inflated, FlushDecompress::Sync)
                    .map_err(|_| not_deflate)?;
                if status == Status::StreamEnd {
                    // The client ended its stream with the message, as it may; what follows is padding.
                    return Ok(());
                }
                let took = usize::try_from(decompress.total_in() - before).map_err(|_| not_deflate)?;
                let is_full = inflated.len() == inflated.capacity();
                if !is_full && took == input.len() {
                    break;
                }
                if !is_full && took == done && inflated.len() == had {
                    // Neither took nor gave: with the tail that is the end, before it there is no way on.
                    if is_tail {
                        break;
                    }
                    return Err(not_deflate);
                }
            }
        }
        Ok(())
    })?;
    if inflated.len() > bytes_max {
        return Err(FrameError::TooBig);
    }
    Ok(inflated.into())
}

#[cfg(test)]
mod tests {
    use super::super::frame::Decoder;
    use super::*;
    use bytes::BytesMut;
    use proptest::prelude::*;

    const ALWAYS: Deflate = Deflate { bytes_min: 0, bytes_max: usize::MAX };

    fn agreed(offers: &[&str]) -> Option<Agreed> {
        let mut headers = HeaderMap::new();
        offers.iter().for_each(|offer| {
            headers.append(SEC_WEBSOCKET_EXTENSIONS, offer.parse().unwrap());
        });
        negotiate(&headers)
    }

    #[test]
    fn what_is_offered_is_answered_without_context_and_within_the_clients_window() {
        let answer =
            |offers: &[&str]| agreed(offers).map(|agreed| agreed.answer().to_str().unwrap().to_owned());
        let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        assert_eq!(answer(&["permessage-deflate; client_max_window_bits"]).as_deref(), Some(plain));
        assert_eq!(answer(&["x-other, permessage-deflate"]).as_deref(), Some(plain));
        assert_eq!(
            answer(&["x-other", "Permessage-Deflate ; client_max_window_bits=\"9\""]).as_deref(),
            Some(plain)
        );
        let small = format!("{plain}; server_max_window_bits=10");
        let offer = "permessage-deflate; server_max_window_bits=10; server_no_context_takeover";
        assert_eq!(answer(&[offer]), Some(small));
        assert_eq!(agreed(&[offer]).unwrap().session(64), Deflate { bytes_min: 64, bytes_max: 1_024 });
        assert_eq!(agreed(&["permessage-deflate"]).unwrap().session(0), ALWAYS);
    }

    #[test]
    fn an_offer_that_is_not_understood_is_passed_over() {
        for offer in [
            "",
            "x-webkit-deflate-frame",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=010",
            "permessage-deflate; client_max_window_bits=x",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; something",
        ] {
            assert_eq!(agreed(&[offer]), None, "{offer}");
            assert!(agreed(&[&format!("{offer}, permessage-deflate")]).is_some(), "the next one: {offer}");
        }
    }

    #[test]
    fn the_examples_of_the_standard_are_read() {
        let hello: &[u8] = b"Hello";
        for compressed in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            // Without compression, and with a stream that ends.
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        ] {
            assert_eq!(inflate(compressed, 5).unwrap(), hello);
            assert_eq!(inflate(compressed, 4), Err(FrameError::TooBig));
        }
        assert_eq!(inflate(&[0], 0).unwrap(), Bytes::new());
        assert_eq!(inflate(&[0xff, 0xff, 0xff], 100), Err(FrameError::NotDeflate));
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let mut bomb = Vec::new();
        let mut compress = Compress::new(Compression::best(), false);
        let zeros = vec![0; 64 << 20];
        bomb.reserve(1 << 20);
        compress.compress_vec(&zeros, &mut bomb, FlushCompress::Sync).unwrap();
        assert!(bomb.len() < 100_000, "{} bytes", bomb.len());
        assert_eq!(inflate(&bomb, 64 << 10), Err(FrameError::TooBig));
    }

    #[test]
    fn what_is_small_or_does_not_shrink_is_sent_as_it_is() {
        let frame = super::super::frame::frame(Opcode::Text, &[b'a'; 200]);
        let deflate = Deflate { bytes_min: 201, bytes_max: 1_000 };
        assert_eq!(deflate.apply(&frame), frame);
        assert_eq!(Deflate { bytes_max: 199, bytes_min: 0 }.apply(&frame), frame, "past the client's window");
        assert!(ALWAYS.apply(&frame).len() < 20);
        let noise: Vec<u8> = (0..200u8).map(|n| n.wrapping_mul(167) ^ (n >> 3)).collect();
        let frame = super::super::frame::frame(Opcode::Binary, &noise);
        assert_eq!(ALWAYS.apply(&frame), frame);
    }

    proptest! {
        #[test]
        fn what_is_compressed_comes_back(
            words in prop::collection::vec(prop::sample::select(vec!["model", "mean", "1.25", "{", "\"", "é"]), 0..4_000),
            cut in 1usize..5_000,
        ) {
            let text = words.concat();
            let frame = super::super::frame::frame(Opcode::Text, text.as_bytes());
            let deflated = ALWAYS.apply(&frame);
            prop_assert!(deflated.len() <= frame.len());
            if deflated != frame {
                prop_assert_eq!(deflated[0], 0xc1);
                let (_, payload) = parts(&deflated).unwrap();
                prop_assert_eq!(&inflate(payload, text.len()).unwrap()[..], text.as_bytes());
                if !text.is_empty() {
                    prop_assert_eq!(inflate(payload, text.len() - 1), Err(FrameError::TooBig));
                }
                // As a client would send it, in fragments of which the first alone is marked.
                let mut stream = BytesMut::new();
                let pieces: Vec<&[u8]> = payload.chunks(cut).collect();
                for (place, piece) in pieces.iter().enumerate() {
                    let first = if place == 0 { COMPRESSED | 1 } else { 0 };
                    let last = if place + 1 == pieces.len() { 0x80 } else { 0 };
                    let mut head = Vec::new();
                    put_header(&mut head, Opcode::Text, piece.len());
                    head[0] = first | last;
                    head[1] |= 0x80;
                    head.extend_from_slice(&[0; 4]);
                    stream.extend_from_slice(&head);
                    stream.extend_from_slice(piece);
                }
                let message = Decoder::new(1 << 20).with_deflate().decode(&mut stream).unwrap();
                prop_assert_eq!(message, Some(super::super::frame::Message::Text(text.into())));
            }
        }

        #[test]
        fn no_bytes_make_it_panic_or_give_more_than_the_limit(
            bytes in prop::collection::vec(any::<u8>(), 0..2_000), most in 0usize..5_000,
        ) {
            if let Ok(inflated) = inflate(&bytes, most) {
                prop_assert!(inflated.len() <= most);
            }
        }
    }
}
