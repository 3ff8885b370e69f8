//! Query parameters: a wrong one is told with what was found and what is allowed.

use crate::house::House;
use serde_json::json;

#[tokio::test]
async fn a_number_that_is_none_is_told_with_what_is_allowed() {
    let house = House::open().await;
    for (path, field, words) in [
        ("/api/models?limit=-1", "limit", ["\"-1\"", "from 1 to 1000"]),
        ("/api/models?limit=abc", "limit", ["\"abc\"", "from 1 to 1000"]),
        ("/api/models?limit=", "limit", ["\"\"", "from 1 to 1000"]),
        ("/api/models?limit=1.5", "limit", ["\"1.5\"", "from 1 to 1000"]),
        ("/api/models?limit=0", "limit", ["found 0", "1 to 1000"]),
        ("/api/models?limit=99999999999999999999", "limit", ["99999", "from 1 to 1000"]),
        ("/api/models/m/forecast?horizon=x", "horizon", ["\"x\"", "a whole number"]),
        ("/api/kafka/metrics/hourly?hours=-2", "hours", ["\"-2\"", "from 1 to 2160"]),
        ("/api/kafka/topics/a/records?partition=x", "partition", ["\"x\"", "0 at least"]),
    ] {
        let (status, problem) = house.get(path).await;
        assert_eq!((status, &problem["field"]), (400, &json!(field)), "{path}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(words.iter().all(|word| detail.contains(word)), "{path}: {detail}");
    }
    let (status, problem) = house.post("/api/kafka/metrics/cleanup?days=-5", &json!(null)).await;
    assert_eq!((status, &problem["field"]), (400, &json!("days")));
    assert_eq!(problem["detail"], "found \"-5\"; allowed: a whole number from 0 to 3650");
}
