//! Events in: clients of `/ws/ingest` that always have something to send, until each has its last acknowledgement. Then the
//! topic is read, and every event must be there once.

use super::wire::{self, CLOSE, TEXT, frame, hello, put_head, welcome};
use crate::topics::outlet;
use crate::workload::Reading;
use anyhow::{Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tidecast_tests::Kafka;

/// Clients.
pub(super) const CLIENTS: usize = 100;
/// Events made at once for a client.
const EVENTS_AT_ONCE: u64 = 200;
/// How long the last acknowledgements may take, and the reading of the topic after any record.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of it.
pub(super) struct Ingested {
    pub events: u64,
    pub per_second: f64,
    pub refused: u64,
    pub missing: u64,
    pub doubled: u64,
}

struct Sender {
    stream: TcpStream,
    is_open: bool,
    output: Vec<u8>,
    at: usize,
    input: Vec<u8>,
    sent: u64,
    accepted: u64,
    refused: u64,
}

/// Events that were refused, and what was said to the first.
#[derive(Default, Debug)]
struct Refused {
    events: u64,
    first: Option<String>,
}

/// Sends for so long, waits for the rest, and checks.
pub(super) fn run(kafka: &Kafka, address: SocketAddr, topic: &str, lasts: Duration) -> Result<Ingested> {
    let mut poll = Poll::new()?;
    let hello = hello(&address.to_string(), "/ws/ingest");
    let mut senders = Vec::new();
    for number in 0..CLIENTS {
        let mut stream = TcpStream::connect(address)?;
        poll.registry().register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
        let (output, input) = (hello.clone(), Vec::new());
        senders.push(Sender {
            stream,
            is_open: false,
            output,
            at: 0,
            input,
            sent: 0,
            accepted: 0,
            refused: 0,
        });
    }
    let start = Instant::now();
    let (mut made, mut refused, mut last) = (0u64, Refused::default(), start);
    let mut events = Events::with_capacity(CLIENTS * 2);
    let mut line = Vec::with_capacity(160);
    loop {
        poll.poll(&mut events, Some(Duration::from_millis(50)))?;
        let is_over = start.elapsed() >= lasts;
        for event in &events {
            let sender = &mut senders[event.token().0];
            if event.is_readable() {
                let before = sender.accepted;
                sender.receive(&mut refused)?;
                if sender.accepted > before {
                    last = Instant::now();
                }
            }
        }
        // One lot for each that can take it, so that all get their turn.
        for sender in &mut senders {
            if sender.flush()? && sender.is_open && !is_over {
                sender.fill(&mut made, &mut line);
                sender.flush()?;
            }
        }
        if is_over && senders.iter().all(|sender| sender.accepted + sender.refused >= sender.sent) {
            break;
        }
        if last.elapsed() > PATIENCE {
            let open = senders.iter().filter(|sender| sender.accepted + sender.refused < sender.sent).count();
            bail!("no acknowledgement for {PATIENCE:?}; {open} clients wait for one; refused: {refused:?}");
        }
    }
    let took = last - start;
    let accepted: u64 = senders.iter().map(|sender| sender.accepted).sum();
    if let Some(first) = &refused.first {
        eprintln!("events refused; the first: {first}");
    }
    let refused = refused.events;
    let (missing, doubled) = count(&outlet(kafka, topic, false, Offset::Beginning)?, made)?;
    Ok(Ingested {
        events: accepted,
        per_second: accepted as f64 / took.as_secs_f64(),
        refused,
        missing,
        doubled,
    })
}

impl Sender {
    fn fill(&mut self, made: &mut u64, line: &mut Vec<u8>) {
        self.output.clear();
        self.at = 0;
        let now = i64::try_from(super::record::micros() / 1_000).unwrap_or(i64::MAX);
        for _ in 0..EVENTS_AT_ONCE {
            Reading::number(*made).write(*made, "sensor_data", now, line);
            put_head(&mut self.output, TEXT, line.len());
            self.output.extend_from_slice(line);
            *made += 1;
        }
        self.sent += EVENTS_AT_ONCE;
    }

    /// Whether all is out.
    fn flush(&mut self) -> Result<bool> {
        while self.at < self.output.len() {
            match self.stream.write(&self.output[self.at..]) {
                Ok(written) => self.at += written,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Takes acknowledgements and refusals.
    fn receive(&mut self, refused: &mut Refused) -> Result<()> {
        let mut scratch = [0; 16 << 10];
        loop {
            match self.stream.read(&mut scratch) {
                Ok(0) => bail!("the server hung up"),
                Ok(read) => self.input.extend_from_slice(&scratch[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        if !self.is_open {
            match welcome(&self.input) {
                None => return Ok(()),
                Some(Err(line)) => bail!("/ws/ingest: {line}"),
                Some(Ok(end)) => drop(self.input.drain(..end)),
            }
            self.is_open = true;
        }
        let mut used = 0;
        while let Some(wire::Frame { opcode, payload, bytes }) = frame(&self.input[used..]) {
            used += bytes;
            if opcode == CLOSE {
                bail!("the server closed: {payload:?}");
            }
            let message: Value = serde_json::from_slice(payload)?;
            match message["data"]["accepted"].as_u64() {
                Some(accepted) if accepted < self.accepted => bail!("an acknowledgement went back"),
                Some(accepted) => self.accepted = accepted,
                None => {
                    let events = refused_by(&message);
                    self.refused += events;
                    refused.events += events;
                    refused.first.get_or_insert_with(|| message["data"].to_string());
                }
            }
        }
        self.input.drain(..used);
        Ok(())
    }
}

/// How many events an answer refuses: one, or where Kafka did not take them as many as it says first.
fn refused_by(message: &Value) -> u64 {
    let (code, words) = (&message["data"]["code"], message["data"]["message"].as_str().unwrap_or_default());
    match code.as_str() {
        Some("unavailable") => words.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(1),
        // Those are told of a connection that goes on.
        Some("rate_limited" | "answers_dropped") => 0,
        _ => 1,
    }
}

/// Reads the topic: events that are not there, and those that are there again.
fn count(consumer: &BaseConsumer, made: u64) -> Result<(u64, u64)> {
    let mut there = vec![false; made as usize];
    let (mut doubled, mut ends) = (0, 0);
    while ends < super::server::PARTITIONS {
        let message = match consumer.poll(PATIENCE) {
            Some(Ok(message)) => message,
            Some(Err(KafkaError::PartitionEOF(_))) => {
                ends += 1;
                continue;
            }
            Some(Err(error)) => return Err(error.into()),
            None => bail!("the topic of events: nothing for {PATIENCE:?}"),
        };
        // As `Reading::write` begins: {"id":"e-0000012","source"...
        let digits = message.payload().unwrap_or_default().get(9..).unwrap_or_default();
        let number = digits.iter().take_while(|byte| byte.is_ascii_digit());
        let number = number.fold(0usize, |sum, digit| sum * 10 + usize::from(digit - b'0'));
        match there.get_mut(number) {
            Some(before) => doubled += u64::from(std::mem::replace(before, true)),
            None => bail!("an event that was not sent: number {number}"),
        }
    }
    Ok((there.iter().filter(|there| !**there).count() as u64, doubled))
}
