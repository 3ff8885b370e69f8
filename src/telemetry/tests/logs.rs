//! Log lines and exported traces.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tidecast_config::{LogFormat, OtlpProtocol, Telemetry as Settings};
use tidecast_telemetry::{TRACE_TARGET, Telemetry, deliver, receive, stage, traceparent};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}

fn settings(otlp_endpoint: Option<String>, sample_rate: f64) -> Settings {
    Settings {
        log_level: "info".into(),
        log_format: LogFormat::Auto,
        otlp_endpoint,
        otlp_protocol: OtlpProtocol::Http,
        sample_rate,
    }
}

#[test]
fn json_lines_carry_their_fields_and_the_level_changes_while_running() {
    let lines = Lines::default();
    let (subscriber, telemetry) =
        Telemetry::with_writer(&settings(None, 0.0), "i", false, lines.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(partition = 3, "caught up");
        tracing::debug!("unheard");
        tracing::info!(target: "hyper::client", "chatter");
        telemetry.set_level("debug").unwrap();
        tracing::debug!("heard");
        assert!(telemetry.set_level("loud").is_err());
    });
    let text = lines.text();
    let written: Vec<&str> = text.lines().collect();
    assert_eq!(written.len(), 2, "{text}");
    assert!(written[0].starts_with('{') && written[0].contains("\"partition\":3"), "{text}");
    assert!(
        written[0].contains("\"message\":\"caught up\"") && written[0].contains("\"level\":\"INFO\""),
        "{text}"
    );
    assert!(written[1].contains("heard") && !telemetry.exports_traces());
}

#[test]
fn human_lines_are_for_people() {
    let lines = Lines::default();
    let (subscriber, _telemetry) =
        Telemetry::with_writer(&settings(None, 0.0), "i", true, lines.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || tracing::warn!(partition = 3, "behind"));
    let text = lines.text();
    assert!(!text.starts_with('{') && text.contains("WARN") && text.contains("behind"), "{text}");
}

#[test]
fn a_span_without_a_collector_has_no_header() {
    let (subscriber, _telemetry) =
        Telemetry::with_writer(&settings(None, 1.0), "i", true, Lines::default()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        assert_eq!(traceparent(&tracing::info_span!(target: TRACE_TARGET, "event")), None);
    });
}

#[test]
fn a_traced_event_reaches_the_collector_under_its_senders_trace() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", collector.local_addr().unwrap());
    let (sent, received) = mpsc::sync_channel(64);
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = collector.accept() {
            let request = read_request(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            if sent.send(request).is_err() {
                break;
            }
        }
    });
    let (subscriber, telemetry) =
        Telemetry::with_writer(&settings(Some(address), 0.0), "worker-7", false, Lines::default()).unwrap();
    assert!(telemetry.exports_traces());
    tracing::subscriber::with_default(subscriber, || {
        assert!(receive(None, "unsampled", 0, 1).is_none(), "the share of sampled events is none");
        let not_sampled = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        assert!(receive(Some(not_sampled), "unsampled", 0, 2).is_none(), "its sender does not sample it");
        let sampled = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let span = receive(Some(sampled), "events", 3, 17).expect("its sender samples it");
        let publish = stage(&span, "publish");
        let header = traceparent(&publish).unwrap();
        let frame = deliver(header.as_bytes(), "sales_model").expect("goes on with the trace");
        assert!(traceparent(&frame).unwrap().starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
        assert!(
            header.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && header.ends_with("-01"),
            "{header}"
        );
        assert!(!header.contains("b7ad6b7169203331") && header.len() == 55, "{header}");
        tracing::info_span!("of_the_log_alone").in_scope(|| {});
    });
    telemetry.flush();
    let request = received.recv_timeout(Duration::from_secs(20)).expect("the collector hears of the span");
    let text = String::from_utf8_lossy(&request);
    assert!(text.starts_with("POST /v1/traces "), "{}", text.lines().next().unwrap_or_default());
    for part in ["process", "publish", "deliver", "sales_model", "worker-7", "tidecast"] {
        assert!(text.contains(part), "{part}");
    }
    let trace_id = 0x0af7651916cd43dd8448eb211c80319c_u128.to_be_bytes();
    assert!(request.windows(16).any(|window| window == trace_id));
    assert!(!text.contains("of_the_log_alone") && !text.contains("unsampled"));
}

#[test]
fn a_collector_that_cannot_be_is_one_clear_line() {
    let wrong = settings(Some("http://[::1".into()), 1.0);
    let error =
        Telemetry::with_writer(&wrong, "i", true, Lines::default()).err().expect("no address").to_string();
    assert!(error.contains("telemetry.otlp_endpoint") && !error.contains('\n'), "{error}");
}

fn read_request(stream: &mut std::net::TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        if let Some(head) = text.find("\r\n\r\n") {
            let length = text
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.split("\r\n").next()?.parse().ok());
            let headers = request.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(head);
            if request.len() >= headers + 4 + length.unwrap_or(0) {
                return request;
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return request,
            Ok(read) => request.extend(&buffer[..read]),
        }
    }
}
