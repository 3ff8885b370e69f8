//! Dead letters: listed, and put back once.

use crate::broker;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::Duration;
use tidecast_kafka::{DeadLetterTopic, Publishing};
use tidecast_ports::operations::{DeadLetter, ReplayRequest};
use tidecast_ports::{ControlError, DeadLetters, PageRequest};

struct Bench {
    input: String,
    dlq: String,
    letters: DeadLetterTopic,
}

fn bench(letters: usize) -> Bench {
    let (input, dlq) = (broker::topic("input", 2), broker::topic("dlq", 3));
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker::bootstrap())
        .set("transactional.id", broker::unique("dlq"))
        .create()
        .unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    // Several transactions, so that markers lie between the letters.
    for n in 0..letters {
        if n % 7 == 0 {
            producer.begin_transaction().unwrap();
        }
        let offset = n.to_string();
        let reason = if n % 5 == 0 { "late" } else { "invalid_json" };
        let partition = (n % 2).to_string();
        let mut headers = OwnedHeaders::new();
        for (key, value) in [
            ("reason", reason),
            ("detail", "why"),
            ("topic", &input),
            ("partition", &partition),
            ("offset", &offset),
        ] {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        if n == 1 {
            headers = headers.insert(Header { key: "truncated", value: Some("true") });
        }
        let payload = if n == 2 { vec![0xff, n as u8] } else { format!("payload {n}").into_bytes() };
        let record = BaseRecord::to(&dlq)
            .partition((n % 3) as i32)
            .key("k")
            .payload(&payload)
            .timestamp(1_700_000_000_000 + n as i64)
            .headers(headers);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        if n % 7 == 6 || n + 1 == letters {
            producer.commit_transaction(Duration::from_secs(30)).unwrap();
        }
    }
    let cluster = broker::cluster(&broker::unique("dlq"));
    let letters = DeadLetterTopic::of_topic(&cluster, &dlq, 1, vec![input.clone()], Publishing::default());
    Bench { input, dlq, letters }
}

async fn all_pages(bench: &Bench, reason: Option<&str>, limit: usize) -> Vec<DeadLetter> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = PageRequest { limit: Some(limit), cursor: cursor.take(), search: None };
        let page = bench.letters.list(reason.map(str::to_owned), page).await.unwrap();
        assert!(page.items.len() <= limit);
        all.extend(page.items);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return all,
        }
    }
}

fn by_id(id: &str) -> ReplayRequest {
    ReplayRequest { ids: vec![id.to_owned()], ..ReplayRequest::default() }
}

#[test]
fn letters_are_listed_newest_first_page_by_page() {
    let bench = bench(60);
    broker::runtime().block_on(async {
        let all = all_pages(&bench, None, 7).await;
        let offsets: Vec<i64> = all.iter().map(|letter| letter.offset).collect();
        assert_eq!(offsets, (0..60).rev().collect::<Vec<i64>>());
        let letter = &all[56];
        assert_eq!(
            (letter.reason.as_str(), letter.topic.as_str(), letter.partition),
            ("invalid_json", &*bench.input, 1)
        );
        assert_eq!((letter.payload.as_deref(), letter.key.as_deref()), (Some("payload 3"), Some("k")));
        assert_eq!(letter.timestamp, "2023-11-14T22:13:20.003Z");
        assert!(all[58].truncated && !all[56].truncated);
        assert_eq!((all[57].payload.as_deref(), all[57].payload_base64.as_deref()), (None, Some("/wI=")));
        let late = all_pages(&bench, Some("late"), 5).await;
        assert_eq!(late.len(), 12);
        let search = PageRequest { search: Some("PAYLOAD 42".into()), ..PageRequest::default() };
        assert_eq!(bench.letters.list(None, search).await.unwrap().items.len(), 1);
        let wrong = PageRequest { cursor: Some("?".into()), ..PageRequest::default() };
        assert!(matches!(bench.letters.list(None, wrong).await, Err(ControlError::Invalid { .. })));
    });
    assert!(!bench.dlq.is_empty());
}

#[test]
fn a_letter_goes_back_once_whoever_asks() {
    let bench = bench(30);
    broker::runtime().block_on(async {
        let all = all_pages(&bench, None, 50).await;
        let id_of = |offset: i64| all.iter().find(|letter| letter.offset == offset).unwrap().id.clone();
        let one = bench.letters.replay(by_id(&id_of(9))).await.unwrap();
        assert_eq!((one.replayed, one.skipped), (1, 0));
        let again = bench.letters.replay(by_id(&id_of(9))).await.unwrap();
        assert_eq!((again.replayed, again.skipped), (0, 1));
        let late = ReplayRequest { reason: Some("late".into()), ..ReplayRequest::default() };
        assert_eq!(bench.letters.replay(late).await.unwrap().replayed, 6);
        // Six late, one by id, one cut.
        let rest = ReplayRequest { all: true, ..ReplayRequest::default() };
        let rest = bench.letters.replay(rest).await.unwrap();
        assert_eq!((rest.replayed, rest.skipped), (22, 8));
        // The cut one, mended.
        let mut mended = by_id(&id_of(1));
        mended.payload = Some(serde_json::json!({"mended": true}));
        assert_eq!(bench.letters.replay(mended).await.unwrap().replayed, 1);
        let unknown = bench.letters.replay(by_id("2-9999")).await.unwrap();
        assert_eq!((unknown.replayed, unknown.skipped), (0, 1));
    });
    let seen = broker::read_committed(&bench.input);
    for (partition, _, _, payload, _) in &seen {
        if let Some(number) = payload.as_ref().and_then(|payload| payload.strip_prefix("payload ")) {
            assert_eq!(
                number.parse::<i32>().unwrap() % 2,
                *partition,
                "a letter goes back to where it came from"
            );
        }
    }
    let mut back: Vec<String> = seen.into_iter().map(|seen| seen.3.unwrap()).collect();
    back.sort();
    let mut expected: Vec<String> =
        (0..30).filter(|n| ![1, 2].contains(n)).map(|n| format!("payload {n}")).collect();
    expected.push("\u{fffd}\u{2}".to_owned());
    expected.push(r#"{"mended":true}"#.to_owned());
    expected.sort();
    assert_eq!(back, expected);
}

#[test]
fn a_request_that_says_nothing_or_too_much_is_refused() {
    let bench = bench(1);
    broker::runtime().block_on(async {
        let two_ways = ReplayRequest { all: true, ..by_id("0-0") };
        let edited =
            ReplayRequest { all: true, payload: Some(serde_json::json!(1)), ..ReplayRequest::default() };
        for request in [ReplayRequest::default(), two_ways, edited, by_id("zero")] {
            assert!(matches!(bench.letters.replay(request).await, Err(ControlError::Invalid { .. })));
        }
    });
}
