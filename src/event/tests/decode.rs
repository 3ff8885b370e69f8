//! The scanner against serde_json: it accepts what serde_json accepts, and reads the same.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidecast_event::{Decoder, EventTime, Reason};

const RECORD_TIME: EventTime = EventTime(1_768_564_300_000_000);
const DAY_MICROS: i64 = 86_400_000_000;

fn numbers(bytes: &[u8]) -> Vec<(String, f64)> {
    let mut decoder = Decoder::new();
    let event = decoder.decode(bytes, RECORD_TIME, DAY_MICROS).expect("a good event");
    event.numbers().map(|(path, value)| (path.to_owned(), value)).collect()
}

fn lookup(bytes: &[u8], path: &str) -> Option<String> {
    let mut decoder = Decoder::new();
    let event = decoder.decode(bytes, RECORD_TIME, DAY_MICROS).expect("a good event");
    let mut buffer = String::new();
    event.lookup(path, &mut buffer).map(str::to_owned)
}

const RICH: &str = r#"{"id":"a-1","source":"caf\u00e9","type":"t\/u","data":{"origin":"JFK","n":13,"x":1.50,"yes":true,"no":null,
  "deep":{"er":{"v":-2e3,"s":"in"},"list":[9,{"v":8}]},"a.b":4,"n\u0031":5,"list":[1,2]},"metadata":{"k":"v\n","z":0},"top":7}"#;

#[test]
fn names_are_unescaped_and_numbers_have_dotted_paths() {
    let mut decoder = Decoder::new();
    let event = decoder.decode(RICH.as_bytes(), RECORD_TIME, DAY_MICROS).unwrap();
    assert_eq!((event.source(), event.event_type(), event.id()), ("café", "t/u", Some("a-1")));
    let found: Vec<_> = event.numbers().collect();
    assert_eq!(found, [("n", 13.0), ("x", 1.5), ("deep.er.v", -2000.0), ("a.b", 4.0), ("n1", 5.0)]);
}

#[test]
fn lookup_takes_scalars_by_path_in_json_and_messagepack() {
    let packed = rmp_serde::to_vec_named(&serde_json::from_str::<Value>(RICH).unwrap()).unwrap();
    for bytes in [RICH.as_bytes(), &packed] {
        for (path, text) in [
            ("source", Some("café")),
            ("type", Some("t/u")),
            ("id", Some("a-1")),
            ("top", Some("7")),
            ("data.origin", Some("JFK")),
            ("data.n", Some("13")),
            ("data.n1", Some("5")),
            ("data.yes", Some("true")),
            ("data.no", None),
            ("data.list", None),
            ("data.deep", None),
            ("data.deep.er.v", Some(if bytes == RICH.as_bytes() { "-2e3" } else { "-2000.0" })),
            ("data.deep.er.s", Some("in")),
            ("data.deep.list.v", None),
            ("data.a.b", Some("4")),
            ("data.origin.x", None),
            ("data.orig", None),
            ("metadata.k", Some("v\n")),
            ("metadata", None),
            ("nothing", None),
            ("", None),
        ] {
            assert_eq!(lookup(bytes, path).as_deref(), text, "{path}");
        }
    }
}

#[test]
fn the_last_of_two_numbers_on_one_path_counts() {
    let event = |data: &str| format!(r#"{{"source":"s","type":"t","data":{data}}}"#).into_bytes();
    assert_eq!(numbers(&event(r#"{"a":1,"b":2,"a":3}"#)), [("a".into(), 3.0), ("b".into(), 2.0)]);
    assert_eq!(numbers(&event(r#"{"a":{"b":1},"a.b":2}"#)), [("a.b".into(), 2.0)]);
    let many: Vec<String> = (0..300).map(|at| format!("\"f{:03}\":{at}", at % 100)).collect();
    let expected: Vec<_> = (0..100).map(|at| (format!("f{at:03}"), f64::from(at + 200))).collect();
    assert_eq!(numbers(&event(&format!("{{{}}}", many.join(",")))), expected);
}

#[test]
fn what_one_event_reports_is_bounded() {
    let many: Vec<String> = (0..5_000).map(|at| format!("\"f{at}\":{at}")).collect();
    let event = format!(r#"{{"source":"s","type":"t","data":{{{}}}}}"#, many.join(","));
    assert_eq!(numbers(event.as_bytes()).len(), tidecast_event::decode::MAX_NUMBERS);
    let long = "k".repeat(1_000);
    let event = format!(r#"{{"source":"s","type":"t","data":{{"{long}":{{"short":1,"{long}":2}}}}}}"#);
    assert_eq!(numbers(event.as_bytes()), [(format!("{long}.short"), 1.0)]);
}

#[test]
fn a_time_past_the_year_9999_is_refused_wherever_it_stands() {
    let mut decoder = Decoder::new();
    let mut reason = |bytes: &[u8], record_ms: i64| {
        decoder.decode(bytes, EventTime::from_millis(record_ms), i64::MAX).err().map(|refused| refused.reason)
    };
    let without = br#"{"source":"s","type":"t","data":{}}"#;
    // Nanoseconds and microseconds where milliseconds belong.
    for record_ms in [1_795_414_444_000_000_000, 1_795_414_444_000_000, i64::MAX, 253_402_300_800_000] {
        assert_eq!(reason(without, record_ms), Some(Reason::InvalidTimestamp), "{record_ms}");
    }
    assert_eq!(reason(without, 253_402_300_799_999), None);
    let with = br#"{"source":"s","type":"t","timestamp":1795414444000000000,"data":{}}"#;
    assert_eq!(reason(with, 1_795_414_444_000), Some(Reason::InvalidTimestamp));
}

#[test]
fn one_decoder_serves_good_and_bad_events_in_turn() {
    let mut decoder = Decoder::new();
    for _ in 0..3 {
        assert_eq!(decoder.decode(RICH.as_bytes(), RECORD_TIME, DAY_MICROS).unwrap().numbers().len(), 5);
        assert!(decoder.decode(br#"{"source":"s","data":{"a":1},"x":1,"x":2}"#, RECORD_TIME, 0).is_err());
        let plain = br#"{"source":"s","type":"t","data":{"a":1}}"#;
        assert_eq!(
            decoder.decode(plain, RECORD_TIME, 0).unwrap().numbers().collect::<Vec<_>>(),
            [("a", 1.0)]
        );
    }
}

/// Text made of the pieces that JSON is made of, mostly broken.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"b\":", "{}", "[]", "1", "-0", "0.5", "1e5", "1E-2", "-", "01",
            "1.", ".1", "true", "false", "null", "\\", "\\u", "\\ud83d\\ude00", "\\udc00", "\"\\n\"", " ", "\n", "\u{1}", "é",
            "12345678901234567890", "1e400", "5e-324", "\"a\\\\\"", "😀", "\"long enough to fill a word\"", "tru", "e",
        ]).prop_map(str::to_owned),
        1 => "\\PC{0,3}",
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Any JSON value with numbers of every size.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
        (-1000.0..1000.0).prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        vec(any::<char>(), 0..8).prop_map(|chars| chars.into_iter().collect::<String>().into()),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map("[a-d.\"\\\\é]{0,3}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn flatten(prefix: &str, map: &Map<String, Value>, out: &mut Vec<(String, f64)>) {
    for (name, value) in map {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Object(inner) if !prefix.is_empty() || !name.is_empty() => flatten(&path, inner, out),
            Value::Number(number) => out.push((path, number.as_f64().unwrap())),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn accepts_the_texts_that_serde_json_accepts(text in soup()) {
        let text = format!(r#"{{"source":"s","type":"t","data":{{}},"x":{text}}}"#);
        let mut reader = serde_json::Deserializer::from_str(&text);
        reader.disable_recursion_limit();
        let theirs = Value::deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
        let mut decoder = Decoder::new();
        let ours = decoder.decode(text.as_bytes(), RECORD_TIME, DAY_MICROS);
        match (ours, theirs) {
            (Ok(event), Ok(value)) => prop_assert_eq!(event.to_value().unwrap(), value),
            (Err(refused), Ok(_)) => prop_assert!(
                // What it holds besides may repeat or spoil a field; the text itself is valid for both.
                !matches!(refused.reason, Reason::InvalidJson | Reason::NotFinite), "{}: {}", refused, text
            ),
            (Err(refused), Err(error)) => prop_assert!(
                // Theirs stops at the first thing wrong, ours tells an overflow only of a text that is whole.
                refused.reason != Reason::NotFinite || error.to_string().contains("out of range"),
                "{}: {} / {}", text, refused, error
            ),
            (Ok(_), Err(error)) => prop_assert!(false, "{}: {}", text, error),
        }
    }

    #[test]
    fn reads_what_serde_json_wrote(data in value(), other in value(), pretty in any::<bool>()) {
        let event = json!({"source": "s", "type": "t", "other": other, "data": {"in": data}});
        let text = if pretty { serde_json::to_string_pretty(&event) } else { serde_json::to_string(&event) }.unwrap();
        let packed = rmp_serde::to_vec_named(&event).unwrap();
        let mut expected = Vec::new();
        flatten("", event["data"].as_object().unwrap(), &mut expected);
        // Two names may make one path ("a" below "b", and "a.b"): the last one counts.
        let mut last = Vec::new();
        for (at, (path, value)) in expected.iter().enumerate() {
            if !expected[at + 1..].iter().any(|(later, _)| later == path) {
                last.push((path.clone(), *value));
            }
        }
        last.sort_by(|a, b| a.0.cmp(&b.0));
        for bytes in [text.as_bytes(), &packed] {
            let mut found = numbers(bytes);
            found.sort_by(|a, b| a.0.cmp(&b.0));
            prop_assert_eq!(&found, &last);
            let mut decoder = Decoder::new();
            prop_assert_eq!(decoder.decode(bytes, RECORD_TIME, DAY_MICROS).unwrap().to_value().unwrap(), event.clone());
        }
    }

    #[test]
    fn numbers_are_read_to_the_last_bit(text in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?") {
        let event = format!(r#"{{"source":"s","type":"t","data":{{"v":{text}}}}}"#);
        let value: f64 = text.parse().unwrap();
        if value.is_finite() {
            let found = numbers(event.as_bytes());
            prop_assert_eq!(found[0].1.to_bits(), value.to_bits());
        } else {
            let refused = Decoder::new().decode(event.as_bytes(), RECORD_TIME, DAY_MICROS).map(|_| ()).unwrap_err();
            prop_assert_eq!(refused.reason, Reason::NotFinite);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..64), map in any::<bool>()) {
        let mut bytes = bytes;
        if let (true, Some(first)) = (map, bytes.first_mut()) {
            *first = 0x80 | *first & 0x0f;
        }
        let mut decoder = Decoder::new();
        if let Ok(event) = decoder.decode(&bytes, RECORD_TIME, DAY_MICROS) {
            prop_assert!(event.to_value().is_ok());
        }
    }
}
