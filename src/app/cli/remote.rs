//! Options of the commands that do what a running service's REST calls do.

use super::Format;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Where a running service is.
#[derive(Debug, Clone, Args)]
pub struct RemoteOptions {
    /// The service's app listener
    #[arg(long, default_value = "http://localhost:8000")]
    pub url: String,
    /// Bearer token, where the service asks for one (or TIDECAST_TOKEN)
    #[arg(long, env = "TIDECAST_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

const REPLAY_HELP: &str = "\
  tidecast replay --from-dlq --reason late
  tidecast replay --from-dlq --id 0-17 --payload repaired.json

Which letters there are: GET /api/dlq, or the page of dead letters. Without --id and --reason all of them go back.";

/// `tidecast replay`.
#[derive(Debug, Clone, Args)]
#[command(after_help = REPLAY_HELP)]
#[command(group = clap::ArgGroup::new("letters").args(["id", "reason", "all"]))]
pub struct ReplayOptions {
    /// The service
    #[command(flatten)]
    pub remote: RemoteOptions,
    /// From the dead-letter topic (the only source there is)
    #[arg(long, required = true)]
    pub from_dlq: bool,
    /// A letter by its id, as GET /api/dlq lists them; may be repeated
    #[arg(long)]
    pub id: Vec<String>,
    /// All letters of one reason, e.g. late
    #[arg(long)]
    pub reason: Option<String>,
    /// All letters
    #[arg(long)]
    pub all: bool,
    /// A repaired payload in place of the original, with one --id; `-` is standard input
    #[arg(long, value_name = "FILE", requires = "id", conflicts_with_all = ["reason", "all"])]
    pub payload: Option<PathBuf>,
}

const TEST_HELP: &str = "\
  tidecast rules test --rule rule.json --event event.json
  tidecast rules test --condition \"data.get('predicted_value', 0) > 5000\" --event event.json
  tidecast rules test --name big_hour_ahead --event event.json

An event is an object with `data`, and event_type, priority, model_id, timestamp and metadata where a condition reads \
them. Nothing is sent, written or counted.";

/// `tidecast rules …`.
#[derive(Debug, Clone, Subcommand)]
pub enum RulesCommand {
    /// Say what a rule would do with a sample event, doing nothing
    Test(TestOptions),
    /// List the rules and how they fare
    List {
        /// The service
        #[command(flatten)]
        remote: RemoteOptions,
    },
}

/// `tidecast rules test`.
#[derive(Debug, Clone, Args)]
#[command(after_help = TEST_HELP)]
#[command(group = clap::ArgGroup::new("tested").required(true).args(["rule", "name", "condition"]))]
pub struct TestOptions {
    /// The service
    #[command(flatten)]
    pub remote: RemoteOptions,
    /// The rule, a JSON file; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub rule: Option<PathBuf>,
    /// The name of a rule that is registered
    #[arg(long)]
    pub name: Option<String>,
    /// A condition alone
    #[arg(long, value_name = "CEL")]
    pub condition: Option<String>,
    /// The sample event, a JSON file; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub event: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use clap::Parser;

    fn code(arguments: &str) -> i32 {
        match Cli::try_parse_from(arguments.split(' ')) {
            Ok(_) => 0,
            Err(error) => error.exit_code(),
        }
    }

    #[test]
    fn a_replay_names_its_source_and_one_choice_of_letters() {
        assert_eq!(code("tidecast replay --from-dlq --reason late"), 0);
        assert_eq!(code("tidecast replay --from-dlq --id a --id b"), 0);
        assert_eq!(code("tidecast replay --from-dlq"), 0);
        assert_eq!(code("tidecast replay --reason late"), 2);
        assert_eq!(code("tidecast replay --from-dlq --reason late --all"), 2);
        assert_eq!(code("tidecast replay --from-dlq --payload a.json"), 2);
    }

    #[test]
    fn a_dry_run_is_of_one_rule_and_one_event() {
        assert_eq!(code("tidecast rules test --rule r.json --event e.json"), 0);
        assert_eq!(code("tidecast rules test --rule r.json"), 2);
        assert_eq!(code("tidecast rules test --event e.json"), 2);
        assert_eq!(code("tidecast rules test --rule r.json --name n --event e.json"), 2);
    }
}
