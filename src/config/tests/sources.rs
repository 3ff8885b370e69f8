//! Where settings come from, who wins, and what is refused in which words.

use std::collections::BTreeMap;
use std::time::Duration;
use tidecast_config::{Acks, AuthKeys, Listener, Settings, SmtpSecurity, Sources};

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn from_file(text: &str) -> Sources {
    Sources { file: Some(("tidecast.toml".into(), text.into())), ..Sources::default() }
}

fn from_environment(variables: &[(&str, &str)]) -> Sources {
    Sources { environment: environment(variables), ..Sources::default() }
}

fn refusal(sources: &Sources) -> String {
    Settings::load(sources).expect_err("these settings have to be refused").to_string()
}

#[test]
fn nothing_written_gives_the_contracts_defaults() {
    let settings = Settings::load(&Sources::default()).unwrap();
    let kafka = &settings.kafka;
    assert_eq!(kafka.bootstrap_servers, ["localhost:9092"]);
    assert_eq!((kafka.group_id.as_str(), kafka.exactly_once), ("tidecast", true));
    assert_eq!((kafka.compression_type.as_str(), kafka.security_protocol.as_str()), ("snappy", "PLAINTEXT"));
    assert_eq!((kafka.batch_size, kafka.linger), (None, Duration::from_millis(10)));
    assert_eq!((kafka.max_request_size, kafka.request_timeout), (1_048_576, Duration::from_secs(30)));
    assert_eq!((kafka.enable_idempotence, kafka.acks, kafka.max_in_flight_requests), (true, Acks::All, 5));
    assert_eq!((kafka.max_retries, kafka.retry_backoff), (3, Duration::from_millis(100)));
    assert_eq!((kafka.message_batch_size, kafka.health_check_interval), (100, Duration::from_secs(60)));
    assert!(!kafka.log_payload && kafka.sasl.is_none() && kafka.ssl.check_hostname);
    let topics = &settings.topics;
    assert_eq!(topics.events, "analytics-events");
    assert_eq!(
        (topics.aggregates.as_str(), topics.predictions.as_str()),
        ("streaming-aggregates", "ml-predictions")
    );
    assert_eq!((topics.alerts.as_str(), topics.metrics.as_str()), ("streaming-alerts", "streaming-metrics"));
    assert_eq!((topics.dlq.as_str(), topics.partitions, topics.replication), ("streaming-events-dlq", 4, 1));
    assert_eq!(settings.app.address(), "127.0.0.1:8000");
    assert_eq!(settings.websocket.listener.address(), "127.0.0.1:8765");
    assert_eq!(settings.admin.listener.address(), "127.0.0.1:8080");
    assert_eq!(settings.websocket.heartbeat_interval, Duration::from_secs(30));
    assert_eq!(settings.websocket.max_message_size, 65_536);
    let limits = &settings.limits;
    assert_eq!((limits.control_messages_per_second, limits.subscriptions), (100, 1_000));
    assert_eq!((limits.ingest_events_per_second, limits.rest_calls_per_second), (50_000, 1_000));
    assert_eq!((settings.state.dir.to_str(), settings.state.shared), (Some("./tidecast-data"), None));
    assert!(settings.auth.is_none() && settings.insecure_listeners.is_empty());
    let names: Vec<(&str, &str)> =
        settings.series.iter().map(|s| (s.name.as_str(), s.key.as_str())).collect();
    assert_eq!(names, [("by_source", "source"), ("by_type", "type")]);
    assert!(settings.models.is_empty() && settings.rules.is_empty());
}

#[test]
fn the_command_line_wins_over_the_environment_over_dotenv_over_the_file() {
    let mut sources =
        from_file("[app]\nport = 1\n[admin]\nport = 11\n[websocket]\nport = 21\n[kafka]\nlinger_ms = 31\n");
    sources.dotenv = Some("STREAMING_APP__PORT=2\nSTREAMING_ADMIN__PORT=12\nWEBSOCKET_PORT=22\n".into());
    sources.environment = environment(&[("STREAMING_APP__PORT", "3"), ("STREAMING_ADMIN__PORT", "13")]);
    sources.overrides = vec!["app.port=4".into(), "app.port=5".into()];
    let settings = Settings::load(&sources).unwrap();
    assert_eq!(settings.app.port, 5);
    assert_eq!(settings.admin.listener.port, 13);
    assert_eq!(settings.websocket.listener.port, 22);
    assert_eq!(settings.kafka.linger, Duration::from_millis(31));
    assert_eq!(settings.origin("app.port").to_string(), "command line");
    assert_eq!(settings.origin("admin.port").to_string(), "environment variable STREAMING_ADMIN__PORT");
    assert_eq!(settings.origin("websocket.port").to_string(), "WEBSOCKET_PORT in .env:3");
    assert_eq!(settings.origin("kafka.linger_ms").to_string(), "tidecast.toml:8");
    assert_eq!(settings.origin("kafka.acks").to_string(), "default");
}

#[test]
fn an_alias_of_the_process_beats_our_own_name_in_dotenv() {
    let mut sources = from_environment(&[("KAFKA_ACKS", "all"), ("WEBSOCKET_PORT", "9001")]);
    sources.dotenv = Some("STREAMING_WEBSOCKET__PORT=9002\n".into());
    assert_eq!(Settings::load(&sources).unwrap().websocket.listener.port, 9001);
}

#[test]
fn the_contracts_environment_example_reads_as_it_is_written() {
    let settings = Settings::load(&from_environment(&[
        ("STREAMING_KAFKA__BOOTSTRAP_SERVERS", r#"["kafka1:9092","kafka2:9092"]"#),
        ("STREAMING_KAFKA__SECURITY_PROTOCOL", "SASL_SSL"),
        ("STREAMING_KAFKA__SASL_MECHANISM", "SCRAM-SHA-512"),
        ("STREAMING_KAFKA__SASL_USERNAME", "u"),
        ("STREAMING_KAFKA__SASL_PASSWORD", "p"),
        ("STREAMING_WEBSOCKET__HOST", "0.0.0.0"),
        ("STREAMING_WEBSOCKET__PORT", "8765"),
        ("STREAMING_WEBSOCKET__MAX_CONNECTIONS", "10000"),
        ("STREAMING_INSECURE_LISTENERS", r#"["websocket"]"#),
        ("STREAMING_REALTIME_ML__MODEL_CACHE_SIZE", "20"),
        ("STREAMING_REALTIME_ML__MAX_LATENCY_MS", "50"),
        ("STREAMING_MONITORING__METRICS_INTERVAL_SECONDS", "10"),
        ("STREAMING_MONITORING__ENABLE_AUTO_SCALING", "true"),
        ("PATH", "/bin"),
        ("KAFKA_HOME", "/opt/kafka"),
    ]))
    .unwrap();
    assert_eq!(settings.kafka.bootstrap_servers, ["kafka1:9092", "kafka2:9092"]);
    assert_eq!(settings.kafka.sasl.as_ref().unwrap().mechanism, "SCRAM-SHA-512");
    assert_eq!(settings.realtime_ml.max_latency, Duration::from_millis(50));
    assert!(settings.monitoring.enable_auto_scaling);
}

#[test]
fn every_alias_reaches_its_setting() {
    let settings = Settings::load(&from_environment(&[
        ("KAFKA_BOOTSTRAP_SERVERS", "a:1, b:2,[::1]:3,c"),
        ("KAFKA_TOPIC", "in"),
        ("KAFKA_COMPRESSION", "zstd"),
        ("KAFKA_SECURITY_PROTOCOL", "sasl_ssl"),
        ("KAFKA_SASL_MECHANISM", "plain"),
        ("KAFKA_SASL_USERNAME", "user"),
        ("KAFKA_SASL_PASSWORD", "canary"),
        ("KAFKA_SSL_CAFILE", "ca.pem"),
        ("KAFKA_SSL_CERTFILE", "cert.pem"),
        ("KAFKA_SSL_KEYFILE", "key.pem"),
        ("KAFKA_SSL_CHECK_HOSTNAME", "False"),
        ("KAFKA_BATCH_SIZE", "1"),
        ("KAFKA_LINGER_MS", "2"),
        ("KAFKA_MAX_REQUEST_SIZE", "3000"),
        ("KAFKA_REQUEST_TIMEOUT_MS", "4"),
        ("KAFKA_ENABLE_IDEMPOTENCE", "true"),
        ("KAFKA_ACKS", "-1"),
        ("KAFKA_MAX_IN_FLIGHT_REQUESTS", "3"),
        ("KAFKA_BUFFER_MEMORY", "2000000"),
        ("KAFKA_MAX_RETRIES", "7"),
        ("KAFKA_RETRY_BACKOFF_MS", "8"),
        ("KAFKA_MESSAGE_BATCH_SIZE", "9"),
        ("KAFKA_HEALTH_CHECK_INTERVAL_SEC", "10"),
        ("KAFKA_LOG_LEVEL", "DEBUG"),
        ("KAFKA_LOG_PAYLOAD", "1"),
        ("WEBSOCKET_HOST", "localhost"),
        ("WEBSOCKET_PORT", "1234"),
    ]))
    .unwrap();
    let kafka = &settings.kafka;
    assert_eq!(kafka.bootstrap_servers, ["a:1", "b:2", "[::1]:3", "c:9092"]);
    assert_eq!((settings.topics.events.as_str(), kafka.compression_type.as_str()), ("in", "zstd"));
    assert_eq!(
        (kafka.security_protocol.as_str(), kafka.sasl.as_ref().unwrap().mechanism.as_str()),
        ("SASL_SSL", "PLAIN")
    );
    assert_eq!(kafka.ssl.keyfile.as_ref().unwrap().to_str(), Some("key.pem"));
    assert!(!kafka.ssl.check_hostname && kafka.log_payload);
    assert_eq!((kafka.batch_size, kafka.max_request_size, kafka.max_retries), (Some(1), 3000, 7));
    assert_eq!((kafka.acks, kafka.max_in_flight_requests, kafka.log_level.as_str()), (Acks::All, 3, "debug"));
    assert_eq!(settings.websocket.listener.address(), "localhost:1234");
    let shown = format!("{settings:?}");
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn brokers_between_commas_may_begin_with_an_address_in_brackets() {
    let brokers = |written: &str| from_environment(&[("KAFKA_BOOTSTRAP_SERVERS", written)]);
    for (written, servers) in [
        ("[::1]:9092", vec!["[::1]:9092"]),
        (" [::1], b:2,[fe80::2]:3", vec!["[::1]:9092", "b:2", "[fe80::2]:3"]),
        ("a:1,[::1]:2", vec!["a:1", "[::1]:2"]),
        (r#"["[::1]:1", "b:2"]"#, vec!["[::1]:1", "b:2"]),
    ] {
        assert_eq!(Settings::load(&brokers(written)).unwrap().kafka.bootstrap_servers, servers, "{written}");
    }
    for (written, found) in [
        ("[::1]:9092,", "found a list whose entry 2 is empty;"),
        ("a:1,,b:2", "found a list whose entry 2 is empty;"),
        (
            "[::1:9092,b:2",
            "bootstrap_servers[0] (environment variable KAFKA_BOOTSTRAP_SERVERS): found \"[::1:9092\"",
        ),
        (r#"["a:1","b:2",]"#, "found a text that is no JSON (line 1, column 14: trailing comma);"),
        ("[1]", "found a list whose entry 1 is 1;"),
    ] {
        let message = refusal(&brokers(written));
        assert!(message.contains(found), "{written}: {message}");
    }
    // Other lists have no brackets of their own.
    let message = refusal(&from_environment(&[("STREAMING_WEBHOOK_HOSTS", "[a, b]")]));
    assert!(message.contains("no JSON (line 1, column 2"), "{message}");
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest_known_one() {
    let message = refusal(&from_file("\n[kafka]\nbatch_sise = 5\n"));
    assert_eq!(
        message,
        "setting kafka.batch_sise (tidecast.toml:3): found an unknown setting; allowed: did you mean kafka.batch_size?"
    );
    let message = refusal(&from_environment(&[("STREAMING_KAFKA_BATCH_SIZE", "5")]));
    assert_eq!(
        message,
        "setting STREAMING_KAFKA_BATCH_SIZE (environment variable STREAMING_KAFKA_BATCH_SIZE): found an unknown \
         setting; allowed: did you mean STREAMING_KAFKA__BATCH_SIZE?"
    );
    let message = refusal(&Sources { overrides: vec!["app.prot=1".into()], ..Sources::default() });
    assert!(message.contains("app.prot (command line)") && message.contains("app.port"), "{message}");
    let message = refusal(&from_file("[[series]]\nname = \"a\"\nlatenes = \"1s\"\n"));
    assert!(
        message.contains("series[0].latenes (tidecast.toml:3)") && message.contains("lateness?"),
        "{message}"
    );
    let message = refusal(&from_file("moon = true\n"));
    assert!(message.contains("moon") && message.contains("kafka, topics, app"), "{message}");
}

#[test]
fn a_wrong_value_says_what_was_found_and_what_is_allowed() {
    let cases: [(&str, &[&str]); 24] = [
        ("[app]\nport = \"abc\"\n", &["app.port", ":2", "\"abc\"", "from 0 to 65535"]),
        ("[app]\nport = 70000\n", &["app.port", "70000", "65535"]),
        ("[app]\nport = 1.5\n", &["app.port", "1.5"]),
        ("[app]\nport = 8000.0\n", &["app.port", "found 8000.0;", "a whole number"]),
        ("[app]\nhost = \"\"\n", &["app.host", "\"\"", "host name"]),
        ("[app]\nhost = \"a b\"\n", &["app.host", "\"a b\""]),
        ("app = 5\n", &["setting app (tidecast.toml:1)", "found 5", "a table"]),
        ("[kafka]\nacks = \"some\"\n", &["kafka.acks", "\"some\"", "all, -1, 1 or 0"]),
        ("[kafka]\nlinger_ms = -1\n", &["kafka.linger_ms", "-1", "from 0"]),
        ("[kafka]\nexactly_once = \"true\"\n", &["kafka.exactly_once", "\"true\"", "true or false"]),
        ("[kafka]\nbootstrap_servers = []\n", &["kafka.bootstrap_servers", "a list", "at least one"]),
        ("[kafka]\nbootstrap_servers = [\"a:b\"]\n", &["kafka.bootstrap_servers[0]", "\"a:b\"", "host:port"]),
        ("[kafka]\ngroup_id = 2026-01-01\n", &["kafka.group_id", "a date-time"]),
        ("[topics]\nevents = \"no spaces please\"\n", &["topics.events", "249"]),
        ("[topics]\npartitions = 0\n", &["topics.partitions", "found 0", "from 1"]),
        ("[state]\nsnapshot_interval_seconds = nan\n", &["snapshot_interval_seconds", "not finite"]),
        ("roles = [\"worker\", \"boss\"]\n", &["roles[1]", "\"boss\"", "worker, gateway or exporter"]),
        ("roles = []\n", &["roles", "empty list"]),
        (
            "[websocket]\nheartbeat_interval = \"soon\"\n",
            &["websocket.heartbeat_interval", "\"soon\"", "number of seconds"],
        ),
        (
            "[state]\nshared = \"gs://bucket/tidecast\"\n",
            &["state.shared", ":2", "\"gs://bucket/tidecast\"", "s3://bucket/prefix or file:///folder"],
        ),
        ("[telemetry]\notlp_endpoint = \"localhost\"\n", &["telemetry.otlp_endpoint", "http:// or https://"]),
        ("[telemetry]\nsample_rate = 1.5\n", &["telemetry.sample_rate", "1.5", "from 0 to 1"]),
        ("series = 3\n", &["series", "found 3", "a list of tables"]),
        ("[kafka]\nacks = 1\nacks = 2\n", &["file", ":3"]),
    ];
    for (text, parts) in cases {
        let message = refusal(&from_file(text));
        for part in parts {
            assert!(message.contains(part), "{text:?}: {message} has no {part}");
        }
        assert!(!message.contains('\n'), "one line: {message}");
    }
    let message = refusal(&from_environment(&[("STREAMING_APP__PORT", "eighty")]));
    assert!(
        message.contains("environment variable STREAMING_APP__PORT") && message.contains("\"eighty\""),
        "{message}"
    );
    let message = refusal(&from_environment(&[("KAFKA_LINGER_MS", "soon")]));
    assert!(message.contains("KAFKA_LINGER_MS") && message.contains("\"soon\""), "{message}");
}

#[test]
fn settings_at_odds_are_refused() {
    let cases: [(&str, &[&str]); 29] = [
        ("[auth]\n", &["setting auth (tidecast.toml:1)", "an empty section"]),
        ("[kafka]\nacks = \"1\"\n", &["kafka.acks (tidecast.toml:2)", "exactly_once = true"]),
        ("[kafka]\nexactly_once = false\nacks = \"1\"\n", &["kafka.acks", "enable_idempotence = true"]),
        ("[kafka]\nenable_idempotence = false\n", &["kafka.enable_idempotence", "exactly_once"]),
        ("[kafka]\nmax_in_flight_requests = 6\n", &["kafka.max_in_flight_requests", "1 to 5"]),
        ("[kafka]\nmax_retries = 0\n", &["kafka.max_retries", "enable_idempotence"]),
        ("[kafka]\nmax_request_size = 999999999\n", &["kafka.max_request_size", "buffer_memory"]),
        (
            "[kafka]\nsecurity_protocol = \"SASL_SSL\"\n",
            &["kafka.sasl_mechanism", "SASL_SSL", "SCRAM-SHA-256"],
        ),
        (
            "[kafka]\nsecurity_protocol = \"SASL_SSL\"\nsasl_mechanism = \"PLAIN\"\nsasl_password = \"canary\"\n",
            &["kafka.sasl_username", "nothing"],
        ),
        (
            "[kafka]\nsecurity_protocol = \"SASL_SSL\"\nsasl_mechanism = \"PLAIN\"\nsasl_username = \"u\"\n",
            &["kafka.sasl_password", "nothing"],
        ),
        ("[kafka]\nsasl_password = \"canary\"\n", &["kafka.sasl_password", "PLAINTEXT"]),
        ("[kafka]\nssl_cafile = \"x\"\n", &["kafka.ssl_cafile", "SSL or SASL_SSL"]),
        (
            "[kafka]\nsecurity_protocol = \"SSL\"\nssl_certfile = \"x\"\n",
            &["kafka.ssl_certfile", "without kafka.ssl_keyfile"],
        ),
        (
            "[kafka]\nsecurity_protocol = \"SSL\"\nssl_keyfile = \"x\"\n",
            &["kafka.ssl_keyfile", "without kafka.ssl_certfile"],
        ),
        (
            "[app]\nhost = \"0.0.0.0\"\n",
            &["app.host (tidecast.toml:2)", "\"0.0.0.0\"", "insecure_listeners = [\"app\"]"],
        ),
        (
            "insecure_listeners = [\"app\"]\n[websocket]\nhost = \"::\"\n",
            &["websocket.host", "[\"websocket\"]"],
        ),
        ("[admin]\nhost = \"example.org\"\n", &["admin.host", "[\"admin\"]"]),
        ("[app]\nport = 8080\n", &["admin.port", "app.port"]),
        ("[topics]\ndlq = \"ml-predictions\"\n", &["topics.dlq", "topics.predictions"]),
        ("[[series]]\nname = \"a\"\ntopic = \"streaming-alerts\"\n", &["series[0].topic", "topics.alerts"]),
        ("[kafka]\ngroup_id = \"the group\"\n", &["kafka.group_id", "the group"]),
        ("[[series]]\nname = \"by type\"\nkey = \"type\"\n", &["series[0].name", "by type"]),
        (
            "[auth]\nhs256_secret = \"canary\"\njwks_url = \"https://x/keys\"\n",
            &["auth.jwks_url", "exactly one"],
        ),
        ("[app]\ntls_keyfile = \"x\"\n", &["app.tls_keyfile", "without app.tls_certfile"]),
        ("allowed_origins = [\"https://a.example/path\"]\n", &["allowed_origins[0]", "without a path"]),
        ("[auth]\nissuer = \"x\"\n", &["auth.issuer", "exactly one"]),
        (
            "[[series]]\nname = \"a\"\n[[series]]\nname = \"a\"\n",
            &["series[1].name (tidecast.toml:4)", "series[0]"],
        ),
        (
            "[[models]]\nmodel_id = \"m\"\nmodel_type = \"ETS\"\nseries = \"by_source:a\"\n[[models]]\nmodel_id = \"m\"\nmodel_type = \"External\"\n",
            &["models[1].model_id", "models[0]"],
        ),
        (
            "[[rules]]\nname = \"r\"\nevent_type = \"SYSTEM_ERROR\"\ncondition = \"true\"\naction = \"log\"\n[[rules]]\nname = \"r\"\nevent_type = \"SYSTEM_ERROR\"\ncondition = \"true\"\naction = \"log\"\n",
            &["rules[1].name", "rules[0]"],
        ),
    ];
    for (text, parts) in cases {
        let message = refusal(&from_file(text));
        for part in parts {
            assert!(message.contains(part), "{text:?}: {message} has no {part}");
        }
        assert!(!message.contains("canary"), "{message}");
    }
}

#[test]
fn two_names_for_one_setting_have_to_agree() {
    let agree = [("KAFKA_COMPRESSION", "lz4"), ("KAFKA_COMPRESSION_TYPE", "lz4")];
    assert_eq!(Settings::load(&from_environment(&agree)).unwrap().kafka.compression_type, "lz4");
    let message =
        refusal(&from_environment(&[("KAFKA_COMPRESSION", "lz4"), ("KAFKA_COMPRESSION_TYPE", "gzip")]));
    assert!(
        message.contains("KAFKA_COMPRESSION_TYPE") && message.contains("variable KAFKA_COMPRESSION,"),
        "{message}"
    );
    let ours_wins = [("KAFKA_COMPRESSION", "lz4"), ("STREAMING_KAFKA__COMPRESSION_TYPE", "zstd")];
    assert_eq!(Settings::load(&from_environment(&ours_wins)).unwrap().kafka.compression_type, "zstd");
}

#[test]
fn secrets_stay_out_of_every_message() {
    for (text, canary) in [
        ("[kafka]\nsasl_pasword = \"canary\"\n", "canary"),
        ("[kafka]\nsasl_password = 424242\n", "424242"),
        ("[auth]\nhs256_secret = [\"canary\"]\n", "canary"),
        ("[kafka]\nsasl_password = \"canary\n", "canary"),
        ("[kafka]\nsasl_password = canary\n", "canary"),
        ("[auth]\njwks_url = \"https://user:canary@host/\"\n", "canary"),
        ("[state]\nshared = \"s3://key:canary@bucket/x\"\n", "canary"),
        ("[kafka]\nbootstrap_servers = [\"user:canary@host:9\"]\n", "canary"),
    ] {
        let message = refusal(&from_file(text));
        assert!(!message.contains(canary), "{message}");
    }
    let message = refusal(&from_environment(&[("STREAMING_KAFKA__SASL_PASWORD", "canary")]));
    assert!(!message.contains("canary") && message.contains("STREAMING_KAFKA__SASL_PASSWORD"), "{message}");
    let settings = Settings::load(&from_file("[auth]\nhs256_secret = \"canary\"\n")).unwrap();
    assert!(matches!(settings.auth.as_ref().unwrap().keys, AuthKeys::Hs256(_)));
    assert!(!format!("{settings:?}").contains("canary"));
    assert!(settings.warnings().iter().any(|warning| warning.contains("32 bytes")));
}

#[test]
fn loopback_is_told_from_everything_else() {
    for (host, loopback) in [
        ("127.0.0.1", true),
        ("127.8.9.1", true),
        ("::1", true),
        ("localhost", true),
        ("LOCALHOST.", true),
        ("::ffff:127.0.0.1", true),
        ("0.0.0.0", false),
        ("::", false),
        ("10.0.0.1", false),
        ("localhost.example.org", false),
        ("127.0.0.1.nip.io", false),
    ] {
        assert_eq!(Listener { host: host.into(), port: 1, tls: None }.is_loopback(), loopback, "{host}");
    }
    let open = "insecure_listeners = [\"admin\"]\n[admin]\nhost = \"0.0.0.0\"\n";
    assert!(Settings::load(&from_file(open)).unwrap().warnings()[0].contains("admin"));
    let guarded = "[auth]\nhs256_secret = \"0123456789abcdef0123456789abcdef\"\n[app]\nhost = \"0.0.0.0\"\n";
    assert!(Settings::load(&from_file(guarded)).unwrap().warnings().is_empty());
}

#[test]
fn lists_of_tables_and_whole_sections_come_from_variables_as_json() {
    let settings = Settings::load(&from_environment(&[
        ("STREAMING_SERIES", r#"[{"name":"flights","window":{"size":"1h"}}]"#),
        ("STREAMING_TOPICS", r#"{"partitions": 8, "events": "in"}"#),
    ]))
    .unwrap();
    assert_eq!(settings.series[0].name, "flights");
    assert_eq!((settings.topics.partitions, settings.topics.events.as_str()), (8, "in"));
    let message = refusal(&from_environment(&[("STREAMING_SERIES", "[{")]));
    assert!(message.contains("series") && message.contains("STREAMING_SERIES"), "{message}");
}

#[test]
fn a_mail_server_is_whole_or_not_there() {
    let smtp = |lines: &str| from_file(&format!("[smtp]\n{lines}"));
    let whole = "host = \"mail.example.com\"\nfrom = \"Tidecast <alerts@example.com>\"\n";
    let settings = Settings::load(&smtp(whole)).unwrap().smtp.unwrap();
    assert_eq!((settings.port, settings.security, settings.to.len()), (587, SmtpSecurity::StartTls, 0));
    for (security, port) in [("tls", 465), ("none", 25)] {
        let settings = Settings::load(&smtp(&format!("{whole}security = \"{security}\""))).unwrap();
        assert_eq!(settings.smtp.unwrap().port, port);
    }
    assert!(Settings::load(&Sources::default()).unwrap().smtp.is_none());
    for (lines, setting) in [
        ("host = \"h\"", "smtp.from"),
        ("from = \"a@b\"", "smtp.from"),
        ("host = \"h\"\nfrom = \"nobody\"", "smtp.from"),
        ("host = \"h\"\nfrom = \"a@b\"\nto = [\"a@b\", \"c d@e\"]", "smtp.to"),
        ("host = \"h\"\nfrom = \"a@b\"\nusername = \"u\"", "smtp.username"),
        ("host = \"h\"\nfrom = \"a@b\"\npassword = \"canary\"", "smtp.password"),
        ("host = \"h\"\nfrom = \"a@b\"\nsecurity = \"ssl\"", "smtp.security"),
    ] {
        let message = refusal(&smtp(lines));
        assert!(message.contains(setting) && !message.contains("canary"), "{lines}: {message}");
    }
    let login = format!("{whole}username = \"u\"\npassword = \"canary\"\nsecurity = \"none\"");
    let settings = Settings::load(&smtp(&login)).unwrap();
    assert!(!format!("{settings:?}").contains("canary"));
    assert!(settings.warnings().iter().any(|line| line.contains("smtp.security none")));
    let rule = "[[rules]]\nname = \"r\"\nevent_type = \"*\"\ncondition = \"true\"\naction = [\"log\", \"send_alert\"]";
    let warnings = Settings::load(&from_file(rule)).unwrap().warnings();
    assert!(warnings.iter().any(|line| line.contains("smtp.host")), "{warnings:?}");
}
