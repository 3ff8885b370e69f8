//! Contradictions: settings that are right by themselves and wrong together.

use crate::build::acks;
use crate::error::ConfigError;
use crate::kafka_settings::{Acks, SecurityProtocol};
use crate::kind::is_topic;
use crate::own_topics::GroupTable;
use crate::settings::{AuthKeys, Listener, ListenerName, Settings, SmtpSecurity};
use crate::table::Values;
use crate::written::quoted;
use secrecy::ExposeSecret;

/// Among Kafka's settings.
pub(crate) fn kafka(values: &Values) -> Result<(), ConfigError> {
    let exactly_once = values.flag("kafka.exactly_once");
    let idempotence = values.flag("kafka.enable_idempotence");
    let acks = acks(values);
    if exactly_once && !idempotence {
        let allowed = "true, or exactly_once = false";
        return Err(values.refuse("kafka.enable_idempotence", "false with exactly_once = true", allowed));
    }
    if (exactly_once || idempotence) && acks != Acks::All {
        let with = if exactly_once { "exactly_once = true" } else { "enable_idempotence = true" };
        let allowed = match exactly_once {
            true => "all, or exactly_once = false and enable_idempotence = false",
            false => "all, or enable_idempotence = false",
        };
        return Err(values.refuse("kafka.acks", format!("{} with {with}", quoted(acks.as_str())), allowed));
    }
    let in_flight: i64 = values.int("kafka.max_in_flight_requests");
    if idempotence && in_flight > 5 {
        let found = format!("{in_flight} with enable_idempotence = true");
        return Err(values.refuse(
            "kafka.max_in_flight_requests",
            found,
            "1 to 5, or enable_idempotence = false",
        ));
    }
    if idempotence && values.int::<i64>("kafka.max_retries") == 0 {
        let allowed = "1 or more, or enable_idempotence = false";
        return Err(values.refuse("kafka.max_retries", "0 with enable_idempotence = true", allowed));
    }
    let (buffer, request): (i64, i64) =
        (values.int("kafka.buffer_memory"), values.int("kafka.max_request_size"));
    if request > buffer {
        let path = if values.is_given("kafka.max_request_size") {
            "kafka.max_request_size"
        } else {
            "kafka.buffer_memory"
        };
        let found = format!("max_request_size {request} above buffer_memory {buffer}");
        return Err(values.refuse(path, found, "a buffer that holds at least one request"));
    }
    security(values)
}

fn security(values: &Values) -> Result<(), ConfigError> {
    let name = values.text("kafka.security_protocol");
    let protocol = SecurityProtocol::parse(&name).unwrap_or(SecurityProtocol::Plaintext);
    let unused = |path: &str, wanted: &str| {
        let found = format!("a value that security_protocol {name} does not use");
        Err(values.refuse(path, found, format!("nothing, or security_protocol {wanted}")))
    };
    if !protocol.is_sasl() {
        for path in ["kafka.sasl_username", "kafka.sasl_password"] {
            if values.is_given(path) {
                return unused(path, "SASL_SSL or SASL_PLAINTEXT");
            }
        }
    }
    let files = ["kafka.ssl_cafile", "kafka.ssl_certfile", "kafka.ssl_keyfile"];
    if !protocol.is_ssl()
        && let Some(path) = files.into_iter().find(|path| values.is_given(path))
    {
        return unused(path, "SSL or SASL_SSL");
    }
    both_or_neither(values, "a file", [files[1], files[2]])?;
    if values.is_given("kafka.ssl_key_password") && !values.is_given("kafka.ssl_keyfile") {
        return Err(values.refuse(
            "kafka.ssl_key_password",
            "a password without kafka.ssl_keyfile",
            "both or neither",
        ));
    }
    Ok(())
}

/// Two settings that mean nothing one without the other; `what` each of them is.
pub(crate) fn both_or_neither(values: &Values, what: &str, pair: [&str; 2]) -> Result<(), ConfigError> {
    match pair.map(|path| values.is_given(path)) {
        [true, false] => {
            Err(values.refuse(pair[0], format!("{what} without {}", pair[1]), "both or neither"))
        }
        [false, true] => {
            Err(values.refuse(pair[1], format!("{what} without {}", pair[0]), "both or neither"))
        }
        _ => Ok(()),
    }
}

/// Among everything else.
pub(crate) fn settings(settings: &Settings) -> Result<(), ConfigError> {
    if settings.roles.is_empty() {
        return Err(settings.refuse(
            "roles",
            "an empty list",
            "at least one of worker, gateway and exporter",
        ));
    }
    topics(settings)?;
    own_topics(settings)?;
    listeners(settings)?;
    origins(settings)?;
    unique(settings, "series", "name", settings.series.iter().map(|series| series.name.as_str()))?;
    unique(settings, "models", "model_id", settings.models.iter().map(|model| model.model_id.as_str()))?;
    unique(settings, "rules", "name", settings.rules.iter().map(|rule| rule.name.as_str()))?;
    for (index, model) in settings.models.iter().enumerate() {
        model.check_series(&settings.series).map_err(|fault| {
            settings.refuse(&format!("models[{index}].{}", fault.field), fault.found, fault.allowed)
        })?;
    }
    Ok(())
}

/// An output topic that is read as input, or written for two purposes, would feed the stream with itself.
fn topics(settings: &Settings) -> Result<(), ConfigError> {
    let topics = &settings.topics;
    let names = [
        ("topics.events", &topics.events),
        ("topics.aggregates", &topics.aggregates),
        ("topics.predictions", &topics.predictions),
        ("topics.alerts", &topics.alerts),
        ("topics.metrics", &topics.metrics),
        ("topics.dlq", &topics.dlq),
    ];
    for (index, (setting, name)) in names.iter().enumerate() {
        if let Some((other, _)) = names[..index].iter().find(|(_, other)| other == name) {
            return Err(settings.refuse(
                setting,
                format!("{}, which is {other} too", quoted(name)),
                "a name of its own",
            ));
        }
    }
    for (index, series) in settings.series.iter().enumerate() {
        let output = |topic: &String| names[1..].iter().find(|(_, name)| *name == topic);
        if let Some((other, name)) = series.topic.as_ref().and_then(output) {
            let found = format!("{}, which is {other}", quoted(name));
            return Err(settings.refuse(
                &format!("series[{index}].topic"),
                found,
                "a topic that Tidecast does not write",
            ));
        }
    }
    Ok(())
}

/// Names that topics of our own are made of.
fn own_topics(settings: &Settings) -> Result<(), ConfigError> {
    let group = &settings.kafka.group_id;
    if !GroupTable::topics(group).iter().all(|topic| is_topic(topic)) {
        let allowed = "letters, digits, `.`, `_` and `-`, at most 200: names of topics begin with it";
        return Err(settings.refuse("kafka.group_id", quoted(group), allowed));
    }
    for (index, series) in settings.series.iter().enumerate().filter(|(_, series)| series.is_repartitioned())
    {
        if !is_topic(&series.repartition_topic(group)) {
            let found = format!("{} with key {}", quoted(&series.name), quoted(&series.key));
            let allowed = "letters, digits, `.`, `_` and `-` for a series that is not grouped by source: a topic is named after it \
                and the group, in at most 249";
            return Err(settings.refuse(&format!("series[{index}].name"), found, allowed));
        }
    }
    Ok(())
}

fn listeners(settings: &Settings) -> Result<(), ConfigError> {
    for (index, name) in ListenerName::ALL.into_iter().enumerate() {
        let listener = settings.listener(name);
        let path = |key: &str| format!("{}.{key}", name.as_str());
        for other in &ListenerName::ALL[..index] {
            if clash(settings.listener(*other), listener) {
                let found = format!("{}, the port of {}.port too", listener.port, other.as_str());
                return Err(settings.refuse(&path("port"), found, "a port of its own"));
            }
        }
        let by_choice = settings.insecure_listeners.contains(&name);
        if !listener.is_loopback() && settings.auth.is_none() && !by_choice {
            return Err(settings.refuse(
                &path("host"),
                format!("{} without [auth]", quoted(&listener.host)),
                format!(
                    "a loopback address such as 127.0.0.1; or [auth] with a key; or insecure_listeners = [\"{}\"] to \
                     leave it open by choice",
                    name.as_str()
                ),
            ));
        }
    }
    Ok(())
}

/// An origin is a scheme and a host, perhaps with a port: anything more would never match, anything less would match all.
fn origins(settings: &Settings) -> Result<(), ConfigError> {
    for (index, origin) in settings.allowed_origins.iter().enumerate() {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        if !host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', '*', ' '])) {
            let allowed = "an origin such as https://ops.example.com, without a path and without *";
            return Err(settings.refuse(&format!("allowed_origins[{index}]"), quoted(origin), allowed));
        }
    }
    Ok(())
}

/// The second bind would fail: same port, and one host that covers the other.
fn clash(a: &Listener, b: &Listener) -> bool {
    let wild = |listener: &Listener| matches!(listener.host.as_str(), "0.0.0.0" | "::");
    a.port != 0
        && a.port == b.port
        && (a.host == b.host || wild(a) || wild(b) || (a.is_loopback() && b.is_loopback()))
}

fn unique<'a>(
    settings: &Settings,
    list: &str,
    key: &str,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), ConfigError> {
    let mut seen = std::collections::BTreeMap::new();
    for (index, name) in names.enumerate() {
        if let Some(first) = seen.insert(name, index) {
            let found = format!("{}, the name of {list}[{first}] too", quoted(name));
            return Err(settings.refuse(&format!("{list}[{index}].{key}"), found, "a name of its own"));
        }
    }
    Ok(())
}

/// Allowed, and worth a line in the log.
pub(crate) fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    match settings.auth.as_ref().map(|auth| &auth.keys) {
        Some(AuthKeys::Hs256(secret)) if secret.expose_secret().len() < 32 => warnings.push(
            "auth.hs256_secret is shorter than 32 bytes and can be guessed: use 32 random bytes or more"
                .to_owned(),
        ),
        Some(AuthKeys::Jwks(url)) if url.to_ascii_lowercase().starts_with("http://") => {
            warnings.push(
                "auth.jwks_url is not encrypted: who changes its answer makes tokens; use https".to_owned(),
            );
        }
        _ => {}
    }
    for name in &settings.insecure_listeners {
        if settings.auth.is_none() && !settings.listener(*name).is_loopback() {
            let address = settings.listener(*name).address();
            warnings.push(format!(
                "listener {} is open to everybody who reaches {address}, by choice",
                name.as_str()
            ));
        }
    }
    match &settings.smtp {
        Some(smtp) if smtp.security == SmtpSecurity::None && smtp.credentials.is_some() => warnings.push(
            "smtp.security none sends the mail server's password unencrypted: use starttls or tls".to_owned(),
        ),
        None if settings.rules.iter().any(|rule| names(&rule.action, "send_alert")) => warnings.push(
            "a rule has the action send_alert and there is no smtp.host: its mails are not sent".to_owned(),
        ),
        _ => {}
    }
    if settings.kafka.log_payload {
        warnings.push("kafka.log_payload writes events into the log: not for private data".to_owned());
    }
    if settings.kafka.security_protocol == SecurityProtocol::SaslPlaintext {
        warnings.push(
            "kafka.security_protocol SASL_PLAINTEXT sends the connection unencrypted: use SASL_SSL"
                .to_owned(),
        );
    }
    warnings
}

/// Whether the text is somewhere in the value: an action is a name, an object or a list of these.
fn names(json: &serde_json::Value, text: &str) -> bool {
    match json {
        serde_json::Value::String(found) => found == text,
        serde_json::Value::Array(items) => items.iter().any(|item| names(item, text)),
        serde_json::Value::Object(fields) => fields.values().any(|value| names(value, text)),
        _ => false,
    }
}
