//! `/asyncapi.json` against real traffic: every message that goes either way is as described, and all that are described go.

use crate::house::{Client, House, aggregate, anomaly, event, forecast};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tidecast_ports::OutputKind;

struct Description {
    document: Value,
    met: BTreeSet<String>,
}

impl Description {
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(reference) => self.document.pointer(reference.trim_start_matches('#')).expect(reference),
            None => schema,
        }
    }

    /// What of `value` is not as `schema` says, by the words of JSON Schema that the document uses.
    fn fault(&self, schema: &Value, value: &Value, at: &str) -> Option<String> {
        let schema = self.resolve(schema);
        for word in schema.as_object().unwrap().keys() {
            let known = [
                "type",
                "const",
                "enum",
                "properties",
                "required",
                "additionalProperties",
                "items",
                "description",
            ];
            assert!(known.contains(&word.as_str()), "{word} is not checked here");
        }
        if let Some(wanted) = schema.get("const").filter(|wanted| *wanted != value) {
            return Some(format!("{at}: {value} is not {wanted}"));
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array)
            && !values.contains(value)
        {
            return Some(format!("{at}: {value} is none of {values:?}"));
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let is = |kind: &&str| match *kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "number" => value.is_number(),
            "integer" => value.is_u64() || value.is_i64(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            other => panic!("{other}"),
        };
        if !kinds.is_empty() && !kinds.iter().any(is) {
            return Some(format!("{at}: {value} is no {kinds:?}"));
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            if let Some(items) = schema.get("items")
                && let Some(fault) = self.fault(items, item, &format!("{at}[{index}]"))
            {
                return Some(fault);
            }
        }
        let fields = value.as_object()?;
        for wanted in schema["required"].as_array().into_iter().flatten() {
            if !fields.contains_key(wanted.as_str().unwrap()) {
                return Some(format!("{at}: {wanted} is missing"));
            }
        }
        for (name, field) in fields {
            match schema["properties"].get(name) {
                Some(of) => {
                    if let Some(fault) = self.fault(of, field, &format!("{at}.{name}")) {
                        return Some(fault);
                    }
                }
                None if schema["additionalProperties"] == false => {
                    return Some(format!("{at}.{name} is not described"));
                }
                None => {}
            }
        }
        None
    }

    /// Finds the one message of a channel that this is.
    fn check(&mut self, operation: &str, message: &Value) {
        let messages = self.document["operations"][operation]["messages"].as_array().unwrap();
        let mut faults = Vec::new();
        let mut found = None;
        for reference in messages {
            let of = self.resolve(self.resolve(reference));
            match self.fault(&of["payload"], message, "") {
                None => found = Some(of["name"].as_str().unwrap().to_owned()),
                Some(fault) => faults.push(fault),
            }
        }
        let found = found.unwrap_or_else(|| panic!("{message} is none of {operation}: {faults:#?}"));
        self.met.insert(found);
    }

    async fn say(&mut self, client: &mut Client, message: Value) {
        self.check("ask", &message);
        client.say(&message).await;
    }

    async fn hear_until_quiet(&mut self, client: &mut Client) {
        client.say(&json!({"type": "ping"})).await;
        loop {
            let message = client.hear().await;
            self.check("push", &message);
            if message["type"] == "heartbeat" {
                return;
            }
        }
    }
}

#[tokio::test]
async fn every_message_is_as_the_description_says_and_all_of_them_are_met() {
    let house = House::with(&["limits.session_queue_size=4096"]).await;
    let (status, document) = house.get("/asyncapi.json").await;
    assert_eq!(status, 200);
    let mut described = Description { document, met: BTreeSet::new() };
    let publish_all = || {
        house.publish(OutputKind::Forecast, &forecast("m", 1.0));
        house.publish(OutputKind::Alert, &anomaly("m"));
        house.publish(OutputKind::Alert, &json!({"rule": "m", "data": {}, "message": "x"}));
        house.publish(OutputKind::Aggregate, &aggregate("m", "k"));
        house.publish(OutputKind::Metrics, &json!({"events_per_second": 1}));
    };
    for format in ["json", "msgpack"] {
        let mut client = house.connect().await;
        let all = ["new_forecast", "anomaly_detected", "aggregation", "alert", "metrics"];
        described.say(&mut client, json!({"type": "auth", "token": "none is asked for"})).await;
        described
            .say(
                &mut client,
                json!({"type": "subscribe", "model_ids": ["m*"], "update_types": all, "data_format": format}),
            )
            .await;
        described.hear_until_quiet(&mut client).await;
        publish_all();
        described.hear_until_quiet(&mut client).await;
        described.say(&mut client, json!({"type": "unsubscribe"})).await;
        described.say(&mut client, json!({"type": "ping"})).await;
        described.say(&mut client, json!({"type": "subscribe", "resume": "no position"})).await;
        client.say_text("nonsense").await;
        for _ in 0..2_000 {
            house.publish(OutputKind::Forecast, &forecast("m", 1.0));
        }
        described.hear_until_quiet(&mut client).await;
    }
    // A client that takes nothing until far more has been offered than it may have waiting.
    let mut slow = house.connect().await;
    slow.subscribe(&["*"], &["new_forecast"]).await;
    slow.hear_until_quiet().await;
    let many: Vec<_> = (0..5_000)
        .map(|n| house.record(OutputKind::Forecast, &forecast(&format!("slow_{n}"), 1.0)))
        .collect();
    tidecast_ports::LiveSink::publish(&*house.hub, many);
    described.hear_until_quiet(&mut slow).await;

    let url = format!("ws://{}/ws/ingest?credit=true", house.app);
    let mut sender = Client::connect(&url).await;
    described.check("take", &event("a"));
    sender.say(&event("a")).await;
    sender.say_text("nonsense").await;
    let mut heard = 0;
    while heard < 3 {
        described.check("answer", &sender.hear().await);
        heard += 1;
    }
    let all: BTreeSet<String> =
        described.document["components"]["messages"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(described.met, all, "every message that is described was met");
}
