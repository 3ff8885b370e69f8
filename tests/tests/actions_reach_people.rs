//! What rules tell people, seen by those who are told: a mail server and an HTTP server of their own.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidecast_tests::wait::eventually;
use tidecast_tests::{Kafka, Setup};

const WAIT: Duration = Duration::from_secs(20);
const PASSWORD: &str = "canary-of-the-mail-server";

/// The servers, and what they received so far.
struct People {
    child: Child,
    ports: Value,
    received: Arc<Mutex<Vec<Value>>>,
}

impl People {
    fn start(certificate: &Path, key: &Path) -> People {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join(".cache/venv/bin/python");
        assert!(python.is_file(), "no Python with aiosmtpd: `tests/run tools scenarios` makes it");
        let mut child = Command::new(python)
            .arg(root.join("people/server.py"))
            .args([certificate, key])
            .args(["tidecast", PASSWORD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ports = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = received.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        People { child, ports, received }
    }

    /// The things received for which `wanted` holds, once there are `count`.
    async fn got(&self, what: &str, count: usize, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        eventually(what, WAIT, async || {
            let found: Vec<Value> =
                self.received.lock().unwrap().iter().filter(|one| wanted(one)).cloned().collect();
            (found.len() >= count).then_some(found)
        })
        .await
    }
}

impl Drop for People {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_critical_anomaly_is_told_by_mail_webhook_slack_file_and_topic() {
    let kafka = Kafka::shared();
    let setup = Setup::new("people", &kafka);
    let (certificate, key) = (setup.folder().join("certificate.pem"), setup.folder().join("key.pem"));
    let pair = rcgen::KeyPair::generate().unwrap();
    let signed =
        rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&pair).unwrap();
    std::fs::write(&key, pair.serialize_pem()).unwrap();
    std::fs::write(&certificate, signed.pem()).unwrap();
    let people = People::start(&certificate, &key);
    let (smtp, http) = (&people.ports["smtp"], &people.ports["http"]);
    let topic = format!("{}.told", setup.name);
    kafka.create(&topic, 1).await;
    let setup = setup
        .with(&format!(
            r##"
            [smtp]
            host = "localhost"
            port = {smtp}
            username = "tidecast"
            cafile = "{}"
            from = "Tidecast <alerts@tidecast.test>"
            to = ["oncall@tidecast.test", "unknown@tidecast.test"]
            [[rules]]
            name = "tell"
            event_type = "ANOMALY_DETECTED"
            condition = "data.anomaly_score > 0.9"
            action = [
                {{ type = "send_alert", to = ["Bósun <busy@tidecast.test>"], subject = "Pump läuft heiß" }},
                {{ type = "webhook", url = "http://127.0.0.1:{http}/busy", headers = {{ x-key = "k", Content-Type = "application/vnd.alert+json" }} }},
                {{ type = "slack_notify", url = "http://127.0.0.1:{http}/slack", channel = "#ops" }},
                {{ type = "save_to_file", file = "told.jsonl" }},
                {{ type = "publish", topic = "{topic}" }},
            ]
            "##,
            certificate.display(),
        ))
        .env("STREAMING_SMTP__PASSWORD", PASSWORD);
    let tidecast = setup.start().await;

    let anomaly = json!({"model_id": "pump", "timestamp": "2026-01-20T10:30:00Z", "anomaly_score": 0.99,
        "observed_value": 91.5, "predicted_value": 40.0, "expected_range": [35.0, 45.0], "severity": "CRITICAL",
        "message": "far above what was expected", "recommended_actions": []});
    tidecast.post("/api/anomalies", anomaly.clone()).await.expect(201);

    // The recipients of the settings, by the rule that is built in: one that the server refuses keeps nobody else.
    let told =
        people.got("mail of the built-in rule", 1, |one| one["to"] == json!(["oncall@tidecast.test"])).await;
    let mail = &told[0];
    assert_eq!(mail["mail"]["subject"], "[CRITICAL] alert_critical_anomalies: far above what was expected");
    assert_eq!(mail["mail"]["from"], "Tidecast <alerts@tidecast.test>");
    assert_eq!(mail["mail"]["to"], "oncall@tidecast.test, unknown@tidecast.test");
    assert_eq!(mail["mail"]["auto-submitted"], "auto-generated");
    assert_eq!(
        (&mail["tls"], &mail["login"], &mail["sender"]),
        (&json!(true), &json!(true), &json!("alerts@tidecast.test"))
    );
    let body = mail["body"].as_str().unwrap();
    for part in ["far above what was expected", "pump", "CRITICAL", "2026-01-20T10:30:00", "91.5"] {
        assert!(body.contains(part), "{part} is not in {body}");
    }
    // A rule's own recipient and subject, put off by the server once.
    let told = people.got("mail of the rule", 1, |one| one["to"] == json!(["busy@tidecast.test"])).await;
    assert_eq!(told[0]["mail"]["subject"], "Pump läuft heiß");
    assert_eq!(told[0]["mail"]["to"], "Bósun <busy@tidecast.test>");

    let posted = people.got("webhook", 2, |one| one["path"] == "/busy").await;
    assert_eq!((&posted[0]["status"], &posted[1]["status"]), (&json!(503), &json!(200)));
    assert_eq!(posted[1]["headers"]["x-key"], "k");
    assert_eq!(
        posted[1]["headers"]["content-type"], "application/vnd.alert+json",
        "the rule's own, and no other"
    );
    assert_eq!(
        (&posted[1]["json"]["rule"], &posted[1]["json"]["data"]["observed_value"]),
        (&json!("tell"), &json!(91.5))
    );
    let slack = people.got("Slack", 1, |one| one["path"] == "/slack").await;
    assert_eq!(slack[0]["json"]["channel"], "#ops");
    assert!(
        slack[0]["json"]["text"].as_str().unwrap().contains("far above what was expected"),
        "{}",
        slack[0]
    );

    let saved = setup.folder().join("state/saved/told.jsonl");
    let line = eventually("the file", WAIT, async || {
        std::fs::read_to_string(&saved).ok().filter(|text| text.ends_with('\n'))
    })
    .await;
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["data"]["model_id"], "pump");
    let mut reader = kafka.reader(&topic);
    let records = reader.until("the topic", WAIT, |records| !records.is_empty());
    assert_eq!(records[0].json()["rule"], "tell");

    // The one address that was refused is counted and named; the password is nowhere.
    tidecast.metric_becomes("rule_action_failures_total", &[("action", "send_alert")], 1.0).await;
    let log = tidecast.log();
    assert!(log.contains("unknown@tidecast.test") && log.contains("1 of 2 told"), "{log}");
    let rules = tidecast.get("/api/rules").await.expect(200).to_string();
    assert!(!log.contains(PASSWORD) && !rules.contains(PASSWORD), "the password was printed");
}
