//! Memory of idle connections and latency of delivery, over loopback; the clients are a process of their own.
//!
//! `cargo bench -p tidecast-gateway --bench delivery -- [connections]`. Prints a table; asserts nothing, for a figure
//! depends on the machine. Latency is from `publish` to the client's read, both on the clock of this machine.

#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)]

use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidecast_gateway::Hub;
use tidecast_ports::{LiveRecord, LiveSink, OutputKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[path = "../tests/black_box/house.rs"]
#[allow(dead_code)]
mod house;
#[path = "../tests/black_box/ports.rs"]
#[allow(dead_code)]
mod ports;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(place) = arguments.iter().position(|argument| argument == "--client") {
        let address: SocketAddr = arguments[place + 1].parse().unwrap();
        let connections: usize = arguments[place + 2].parse().unwrap();
        let models: usize = arguments[place + 3].parse().unwrap();
        runtime().block_on(clients(address, connections, models));
        return;
    }
    let connections = arguments.iter().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10_000);
    runtime().block_on(servers(connections));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}

fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

async fn servers(connections: usize) {
    println!("| what | connections | rate | p50 | p95 | p99 | skipped | bytes a connection |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    // 10 models each, one delivery a model every five seconds: 20,000 a second at 10,000 connections.
    measure("idle, then 2 updates/s each", connections, 10, connections as f64 / 10.0 * 2.0, 8).await;
    measure("500 connections, 1,000 updates/s each", 500, 1, 1_000.0, 8).await;
}

/// `models` names a connection, shared by groups of ten connections (or all of them for one model).
async fn measure(what: &str, connections: usize, models: usize, updates_per_second: f64, seconds: u64) {
    let house = house::House::with(&["websocket.max_connections=20000"]).await;
    let before = resident_bytes();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--client", &house.websocket.to_string(), &connections.to_string(), &models.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(told.next().unwrap().unwrap(), "connected");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let each = (resident_bytes() - before) / connections as f64;
    let groups = if models == 1 { 1 } else { connections.div_ceil(10) * models };
    let hub: Arc<Hub> = house.hub.clone();
    // The reader of the output topics is a thread that hands over what a poll gave.
    let published = tokio::task::spawn_blocking(move || publish(&hub, groups, updates_per_second, seconds))
        .await
        .unwrap();
    let skipped = house.metric("websocket_messages_dropped_total").await;
    let delivered = house.metric("websocket_deliveries_total").await;
    child.stdin.take().unwrap().write_all(b"stop\n").unwrap();
    let figures = told.next().unwrap().unwrap();
    child.wait().unwrap();
    println!(
        "| {what} | {connections} | {:.0}/s | {figures} | {skipped} | {each:.0} |",
        delivered / published.as_secs_f64()
    );
    house.close().await;
}

fn publish(hub: &Hub, groups: usize, per_second: f64, seconds: u64) -> Duration {
    let started = Instant::now();
    let (mut sent, mut model) = (0u64, 0usize);
    while started.elapsed() < Duration::from_secs(seconds) {
        let due = (started.elapsed().as_secs_f64() * per_second) as u64;
        let mut records = Vec::new();
        while sent < due {
            let value = json!({"model_id": format!("model_{model}"), "timestamp": "2026-01-20T10:30:00Z",
                "predicted_value": micros(), "confidence_interval": [1, 2], "forecast_horizon": 1, "model_type": "ETS",
                "metadata": {"path": [{"timestamp": "2026-01-20T10:40:00Z", "mean": 1.5, "lower": 1.0, "upper": 2.0}]}});
            records.push(LiveRecord {
                kind: OutputKind::Forecast,
                partition: 0,
                offset: sent as i64,
                id: None,
                timestamp_ms: 0,
                key: bytes::Bytes::new(),
                value: serde_json::to_vec(&value).unwrap().into(),
                replayed: false,
                traceparent: None,
                observed: None,
            });
            sent += 1;
            model = (model + 1) % groups;
        }
        if !records.is_empty() {
            hub.publish(records);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    started.elapsed()
}

async fn clients(address: SocketAddr, connections: usize, models: usize) {
    let latencies = Arc::new(Mutex::new(Vec::<u32>::new()));
    let gaps = Arc::new(AtomicU64::new(0));
    for number in 0..connections {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let hello = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(hello.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let first = if models == 1 { 0 } else { number / 10 * models };
        let names: Vec<String> = (first..first + models).map(|model| format!("model_{model}")).collect();
        let ask =
            json!({"type": "subscribe", "model_ids": names, "update_types": ["new_forecast"]}).to_string();
        let mut frame = vec![0x81, 0x80 | 126, (ask.len() >> 8) as u8, ask.len() as u8, 0, 0, 0, 0];
        if ask.len() < 126 {
            frame = vec![0x81, 0x80 | ask.len() as u8, 0, 0, 0, 0];
        }
        frame.extend_from_slice(ask.as_bytes());
        stream.write_all(&frame).await.unwrap();
        tokio::spawn(read(stream, latencies.clone(), gaps.clone()));
    }
    println!("connected");
    let _ = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await;
    let mut latencies = latencies.lock().unwrap();
    latencies.sort_unstable();
    let at = |share: f64| {
        let place = ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
        latencies.get(place).copied().unwrap_or_default() as f64 / 1e3
    };
    println!("{:.2} ms | {:.2} ms | {:.2} ms", at(0.5), at(0.95), at(0.99));
}

async fn read(mut stream: TcpStream, latencies: Arc<Mutex<Vec<u32>>>, gaps: Arc<AtomicU64>) {
    let mut buffer = bytes::BytesMut::with_capacity(1_024);
    let needle = b"\"predicted_value\":";
    while let Ok(1..) = stream.read_buf(&mut buffer).await {
        let now = micros();
        let mut seen = Vec::new();
        loop {
            let (head, length) = match buffer.get(1).copied() {
                Some(126) if buffer.len() >= 4 => {
                    (4, usize::from(u16::from_be_bytes([buffer[2], buffer[3]])))
                }
                Some(length @ 0..126) => (2, usize::from(length)),
                _ => break,
            };
            if buffer.len() < head + length {
                break;
            }
            let frame = buffer.split_to(head + length);
            match frame.windows(needle.len()).position(|window| window == needle) {
                Some(place) => {
                    let digits =
                        frame[place + needle.len()..].iter().take_while(|byte| byte.is_ascii_digit());
                    let sent = digits.fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
                    seen.push(u32::try_from(now.saturating_sub(sent)).unwrap_or(u32::MAX));
                }
                None if frame.windows(5).any(|window| window == b"\"gap\"") => {
                    gaps.fetch_add(1, Ordering::Relaxed);
                }
                None => {}
            }
        }
        latencies.lock().unwrap().append(&mut seen);
    }
}
