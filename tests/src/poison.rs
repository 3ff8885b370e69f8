//! Events that must be refused, each with the reasons that fit it, and odd ones that must be taken.
//!
//! Where the interface leaves two readings open (is an empty `source` missing or of the wrong type?), both reasons stand.

/// One broken record.
#[derive(Clone, Debug)]
pub struct Poison {
    /// What is broken.
    pub name: &'static str,
    /// The record's value; none is a null.
    pub bytes: Option<Vec<u8>>,
    /// The reasons that fit.
    pub reasons: &'static [&'static str],
}

const EMPTY: &[&str] = &["empty"];
const JSON: &[&str] = &["invalid_json"];
const EITHER_SYNTAX: &[&str] = &["invalid_json", "invalid_messagepack"];
const MSGPACK: &[&str] = &["invalid_messagepack"];
const MISSING: &[&str] = &["missing_field"];
const TYPE: &[&str] = &["wrong_type"];
const MISSING_OR_TYPE: &[&str] = &["missing_field", "wrong_type"];
const REPEATED: &[&str] = &["repeated_field"];
const TIME: &[&str] = &["invalid_timestamp"];
const TIME_OR_TYPE: &[&str] = &["invalid_timestamp", "wrong_type"];
const FUTURE: &[&str] = &["future_timestamp"];
const INFINITE: &[&str] = &["not_finite"];
const INFINITE_OR_JSON: &[&str] = &["not_finite", "invalid_json"];
const INFINITE_OR_TIME: &[&str] = &["not_finite", "invalid_timestamp"];
const DEEP: &[&str] = &["too_deep"];

/// JSON written out: what is broken, the text, the reasons that fit.
const WRITTEN: &[(&str, &str, &[&str])] = &[
    ("nothing but a brace", "{", JSON),
    ("cut in a string", r#"{"source":"a","type":"t","da"#, JSON),
    ("cut before the last brace", r#"{"source":"a","type":"t","data":{"value":1}"#, JSON),
    ("a comma too many", r#"{"source":"a","type":"t","data":{"value":1},}"#, JSON),
    ("a comma too few", r#"{"source":"a" "type":"t","data":{}}"#, JSON),
    ("a bracket for a brace", r#"{"source":"a","type":"t","data":{"value":1]}"#, JSON),
    ("single quotes", r#"{'source':'a','type':'t','data':{}}"#, JSON),
    ("names without quotes", r#"{source:"a",type:"t",data:{}}"#, JSON),
    ("a comment", r#"{"source":"a",/* */"type":"t","data":{}}"#, JSON),
    (
        "two events in one record",
        r#"{"source":"a","type":"t","data":{}}{"source":"a","type":"t","data":{}}"#,
        JSON,
    ),
    ("something after the end", r#"{"source":"a","type":"t","data":{}} x"#, JSON),
    ("a word that is none", r#"{"source":"a","type":"t","data":{"value":undefined}}"#, JSON),
    ("True with a capital", r#"{"source":"a","type":"t","data":{"value":True}}"#, JSON),
    ("a leading zero", r#"{"source":"a","type":"t","data":{"value":01}}"#, JSON),
    ("a leading plus", r#"{"source":"a","type":"t","data":{"value":+1}}"#, JSON),
    ("a point without digits", r#"{"source":"a","type":"t","data":{"value":1.}}"#, JSON),
    ("a hexadecimal number", r#"{"source":"a","type":"t","data":{"value":0x10}}"#, JSON),
    ("an unknown escape", r#"{"source":"\q","type":"t","data":{}}"#, JSON),
    ("half a surrogate pair", r#"{"source":"\ud800","type":"t","data":{}}"#, JSON),
    ("a line break in a string", "{\"source\":\"a\nb\",\"type\":\"t\",\"data\":{}}", JSON),
    ("plain text", "sensor_1;51.3;celsius", EITHER_SYNTAX),
    ("XML", "<event source='a'/>", EITHER_SYNTAX),
    ("nothing but blanks", "  \n ", &["invalid_json", "empty"]),
    ("an array", "[]", TYPE),
    ("an array of events", r#"[{"source":"a","type":"t","data":{}}]"#, TYPE),
    ("a string", r#""event""#, TYPE),
    ("null in words", "null", TYPE),
    ("true", "true", TYPE),
    ("an object without anything", "{}", MISSING),
    ("no source", r#"{"type":"t","data":{"value":1}}"#, MISSING),
    ("no type", r#"{"source":"a","data":{"value":1}}"#, MISSING),
    ("no data", r#"{"source":"a","type":"t"}"#, MISSING),
    ("Source with a capital", r#"{"Source":"a","type":"t","data":{"value":1}}"#, MISSING),
    ("an empty source", r#"{"source":"","type":"t","data":{"value":1}}"#, MISSING_OR_TYPE),
    ("an empty type", r#"{"source":"a","type":"","data":{"value":1}}"#, MISSING_OR_TYPE),
    ("a null source", r#"{"source":null,"type":"t","data":{"value":1}}"#, MISSING_OR_TYPE),
    ("null data", r#"{"source":"a","type":"t","data":null}"#, MISSING_OR_TYPE),
    ("a number for a source", r#"{"source":7,"type":"t","data":{"value":1}}"#, TYPE),
    ("a list for a type", r#"{"source":"a","type":["t"],"data":{"value":1}}"#, TYPE),
    ("an object for a source", r#"{"source":{"id":1},"type":"t","data":{"value":1}}"#, TYPE),
    ("a number for data", r#"{"source":"a","type":"t","data":51.3}"#, TYPE),
    ("a list for data", r#"{"source":"a","type":"t","data":[1,2]}"#, TYPE),
    ("text for data", r#"{"source":"a","type":"t","data":"{\"value\":1}"}"#, TYPE),
    ("two sources", r#"{"source":"a","source":"b","type":"t","data":{"value":1}}"#, REPEATED),
    ("the same source twice", r#"{"source":"a","source":"a","type":"t","data":{"value":1}}"#, REPEATED),
    ("two data", r#"{"source":"a","type":"t","data":{"value":1},"data":{"value":2}}"#, REPEATED),
    ("two timestamps", r#"{"source":"a","type":"t","timestamp":1,"timestamp":2,"data":{}}"#, REPEATED),
    (
        "two of a carried field",
        r#"{"source":"a","type":"t","data":{},"metadata":{},"metadata":{}}"#,
        REPEATED,
    ),
    (
        "two sources, one in escapes",
        r#"{"source":"a","sourc\u0065":"b","type":"t","data":{"value":1}}"#,
        REPEATED,
    ),
    ("a word for a time", r#"{"source":"a","type":"t","timestamp":"yesterday","data":{}}"#, TIME),
    ("an empty time", r#"{"source":"a","type":"t","timestamp":"","data":{}}"#, TIME),
    ("digits in quotes", r#"{"source":"a","type":"t","timestamp":"1732150000","data":{}}"#, TIME),
    ("month 13", r#"{"source":"a","type":"t","timestamp":"2024-13-01T00:00:00Z","data":{}}"#, TIME),
    ("30 February", r#"{"source":"a","type":"t","timestamp":"2024-02-30T00:00:00Z","data":{}}"#, TIME),
    ("hour 25", r#"{"source":"a","type":"t","timestamp":"2024-01-01T25:00:00Z","data":{}}"#, TIME),
    ("a time without a day", r#"{"source":"a","type":"t","timestamp":"11:50:32","data":{}}"#, TIME),
    ("before 1970", r#"{"source":"a","type":"t","timestamp":"1969-12-31T23:59:59Z","data":{}}"#, TIME),
    ("minus one second", r#"{"source":"a","type":"t","timestamp":-1,"data":{}}"#, TIME),
    ("a millisecond before 1970", r#"{"source":"a","type":"t","timestamp":-0.001,"data":{}}"#, TIME),
    ("true for a time", r#"{"source":"a","type":"t","timestamp":true,"data":{}}"#, TIME_OR_TYPE),
    ("an object for a time", r#"{"source":"a","type":"t","timestamp":{"s":1},"data":{}}"#, TIME_OR_TYPE),
    (
        "a time past every double",
        r#"{"source":"a","type":"t","timestamp":1e400,"data":{}}"#,
        INFINITE_OR_TIME,
    ),
    ("the year 9999", r#"{"source":"a","type":"t","timestamp":"9999-12-31T23:59:59Z","data":{}}"#, FUTURE),
    ("seconds of the year 3000", r#"{"source":"a","type":"t","timestamp":32503680000,"data":{}}"#, FUTURE),
    (
        "milliseconds of the year 3000",
        r#"{"source":"a","type":"t","timestamp":32503680000000,"data":{}}"#,
        FUTURE,
    ),
    ("a number past every double", r#"{"source":"a","type":"t","data":{"value":1e400}}"#, INFINITE),
    ("a negative one", r#"{"source":"a","type":"t","data":{"value":-1e999}}"#, INFINITE),
    ("one deep inside", r#"{"source":"a","type":"t","data":{"a":{"b":[1,{"c":1e400}]}}}"#, INFINITE),
    ("one in a carried field", r#"{"source":"a","type":"t","data":{},"metadata":{"n":1e400}}"#, INFINITE),
    ("NaN in words", r#"{"source":"a","type":"t","data":{"value":NaN}}"#, INFINITE_OR_JSON),
    ("Infinity in words", r#"{"source":"a","type":"t","data":{"value":Infinity}}"#, INFINITE_OR_JSON),
];

/// Every broken record.
pub fn corpus() -> Vec<Poison> {
    let text = |(name, text, reasons): &(&'static str, &str, &'static [&'static str])| Poison {
        name,
        bytes: Some(text.as_bytes().to_vec()),
        reasons,
    };
    let mut all: Vec<Poison> = WRITTEN.iter().map(text).collect();
    let mut add = |name, bytes: Option<Vec<u8>>, reasons| all.push(Poison { name, bytes, reasons });
    add("a null", None, EMPTY);
    add("no bytes", Some(Vec::new()), EMPTY);
    add(
        "bytes that are no text",
        Some(b"{\"source\":\"\xff\xfe\",\"type\":\"t\",\"data\":{}}".to_vec()),
        JSON,
    );
    add("zeros", Some(vec![0; 64]), EITHER_SYNTAX);
    add(
        "a gzip of something",
        Some(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\x04\x00".to_vec()),
        EITHER_SYNTAX,
    );
    add("200 lists in each other", Some(nested("[", "]", 200)), DEEP);
    add("200 objects in each other", Some(nested("{\"a\":", "}", 200)), DEEP);
    add("100,000 lists in each other", Some(nested("[", "]", 100_000)), DEEP);
    let opened =
        [br#"{"source":"a","type":"t","data":{"x":"#.as_slice(), "[".repeat(100_000).as_bytes()].concat();
    add("100,000 lists opened and none closed", Some(opened), &["too_deep", "invalid_json"]);
    add("half a megabyte of one letter", Some(vec![b'a'; 500_000]), EITHER_SYNTAX);
    add("a map of MessagePack cut short", Some(packed(&event(Nan::None))[..20].to_vec()), MSGPACK);
    let more = [packed(&event(Nan::None)), vec![0xC0]].concat();
    add("MessagePack and something after it", Some(more), MSGPACK);
    add("the byte that MessagePack never uses", Some(vec![0x81, 0xA1, b'a', 0xC1]), MSGPACK);
    add("a map of four billion entries", Some(vec![0xDF, 0xFF, 0xFF, 0xFF, 0xFF]), MSGPACK);
    add("a string of four billion bytes", Some(vec![0x81, 0xDB, 0xFF, 0xFF, 0xFF, 0xFF, b'a']), MSGPACK);
    add("an empty map of MessagePack", Some(vec![0x80]), MISSING);
    add("NaN in MessagePack", Some(packed(&event(Nan::Is(f64::NAN)))), INFINITE);
    add("infinity in MessagePack", Some(packed(&event(Nan::Is(f64::INFINITY)))), INFINITE);
    let deep =
        [b"\x83\xa6source\xa1a\xa4type\xa1t\xa4data\x81\xa1x".as_slice(), &[0x91; 200], b"\xC0"].concat();
    add("200 lists in each other in MessagePack", Some(deep), DEEP);
    let no_source = [b"\x82\xa4type\xa1t\xa4data\x80".as_slice()].concat();
    add("no source in MessagePack", Some(no_source), MISSING);
    let twice = [b"\x84\xa6source\xa1a\xa6source\xa1b\xa4type\xa1t\xa4data\x80".as_slice()].concat();
    add("two sources in MessagePack", Some(twice), REPEATED);
    all
}

enum Nan {
    None,
    Is(f64),
}

/// Serialised by hand through serde, for JSON values have no NaN.
type Event = std::collections::BTreeMap<&'static str, Leaf>;

enum Leaf {
    Text(&'static str),
    Data(f64),
}

fn event(nan: Nan) -> Event {
    let value = match nan {
        Nan::None => 1.5,
        Nan::Is(value) => value,
    };
    [("source", Leaf::Text("a")), ("type", Leaf::Text("t")), ("data", Leaf::Data(value))].into()
}

fn packed(event: &Event) -> Vec<u8> {
    let mut out = vec![0x80 | event.len() as u8];
    for (name, leaf) in event {
        out.extend(rmp_serde::to_vec(name).unwrap());
        match leaf {
            Leaf::Text(text) => out.extend(rmp_serde::to_vec(text).unwrap()),
            Leaf::Data(value) => {
                out.extend(b"\x81\xa5value");
                out.extend(rmp_serde::to_vec(value).unwrap());
            }
        }
    }
    out
}

fn nested(open: &str, close: &str, levels: usize) -> Vec<u8> {
    let inner = format!("{}1{}", open.repeat(levels), close.repeat(levels));
    format!(r#"{{"source":"a","type":"t","data":{{"x":{inner}}}}}"#).into_bytes()
}

/// Odd records that are good: each is one event of source `odd` at the epoch second given, with `data.value` 1 where it
/// has any. The second half of a pair is the record; `at` is written into it where the form needs the time.
pub fn odd_but_good(at: u32) -> Vec<(&'static str, Vec<u8>)> {
    let ms = u64::from(at) * 1000;
    let text = |text: String| text.into_bytes();
    let levels = 100;
    let deep = format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    vec![
        (
            "milliseconds",
            text(format!(r#"{{"source":"odd","type":"t","timestamp":{ms},"data":{{"value":1}}}}"#)),
        ),
        (
            "a fraction",
            text(format!(r#"{{"source":"odd","type":"t","timestamp":{at}.25,"data":{{"value":1.0}}}}"#)),
        ),
        (
            "an exponent",
            text(format!(r#"{{"source":"odd","type":"t","timestamp":{at}e0,"data":{{"value":10E-1}}}}"#)),
        ),
        (
            "blanks around",
            text(format!(
                " \n{{ \"source\" : \"odd\",\t\"type\":\"t\", \"timestamp\":{at}, \"data\":{{ \"value\":1 }} }}\r\n"
            )),
        ),
        (
            "another order",
            text(format!(r#"{{"data":{{"value":1}},"timestamp":{at},"type":"t","source":"odd"}}"#)),
        ),
        (
            "escaped letters",
            text(format!(
                r#"{{"sourc\u0065":"\u006fdd","type":"t","timestamp":{at},"data":{{"v\u0061lue":1}}}}"#
            )),
        ),
        (
            "more fields",
            text(format!(
                r#"{{"source":"odd","type":"t","timestamp":{at},"data":{{"value":1}},"x":[1,{{"y":null}}]}}"#
            )),
        ),
        (
            "a name twice below the top",
            text(format!(
                r#"{{"source":"odd","type":"t","timestamp":{at},"data":{{"a":{{"b":"x","b":"y"}},"value":1}}}}"#
            )),
        ),
        (
            "100 levels",
            text(format!(
                r#"{{"source":"odd","type":"t","timestamp":{at},"data":{{"x":{deep},"value":1}}}}"#
            )),
        ),
        (
            "thirty digits",
            text(format!(
                r#"{{"source":"odd","type":"t","timestamp":{at},"data":{{"value":1}},"n":123456789012345678901234567890}}"#
            )),
        ),
        (
            "an id and metadata",
            text(format!(
                r#"{{"id":"x","source":"odd","type":"t","timestamp":{at},"data":{{"value":1,"unit":"°C"}},"metadata":{{}}}}"#
            )),
        ),
        (
            "booleans and lists are no numbers",
            text(format!(
                r#"{{"source":"odd","type":"t","timestamp":{at},"data":{{"on":true,"list":[1,2],"value":1}}}}"#
            )),
        ),
        (
            "MessagePack",
            [
                b"\x84\xa6source\xa3odd\xa4type\xa1t\xa9timestamp\xce".as_slice(),
                &at.to_be_bytes(),
                b"\xa4data\x81\xa5value\x01",
            ]
            .concat(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_is_wide_and_each_kind_is_there_once() {
        let all = corpus();
        let names: std::collections::BTreeSet<_> = all.iter().map(|p| p.name).collect();
        assert!(all.len() >= 60 && names.len() == all.len(), "{} of {}", names.len(), all.len());
        for reason in [
            "empty",
            "invalid_json",
            "invalid_messagepack",
            "missing_field",
            "wrong_type",
            "repeated_field",
            "invalid_timestamp",
            "future_timestamp",
            "not_finite",
            "too_deep",
        ] {
            assert!(all.iter().any(|p| p.reasons == [reason]), "nothing is sure to be {reason}");
        }
    }

    #[test]
    fn the_good_ones_are_good_json_or_messagepack() {
        for (name, bytes) in odd_but_good(1_732_150_000) {
            let json = serde_json::from_slice::<serde_json::Value>(&bytes).is_ok();
            assert!(json || rmp_serde::from_slice::<serde_json::Value>(&bytes).is_ok(), "{name}");
        }
    }
}
