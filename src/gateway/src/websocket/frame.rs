//! WebSocket frames (RFC 6455), both ways.
//!
//! Ours rather than a library's for two reasons: a server's frame is not masked, so one encoding of an update is the
//! same bytes for every client and can be shared; and a connection that says nothing needs no buffer at all.

use super::deflate::{COMPRESSED, inflate};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message before.
    Continuation = 0,
    /// UTF-8 text.
    Text = 1,
    /// Bytes.
    Binary = 2,
    /// The end.
    Close = 8,
    /// Are you there?
    Ping = 9,
    /// Yes.
    Pong = 10,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// A whole message from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text, known to be UTF-8.
    Text(Bytes),
    /// Bytes.
    Binary(Bytes),
    /// Wants a pong with the same payload.
    Ping(Bytes),
    /// Answers a ping.
    Pong,
    /// The client closes, with its code when it gave one.
    Close(Option<u16>),
}

/// Why a connection cannot go on; each has its close code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// 1009.
    #[error("message is larger than the limit")]
    TooBig,
    /// 1007.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// 1007.
    #[error("a message that is marked as compressed is not")]
    NotDeflate,
    /// 1002.
    #[error("{0}")]
    Protocol(&'static str),
}

impl FrameError {
    /// The close code that says so.
    pub fn close_code(self) -> u16 {
        match self {
            FrameError::TooBig => 1009,
            FrameError::NotUtf8 | FrameError::NotDeflate => 1007,
            FrameError::Protocol(_) => 1002,
        }
    }
}

/// More frames than this in one message are taken for an attack: each costs work and may carry nothing.
const FRAGMENTS_MAX: u32 = 4_096;

/// Takes frames apart. Holds nothing between messages but an empty buffer without memory.
#[derive(Debug)]
pub struct Decoder {
    message_bytes_max: usize,
    /// Messages may be compressed.
    deflate: bool,
    fragments: Option<Box<Fragments>>,
}

#[derive(Debug)]
struct Fragments {
    text: bool,
    compressed: bool,
    frames: u32,
    payload: BytesMut,
}

impl Decoder {
    /// A decoder that refuses messages of more than `message_bytes_max` bytes, before it buffers them.
    pub fn new(message_bytes_max: usize) -> Self {
        Decoder { message_bytes_max, deflate: false, fragments: None }
    }

    /// The same where permessage-deflate was agreed. The limit holds for a message as it comes and as it is.
    pub fn with_deflate(self) -> Self {
        Decoder { deflate: true, ..self }
    }

    /// Takes the next whole message off the front of `buffer`; `None` when there is no whole one yet. A payload is
    /// unmasked in place and shares the buffer's memory.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Message>, FrameError> {
        loop {
            let Some(header) = Header::parse(buffer)? else { return Ok(None) };
            self.check(&header)?;
            let whole = header.bytes + header.payload_bytes;
            if buffer.len() < whole {
                // One growth to the size that is announced (already within the limit), not many small ones.
                buffer.reserve(whole - buffer.len());
                return Ok(None);
            }
            buffer.advance(header.bytes);
            let mut payload = buffer.split_to(header.payload_bytes);
            unmask(&mut payload, header.mask);
            if let Some(message) = self.accept(&header, payload)? {
                return Ok(Some(message));
            }
        }
    }

    fn check(&self, header: &Header) -> Result<(), FrameError> {
        if header.compressed && !self.deflate {
            return Err(FrameError::Protocol("reserved bits are set, and no extension was agreed"));
        }
        if header.compressed && !matches!(header.opcode, Opcode::Text | Opcode::Binary) {
            return Err(FrameError::Protocol("only the first frame of a message says that it is compressed"));
        }
        if header.opcode.is_control() {
            return Ok(());
        }
        match (&self.fragments, header.opcode) {
            (None, Opcode::Continuation) => return Err(FrameError::Protocol("continuation of nothing")),
            (Some(_), Opcode::Text | Opcode::Binary) => {
                return Err(FrameError::Protocol("a new message inside an unfinished one"));
            }
            _ => {}
        }
        let before = self.fragments.as_ref().map_or(0, |fragments| fragments.payload.len());
        if header.payload_bytes > self.message_bytes_max - before.min(self.message_bytes_max) {
            return Err(FrameError::TooBig);
        }
        Ok(())
    }

    fn accept(&mut self, header: &Header, payload: BytesMut) -> Result<Option<Message>, FrameError> {
        Ok(match header.opcode {
            Opcode::Ping => Some(Message::Ping(payload.freeze())),
            Opcode::Pong => Some(Message::Pong),
            Opcode::Close => Some(Message::Close(close_code(&payload)?)),
            Opcode::Text | Opcode::Binary if header.finished => {
                let text = header.opcode == Opcode::Text;
                Some(self.whole_message(text, header.compressed, payload.freeze())?)
            }
            Opcode::Text | Opcode::Binary => {
                let text = header.opcode == Opcode::Text;
                let compressed = header.compressed;
                self.fragments = Some(Box::new(Fragments { text, compressed, frames: 1, payload }));
                None
            }
            Opcode::Continuation => {
                let mut fragments = self.fragments.take().expect("checked: a message is unfinished");
                fragments.frames += 1;
                if fragments.frames > FRAGMENTS_MAX {
                    return Err(FrameError::Protocol("too many fragments in one message"));
                }
                fragments.payload.extend_from_slice(&payload);
                if header.finished {
                    let Fragments { text, compressed, payload, .. } = *fragments;
                    Some(self.whole_message(text, compressed, payload.freeze())?)
                } else {
                    self.fragments = Some(fragments);
                    None
                }
            }
        })
    }

    fn whole_message(&self, text: bool, compressed: bool, payload: Bytes) -> Result<Message, FrameError> {
        let payload = if compressed { inflate(&payload, self.message_bytes_max)? } else { payload };
        if !text {
            return Ok(Message::Binary(payload));
        }
        std::str::from_utf8(&payload).map_err(|_| FrameError::NotUtf8)?;
        Ok(Message::Text(payload))
    }
}

fn close_code(payload: &[u8]) -> Result<Option<u16>, FrameError> {
    match payload {
        [] => Ok(None),
        [_] => Err(FrameError::Protocol("close frame with half a code")),
        [high, low, reason @ ..] => {
            std::str::from_utf8(reason).map_err(|_| FrameError::NotUtf8)?;
            let code = u16::from_be_bytes([*high, *low]);
            match code {
                1000..=1003 | 1007..=1014 | 3000..=4999 => Ok(Some(code)),
                _ => Err(FrameError::Protocol("close frame with a code that may not be sent")),
            }
        }
    }
}

struct Header {
    finished: bool,
    compressed: bool,
    opcode: Opcode,
    mask: [u8; 4],
    bytes: usize,
    payload_bytes: usize,
}

impl Header {
    fn parse(buffer: &[u8]) -> Result<Option<Header>, FrameError> {
        let [first, second, rest @ ..] = buffer else { return Ok(None) };
        if first & 0x30 != 0 {
            return Err(FrameError::Protocol("reserved bits are set, and no extension was agreed"));
        }
        let compressed = first & COMPRESSED != 0;
        let opcode = Opcode::from_bits(first & 0x0f).ok_or(FrameError::Protocol("unknown opcode"))?;
        let finished = first & 0x80 != 0;
        if second & 0x80 == 0 {
            return Err(FrameError::Protocol("a client's frame must be masked"));
        }
        let (payload_bytes, length_bytes) = match second & 0x7f {
            126 => match rest.first_chunk::<2>() {
                Some(length) => (u64::from(u16::from_be_bytes(*length)), 2),
                None => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(length) => (u64::from_be_bytes(*length), 8),
                None => return Ok(None),
            },
            length => (u64::from(length), 0),
        };
        if opcode.is_control() && (!finished || payload_bytes > 125) {
            return Err(FrameError::Protocol("control frame that is too long or in pieces"));
        }
        let payload_bytes = usize::try_from(payload_bytes).map_err(|_| FrameError::TooBig)?;
        // The limit is checked before the mask has come: an announced length alone must not make us wait.
        let mask = match rest[length_bytes..].first_chunk::<4>() {
            Some(mask) => *mask,
            None => return Ok(None),
        };
        Ok(Some(Header { finished, compressed, opcode, mask, bytes: 2 + length_bytes + 4, payload_bytes }))
    }
}

/// XORs with the mask, eight bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let word = u64::from_ne_bytes(chunk.try_into().expect("chunks of eight")) ^ wide;
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Writes a server's frame header for `payload_bytes` bytes in a single, finished frame.
pub fn put_header(buffer: &mut impl BufMut, opcode: Opcode, payload_bytes: usize) {
    buffer.put_u8(0x80 | opcode as u8);
    match payload_bytes {
        0..126 => buffer.put_u8(payload_bytes as u8),
        126..65_536 => {
            buffer.put_u8(126);
            buffer.put_u16(payload_bytes as u16);
        }
        _ => {
            buffer.put_u8(127);
            buffer.put_u64(payload_bytes as u64);
        }
    }
}

/// A whole frame of a server.
pub fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut buffer = Vec::with_capacity(payload.len() + 10);
    put_header(&mut buffer, opcode, payload.len());
    buffer.extend_from_slice(payload);
    buffer.into()
}

/// A close frame; the reason is cut at 123 bytes, as the protocol asks.
pub fn close_frame(code: u16, reason: &str) -> Bytes {
    let end = reason.floor_char_boundary(123);
    let mut payload = Vec::with_capacity(2 + end);
    payload.put_u16(code);
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    frame(Opcode::Close, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client_frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
        let mut out = Vec::new();
        put_header(&mut out, Opcode::Text, payload.len());
        out[0] = first;
        out[1] |= 0x80;
        out.extend_from_slice(&mask);
        let start = out.len();
        out.extend_from_slice(payload);
        unmask(&mut out[start..], mask);
        out
    }

    fn decode_all(decoder: &mut Decoder, bytes: &[u8]) -> Result<Vec<Message>, FrameError> {
        let mut buffer = BytesMut::from(bytes);
        let mut messages = Vec::new();
        while let Some(message) = decoder.decode(&mut buffer)? {
            messages.push(message);
        }
        Ok(messages)
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_gives_the_same_messages(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..70_000), 1..4),
            mask in any::<[u8; 4]>(),
            step in 1usize..9_000,
        ) {
            let stream: Vec<u8> = payloads.iter().flat_map(|p| client_frame(0x82, p, mask)).collect();
            let mut decoder = Decoder::new(1 << 20);
            let mut buffer = BytesMut::new();
            let mut seen = Vec::new();
            for piece in stream.chunks(step) {
                buffer.extend_from_slice(piece);
                while let Some(message) = decoder.decode(&mut buffer).unwrap() {
                    seen.push(message);
                }
            }
            let expected: Vec<_> = payloads.into_iter().map(|p| Message::Binary(p.into())).collect();
            prop_assert_eq!(seen, expected);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..4_096)) {
            let _ = decode_all(&mut Decoder::new(1_024), &bytes);
        }
    }

    #[test]
    fn fragments_join_and_a_ping_may_come_between() {
        let mut stream = client_frame(0x01, b"hel", [1, 2, 3, 4]);
        stream.extend(client_frame(0x89, b"?", [9; 4]));
        stream.extend(client_frame(0x80, b"lo", [5, 6, 7, 8]));
        let messages = decode_all(&mut Decoder::new(5), &stream).unwrap();
        assert_eq!(messages, [Message::Ping("?".into()), Message::Text("hello".into())]);
    }

    #[test]
    fn the_limit_holds_over_fragments_and_before_the_payload_has_come() {
        let mut stream = client_frame(0x01, b"hel", [0; 4]);
        stream.extend(client_frame(0x80, b"lo!", [0; 4]));
        assert_eq!(decode_all(&mut Decoder::new(5), &stream), Err(FrameError::TooBig));
        let announced = [0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(decode_all(&mut Decoder::new(65_536), &announced), Err(FrameError::TooBig));
    }

    #[test]
    fn what_the_protocol_forbids_is_told_by_code() {
        let code = |bytes: &[u8]| decode_all(&mut Decoder::new(100), bytes).unwrap_err().close_code();
        assert_eq!(code(&[0x81, 0x01, b'a']), 1002, "not masked");
        for reserved in [0xc1, 0xa1, 0x91] {
            assert_eq!(code(&client_frame(reserved, b"a", [0; 4])), 1002, "reserved bit");
        }
        assert_eq!(code(&client_frame(0x83, b"a", [0; 4])), 1002, "unknown opcode");
        assert_eq!(code(&client_frame(0x80, b"a", [0; 4])), 1002, "continuation of nothing");
        assert_eq!(code(&client_frame(0x09, b"a", [0; 4])), 1002, "ping in pieces");
        assert_eq!(code(&client_frame(0x88, &[0x03, 0xed], [0; 4])), 1002, "1005 may not be sent");
        assert_eq!(code(&client_frame(0x81, &[0xff], [0; 4])), 1007, "not UTF-8");
    }

    #[test]
    fn only_the_first_frame_of_a_message_is_marked_as_compressed() {
        let decode = |bytes: &[u8]| decode_all(&mut Decoder::new(100).with_deflate(), bytes);
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(decode(&client_frame(0xc1, &hello, [7; 4])), Ok(vec![Message::Text("Hello".into())]));
        assert_eq!(decode(&client_frame(0x81, b"a", [7; 4])), Ok(vec![Message::Text("a".into())]));
        assert!(matches!(decode(&client_frame(0xc9, b"", [0; 4])), Err(FrameError::Protocol(_))), "a ping");
        let mut stream = client_frame(0x41, &hello[..3], [0; 4]);
        stream.extend(client_frame(0xc0, &hello[3..], [0; 4]));
        assert!(matches!(decode(&stream), Err(FrameError::Protocol(_))), "a continuation");
        assert_eq!(decode(&client_frame(0xc2, &[0xff; 9], [0; 4])), Err(FrameError::NotDeflate));
    }

    #[test]
    fn fragments_without_end_are_ended() {
        let mut stream = client_frame(0x01, b"", [0; 4]);
        for _ in 0..FRAGMENTS_MAX {
            stream.extend(client_frame(0x00, b"", [0; 4]));
        }
        assert!(matches!(decode_all(&mut Decoder::new(10), &stream), Err(FrameError::Protocol(_))));
    }

    #[test]
    fn a_close_reason_is_cut_at_a_character() {
        let frame = close_frame(1009, &"é".repeat(100));
        assert_eq!(frame.len(), 2 + 2 + 122);
    }
}
