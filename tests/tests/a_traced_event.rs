//! An event whose sender samples it is followed from its record to the frame, under the sender's trace.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidecast_tests::kafka::Out;
use tidecast_tests::{Kafka, Setup, eventually};

const WAIT: Duration = Duration::from_secs(40);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SENDER: &str = "b7ad6b7169203331";
const START: u64 = 1_732_150_000;

/// An OTLP collector over HTTP that keeps every span it is given.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    fn start() -> (Collector, String) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let collector = Collector::default();
        let kept = collector.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = kept.clone();
                std::thread::spawn(move || kept.serve(stream));
            }
        });
        (collector, address)
    }

    /// One connection: requests one after the other, until the client goes.
    fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let mut piece = [0; 16_384];
        loop {
            let head_end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
            let whole = head_end.map(|end| {
                let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
                assert!(head.starts_with("post /v1/traces "), "{head}");
                let length = head.split("content-length: ").nth(1).expect("a length").lines().next();
                (end + 4, end + 4 + length.unwrap().trim().parse::<usize>().unwrap())
            });
            match whole {
                Some((from, to)) if bytes.len() >= to => {
                    let request = ExportTraceServiceRequest::decode(&bytes[from..to]).expect("OTLP");
                    let scopes = request.resource_spans.into_iter().flat_map(|of| of.scope_spans);
                    self.0.lock().unwrap().extend(scopes.flat_map(|of| of.spans));
                    bytes.drain(..to);
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                }
                _ => match stream.read(&mut piece) {
                    Ok(0) | Err(_) => return,
                    Ok(count) => bytes.extend_from_slice(&piece[..count]),
                },
            }
        }
    }

    fn spans(&self, trace: &str) -> Vec<Span> {
        let spans = self.0.lock().unwrap();
        spans.iter().filter(|span| hex(&span.trace_id) == trace).cloned().collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn its_spans_reach_the_collector_from_the_record_to_the_frame() {
    let kafka = Kafka::shared();
    let (collector, address) = Collector::start();
    let setup = Setup::new("traces", &kafka).with(&format!(
        r#"
[telemetry]
otlp_endpoint = "{address}"
otlp_protocol = "http"
sample_rate = 0.0

[[series]]
name = "load"
key = "source"
values = ["value"]
window = {{ kind = "tumbling", size = "1s" }}
lateness = "0s"
"#
    ));
    let tidecast = setup.start().await;
    let mut socket = tidecast.subscribe_socket().await;
    socket.subscribe(&["load:a"], &["aggregation"]).await;
    let (topic, producer) = (setup.topic("events"), kafka.producer());
    let send = |source: &str, second: u64, headers: &[(&str, &str)]| {
        let event = format!(
            r#"{{"source":"{source}","type":"t","timestamp":{},"data":{{"value":1}}}}"#,
            START + second
        );
        let (key, payload) = (Some(source.as_bytes()), Some(event.as_bytes()));
        producer.send(&topic, Out { key, payload, partition: Some(0), headers, ..Out::default() });
        producer.flush();
    };
    let sampled = format!("00-{TRACE}-{SENDER}-01");
    send("a", 0, &[("traceparent", &sampled)]);
    send("b", 1, &[("traceparent", "00-ffffffffffffffffffffffffffffffff-b7ad6b7169203331-00")]);
    send("b", 5, &[]);
    let frame = socket.expect("aggregation_update", WAIT).await;
    assert_eq!(frame["data"]["key"], "a", "{frame}");

    let names = |spans: &[Span]| -> Vec<String> { spans.iter().map(|span| span.name.clone()).collect() };
    let way = ["process", "aggregate", "forecast", "rules", "publish", "deliver"];
    eventually("every stage of the event's way", WAIT, async || {
        let names = names(&collector.spans(TRACE));
        way.iter().all(|stage| names.iter().any(|name| name == stage)).then_some(())
    })
    .await;
    let spans = collector.spans(TRACE);
    let by_name: HashMap<&str, &Span> = spans.iter().map(|span| (span.name.as_str(), span)).collect();
    let parent = |name: &str| hex(&by_name[name].parent_span_id);
    let id = |name: &str| hex(&by_name[name].span_id);
    assert_eq!(parent("process"), SENDER, "below the sender's span");
    for stage in ["aggregate", "forecast", "rules", "publish"] {
        assert_eq!(parent(stage), id("process"), "{stage}");
    }
    assert_eq!(parent("deliver"), id("publish"), "readers go on from the record that was published");
    for span in &spans {
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{}", span.name);
    }
    let starts = way.map(|stage| by_name[stage].start_time_unix_nano);
    assert!(starts.is_sorted(), "one stage after the other: {starts:?}");
    assert_eq!(collector.0.lock().unwrap().len(), spans.len(), "nobody asked for another event's trace");
}
