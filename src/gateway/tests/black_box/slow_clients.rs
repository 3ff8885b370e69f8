//! A client that does not read costs its bound and nothing else, and is told what it missed.

use crate::house::{House, anomaly, forecast};
use serde_json::{Value, json};
use tidecast_ports::OutputKind;
use tokio::net::TcpSocket;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_wins_alerts_stay_and_the_gap_is_told_exactly() {
    let house = House::with(&["limits.session_queue_size=65536"]).await;
    // Small socket buffers, so that it is the queue that fills.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let stream = socket.connect(house.websocket).await.unwrap();
    let url = format!("ws://{}/", house.websocket);
    let stream = tokio_tungstenite::MaybeTlsStream::Plain(stream);
    let (socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let mut slow = crate::house::Client(socket);
    let mut quick = house.connect().await;
    slow.subscribe(&["*"], &["new_forecast", "anomaly_detected"]).await;
    quick.subscribe(&["last"], &["new_forecast"]).await;
    let mut value = forecast("m", 0.0);
    value["metadata"]["pad"] = Value::from("x".repeat(4_000));
    let published: u64 = 20_000;
    for n in 0..published {
        if n == published / 2 {
            house.publish(OutputKind::Alert, &anomaly("m"));
        }
        value["model_id"] = Value::from(format!("m{}", n % 3));
        value["predicted_value"] = Value::from(n);
        house.publish(OutputKind::Forecast, &value);
    }
    house.publish(OutputKind::Forecast, &forecast("last", 1.0));
    assert_eq!(quick.hear().await["model_id"], "last", "another client's slowness is not ours");
    let (mut forecasts, mut anomalies, mut skipped) = (Vec::new(), 0, 0);
    loop {
        let message = slow.hear().await;
        match message["type"].as_str().unwrap() {
            "forecast_update" if message["model_id"] == "last" => break,
            "forecast_update" => forecasts.push(message["data"]["predicted_value"].as_u64().unwrap()),
            "anomaly_alert" => anomalies += 1,
            "gap" => {
                skipped += message["data"]["skipped"].as_u64().unwrap();
                let models = message["data"]["model_ids"].as_array().unwrap();
                assert!(
                    models.iter().all(|id| ["m0", "m1", "m2"].contains(&id.as_str().unwrap())),
                    "{models:?}"
                );
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(anomalies, 1, "the alert was not skipped");
    assert!(skipped > 0);
    assert_eq!(forecasts.len() as u64 + skipped, published, "what did not come was told");
    assert!(forecasts.is_sorted());
    assert_eq!(forecasts.last_chunk::<3>().unwrap(), &[published - 3, published - 2, published - 1]);
    assert_eq!(house.metric("websocket_messages_dropped_total").await, skipped as f64);
    assert_eq!(slow.hear_until_quiet().await, [] as [Value; 0], "a gap is told once");
    assert_eq!(
        house.get("/api/stats").await.1["websocket"],
        json!({"active_connections": 2, "queued_messages": 0})
    );
}
