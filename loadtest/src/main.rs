//! `tidecast-loadtest`: the measurements, from a shell.

use clap::{Parser, Subcommand};
use tidecast_loadtest::{chaos, correctness, delivery, latency, models, peers, rate, rebalance};
use tidecast_tests::Kafka;

/// Measures the tidecast binary beside it (or TIDECAST_BIN) against a real Kafka and prints tables. Build with --release.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// A broker that is there already (host:port); without it one is started, and ended after the run.
    #[arg(long, global = true)]
    kafka: Option<String>,
    #[command(subcommand)]
    run: Run,
}

#[derive(Subcommand)]
enum Run {
    /// Reads a full topic as fast as it can and checks every window: events a second, CPU, memory.
    Rate(rate::Options),
    /// Events at a fixed rate with the clock's time: from the event that closes a window to its aggregate.
    Latency(latency::Options),
    /// Many models at once: memory, and how soon after its window each forecast comes.
    Models(models::Options),
    /// Kills, stops and expels processes under load, stops the broker, and checks every window and the ledger.
    Chaos(chaos::Options),
    /// Everything that must be exact, in one table: kills, rebalances, simulated histories, damage, poison, disorder.
    Correctness(correctness::Options),
    /// Members that come and go under load: how long partitions are silent, and whether every window is right.
    Rebalance(rebalance::Options),
    /// Many WebSocket clients: memory, latency, rate, coming back, not reading; beside a server on Centrifuge (built with Go).
    Delivery(delivery::Options),
    /// The same task for Tidecast and other stream processors, one after the other, on the broker of their launcher.
    Peers(peers::Options),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let kafka = || match &arguments.kafka {
        Some(address) => Kafka::at(address),
        None => tokio::task::block_in_place(Kafka::own),
    };
    match &arguments.run {
        Run::Rate(options) => rate::run(&kafka(), options).await,
        Run::Latency(options) => latency::run(&kafka(), options).await,
        Run::Models(options) => models::run(&kafka(), options).await,
        Run::Chaos(options) => chaos::run(&kafka(), options).await,
        Run::Correctness(options) => correctness::run(&kafka(), options).await,
        Run::Rebalance(options) => rebalance::run(&kafka(), options).await,
        Run::Delivery(options) => delivery::run(&kafka(), options).await,
        Run::Peers(options) => tokio::task::block_in_place(|| peers::run(options)),
    }
}
