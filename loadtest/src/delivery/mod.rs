//! Delivery to many clients: memory of idle connections, how soon updates come, how many, what a return of all costs, and
//! what clients do that do not read; and events in over many connections. Tidecast's gateway is measured, and beside it a
//! small server on Centrifuge that reads the same records from the same Kafka. Clients check every update's number.

mod client;
mod crowd;
mod dialect;
mod feed;
mod ingest;
mod record;
mod scenarios;
mod server;
mod wire;

use crate::table::{print, short};
use anyhow::Result;
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use scenarios::{Delivered, Measured, stalled};
use server::Server;
use tidecast_tests::Kafka;

/// What to run.
#[derive(Args, Clone)]
pub struct Options {
    /// Clients at once, each subscribed to ten models that nine others have too.
    #[arg(long, default_value_t = 10_000)]
    pub connections: usize,
    /// Updates a second, of all clients together.
    #[arg(long, default_value_t = 20_000)]
    pub deliveries: u32,
    /// Seconds that a rate is measured for.
    #[arg(long, default_value_t = 20)]
    pub seconds: u64,
    /// Seconds that one client in ten does not read.
    #[arg(long, default_value_t = 60)]
    pub stall_seconds: u64,
    /// Tidecast alone.
    #[arg(long)]
    pub alone: bool,
}

/// Files that may be open: a connection is one here and one in the server, and those that go overlap those that come.
const FILES: u64 = 65_536;

/// Runs and prints.
pub async fn run(kafka: &Kafka, options: &Options) -> Result<()> {
    raise_files(options);
    let server = Server::tidecast(kafka).await?;
    let ours = tokio::task::block_in_place(|| scenarios::measure(kafka, &server, options))?;
    drop(server);
    let theirs = match options.alone {
        true => Err("not run".to_string()),
        false => match Server::centrifuge(kafka).await {
            Err(error) => Err(error.to_string()),
            Ok(server) => {
                let measured = tokio::task::block_in_place(|| scenarios::measure(kafka, &server, options));
                measured.map_err(|error| error.to_string())
            }
        },
    };
    if let Err(why) = &theirs {
        println!("Centrifuge {}: {why}", server::version());
    }
    let version = format!("Centrifuge {}", server::version());
    print(&["what", "target", "Tidecast", &version], &rows(options, &ours, theirs.as_ref().ok()));
    Ok(())
}

/// As far as may be: what is missing is told by the server that has to refuse a connection.
fn raise_files(options: &Options) {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(FILES, |maximum| maximum.max(FILES));
    let raised = [most, limit.maximum.unwrap_or(most)].into_iter().find(|most| {
        setrlimit(Resource::Nofile, Rlimit { current: Some(*most), maximum: Some(*most) }).is_ok()
    });
    let wanted = options.connections as u64 * 2 + 1_000;
    if raised.is_none_or(|raised| raised < wanted) {
        eprintln!("only {raised:?} files may be open, and {wanted} are wanted: raise the limit (ulimit -n)");
    }
}

fn rows(options: &Options, ours: &Measured, theirs: Option<&Measured>) -> Vec<Vec<String>> {
    let clients = options.connections;
    let mut rows = Vec::new();
    let mut row = |what: &str, target: &str, cell: &dyn Fn(&Measured) -> String| {
        let theirs = theirs.map_or("-".to_string(), cell);
        rows.push(vec![what.to_string(), target.to_string(), cell(ours), theirs]);
    };
    let ms = |waits: &scenarios::Waits| format!("{:.1} / {:.1} / {:.1}", waits.p50, waits.p95, waits.p99);
    let delivered = |d: &Delivered| format!("{}/s, {:.2} cores", short(d.per_second), d.cores);
    row(&format!("KB resident for each of {clients} idle connections"), "≤ 10", &|m| {
        format!("{:.1}", m.idle_kb)
    });
    row("the same, subscribed to 10 models", "", &|m| format!("{:.1}", m.subscribed_kb));
    row(&format!("{} updates/s for all of them", short(f64::from(options.deliveries))), "", &|m| {
        delivered(&m.calm)
    });
    row("from Kafka's producer to the client, p50 / p95 / p99 ms", "", &|m| ms(&m.calm.whole));
    row("to a plain consumer of the topic", "", &|m| ms(&m.calm.kafka));
    row("from there to the client", "p95 < 5", &|m| ms(&m.calm.beyond));
    row(
        &format!(
            "{} of them do not read for {} s: MB more resident",
            stalled(clients),
            options.stall_seconds
        ),
        "≤ 40",
        &|m| format!("{:.0} ({:.0} in the kernel)", m.growth_mb, m.kernel_mb),
    );
    row("the others meanwhile, from the plain consumer", "as before", &|m| ms(&m.stalled.beyond));
    row("skipped and told, not told, repeated, closed", "0 not told", &|m| {
        let f = m.stall_faults;
        format!("{}, {}, {}, {}", f.missed - f.unreported(), f.unreported(), f.repeated, f.ended)
    });
    row("all come back at once: s until all are live", "≤ 5", &|m| match m.back {
        (took, back) if back == clients => format!("{:.2}", took.as_secs_f64()),
        (took, back) => format!("{back} of {clients} after {:.0}", took.as_secs_f64()),
    });
    row("missed, repeated", "0, 0", &|m| format!("{}, {}", m.back_faults.missed, m.back_faults.repeated));
    row("500 clients, 1,000 updates/s each", "≥ 400k/s", &|m| delivered(&m.busy));
    row("from Kafka's producer, p50 / p95 / p99 ms", "", &|m| ms(&m.busy.whole));
    row("from a plain consumer", "p95 < 15", &|m| ms(&m.busy.beyond));
    row("skipped and told, not told, repeated, closed", "0 not told", &|m| {
        let f = m.busy_faults;
        format!("{}, {}, {}, {}", f.missed - f.unreported(), f.unreported(), f.repeated, f.ended)
    });
    row(&format!("events in by {} clients, acknowledged", ingest::CLIENTS), "≥ 250k/s", &|m| {
        m.ingested.as_ref().map_or("-".to_string(), |i| format!("{}/s of {}", short(i.per_second), i.events))
    });
    row("refused, missing in the topic, there twice", "0, 0, 0", &|m| {
        let of = |i: &ingest::Ingested| format!("{}, {}, {}", i.refused, i.missing, i.doubled);
        m.ingested.as_ref().map_or("-".to_string(), of)
    });
    rows
}
