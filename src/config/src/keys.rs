//! Every setting of the file, in the order of the reference. This table is the only place that names them.

use crate::kind::{Kind, YEARS};
use crate::table::Key;
use std::time::Duration;

const PORT: Kind = Kind::Int { min: 0, max: 65_535 };
const ROLES: &[&str] = &["worker", "gateway", "exporter"];
const LISTENERS: &[&str] = &["app", "websocket", "admin"];
const COMPRESSIONS: &[&str] = &["none", "gzip", "snappy", "lz4", "zstd"];
const PROTOCOLS: &[&str] = &["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
const MECHANISMS: &[&str] = &["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
const KAFKA_LEVELS: &[&str] = &["critical", "error", "warning", "info", "debug"];
const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];

/// At least one of something, with a bound that keeps arithmetic and memory sane.
const fn count(max: i64) -> Kind {
    Kind::Int { min: 1, max }
}

/// The table.
pub(crate) const KEYS: &[Key] = &[
    Key::new(
        "roles",
        Kind::Choices(ROLES),
        Some("worker,gateway,exporter"),
        "parts of the service that this process runs",
    ),
    Key::new(
        "insecure_listeners",
        Kind::Choices(LISTENERS),
        Some(""),
        "listeners that may be bound past loopback without `[auth]`, by choice",
    ),
    Key::new(
        "allowed_origins",
        Kind::Texts,
        Some(""),
        "origins of other sites whose pages may call here (`https://ops.example.com`); pages of this host always may",
    ),
    Key::new(
        "webhook_hosts",
        Kind::Texts,
        Some(""),
        "hosts with private addresses that webhooks may reach with `[auth]` (`alerts.monitoring.svc`, `10.0.0.7`): none else",
    ),
    // Kafka
    Key::new(
        "kafka.bootstrap_servers",
        Kind::Servers,
        Some("localhost:9092"),
        "brokers to begin with; port 9092 where none is given",
    )
    .variables(&["KAFKA_BOOTSTRAP_SERVERS"]),
    Key::new(
        "kafka.group_id",
        Kind::Text,
        Some("tidecast"),
        "consumer group; a new one starts at the earliest offset",
    ),
    Key::new(
        "kafka.group_instance_id",
        Kind::Text,
        None,
        "static membership: a stable name of this instance",
    ),
    Key::new(
        "kafka.exactly_once",
        Kind::Flag,
        Some("true"),
        "outputs and offsets in one transaction; false: at least once",
    ),
    Key::new(
        "kafka.compression_type",
        Kind::Choice(COMPRESSIONS),
        Some("snappy"),
        "compression of what is produced",
    )
    .variables(&["KAFKA_COMPRESSION", "KAFKA_COMPRESSION_TYPE"])
    .also(&["kafka.compression"]),
    Key::new(
        "kafka.security_protocol",
        Kind::Choice(PROTOCOLS),
        Some("PLAINTEXT"),
        "protocol to the brokers",
    )
    .variables(&["KAFKA_SECURITY_PROTOCOL"]),
    Key::new("kafka.sasl_mechanism", Kind::Choice(MECHANISMS), None, "SASL mechanism, with a SASL protocol")
        .variables(&["KAFKA_SASL_MECHANISM"]),
    Key::new("kafka.sasl_username", Kind::Text, None, "SASL user").variables(&["KAFKA_SASL_USERNAME"]),
    Key::new("kafka.sasl_password", Kind::Secret, None, "SASL password").variables(&["KAFKA_SASL_PASSWORD"]),
    Key::new(
        "kafka.ssl_cafile",
        Kind::Text,
        None,
        "PEM file of the authorities to trust; the system's where absent",
    )
    .variables(&["KAFKA_SSL_CAFILE"]),
    Key::new("kafka.ssl_certfile", Kind::Text, None, "PEM file of the client's certificate")
        .variables(&["KAFKA_SSL_CERTFILE"]),
    Key::new("kafka.ssl_keyfile", Kind::Text, None, "PEM file of the client's key")
        .variables(&["KAFKA_SSL_KEYFILE"]),
    Key::new("kafka.ssl_key_password", Kind::Secret, None, "password of the client's key"),
    Key::new(
        "kafka.ssl_check_hostname",
        Kind::Flag,
        Some("true"),
        "the broker's certificate must name its host",
    )
    .variables(&["KAFKA_SSL_CHECK_HOSTNAME"]),
    Key::new(
        "kafka.batch_size",
        Kind::Int { min: 1, max: 2_147_483_647 },
        Some("16384"),
        "bytes of a batch of one partition; where it is not set, up to 256 KiB are gathered within `linger_ms`",
    )
    .variables(&["KAFKA_BATCH_SIZE"]),
    Key::new("kafka.linger_ms", Kind::Int { min: 0, max: 900_000 }, Some("10"), "wait for a batch to fill")
        .variables(&["KAFKA_LINGER_MS"]),
    Key::new(
        "kafka.max_request_size",
        Kind::Int { min: 1_000, max: 1_000_000_000 },
        Some("1048576"),
        "bytes of the largest request",
    )
    .variables(&["KAFKA_MAX_REQUEST_SIZE"]),
    Key::new(
        "kafka.request_timeout_ms",
        Kind::Int { min: 1, max: 900_000 },
        Some("30000"),
        "wait for a broker's answer",
    )
    .variables(&["KAFKA_REQUEST_TIMEOUT_MS"]),
    Key::new(
        "kafka.enable_idempotence",
        Kind::Flag,
        Some("true"),
        "a repeated produce request is stored once",
    )
    .variables(&["KAFKA_ENABLE_IDEMPOTENCE"]),
    Key::new(
        "kafka.acks",
        Kind::Choice(&["all", "-1", "1", "0"]),
        Some("all"),
        "replicas that acknowledge a record (-1: all)",
    )
    .variables(&["KAFKA_ACKS"]),
    Key::new("kafka.max_in_flight_requests", count(1_000_000), Some("5"), "requests under way to one broker")
        .variables(&["KAFKA_MAX_IN_FLIGHT_REQUESTS"]),
    Key::new(
        "kafka.buffer_memory",
        Kind::Int { min: 1_048_576, max: 2_147_482_624 },
        Some("33554432"),
        "bytes waiting in the producer",
    )
    .variables(&["KAFKA_BUFFER_MEMORY"]),
    Key::new(
        "kafka.max_retries",
        Kind::Int { min: 0, max: 2_147_483_647 },
        Some("3"),
        "tries of a failed produce request",
    )
    .variables(&["KAFKA_MAX_RETRIES"]),
    Key::new(
        "kafka.retry_backoff_ms",
        Kind::Int { min: 1, max: 300_000 },
        Some("100"),
        "wait before a retry",
    )
    .variables(&["KAFKA_RETRY_BACKOFF_MS"]),
    Key::new(
        "kafka.message_batch_size",
        count(1_000_000),
        Some("100"),
        "messages of a batch of one partition, at most",
    )
    .variables(&["KAFKA_MESSAGE_BATCH_SIZE"]),
    Key::new(
        "kafka.health_check_interval_sec",
        count(86_400),
        Some("60"),
        "seconds between looks at the brokers",
    )
    .variables(&["KAFKA_HEALTH_CHECK_INTERVAL_SEC"]),
    Key::new(
        "kafka.log_level",
        Kind::Choice(KAFKA_LEVELS),
        Some("info"),
        "least severity that the Kafka client logs",
    )
    .variables(&["KAFKA_LOG_LEVEL"]),
    Key::new(
        "kafka.log_payload",
        Kind::Flag,
        Some("false"),
        "log what is sent, for debugging; events may be private",
    )
    .variables(&["KAFKA_LOG_PAYLOAD"]),
    // Topics
    Key::new("topics.events", Kind::Topic, Some("analytics-events"), "events in")
        .variables(&["KAFKA_TOPIC", "KAFKA_DEFAULT_TOPIC"])
        .also(&["kafka.topic", "kafka.default_topic"]),
    Key::new("topics.aggregates", Kind::Topic, Some("streaming-aggregates"), "closed and corrected windows"),
    Key::new("topics.predictions", Kind::Topic, Some("ml-predictions"), "forecasts"),
    Key::new("topics.alerts", Kind::Topic, Some("streaming-alerts"), "anomalies, fired rules, system errors"),
    Key::new("topics.metrics", Kind::Topic, Some("streaming-metrics"), "the system's own metrics"),
    Key::new("topics.dlq", Kind::Topic, Some("streaming-events-dlq"), "rejected input"),
    Key::new("topics.partitions", count(10_000), Some("4"), "partitions of a topic that is made at start"),
    Key::new(
        "topics.replication",
        Kind::Int { min: 1, max: 1_000 },
        Some("1"),
        "replicas of a topic that is made at start",
    ),
    // Listeners
    Key::new("app.host", Kind::Host, Some("127.0.0.1"), "address of dashboard and REST"),
    Key::new("app.port", PORT, Some("8000"), "port; 0: any free one"),
    Key::new(
        "app.tls_certfile",
        Kind::Text,
        None,
        "PEM file of this listener's certificate and its chain: TLS when set; read again when it changes",
    ),
    Key::new("app.tls_keyfile", Kind::Text, None, "PEM file of the certificate's key"),
    Key::new("websocket.host", Kind::Host, Some("127.0.0.1"), "address of `/forecast-updates`")
        .variables(&["WEBSOCKET_HOST"]),
    Key::new("websocket.port", PORT, Some("8765"), "port; 0: any free one").variables(&["WEBSOCKET_PORT"]),
    Key::new(
        "websocket.tls_certfile",
        Kind::Text,
        None,
        "PEM file of this listener's certificate and its chain: TLS when set; read again when it changes",
    ),
    Key::new("websocket.tls_keyfile", Kind::Text, None, "PEM file of the certificate's key"),
    Key::new("websocket.max_connections", count(10_000_000), Some("10000"), "connections at once"),
    Key::new(
        "websocket.heartbeat_interval",
        Kind::SecondsOrDuration { min: Duration::from_millis(100), max: Duration::from_secs(3600) },
        Some("30s"),
        "between two heartbeats to a client",
    ),
    Key::new(
        "websocket.max_message_size",
        Kind::Int { min: 1_024, max: 67_108_864 },
        Some("65536"),
        "bytes of a client's message; past it: close 1009",
    ),
    Key::new(
        "websocket.compression",
        Kind::Flag,
        Some("false"),
        "permessage-deflate with clients that offer it; no side keeps context, so it takes no memory of a connection",
    ),
    Key::new(
        "websocket.compression_min_size",
        Kind::Int { min: 0, max: 1_073_741_824 },
        Some("256"),
        "bytes; messages below it are sent as they are",
    ),
    Key::new("admin.host", Kind::Host, Some("127.0.0.1"), "address of health and metrics"),
    Key::new("admin.port", PORT, Some("8080"), "port; 0: any free one"),
    Key::new(
        "admin.tls_certfile",
        Kind::Text,
        None,
        "PEM file of this listener's certificate and its chain: TLS when set; read again when it changes",
    ),
    Key::new("admin.tls_keyfile", Kind::Text, None, "PEM file of the certificate's key"),
    Key::new(
        "admin.public_metrics",
        Kind::Flag,
        Some("false"),
        "`/metrics` without a token, also with `[auth]`",
    ),
    // Limits
    Key::new(
        "limits.control_messages_per_second",
        count(1_000_000),
        Some("100"),
        "control messages of one `/forecast-updates` client",
    ),
    Key::new("limits.subscriptions", count(1_000_000), Some("1000"), "models one client may name"),
    Key::new(
        "limits.ingest_events_per_second",
        count(100_000_000),
        Some("50000"),
        "events of one `/ws/ingest` connection",
    ),
    Key::new("limits.rest_calls_per_second", count(1_000_000), Some("1000"), "REST calls of one client"),
    Key::new(
        "limits.request_body_size",
        Kind::Int { min: 1_024, max: 1_073_741_824 },
        Some("16777216"),
        "bytes of a REST body as it is sent; one in gzip may unpack to eight times that",
    ),
    Key::new(
        "limits.request_bodies_size",
        Kind::Int { min: 1_048_576, max: 1_099_511_627_776 },
        Some("201326592"),
        "bytes that all REST bodies at hand take together, unpacked and as what is made of them; one that finds no room is answered 503",
    ),
    Key::new(
        "limits.session_queue_size",
        Kind::Int { min: 4_096, max: 1_073_741_824 },
        Some("262144"),
        "bytes waiting for one slow client",
    ),
    Key::new(
        "limits.connections_per_address",
        count(10_000_000),
        None,
        "connections of one address to each listener; no limit where absent",
    ),
    Key::new(
        "limits.resume_records",
        Kind::Int { min: 0, max: 1_000_000 },
        Some("10000"),
        "output records looked through for one client that resumes; 0: nobody resumes",
    ),
    Key::new(
        "limits.resume_buffer_size",
        Kind::Int { min: 0, max: 8_589_934_592 },
        Some("16777216"),
        "bytes of newest updates kept in memory for clients that resume; what is older is read from Kafka",
    ),
    // Events in
    Key::new(
        "ingest.idempotence_window",
        Kind::SecondsOrDuration { min: Duration::ZERO, max: Duration::from_secs(3_600) },
        Some("2m"),
        "an event sent again with the same source and id within this time is acknowledged and not stored again; 0: it is",
    ),
    // State
    Key::new("state.dir", Kind::Text, Some("./tidecast-data"), "folder of snapshots and spool"),
    Key::new(
        "state.snapshot_interval_seconds",
        Kind::Seconds { min: 0.1, max: 86_400.0 },
        Some("30"),
        "between two snapshots of a partition, at most (when something changed)",
    ),
    Key::new(
        "state.standby",
        Kind::Flag,
        Some("false"),
        "follow other instances' partitions, to take over at once",
    ),
    Key::new(
        "state.shared",
        Kind::Place,
        None,
        "where snapshots are put too, for take-over by another machine; S3's credentials, region and endpoint come from the \
         usual `AWS_` variables; local alone where absent",
    ),
    // Authentication
    Key::new("auth.hs256_secret", Kind::Secret, None, "shared secret of HS256 tokens (32 bytes or more)"),
    Key::new("auth.public_key_file", Kind::Text, None, "PEM file of the issuer's RSA or P-256 public key"),
    Key::new(
        "auth.jwks_url",
        Kind::Url(&["https", "http"]),
        None,
        "where the issuer publishes its keys (JWKS)",
    ),
    Key::new(
        "auth.jwks_file",
        Kind::Text,
        None,
        "file with the issuer's keys (JWKS); read again when it changes",
    ),
    Key::new(
        "auth.jwks_refresh_seconds",
        Kind::Int { min: 1, max: 86_400 },
        Some("300"),
        "between two looks at jwks_url; a key id that is not known makes it look at once",
    ),
    Key::new("auth.issuer", Kind::Text, None, "`iss` that a token must have"),
    Key::new("auth.audience", Kind::Text, None, "`aud` that a token must have"),
    Key::new(
        "auth.leeway_seconds",
        Kind::Int { min: 0, max: 300 },
        Some("0"),
        "tolerance on `exp` and `nbf`",
    ),
    // Models and monitoring
    Key::new(
        "realtime_ml.model_cache_size",
        count(10_000_000),
        Some("10000"),
        "models of other processes that a gateway keeps ready, where 20,000 are too few",
    ),
    Key::new(
        "realtime_ml.max_latency_ms",
        count(600_000),
        Some("100"),
        "an inference slower than this is logged and counted",
    ),
    Key::new(
        "monitoring.metrics_interval_seconds",
        Kind::Seconds { min: 0.1, max: 3_600.0 },
        Some("10"),
        "between two messages on the metrics topic",
    ),
    Key::new(
        "monitoring.enable_auto_scaling",
        Kind::Flag,
        Some("false"),
        "metrics messages carry a hint on how many workers are wanted",
    ),
    Key::new(
        "monitoring.publishing_history_days",
        count(3_650),
        Some("90"),
        "days for which publishing figures are kept, by hour and topic",
    ),
    // Mail
    Key::new(
        "smtp.host",
        Kind::Host,
        None,
        "mail server of the rules' action `send_alert`; without one no mail is sent",
    ),
    Key::new(
        "smtp.port",
        Kind::Int { min: 1, max: 65_535 },
        None,
        "port; 587 with starttls, 465 with tls, 25 with none where absent",
    ),
    Key::new(
        "smtp.security",
        Kind::Choice(&["starttls", "tls", "none"]),
        Some("starttls"),
        "starttls: encrypted before anything is said, or not at all; tls: from the first byte; none: as plain text",
    ),
    Key::new("smtp.username", Kind::Text, None, "user at the mail server, where it asks for one"),
    Key::new("smtp.password", Kind::Secret, None, "the user's password"),
    Key::new("smtp.cafile", Kind::Text, None, "PEM file of authorities to trust beside the system's"),
    Key::new("smtp.from", Kind::Text, None, "sender: `alerts@example.com` or `Tidecast <alerts@example.com>`"),
    Key::new(
        "smtp.to",
        Kind::Texts,
        Some(""),
        "recipients of rules that name none, and of critical anomalies",
    ),
    Key::new(
        "smtp.timeout_seconds",
        Kind::Seconds { min: 0.1, max: 600.0 },
        Some("10"),
        "for each of the server's answers; then the mail is tried again",
    ),
    // Telemetry
    Key::new("telemetry.log_level", Kind::Choice(LEVELS), Some("info"), "least severity that is logged"),
    Key::new(
        "telemetry.log_format",
        Kind::Choice(&["auto", "human", "json"]),
        Some("auto"),
        "auto: human on a terminal, JSON elsewhere",
    ),
    Key::new(
        "telemetry.otlp_endpoint",
        Kind::Url(&["http", "https"]),
        None,
        "OpenTelemetry collector; traces are exported when set",
    ),
    Key::new(
        "telemetry.otlp_protocol",
        Kind::Choice(&["grpc", "http"]),
        Some("http"),
        "OTLP over gRPC (usually port 4317) or HTTP (4318)",
    ),
    Key::new(
        "telemetry.sample_rate",
        Kind::Number { min: 0.0, max: 1.0 },
        Some("0.0001"),
        "share of events whose way is traced",
    ),
    // Series, models, rules
    Key::new("series", Kind::Tables, None, "`[[series]]`, below"),
    Key::new("models", Kind::Tables, None, "`[[models]]`, below"),
    Key::new("rules", Kind::Tables, None, "`[[rules]]`, below"),
];

/// Longest time that has a meaning for a stream.
pub(crate) const LONGEST: Duration = YEARS;
