//! permessage-deflate, with a client that sees the frames as they are.

use crate::house::{House, PATIENCE, forecast};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tidecast_ports::OutputKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const OFFER: &str = "permessage-deflate; client_max_window_bits";
const ON: &str = "websocket.compression=true";

struct Raw {
    stream: TcpStream,
    /// What the handshake answered.
    agreed: Option<String>,
}

/// A frame as it came.
#[derive(Debug, PartialEq)]
struct Frame {
    first: u8,
    payload: Vec<u8>,
}

impl Frame {
    fn is_compressed(&self) -> bool {
        self.first & 0x40 != 0
    }

    fn message(&self) -> Value {
        let payload = if self.is_compressed() { inflate(&self.payload) } else { self.payload.clone() };
        serde_json::from_slice(&payload).unwrap()
    }
}

fn inflate(payload: &[u8]) -> Vec<u8> {
    let mut inflated = Vec::with_capacity(1 << 20);
    let with_tail = [payload, &[0, 0, 0xff, 0xff]].concat();
    Decompress::new(false).decompress_vec(&with_tail, &mut inflated, FlushDecompress::Sync).unwrap();
    inflated
}

fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut deflated = Vec::with_capacity(1 << 20);
    Compress::new(Compression::best(), false)
        .compress_vec(payload, &mut deflated, FlushCompress::Sync)
        .unwrap();
    deflated.strip_suffix(&[0, 0, 0xff, 0xff]).unwrap().to_vec()
}

impl Raw {
    async fn connect(address: SocketAddr, offer: Option<&str>) -> Raw {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let extensions =
            offer.map_or(String::new(), |offer| format!("Sec-WebSocket-Extensions: {offer}\r\n"));
        let hello = format!(
            "GET /forecast-updates HTTP/1.1\r\nHost: {address}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extensions}\r\n"
        );
        stream.write_all(hello.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let header = |line: &str| line.strip_prefix("sec-websocket-extensions: ").map(str::to_owned);
        Raw { stream, agreed: head.lines().find_map(header) }
    }

    async fn send(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first, 0x80 | 127];
        frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame).await.unwrap();
    }

    async fn next(&mut self) -> Frame {
        let read = async {
            let (first, second) =
                (self.stream.read_u8().await.unwrap(), self.stream.read_u8().await.unwrap());
            let length = match second {
                126 => u64::from(self.stream.read_u16().await.unwrap()),
                127 => self.stream.read_u64().await.unwrap(),
                length => u64::from(length),
            };
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).await.unwrap();
            Frame { first, payload }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("nothing came")
    }

    async fn is_closed_with(&mut self, code: u16) {
        let close = self.next().await;
        assert_eq!((close.first, &close.payload[..2]), (0x88, &code.to_be_bytes()[..]));
    }

    async fn subscribe(&mut self) {
        self.send(0x81, br#"{"type":"subscribe"}"#).await;
        assert_eq!(self.next().await.message()["type"], "subscribed");
    }
}

fn large(model: &str) -> Value {
    let mut value = forecast(model, 1.0);
    value["metadata"]["path"] =
        (0..24).map(|step| json!({"step": step, "mean": 1.5, "lower": 1.0})).collect();
    value
}

#[tokio::test]
async fn nothing_is_agreed_unless_it_is_set() {
    let house = House::open().await;
    let mut client = Raw::connect(house.websocket, Some(OFFER)).await;
    assert_eq!(client.agreed, None);
    client.send(0xc1, &deflate(br#"{"type":"ping"}"#)).await;
    client.is_closed_with(1002).await;
}

#[tokio::test]
async fn an_update_is_compressed_once_and_plain_for_those_who_did_not_ask() {
    let house = House::with(&[ON]).await;
    let mut one = Raw::connect(house.websocket, Some(OFFER)).await;
    let mut two = Raw::connect(house.websocket, Some("x-unknown, permessage-deflate")).await;
    let mut plain = Raw::connect(house.websocket, None).await;
    let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!((one.agreed.as_deref(), two.agreed.as_deref()), (Some(agreed), Some(agreed)));
    assert_eq!(plain.agreed, None);
    for client in [&mut one, &mut two, &mut plain] {
        client.subscribe().await;
    }
    for round in 0..3 {
        house.publish(OutputKind::Forecast, &large("m"));
        let (one, two, plain) = (one.next().await, two.next().await, plain.next().await);
        assert!(one.is_compressed() && !plain.is_compressed(), "round {round}");
        assert!(
            one.payload.len() * 2 < plain.payload.len(),
            "{} of {}",
            one.payload.len(),
            plain.payload.len()
        );
        assert_eq!(inflate(&one.payload), plain.payload);
        assert_eq!(one, two, "the same bytes");
    }
}

#[tokio::test]
async fn small_messages_and_those_past_the_clients_window_are_sent_as_they_are() {
    let house = House::with(&[ON, "websocket.compression_min_size=400"]).await;
    let mut client = Raw::connect(house.websocket, Some(OFFER)).await;
    let mut narrow =
        Raw::connect(house.websocket, Some("permessage-deflate; server_max_window_bits=9")).await;
    assert!(narrow.agreed.as_deref().unwrap().ends_with("; server_max_window_bits=9"));
    client.subscribe().await;
    narrow.subscribe().await;
    house.publish(OutputKind::Forecast, &forecast("small", 1.0));
    assert!(!client.next().await.is_compressed() && !narrow.next().await.is_compressed());
    let mut middle = forecast("middle", 1.0);
    middle["metadata"]["pad"] = Value::from("x".repeat(180));
    house.publish(OutputKind::Forecast, &middle);
    assert!(client.next().await.is_compressed() && narrow.next().await.is_compressed());
    house.publish(OutputKind::Forecast, &large("large"));
    assert!(client.next().await.is_compressed() && !narrow.next().await.is_compressed());
}

#[tokio::test]
async fn clients_may_compress_too_in_one_frame_or_several() {
    let house = House::with(&[ON]).await;
    let mut client = Raw::connect(house.websocket, Some(OFFER)).await;
    client.send(0xc1, &deflate(br#"{"type":"subscribe","model_ids":["m"]}"#)).await;
    assert_eq!(client.next().await.message()["data"]["model_ids"], json!(["m"]));
    let ping = deflate(br#"{"type":"ping"}"#);
    client.send(0x41, &ping[..4]).await;
    client.send(0x80, &ping[4..]).await;
    assert_eq!(client.next().await.message()["type"], "heartbeat");
    client.send(0x81, br#"{"type":"ping"}"#).await;
    assert_eq!(client.next().await.message()["type"], "heartbeat", "and need not");
    client.send(0xc1, &[0xff; 20]).await;
    client.is_closed_with(1007).await;
}

#[tokio::test]
async fn a_bomb_is_closed_with_1009() {
    let house = House::with(&[ON]).await;
    let mut client = Raw::connect(house.websocket, Some(OFFER)).await;
    let bomb = deflate(&vec![b' '; 50 << 20]);
    assert!(bomb.len() < 60_000, "it is within the limit as it comes: {} bytes", bomb.len());
    client.send(0xc1, &bomb).await;
    client.is_closed_with(1009).await;
    // Nobody else is troubled.
    let mut other = Raw::connect(house.websocket, Some(OFFER)).await;
    other.subscribe().await;
}
