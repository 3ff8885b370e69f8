//! From values to [`Settings`]: every field named once, then the contradictions looked for.

use crate::check;
use crate::error::{ConfigError, Origin};
use crate::kafka_settings::{Acks, Kafka, Sasl, SecurityProtocol, Ssl};
use crate::keys::KEYS;
use crate::model::ModelSpec;
use crate::place::SharedPlace;
use crate::rule::RuleSpec;
use crate::series::SeriesSpec;
use crate::settings::*;
use crate::sources::{Sources, gather};
use crate::table::Values;
use crate::written::Node;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

impl Settings {
    /// Reads every source and checks everything that can be checked without touching the world.
    pub fn load(sources: &Sources) -> Result<Settings, ConfigError> {
        let values = Values::read(KEYS, gather(sources)?)?;
        let mut origins: BTreeMap<String, Origin> =
            values.origins().map(|(path, origin)| (path.to_owned(), origin.clone())).collect();
        let mut series = list("series", &values, SeriesSpec::read, &mut origins)?;
        if series.is_empty() {
            series = SeriesSpec::defaults();
        }
        check::kafka(&values)?;
        let settings = Settings {
            roles: values.texts("roles").iter().filter_map(|name| role(name)).collect(),
            kafka: kafka(&values)?,
            topics: topics(&values),
            app: listener(&values, "app")?,
            websocket: WebSocket {
                listener: listener(&values, "websocket")?,
                max_connections: values.int("websocket.max_connections"),
                heartbeat_interval: values.duration("websocket.heartbeat_interval"),
                max_message_size: values.int("websocket.max_message_size"),
                compression: values.flag("websocket.compression"),
                compression_min_size: values.int("websocket.compression_min_size"),
            },
            admin: Admin {
                listener: listener(&values, "admin")?,
                public_metrics: values.flag("admin.public_metrics"),
            },
            insecure_listeners: ListenerName::ALL
                .into_iter()
                .filter(|name| values.texts("insecure_listeners").iter().any(|text| text == name.as_str()))
                .collect(),
            allowed_origins: values
                .texts("allowed_origins")
                .iter()
                .map(|origin| origin.trim_end_matches('/').to_ascii_lowercase())
                .collect(),
            webhook_hosts: values.texts("webhook_hosts"),
            limits: Limits {
                control_messages_per_second: values.int("limits.control_messages_per_second"),
                subscriptions: values.int("limits.subscriptions"),
                ingest_events_per_second: values.int("limits.ingest_events_per_second"),
                rest_calls_per_second: values.int("limits.rest_calls_per_second"),
                request_body_size: values.int("limits.request_body_size"),
                request_bodies_size: values.int("limits.request_bodies_size"),
                session_queue_size: values.int("limits.session_queue_size"),
                connections_per_address: values
                    .opt_int("limits.connections_per_address")
                    .and_then(|most| usize::try_from(most).ok()),
                resume_records: values.int("limits.resume_records"),
                resume_buffer_size: values.int("limits.resume_buffer_size"),
            },
            ingest: Ingest { idempotence_window: values.duration("ingest.idempotence_window") },
            state: State {
                dir: PathBuf::from(values.text("state.dir")),
                snapshot_interval: values.duration("state.snapshot_interval_seconds"),
                standby: values.flag("state.standby"),
                shared: values.opt_text("state.shared").as_deref().and_then(SharedPlace::parse),
            },
            auth: auth(&values)?,
            realtime_ml: RealtimeMl {
                model_cache_size: values.int("realtime_ml.model_cache_size"),
                max_latency: values.millis("realtime_ml.max_latency_ms"),
            },
            monitoring: Monitoring {
                metrics_interval: values.duration("monitoring.metrics_interval_seconds"),
                enable_auto_scaling: values.flag("monitoring.enable_auto_scaling"),
                publishing_history_days: values.int("monitoring.publishing_history_days"),
            },
            smtp: smtp(&values)?,
            telemetry: telemetry(&values),
            series,
            models: list("models", &values, ModelSpec::read, &mut origins)?,
            rules: list("rules", &values, RuleSpec::read, &mut origins)?,
            origins,
        };
        check::settings(&settings)?;
        Ok(settings)
    }
}

/// Reads a list of objects; faults and origins get the item's place in front.
fn list<T>(
    name: &'static str,
    values: &Values,
    read: fn(&Node) -> Result<T, ConfigError>,
    origins: &mut BTreeMap<String, Origin>,
) -> Result<Vec<T>, ConfigError> {
    let mut items = Vec::new();
    for (index, node) in values.nodes(name).iter().enumerate() {
        let place = format!("{name}[{index}]");
        origins_below(&place, node, origins);
        items.push(read(node).map_err(|error| error.below(&place))?);
    }
    Ok(items)
}

fn origins_below(path: &str, node: &Node, origins: &mut BTreeMap<String, Origin>) {
    origins.insert(path.to_owned(), node.origin.clone());
    if let crate::written::Raw::Map(entries) = &node.raw {
        entries.iter().for_each(|(name, child)| origins_below(&format!("{path}.{name}"), child, origins));
    }
}

fn role(name: &str) -> Option<Role> {
    match name {
        "worker" => Some(Role::Worker),
        "gateway" => Some(Role::Gateway),
        "exporter" => Some(Role::Exporter),
        _ => None,
    }
}

fn kafka(values: &Values) -> Result<Kafka, ConfigError> {
    let path = |name: &str| values.opt_text(name).map(PathBuf::from);
    let security_protocol = SecurityProtocol::parse(&values.text("kafka.security_protocol"))
        .unwrap_or(SecurityProtocol::Plaintext);
    Ok(Kafka {
        bootstrap_servers: values.texts("kafka.bootstrap_servers"),
        group_id: values.text("kafka.group_id"),
        group_instance_id: values.opt_text("kafka.group_instance_id"),
        exactly_once: values.flag("kafka.exactly_once"),
        compression_type: values.text("kafka.compression_type"),
        security_protocol,
        sasl: sasl(values, security_protocol)?,
        ssl: Ssl {
            cafile: path("kafka.ssl_cafile"),
            certfile: path("kafka.ssl_certfile"),
            keyfile: path("kafka.ssl_keyfile"),
            key_password: values.secret("kafka.ssl_key_password"),
            check_hostname: values.flag("kafka.ssl_check_hostname"),
        },
        batch_size: values.is_given("kafka.batch_size").then(|| values.int("kafka.batch_size")),
        linger: values.millis("kafka.linger_ms"),
        max_request_size: values.int("kafka.max_request_size"),
        request_timeout: values.millis("kafka.request_timeout_ms"),
        enable_idempotence: values.flag("kafka.enable_idempotence"),
        acks: acks(values),
        max_in_flight_requests: values.int("kafka.max_in_flight_requests"),
        buffer_memory: values.int("kafka.buffer_memory"),
        max_retries: values.int("kafka.max_retries"),
        retry_backoff: values.millis("kafka.retry_backoff_ms"),
        message_batch_size: values.int("kafka.message_batch_size"),
        health_check_interval: Duration::from_secs(values.int("kafka.health_check_interval_sec")),
        log_level: values.text("kafka.log_level"),
        log_payload: values.flag("kafka.log_payload"),
    })
}

pub(crate) fn acks(values: &Values) -> Acks {
    match values.text("kafka.acks").as_str() {
        "1" => Acks::Leader,
        "0" => Acks::None,
        _ => Acks::All,
    }
}

/// Credentials, whole or not at all: a SASL protocol without one of them cannot connect.
fn sasl(values: &Values, protocol: SecurityProtocol) -> Result<Option<Sasl>, ConfigError> {
    if !protocol.is_sasl() {
        return Ok(None);
    }
    let missing = |path: &str, allowed: &str| {
        let found = format!("nothing with security_protocol {}", protocol.as_str());
        ConfigError::new(path, &values.origin("kafka.security_protocol"), found, allowed)
    };
    let mechanism = values
        .opt_text("kafka.sasl_mechanism")
        .ok_or_else(|| missing("kafka.sasl_mechanism", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"))?;
    let username = values
        .opt_text("kafka.sasl_username")
        .ok_or_else(|| missing("kafka.sasl_username", "the user's name"))?;
    let password = values
        .secret("kafka.sasl_password")
        .ok_or_else(|| missing("kafka.sasl_password", "the user's password"))?;
    Ok(Some(Sasl { mechanism, username, password }))
}

fn topics(values: &Values) -> Topics {
    Topics {
        events: values.text("topics.events"),
        aggregates: values.text("topics.aggregates"),
        predictions: values.text("topics.predictions"),
        alerts: values.text("topics.alerts"),
        metrics: values.text("topics.metrics"),
        dlq: values.text("topics.dlq"),
        partitions: values.int("topics.partitions"),
        replication: values.int("topics.replication"),
    }
}

fn listener(values: &Values, section: &'static str) -> Result<Listener, ConfigError> {
    let path = |key: &str| format!("{section}.{key}");
    let [certificate, key] = ["tls_certfile", "tls_keyfile"].map(path);
    check::both_or_neither(values, "a file", [&certificate, &key])?;
    let tls = values
        .opt_text(&certificate)
        .zip(values.opt_text(&key))
        .map(|(certificate, key)| TlsFiles { certificate: certificate.into(), key: key.into() });
    Ok(Listener { host: values.text(&path("host")), port: values.int(&path("port")), tls })
}

/// One way of checking tokens; a section that names none would let everybody in or nobody.
fn auth(values: &Values) -> Result<Option<Auth>, ConfigError> {
    const WAYS: [&str; 4] = ["auth.hs256_secret", "auth.public_key_file", "auth.jwks_url", "auth.jwks_file"];
    const ALLOWED: &str = "exactly one of hs256_secret, public_key_file, jwks_url and jwks_file";
    let given: Vec<&str> = WAYS.into_iter().filter(|path| values.is_given(path)).collect();
    if let [_, second, ..] = given[..] {
        return Err(values.refuse(second, format!("a second way beside {}", given[0]), ALLOWED));
    }
    let keys = if let Some(secret) = values.secret("auth.hs256_secret") {
        AuthKeys::Hs256(secret)
    } else if let Some(file) = values.opt_text("auth.public_key_file") {
        AuthKeys::PublicKeyFile(PathBuf::from(file))
    } else if let Some(url) = values.opt_text("auth.jwks_url") {
        AuthKeys::Jwks(url)
    } else if let Some(file) = values.opt_text("auth.jwks_file") {
        AuthKeys::JwksFile(PathBuf::from(file))
    } else {
        let others = ["auth.issuer", "auth.audience", "auth.leeway_seconds"];
        return match others.into_iter().find(|path| values.is_given(path)) {
            Some(path) => {
                Err(values.refuse(path, "a check of tokens without a key to check them with", ALLOWED))
            }
            None => Ok(None),
        };
    };
    Ok(Some(Auth {
        keys,
        issuer: values.opt_text("auth.issuer"),
        audience: values.opt_text("auth.audience"),
        leeway: Duration::from_secs(values.int("auth.leeway_seconds")),
        jwks_refresh: Duration::from_secs(values.int("auth.jwks_refresh_seconds")),
    }))
}

/// A mail server with a sender, or neither: half of it would be found out by the first alert that nobody got.
fn smtp(values: &Values) -> Result<Option<Smtp>, ConfigError> {
    let Some(host) = values.opt_text("smtp.host") else {
        let others = ["port", "security", "username", "password", "cafile", "from", "to", "timeout_seconds"];
        let given = others.iter().map(|key| format!("smtp.{key}")).find(|path| values.is_given(path));
        return match given {
            Some(path) => Err(values.refuse(&path, "a value without smtp.host", "both or neither")),
            None => Ok(None),
        };
    };
    let (security, port) = match values.text("smtp.security").as_str() {
        "tls" => (SmtpSecurity::Tls, 465),
        "none" => (SmtpSecurity::None, 25),
        _ => (SmtpSecurity::StartTls, 587),
    };
    check::both_or_neither(values, "a value", ["smtp.username", "smtp.password"])?;
    let credentials = values.opt_text("smtp.username").zip(values.secret("smtp.password"));
    const ADDRESS: &str = "a mail address such as alerts@example.com or Tidecast <alerts@example.com>";
    let from = values.opt_text("smtp.from").ok_or_else(|| {
        ConfigError::new("smtp.from", &values.origin("smtp.host"), "nothing with smtp.host", ADDRESS)
    })?;
    let to = values.texts("smtp.to");
    let senders = std::iter::once(("smtp.from", &from)).chain(to.iter().map(|to| ("smtp.to", to)));
    for (path, address) in senders {
        if !is_mail_address(address) {
            return Err(values.refuse(path, crate::written::quoted(address), ADDRESS));
        }
    }
    Ok(Some(Smtp {
        host,
        port: values.opt_int("smtp.port").and_then(|port| u16::try_from(port).ok()).unwrap_or(port),
        security,
        credentials,
        cafile: values.opt_text("smtp.cafile").map(PathBuf::from),
        from,
        to,
        timeout: values.duration("smtp.timeout_seconds"),
    }))
}

/// Something on both sides of one `@`, perhaps within `Name <…>`; the rest is the mail library's to judge.
fn is_mail_address(text: &str) -> bool {
    let address = match text.strip_suffix('>') {
        Some(inner) => inner.rsplit('<').next().unwrap_or_default(),
        None => text,
    };
    let odd = |c: char| c.is_whitespace() || c.is_control() || ",;<>".contains(c);
    let sides = address.rsplit_once('@');
    !text.contains(char::is_control)
        && sides.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
        && !address.contains(odd)
}

fn telemetry(values: &Values) -> Telemetry {
    Telemetry {
        log_level: values.text("telemetry.log_level"),
        log_format: match values.text("telemetry.log_format").as_str() {
            "human" => LogFormat::Human,
            "json" => LogFormat::Json,
            _ => LogFormat::Auto,
        },
        otlp_endpoint: values.opt_text("telemetry.otlp_endpoint"),
        otlp_protocol: if values.text("telemetry.otlp_protocol") == "grpc" {
            OtlpProtocol::Grpc
        } else {
            OtlpProtocol::Http
        },
        sample_rate: values.number("telemetry.sample_rate").unwrap_or_default(),
    }
}
