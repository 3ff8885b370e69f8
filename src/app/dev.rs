//! `tidecast dev`: everything in one process, on an embedded broker, with real data.

use crate::cli::{DevOptions, GenerateOptions, Pattern};
use crate::dev_replay::{self, Replay};
use crate::service::Addresses;
use crate::{generate, load_settings, run};
use anyhow::Context;
use std::process::ExitCode;
use std::sync::Arc;
use tidecast_config::Settings;
use tidecast_kafka::EmbeddedBroker;

const CONFIG: &str = include_str!("dev.toml");
/// The topic of the replayed flights.
pub const FLIGHTS: &str = "flights";

/// Runs it.
pub fn run(options: &DevOptions) -> anyhow::Result<ExitCode> {
    let state = tempfile::Builder::new().prefix("tidecast-dev-").tempdir().context("no temporary folder")?;
    // First without the broker's address, to know which topics it has to have.
    let mut config = options.config.clone();
    let folder = state.path().display().to_string();
    config.set.insert(0, format!("state.dir={folder}"));
    let settings = load_settings::load(&config, Some(("the built-in dev.toml", CONFIG)))?;
    let topics: Vec<(String, i32)> =
        crate::service::topics(&settings).into_iter().map(|topic| (topic.name, topic.partitions)).collect();
    let broker = EmbeddedBroker::start(&topics).map_err(anyhow::Error::msg)?;
    config.set.insert(1, format!("kafka.bootstrap_servers=[\"{}\"]", broker.bootstrap_servers()));
    let settings = load_settings::load(&config, Some(("the built-in dev.toml", CONFIG)))?;
    let (options, banner_broker) = (options.clone(), broker.bootstrap_servers().to_owned());
    let code = run::on_runtime(settings, move |settings, addresses| {
        beside(settings, addresses, options, banner_broker)
    });
    drop(broker);
    code
}

async fn beside(
    settings: Arc<Settings>,
    addresses: Addresses,
    options: DevOptions,
    broker: String,
) -> anyhow::Result<()> {
    banner(&addresses, &broker);
    let replay = Replay { speed: options.speed, history_weeks: options.history, topic: FLIGHTS.to_owned() };
    let flights = dev_replay::run(settings.clone(), replay);
    let load = async {
        if options.load > 0.0 {
            let generate = GenerateOptions {
                url: None,
                kafka: Some(broker),
                topic: settings.topics.events.clone(),
                rate: options.load,
                sources: 12,
                pattern: Pattern::Wave,
                duration: None,
                connections: 1,
                seed: 1,
                token: None,
            };
            generate::to_kafka(&generate, false).await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(flights, load)?;
    // A replay without an end only ends by an error; a load of nothing at once.
    std::future::pending::<()>().await;
    Ok(())
}

fn banner(addresses: &Addresses, broker: &str) {
    let [(_, app), (_, websocket), (_, admin)] = addresses[..] else { return };
    // To standard output: what a person asked for, apart from the log.
    println!(
        "\n  Tidecast is up.\n\n    dashboard    http://{app}/\n    REST         http://{app}/docs\n    WebSocket    \
         ws://{websocket}/forecast-updates\n    health       http://{admin}/health\n    metrics      \
         http://{admin}/metrics\n    Kafka        {broker}\n\n  A year of flights from New York is replayed on topic \
         {FLIGHTS:?}. Ctrl-C ends it.\n"
    );
}
