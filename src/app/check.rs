//! `tidecast check`: what is wrong with a configuration, before it is run.

use crate::cli::CheckOptions;
use crate::{load_settings, print};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;
use tidecast_config::Settings;
use tidecast_kafka::{Cluster, KafkaAdmin};
use tidecast_store::StoreError;

/// Checks, prints what it found, fails when something is wrong.
pub fn run(options: &CheckOptions) -> anyhow::Result<ExitCode> {
    let settings = load_settings::load(&options.config, None)?;
    let (mut out, mut wrong) = (print::out(), Vec::<String>::new());
    writeln!(
        out,
        "settings     ok ({} series, {} models, {} rules)",
        settings.series.len(),
        settings.models.len(),
        settings.rules.len()
    )?;
    for warning in settings.warnings() {
        writeln!(out, "warning      {warning}")?;
    }
    for (setting, file) in settings.files() {
        match std::fs::File::open(file) {
            Ok(_) => writeln!(out, "{setting:<12} ok")?,
            Err(error) => wrong.push(format!("{setting}: {} cannot be read: {error}", file.display())),
        }
    }
    match tidecast_store::FolderStore::open(&settings.state.dir) {
        Ok(_) => writeln!(out, "state.dir    ok ({})", settings.state.dir.display())?,
        // Whoever checks beside a running service has found its folder in good use.
        Err(StoreError::InUse { dir, holder }) => {
            let by = holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            writeln!(
                out,
                "state.dir    in use by {by} ({}); a second one needs a folder of its own",
                dir.display()
            )?;
        }
        Err(error) => wrong.push(format!("state.dir: {error}")),
    }
    if let Some(place) = settings.state.shared.as_ref().filter(|_| !options.offline) {
        match tidecast_store::SharedStore::reach(place, &settings.kafka.group_id) {
            Ok(()) => writeln!(out, "state.shared ok ({place})")?,
            Err(error) => wrong.push(error.to_string()),
        }
    }
    if !options.offline {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(cluster(&settings, &mut out, &mut wrong))?;
    }
    out.flush()?;
    for line in &wrong {
        eprintln!("tidecast: {line}");
    }
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn cluster(settings: &Settings, out: &mut impl Write, wrong: &mut Vec<String>) -> anyhow::Result<()> {
    let admin = KafkaAdmin::new(&Cluster::from_settings(settings))?;
    let view = match admin.look(Duration::from_secs(5)).await {
        Ok(view) => view,
        Err(error) => {
            wrong.push(format!("kafka.bootstrap_servers: {error}"));
            return Ok(());
        }
    };
    writeln!(out, "kafka        ok ({} brokers, {} topics)", view.brokers.len(), view.topics.len())?;
    let trouble = admin.missing_permissions(&crate::service::topics(settings)).await;
    let is_named = |name: &str| trouble.iter().any(|line| line.split(' ').any(|word| word == name));
    for topic in crate::service::topics(settings) {
        match view.topics.get(&topic.name) {
            Some(found) => {
                writeln!(out, "topic        {} ok ({} partitions)", topic.name, found.partitions.len())?
            }
            None if is_named(&topic.name) => {}
            None => writeln!(out, "topic        {} is missing and is created at the start", topic.name)?,
        }
    }
    wrong.extend(trouble);
    Ok(())
}
