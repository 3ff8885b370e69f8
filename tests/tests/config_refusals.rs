//! A setting that is unknown, of the wrong type or contradictory stops the start with one message that names the setting,
//! where it came from, what was found and what is allowed. Secrets are never told.

use std::net::TcpListener;
use std::time::{Duration, Instant};
use tidecast_tests::{Kafka, Setup, eventually};

const LIMIT: Duration = Duration::from_secs(20);
/// Nobody listens there: a refusal must not need a broker.
const NOBODY: &str = "127.0.0.1:1";

/// Runs until it ends, which must be in failure; returns what it said.
async fn refusal(setup: &Setup) -> String {
    let mut tidecast = setup.spawn(&[]);
    let status = tidecast.exit(LIMIT).await;
    assert!(!status.success(), "it ended well:\n{}", tidecast.log());
    let said = tidecast.log();
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_file() {
    let cases: &[(&str, &[&str])] = &[
        // (settings, what the message must name)
        (
            "[kafka]\nbootstrap_server = [\"x:1\"]",
            &["bootstrap_server", "tidecast.toml", "bootstrap_servers"],
        ),
        ("[websocket]\nport = \"many\"", &["websocket.port", "tidecast.toml", "many"]),
        ("[websocket]\nport = 70000", &["websocket.port", "70000"]),
        ("[kafka]\ncompression_type = \"brotli\"", &["compression_type", "brotli", "snappy"]),
        ("[kafka]\nsecurity_protocol = \"TLS\"", &["security_protocol", "TLS", "SASL_SSL"]),
        ("[topics]\npartitions = 0", &["topics.partitions", "0"]),
        ("[teapot]\nfull = true", &["teapot"]),
        (
            "[[series]]\nname = \"s\"\nwindow = { kind = \"rolling\", size = \"1s\" }",
            &["window", "rolling", "tumbling"],
        ),
        (
            "[[series]]\nname = \"s\"\nwindow = { kind = \"tumbling\", size = \"1 parsec\" }",
            &["size", "parsec"],
        ),
        ("[[series]]\nname = \"s\"\nwhere = \"type ==\"", &["where", "type =="]),
        ("[[series]]\nname = \"s\"\n[[series]]\nname = \"s\"", &["series", "\"s\""]),
        (
            "[[models]]\nmodel_id = \"m\"\nmodel_type = \"Oracle\"\nseries = \"s:a\"",
            &["model_type", "Oracle", "SeasonalNaive"],
        ),
        (
            "[[rules]]\nname = \"r\"\nevent_type = \"SUNSHINE\"\ncondition = \"true\"\naction = \"log\"",
            &["event_type", "SUNSHINE", "ANOMALY_DETECTED"],
        ),
        (
            "[[rules]]\nname = \"r\"\nevent_type = \"SYSTEM_ERROR\"\ncondition = \"data.get(\"\naction = \"log\"",
            &["condition", "r"],
        ),
    ];
    for (settings, names) in cases {
        let said = refusal(&Setup::at("refused", NOBODY).with(settings)).await;
        let missing: Vec<_> = names.iter().filter(|name| !said.contains(*name)).collect();
        assert!(missing.is_empty(), "{settings}\nis refused without a word of {missing:?}:\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_environment() {
    let cases = [
        ("STREAMING_WEBSOCKET__PORT", "eighty", ["STREAMING_WEBSOCKET__PORT", "eighty"]),
        (
            "STREAMING_KAFKA__BOOTSTRAP_SERVERZ",
            "[\"x:1\"]",
            ["STREAMING_KAFKA__BOOTSTRAP_SERVERZ", "BOOTSTRAP_SERVERS"],
        ),
        ("KAFKA_COMPRESSION_TYPE", "brotli", ["KAFKA_COMPRESSION_TYPE", "brotli"]),
        ("KAFKA_ACKS", "most", ["KAFKA_ACKS", "most"]),
        ("KAFKA_LINGER_MS", "-5", ["KAFKA_LINGER_MS", "-5"]),
    ];
    for (name, value, names) in cases {
        let said = refusal(&Setup::at("environment", NOBODY).env(name, value)).await;
        for wanted in names {
            assert!(
                said.to_uppercase().contains(&wanted.to_uppercase()),
                "{name}={value} is refused without {wanted}:\n{said}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_contradict_each_other() {
    let cases = [
        ("[kafka]\nenable_idempotence = true\nacks = \"1\"", ["enable_idempotence", "acks"]),
        (
            "[kafka]\nenable_idempotence = true\nmax_in_flight_requests = 9",
            ["enable_idempotence", "max_in_flight_requests"],
        ),
        ("[kafka]\nexactly_once = true\nenable_idempotence = false", ["exactly_once", "enable_idempotence"]),
        ("[kafka]\nsecurity_protocol = \"SASL_SSL\"", ["security_protocol", "sasl"]),
        (
            "[[series]]\nname = \"s\"\nwindow = { kind = \"hopping\", size = \"1s\", advance = \"5s\" }",
            ["advance", "size"],
        ),
        (
            "[[models]]\nmodel_id = \"m\"\nmodel_type = \"SeasonalNaive\"\nseries = \"nowhere:a\"\n[[series]]\nname = \"s\"",
            ["series", "nowhere"],
        ),
    ];
    for (settings, names) in cases {
        let said = refusal(&Setup::at("contradiction", NOBODY).with(settings)).await.to_lowercase();
        for wanted in names {
            assert!(said.contains(wanted), "{settings}\nis refused without a word of {wanted}:\n{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_past_loopback_without_authentication() {
    for listener in ["app", "websocket", "admin"] {
        let open = Setup::at("open", NOBODY).with(&format!("[{listener}]\nhost = \"0.0.0.0\""));
        let said = refusal(&open).await;
        assert!(said.contains(&format!("{listener}.host")), "{said}");
    }
    let kafka = Kafka::shared();
    let by_choice =
        Setup::new("by-choice", &kafka).with("insecure_listeners = [\"app\"]\n[app]\nhost = \"0.0.0.0\"");
    by_choice.start().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_told() {
    let secret = "hunter2-and-more";
    let setup = Setup::at("secret", NOBODY)
        .with("[kafka]\nsecurity_protocol = \"SASL_PLAINTEXT\"\nsasl_mechanism = \"PLAIN\"\nsasl_username = \"u\"\n[websocket]\nport = \"many\"")
        .env("KAFKA_SASL_PASSWORD", secret)
        .env("RUST_LOG", "trace");
    let said = refusal(&setup).await;
    assert!(said.contains("websocket.port") && !said.contains(secret), "{said}");
    let wrong = Setup::at("secret", NOBODY).with("[auth]\nhs256_secret = [\"hunter2-and-more\"]");
    assert!(!refusal(&wrong).await.contains(secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_one_clear_line() {
    let setup = Setup::at("port", NOBODY);
    let _taken = TcpListener::bind(("127.0.0.1", setup.ports.websocket)).unwrap();
    let said = refusal(&setup).await;
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(&setup.ports.websocket.to_string()) && said.contains("websocket.port"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_keys_that_cannot_be_read_stops_the_start() {
    let cases = [
        ("[app]\ntls_certfile = \"no.crt\"\ntls_keyfile = \"no.key\"", ["app.tls_certfile", "no.crt"]),
        ("[admin]\ntls_certfile = \"no.crt\"\ntls_keyfile = \"no.key\"", ["admin.tls_certfile", "no.crt"]),
        ("[auth]\npublic_key_file = \"no.pem\"", ["auth.public_key_file", "no.pem"]),
        ("[auth]\njwks_file = \"no.json\"", ["auth.jwks_file", "no.json"]),
    ];
    for (settings, names) in cases {
        let said = refusal(&Setup::at("unreadable", NOBODY).with(settings)).await;
        assert!(names.iter().all(|name| said.contains(name)), "{settings}\n{said}");
        // Nothing was begun that could have said more.
        assert!(said.starts_with("tidecast:") && said.lines().count() == 1, "{settings}\n{said}");
    }
    // A worker has the admin listener alone.
    let settings = "roles = [\"worker\"]\n[auth]\npublic_key_file = \"no.pem\"";
    let said = refusal(&Setup::at("unreadable", NOBODY).with(settings)).await;
    assert!(said.contains("auth.public_key_file"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_folder_that_cannot_be_written_is_one_clear_line() {
    let kafka = Kafka::shared();
    let setup = Setup::new("folder", &kafka);
    // A file where the folder should be: refused to root as well.
    std::fs::write(setup.folder().join("state"), "in the way").unwrap();
    let said = refusal(&setup).await;
    let clear =
        said.lines().any(|line| line.contains("state") && line.contains(setup.folder().to_str().unwrap()));
    assert!(clear, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_forbidden_is_one_clear_line() {
    let kafka = Kafka::shared();
    let setup = Setup::new("forbidden", &kafka);
    let alerts = setup.topic("alerts");
    kafka.create(&alerts, 4).await;
    // What is not granted where anything is set may not even be seen.
    kafka.deny(&alerts, "Write");
    let said = refusal(&setup).await;
    let lines: Vec<_> = said.lines().filter(|line| line.contains(&alerts)).collect();
    assert!(lines.iter().any(|line| line.contains("grant") && line.contains("Write")), "{said}");
    let file = setup.write();
    let mut check = setup.command(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(check.exit(LIMIT).await.code(), Some(1), "{}", check.log());
    let log = check.log();
    let named: Vec<_> = log.lines().filter(|line| line.contains(&alerts)).collect();
    assert!(matches!(named[..], [line] if line.contains("grant")), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_is_named() {
    let kafka = Kafka::shared();
    let series =
        "[[series]]\nname = \"s\"\nwindow = { kind = \"tumbling\", size = \"1s\" }\nlateness = \"0s\"\n";
    let setup = Setup::new("taken-away", &kafka).with(series);
    let tidecast = setup.start().await;
    kafka.deny(&setup.topic("aggregates"), "Write");
    let producer = kafka.producer();
    for second in 1_732_150_000..1_732_150_005 {
        let event = format!(r#"{{"source":"a","type":"t","timestamp":{second},"data":{{"value":1}}}}"#);
        producer.send_json(&setup.topic("events"), "a", &event);
    }
    producer.flush();
    // It is tried again and again, for rights are given as they are taken, but not as fast as it can.
    let started = Instant::now();
    let tries = eventually("it is tried again", LIMIT, async || {
        let log = tidecast.log();
        let tries: Vec<_> = log.lines().filter(|line| line.contains("publishing stopped")).collect();
        (tries.len() > 5).then(|| tries.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    })
    .await;
    assert!(started.elapsed() > Duration::from_secs(1), "{tries:?}");
    let topic = setup.topic("aggregates");
    assert!(tries.iter().all(|line| line.contains("authorization") && line.contains(&topic)), "{tries:?}");
    let ready = tidecast.admin("/health/ready").await;
    assert!(ready.status == 503 && ready.text.contains("authorization"), "{}", ready.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_is_wrong_or_nothing() {
    let kafka = Kafka::shared();
    let good = Setup::new("check", &kafka);
    let file = good.write();
    let status = good.command(&["check", "--config", file.to_str().unwrap()]).exit(LIMIT).await;
    assert!(status.success(), "{status}");
    let bad = Setup::at("check", NOBODY);
    let file = bad.write();
    let mut check = bad.command(&["check", "--config", file.to_str().unwrap()]);
    let status = check.exit(Duration::from_secs(60)).await;
    assert_eq!(status.code(), Some(1), "{}", check.log());
    assert!(check.log().contains(NOBODY), "the broker that does not answer is named: {}", check.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_is_2_and_help_teaches() {
    let setup = Setup::at("usage", NOBODY);
    assert_eq!(setup.command(&["dance"]).exit(LIMIT).await.code(), Some(2));
    let mut help = setup.command(&["--help"]);
    assert!(help.exit(LIMIT).await.success());
    for command in ["dev", "run", "check", "generate"] {
        assert!(help.log().contains(command), "{}", help.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_stands_above_the_file_and_dot_env_is_read() {
    let kafka = Kafka::shared();
    // The file names a port that nobody can have; the environment a good one, and .env the group.
    let setup = Setup::new("layers", &kafka);
    let port = setup.ports.websocket.to_string();
    let bootstrap = format!("[\"{}\"]", kafka.bootstrap());
    let setup = setup.with("[websocket]\nport = 1\n[kafka]\nbootstrap_servers = [\"127.0.0.1:1\"]");
    let setup = setup.env("WEBSOCKET_PORT", &port).env("STREAMING_KAFKA__BOOTSTRAP_SERVERS", &bootstrap);
    std::fs::write(setup.folder().join(".env"), "KAFKA_LINGER_MS=banana\n").unwrap();
    let said = refusal(&setup).await;
    assert!(said.contains("KAFKA_LINGER_MS") && said.contains(".env"), "{said}");
    std::fs::write(setup.folder().join(".env"), "KAFKA_LINGER_MS=7\n").unwrap();
    let tidecast = setup.start().await;
    tidecast.subscribe_socket().await.subscribe(&[], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_beside_the_running_service_finds_nothing_wrong() {
    let setup = Setup::new("check-beside", &Kafka::shared());
    let running = setup.start().await;
    let file = setup.write();
    let mut check = setup.command(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(check.exit(LIMIT).await.code(), Some(0), "{}", check.log());
    assert!(check.log().contains(&format!("in use by process {}", running.pid())), "{}", check.log());
}
