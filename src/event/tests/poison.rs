//! Broken events by name, and the one reason for which each is refused; and the odd ones that are good.

use tidecast_event::{Decoder, EventTime, Reason, Rejection};

const RECORD_TIME: EventTime = EventTime(1_768_564_300_000_000);
const DAY_MICROS: i64 = 86_400_000_000;

fn decode(bytes: &[u8]) -> Result<EventTime, Rejection> {
    Decoder::new().decode(bytes, RECORD_TIME, DAY_MICROS).map(|event| event.time())
}

/// A good event with one member more, or with another `timestamp` or `data`.
fn with(member: &str) -> Vec<u8> {
    format!(r#"{{"source":"s","type":"t","data":{{"value":1}},{member}}}"#).into_bytes()
}

fn with_data(value: &str) -> Vec<u8> {
    format!(r#"{{"source":"s","type":"t","timestamp":1768564232,"data":{value}}}"#).into_bytes()
}

/// The same event in MessagePack, with the members after `source` and `type` given as bytes.
fn packed(members: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | (members + 2)];
    bytes.extend_from_slice(b"\xa6source\xa1s\xa4type\xa1t");
    bytes.extend_from_slice(rest);
    bytes
}

fn nested(open: &str, close: &str, levels: usize) -> String {
    format!("{}{}", open.repeat(levels), close.repeat(levels))
}

#[test]
fn every_broken_event_is_refused_for_its_reason() {
    use Reason::*;
    let good = with_data(r#"{"value":1}"#);
    let mut cases: Vec<(&str, Vec<u8>, Reason)> = vec![
        ("no bytes", vec![], Empty),
        // The text.
        ("white space only", b" \n".to_vec(), InvalidJson),
        ("a word", b"hello".to_vec(), InvalidJson),
        ("CSV", b"s,t,1.5".to_vec(), InvalidJson),
        ("XML", b"<event/>".to_vec(), InvalidJson),
        ("a NUL byte", vec![0], InvalidJson),
        ("random bytes", vec![0xff, 0xfe, 0x00, 0x41], InvalidJson),
        ("gzip", vec![0x1f, 0x8b, 0x08, 0x00], InvalidJson),
        ("a byte order mark", [b"\xef\xbb\xbf", &good[..]].concat(), InvalidJson),
        ("UTF-16", good.iter().flat_map(|&byte| [byte, 0]).collect(), InvalidJson),
        ("cut in the middle", good[..good.len() / 2].to_vec(), InvalidJson),
        ("cut before the last brace", good[..good.len() - 1].to_vec(), InvalidJson),
        ("an opening brace", b"{".to_vec(), InvalidJson),
        ("a closing brace too many", [&good[..], b"}"].concat(), InvalidJson),
        ("two events", [&good[..], &good[..]].concat(), InvalidJson),
        ("two events on two lines", [&good[..], b"\n", &good[..]].concat(), InvalidJson),
        ("a word after the event", [&good[..], b" x"].concat(), InvalidJson),
        ("a NUL after the event", [&good[..], b"\0"].concat(), InvalidJson),
        (
            "single quotes",
            good.iter().map(|&byte| if byte == b'"' { b'\'' } else { byte }).collect(),
            InvalidJson,
        ),
        ("a name without quotes", b"{source:\"s\",\"type\":\"t\",\"data\":{}}".to_vec(), InvalidJson),
        ("a comma at the end of an object", with_data("{\"value\":1,}"), InvalidJson),
        ("a comma at the end of a list", with_data("{\"value\":[1,]}"), InvalidJson),
        ("a comma at the end of the event", with("\"x\":1,"), InvalidJson),
        ("two commas", with("\"x\":[1,,2]"), InvalidJson),
        ("a comma first", with("\"x\":[,1]"), InvalidJson),
        ("no comma", with("\"x\":1 \"y\":2"), InvalidJson),
        ("no colon", with("\"x\" 1"), InvalidJson),
        ("no value", with("\"x\":"), InvalidJson),
        ("a list closed by a brace", with("\"x\":[1}"), InvalidJson),
        ("an object closed by a bracket", with("\"x\":{\"y\":1]"), InvalidJson),
        ("a number as a name", with("\"x\":{1:2}"), InvalidJson),
        ("a line comment", [&good[..], b"// end"].concat(), InvalidJson),
        ("a block comment", with("/* x */ \"x\":1"), InvalidJson),
        ("True as Python prints it", with("\"x\":True"), InvalidJson),
        ("None as Python prints it", with("\"x\":None"), InvalidJson),
        ("undefined", with("\"x\":undefined"), InvalidJson),
        ("a literal cut short", with("\"x\":tru"), InvalidJson),
        ("a literal too long", with("\"x\":nullx"), InvalidJson),
        ("nan in small letters", with("\"x\":nan"), InvalidJson),
        // Strings.
        ("a line break in a string", with("\"x\":\"a\nb\""), InvalidJson),
        ("a tab in a string", with("\"x\":\"a\tb\""), InvalidJson),
        ("a NUL in a string", with("\"x\":\"a\0b\""), InvalidJson),
        ("a string without its end", with("\"x\":\"abc"), InvalidJson),
        ("an escape at the end", with("\"x\":\"abc\\"), InvalidJson),
        ("an unknown escape", with("\"x\":\"\\q\""), InvalidJson),
        ("a hexadecimal escape", with("\"x\":\"\\x41\""), InvalidJson),
        ("three hexadecimal digits", with("\"x\":\"\\u12\""), InvalidJson),
        ("a sign in hexadecimal digits", with("\"x\":\"\\u+123\""), InvalidJson),
        ("a leading surrogate alone", with("\"x\":\"\\ud800\""), InvalidJson),
        ("two leading surrogates", with("\"x\":\"\\ud800\\ud800\""), InvalidJson),
        ("a leading surrogate and a letter", with("\"x\":\"\\ud800a\""), InvalidJson),
        ("a trailing surrogate alone", with("\"x\":\"\\udc00\""), InvalidJson),
        ("a surrogate in a name", with("\"\\ud800\":1"), InvalidJson),
        (
            "Latin-1",
            [b"{\"source\":\"caf\xe9\",\"type\":\"t\",\"data\":{}}".as_slice()].concat(),
            InvalidJson,
        ),
        (
            "an overlong slash",
            [b"{\"source\":\"\xc0\xaf\",\"type\":\"t\",\"data\":{}}".as_slice()].concat(),
            InvalidJson,
        ),
        ("a surrogate in UTF-8", [b"{\"source\":\"\xed\xa0\x80\"}".as_slice()].concat(), InvalidJson),
        ("a character cut short", [b"{\"source\":\"\xe2\x82\"}".as_slice()].concat(), InvalidJson),
        ("beyond Unicode", [b"{\"source\":\"\xf4\x90\x80\x80\"}".as_slice()].concat(), InvalidJson),
        // Numbers.
        ("a zero before the digits", with_data("{\"value\":01}"), InvalidJson),
        ("a zero before the digits, negative", with_data("{\"value\":-01}"), InvalidJson),
        ("a plus sign", with_data("{\"value\":+1}"), InvalidJson),
        ("a sign alone", with_data("{\"value\":-}"), InvalidJson),
        ("no digit before the point", with_data("{\"value\":.5}"), InvalidJson),
        ("no digit after the point", with_data("{\"value\":5.}"), InvalidJson),
        ("no digit in the exponent", with_data("{\"value\":5e}"), InvalidJson),
        ("a sign alone in the exponent", with_data("{\"value\":5e+}"), InvalidJson),
        ("two points", with_data("{\"value\":1.2.3}"), InvalidJson),
        ("hexadecimal", with_data("{\"value\":0x1f}"), InvalidJson),
        ("a comma for the point", with_data("{\"value\":1,5}"), InvalidJson),
        ("an underscore", with_data("{\"value\":1_000}"), InvalidJson),
        ("NaN", with_data("{\"value\":NaN}"), NotFinite),
        ("Infinity", with_data("{\"value\":Infinity}"), NotFinite),
        ("-Infinity", with_data("{\"value\":-Infinity}"), NotFinite),
        ("-NaN", with_data("{\"value\":-NaN}"), InvalidJson),
        ("NaN outside data", with("\"x\":NaN"), NotFinite),
        ("NaN in a list", with_data("{\"value\":[1,NaN]}"), NotFinite),
        ("NaN as the time", with("\"timestamp\":NaN"), NotFinite),
        ("Infinity as the source", b"{\"source\":Infinity,\"type\":\"t\",\"data\":{}}".to_vec(), NotFinite),
        ("NaN and nothing else", b"NaN".to_vec(), NotFinite),
        ("1e999", with_data("{\"value\":1e999}"), NotFinite),
        ("-1e309", with_data("{\"value\":-1e309}"), NotFinite),
        ("400 digits", with_data(&format!("{{\"value\":{}}}", "9".repeat(400))), NotFinite),
        ("an overflow in metadata", with("\"metadata\":{\"a\":[{\"b\":1e400}]}"), NotFinite),
        ("an overflow as the time", with("\"timestamp\":1e400"), NotFinite),
        ("NaN in a broken text", with_data("{\"value\":NaN"), InvalidJson),
        // Depth.
        ("129 levels of lists", with(&format!("\"x\":{}", nested("[", "]", 128))), TooDeep),
        ("129 levels of data", with_data(&format!("{}1{}", "{\"a\":".repeat(128), "}".repeat(128))), TooDeep),
        ("a million brackets", "[".repeat(1_000_000).into_bytes(), TooDeep),
        ("a million brackets, closed", nested("[", "]", 1_000_000).into_bytes(), TooDeep),
        ("a million objects", "{\"a\":".repeat(1_000_000).into_bytes(), TooDeep),
        ("a million objects in data", with_data(&"{\"a\":".repeat(1_000_000)), TooDeep),
        ("a million mixed", with_data(&"[{\"a\":".repeat(500_000)), TooDeep),
        // Other JSON.
        ("null in text", b"null".to_vec(), WrongType),
        ("a number", b"42".to_vec(), WrongType),
        ("a string", b"\"event\"".to_vec(), WrongType),
        ("true", b"true".to_vec(), WrongType),
        ("a list", b"[]".to_vec(), WrongType),
        ("a list of events", [b"[", &good[..], b"]"].concat(), WrongType),
        // Fields.
        ("an empty object", b"{}".to_vec(), MissingField),
        ("no source", b"{\"type\":\"t\",\"data\":{}}".to_vec(), MissingField),
        ("no type", b"{\"source\":\"s\",\"data\":{}}".to_vec(), MissingField),
        ("no data", b"{\"source\":\"s\",\"type\":\"t\"}".to_vec(), MissingField),
        ("Source in capitals", b"{\"Source\":\"s\",\"type\":\"t\",\"data\":{}}".to_vec(), MissingField),
        (
            "source below another",
            b"{\"event\":{\"source\":\"s\",\"type\":\"t\",\"data\":{}}}".to_vec(),
            MissingField,
        ),
        ("an empty source", b"{\"source\":\"\",\"type\":\"t\",\"data\":{}}".to_vec(), WrongType),
        ("an empty type", b"{\"source\":\"s\",\"type\":\"\",\"data\":{}}".to_vec(), WrongType),
        ("a number as source", b"{\"source\":1,\"type\":\"t\",\"data\":{}}".to_vec(), WrongType),
        ("null as source", b"{\"source\":null,\"type\":\"t\",\"data\":{}}".to_vec(), WrongType),
        ("a list as source", b"{\"source\":[\"s\"],\"type\":\"t\",\"data\":{}}".to_vec(), WrongType),
        ("an object as type", b"{\"source\":\"s\",\"type\":{},\"data\":{}}".to_vec(), WrongType),
        ("true as type", b"{\"source\":\"s\",\"type\":true,\"data\":{}}".to_vec(), WrongType),
        ("a number as data", with_data("1"), WrongType),
        ("null as data", with_data("null"), WrongType),
        ("a list as data", with_data("[]"), WrongType),
        ("a string as data", with_data("\"{}\""), WrongType),
        ("source twice", with("\"source\":\"s\""), RepeatedField),
        ("type twice", with("\"type\":\"other\""), RepeatedField),
        ("data twice", with("\"data\":{}"), RepeatedField),
        ("timestamp twice", with("\"timestamp\":1,\"timestamp\":2"), RepeatedField),
        ("another field twice", with("\"x\":1,\"x\":2"), RepeatedField),
        ("the empty name twice", with("\"\":1,\"\":2"), RepeatedField),
        ("source twice, once escaped", with("\"s\\u006furce\":\"s\""), RepeatedField),
        ("another field twice, once escaped", with("\"ab\":1,\"\\u0061b\":2"), RepeatedField),
        ("twice, and wrong besides", with("\"source\":1"), RepeatedField),
        // Times.
        ("true as the time", with("\"timestamp\":true"), InvalidTimestamp),
        ("a list as the time", with("\"timestamp\":[1]"), InvalidTimestamp),
        ("an object as the time", with("\"timestamp\":{}"), InvalidTimestamp),
        ("an empty time", with("\"timestamp\":\"\""), InvalidTimestamp),
        ("a number in quotes as the time", with("\"timestamp\":\"1768564232\""), InvalidTimestamp),
        ("yesterday", with("\"timestamp\":\"yesterday\""), InvalidTimestamp),
        ("a date alone", with("\"timestamp\":\"2026-01-16\""), InvalidTimestamp),
        ("a date as in the United States", with("\"timestamp\":\"01/16/2026 11:50\""), InvalidTimestamp),
        ("a date as in mail", with("\"timestamp\":\"Fri, 16 Jan 2026 11:50:32 GMT\""), InvalidTimestamp),
        ("month 13", with("\"timestamp\":\"2026-13-16T11:50:32Z\""), InvalidTimestamp),
        ("30 February", with("\"timestamp\":\"2026-02-30T11:50:32Z\""), InvalidTimestamp),
        ("hour 25", with("\"timestamp\":\"2026-01-16T25:50:32Z\""), InvalidTimestamp),
        ("before 1970, a number", with("\"timestamp\":-1"), InvalidTimestamp),
        ("before 1970, a date", with("\"timestamp\":\"1969-12-31T23:59:59Z\""), InvalidTimestamp),
        ("next week", with("\"timestamp\":1769169032"), FutureTimestamp),
        ("next year, a date", with("\"timestamp\":\"2027-01-16T11:50:32Z\""), FutureTimestamp),
        ("microseconds", with("\"timestamp\":1768564232665000"), FutureTimestamp),
        ("nanoseconds", with("\"timestamp\":1768564232665000000"), FutureTimestamp),
        ("the end of time", with("\"timestamp\":1e308"), FutureTimestamp),
        ("the year 9999", with("\"timestamp\":\"9999-12-31T23:59:59Z\""), FutureTimestamp),
        // MessagePack.
        ("a map cut short", vec![0x83], InvalidMessagepack),
        ("a map of four billion", vec![0xdf, 0xff, 0xff, 0xff, 0xff], InvalidMessagepack),
        ("a string of four billion", packed(1, b"\xa4data\xdb\xff\xff\xff\xff"), InvalidMessagepack),
        ("bytes after the map", packed(1, b"\xa4data\x80\x00"), InvalidMessagepack),
        ("the byte that is never used", packed(1, b"\xa4data\xc1"), InvalidMessagepack),
        ("a string that is not UTF-8", packed(1, b"\xa4data\x81\xa1a\xa1\xff"), InvalidMessagepack),
        ("a value missing", packed(1, b"\xa4data"), InvalidMessagepack),
        ("UTF-8 that begins like a map", b"\xde\x80".to_vec(), InvalidMessagepack),
        ("a list of one event", [vec![0x91], packed(1, b"\xa4data\x80")].concat(), WrongType),
        ("a long list", vec![0xdc, 0, 0], WrongType),
        ("NaN as float 64", packed(1, b"\xa4data\x81\xa1v\xcb\x7f\xf8\0\0\0\0\0\0"), NotFinite),
        ("infinity as float 32", packed(1, b"\xa4data\x81\xa1v\xca\x7f\x80\0\0"), NotFinite),
        (
            "129 levels",
            packed(1, &[b"\xa4data".to_vec(), b"\x81\xa1a".repeat(128), vec![1]].concat()),
            TooDeep,
        ),
        ("a million levels", packed(1, &[b"\xa1x".to_vec(), vec![0x91; 1_000_000]].concat()), TooDeep),
        ("an empty map", vec![0x80], MissingField),
        ("no data in the map", packed(0, b""), MissingField),
        ("a number as a name", packed(1, b"\x01\x02"), WrongType),
        ("a number as data, packed", packed(1, b"\xa4data\x01"), WrongType),
        ("bytes as type", b"\x81\xa4type\xc4\x01t".to_vec(), MissingField),
        ("source twice, packed", packed(1, b"\xa6source\xa1s"), RepeatedField),
        (
            "the timestamp extension",
            packed(2, b"\xa4data\x80\xa9timestamp\xd6\xff\x5f\0\0\0"),
            InvalidTimestamp,
        ),
        ("before 1970, packed", packed(2, b"\xa4data\x80\xa9timestamp\xff"), InvalidTimestamp),
    ];
    let many: Vec<String> = (0..200).map(|at| format!("\"f{}\":1", at % 199)).collect();
    cases.push(("one of two hundred fields twice", with(&many.join(",")), RepeatedField));

    assert!(cases.len() > 100);
    for (name, bytes, reason) in &cases {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
        let refused = decode(bytes).expect_err(name);
        assert_eq!(refused.reason, *reason, "{name}: {refused}\n{shown}");
        assert!(!refused.detail.is_empty(), "{name}");
    }
}

#[test]
fn odd_events_that_are_good() {
    let event_time = EventTime(1_768_564_232_000_000);
    for (name, bytes, time) in [
        ("plain", with_data("{\"value\":1}"), event_time),
        (
            "white space everywhere",
            b" { \"source\" :\t\"s\" ,\r\n\"type\":\"t\",\"data\":{ } } \n".to_vec(),
            RECORD_TIME,
        ),
        ("no time", with("\"x\":1"), RECORD_TIME),
        ("null as the time", with("\"timestamp\":null"), RECORD_TIME),
        ("milliseconds", with("\"timestamp\":1768564232000"), event_time),
        ("an hour ahead", with("\"timestamp\":1768567900"), EventTime(1_768_567_900_000_000)),
        ("exactly a day ahead", with("\"timestamp\":1768650700"), RECORD_TIME.plus_micros(DAY_MICROS)),
        ("128 levels of lists", with(&format!("\"x\":{}", nested("[", "]", 127))), RECORD_TIME),
        (
            "128 levels of data",
            with_data(&format!("{}1{}", "{\"a\":".repeat(127), "}".repeat(127))),
            event_time,
        ),
        ("30 digits", with_data("{\"value\":123456789012345678901234567890}"), event_time),
        ("the greatest double", with_data("{\"value\":1.7976931348623157e308}"), event_time),
        ("an underflow", with_data("{\"value\":1e-999}"), event_time),
        ("minus zero", with_data("{\"value\":-0.0}"), event_time),
        ("a NUL escaped", with("\"x\":\"\\u0000\""), RECORD_TIME),
        ("a pair of surrogates", with("\"x\":\"\\ud83d\\ude00\""), RECORD_TIME),
        ("DEL in a string", with("\"x\":\"\x7f\""), RECORD_TIME),
        ("a field twice below the top", with_data("{\"value\":1,\"value\":2}"), event_time),
        ("a number as id", with("\"id\":7"), RECORD_TIME),
        ("metadata that is no object", with("\"metadata\":\"none\""), RECORD_TIME),
        ("empty data", with_data("{}"), event_time),
        ("packed", packed(1, b"\xa4data\x81\xa1v\x01"), RECORD_TIME),
        ("packed with nil as the time", packed(2, b"\xa4data\x80\xa9timestamp\xc0"), RECORD_TIME),
        (
            "packed, 128 levels",
            packed(1, &[b"\xa4data".to_vec(), b"\x81\xa1a".repeat(127), vec![1]].concat()),
            RECORD_TIME,
        ),
    ] {
        assert_eq!(decode(&bytes), Ok(time), "{name}: {}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_record_without_its_own_time_is_refused_only_when_it_needs_one() {
    let nowhere = EventTime(-1_000);
    let refused = Decoder::new().decode(&with("\"x\":1"), nowhere, DAY_MICROS).expect_err("no time at all");
    assert_eq!(refused.reason, Reason::InvalidTimestamp);
}
