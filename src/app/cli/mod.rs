//! The command line as typed. `--help` of each command is meant to teach it.

mod remote;
mod series;

pub use remote::{RemoteOptions, ReplayOptions, RulesCommand};
pub use series::{BacktestOptions, DetectOptions, ForecastOptions, Format};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Live forecasts on a stream: events from Kafka in, windows, forecasts, anomalies and alerts out.
#[derive(Debug, Parser)]
#[command(name = "tidecast", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Start with `tidecast dev`: it brings a broker and a year of flights, and prints where to look."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Try it: an embedded broker, every role in one process, a year of real flights and a gentle load
    Dev(DevOptions),
    /// Run the service against a Kafka of your own
    Run(RunOptions),
    /// Check a configuration: validate it, connect, list topics and permissions
    Check(CheckOptions),
    /// Fit a model to each series of a CSV file and forecast it
    Forecast(ForecastOptions),
    /// Hold out the last steps of each series and compare models on them
    Backtest(BacktestOptions),
    /// Score each row of a CSV file as it would have been scored live
    Detect(DetectOptions),
    /// Generate load: events to a WebSocket or to Kafka, at a rate and in a pattern
    Generate(GenerateOptions),
    /// Put dead letters back on their topics, through a running service
    Replay(ReplayOptions),
    /// Work with the rules of a running service
    Rules {
        /// What to do.
        #[command(subcommand)]
        command: RulesCommand,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Settings on the command line, which win over the environment and the file.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigOptions {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, e.g. --set app.port=8001; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `tidecast dev`.
#[derive(Debug, Clone, Args)]
pub struct DevOptions {
    /// Settings
    #[command(flatten)]
    pub config: ConfigOptions,
    /// Hours of flights replayed each second
    #[arg(long, default_value_t = 1.0, value_name = "HOURS", value_parser = positive)]
    pub speed: f64,
    /// Weeks of flights given at once, as history
    #[arg(long, default_value_t = 4, value_name = "WEEKS", value_parser = clap::value_parser!(u32).range(..=520))]
    pub history: u32,
    /// Events a second of the load generator; 0 for none
    #[arg(long, default_value_t = 20.0, value_name = "RATE", value_parser = none_or_positive)]
    pub load: f64,
}

/// `tidecast run`.
#[derive(Debug, Clone, Args)]
pub struct RunOptions {
    /// Settings
    #[command(flatten)]
    pub config: ConfigOptions,
    /// Roles of this process, comma-separated
    #[arg(long, value_delimiter = ',', value_enum)]
    pub role: Vec<RoleName>,
    /// Rebuild the windows and forecasts from this time on into other topics, and end (2026-01-16, 2026-01-16T11:50:00Z or
    /// epoch seconds; event time; absent with --to: as far back as the log goes)
    #[arg(long, value_name = "TIME", conflicts_with = "role")]
    pub from: Option<String>,
    /// ... up to this time (absent with --from: now)
    #[arg(long, value_name = "TIME", conflicts_with = "role")]
    pub to: Option<String>,
    /// What the names of a rebuild's topics begin with
    #[arg(long, value_name = "PREFIX", default_value = "rebuilt-")]
    pub into: String,
    /// Events before --from that a rebuild's models learn from
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = duration)]
    pub warm_up: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    tidecast_config::parse_duration(text).ok_or_else(|| "a duration such as 90m, 12h or 7d".to_owned())
}

/// A role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    /// Reads events, keeps windows and models
    Worker,
    /// Serves dashboards and REST
    Gateway,
    /// Runs scheduled exports
    Exporter,
}

/// `tidecast check`.
#[derive(Debug, Clone, Args)]
pub struct CheckOptions {
    /// Settings
    #[command(flatten)]
    pub config: ConfigOptions,
    /// Only validate; do not connect
    #[arg(long)]
    pub offline: bool,
}

/// Shapes of load over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pattern {
    /// The same rate throughout
    Steady,
    /// From nothing to the rate
    Ramp,
    /// The rate, with bursts of five times as much
    Spike,
    /// Up and down around the rate
    Wave,
}

/// `tidecast generate`.
#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("target").required(true).args(["url", "kafka"]))]
pub struct GenerateOptions {
    /// WebSocket to send to, e.g. ws://localhost:8000/ws/ingest
    #[arg(long)]
    pub url: Option<String>,
    /// Kafka to send to, host:port (comma-separated)
    #[arg(long, value_name = "HOST:PORT")]
    pub kafka: Option<String>,
    /// Topic, with --kafka
    #[arg(long, default_value = "analytics-events", value_parser = topic)]
    pub topic: String,
    /// Events a second
    #[arg(long, default_value_t = 1_000.0, value_parser = positive, allow_negative_numbers = true)]
    pub rate: f64,
    /// Sources
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub sources: u32,
    /// Shape over time
    #[arg(long, value_enum, default_value_t = Pattern::Steady)]
    pub pattern: Pattern,
    /// Seconds; until interrupted when absent
    #[arg(long, value_parser = positive, allow_negative_numbers = true)]
    pub duration: Option<f64>,
    /// WebSocket connections
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Seed of the values: the same seed makes the same values
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Bearer token, with --url, where the service asks for one (or TIDECAST_TOKEN)
    #[arg(long, env = "TIDECAST_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// Prints a completion script. It is made first: its maker takes an output that fails for a fault of the program, and here
/// it may be a closed pipe or a full disk.
pub fn completions(shell: clap_complete::Shell) -> std::io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tidecast", &mut script);
    let mut out = std::io::stdout().lock();
    out.write_all(&script)?;
    out.flush()
}

/// A number of events or seconds: above 0 and finite.
fn positive(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
        _ => Err("a number above 0, e.g. 10".to_owned()),
    }
}

/// As [`positive`], or 0 for none.
fn none_or_positive(text: &str) -> Result<f64, String> {
    if text.trim().parse() == Ok(0.0) {
        Ok(0.0)
    } else {
        positive(text).map_err(|error| format!("{error}, or 0 for none"))
    }
}

/// A name that Kafka takes for a topic.
fn topic(text: &str) -> Result<String, String> {
    if tidecast_config::is_topic(text) {
        Ok(text.to_owned())
    } else {
        Err("a topic has 1 to 249 letters, digits, dots, underscores and hyphens".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn generate_refuses_rates_times_and_topics_that_are_none() {
        let with = |more: &[&str]| {
            Cli::try_parse_from([&["tidecast", "generate", "--kafka", "a:1"], more].concat())
                .map_err(|e| e.to_string())
        };
        for (option, wrong) in [
            ("--rate", "nan"),
            ("--rate", "inf"),
            ("--rate", "0"),
            ("--rate", "-5"),
            ("--duration", "-1"),
            ("--duration", "0"),
            ("--duration", "nan"),
            ("--topic", "bad topic!"),
            ("--topic", ""),
        ] {
            let error = with(&[option, wrong]).unwrap_err();
            assert!(error.contains(option), "{error}");
        }
        assert!(with(&["--rate", "0.5", "--duration", "1e3", "--topic", "a.b_c-9"]).is_ok());
    }

    #[test]
    fn generate_wants_one_target() {
        assert!(Cli::try_parse_from(["tidecast", "generate"]).is_err());
        assert!(Cli::try_parse_from(["tidecast", "generate", "--kafka", "a:1", "--url", "ws://b"]).is_err());
    }
}
