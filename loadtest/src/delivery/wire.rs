//! As much of WebSocket as the load needs: a server's frames out of bytes that came, a client's frames into bytes that go.

/// Text.
pub(super) const TEXT: u8 = 1;
/// The end.
pub(super) const CLOSE: u8 = 8;
/// Are you there?
pub(super) const PING: u8 = 9;
/// Yes.
pub(super) const PONG: u8 = 10;

/// A whole frame at the front of what came.
pub(super) struct Frame<'a> {
    pub opcode: u8,
    pub payload: &'a [u8],
    /// Header and payload.
    pub bytes: usize,
}

/// The next frame, once it is whole. A server does not mask, and neither of ours fragments.
pub(super) fn frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let [first, second, rest @ ..] = bytes else { return None };
    let (head, length) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?),
        length => (2, usize::from(length)),
    };
    let payload = bytes.get(head..head + length)?;
    Some(Frame { opcode: first & 0x0f, payload, bytes: head + length })
}

/// Adds a client's frame. Its mask is zero, which is as good a mask as any and costs the load nothing.
pub(super) fn put(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    put_head(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Adds the head of a client's frame.
pub(super) fn put_head(out: &mut Vec<u8>, opcode: u8, bytes: usize) {
    out.push(0x80 | opcode);
    match bytes {
        0..126 => out.push(0x80 | bytes as u8),
        126..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(bytes as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(bytes as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
}

/// A request that becomes a WebSocket.
pub(super) fn hello(host: &str, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// Where the answer to [`hello`] ends, once it has come: `Some(Err)` with its first line where it is no 101.
pub(super) fn welcome(bytes: &[u8]) -> Option<Result<usize, String>> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    if bytes.starts_with(b"HTTP/1.1 101") {
        return Some(Ok(end));
    }
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Some(Err(String::from_utf8_lossy(line).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_are_found_once_whole() {
        for length in [0, 5, 125, 126, 70_000] {
            let mut sent = Vec::new();
            put(&mut sent, TEXT, &vec![b'x'; length]);
            // What a server sends has no mask.
            let head = sent.len() - length - 4;
            sent.drain(head..head + 4);
            sent[1] &= 0x7f;
            assert!(frame(&sent[..sent.len() - 1]).is_none());
            let found = frame(&sent).unwrap();
            assert_eq!((found.opcode, found.payload.len(), found.bytes), (TEXT, length, sent.len()));
        }
    }

    #[test]
    fn a_refusal_is_told_by_its_first_line() {
        assert_eq!(welcome(b"HTTP/1.1 101 Switching"), None);
        assert_eq!(welcome(b"HTTP/1.1 101 x\r\n\r\n12"), Some(Ok(18)));
        assert_eq!(welcome(b"HTTP/1.1 503 full\r\n\r\n"), Some(Err("HTTP/1.1 503 full".into())));
    }
}
