//! Tidecast: the binary. Reads the command line, hands over to the command, turns its end into an exit status.

mod allocator;
mod backtest;
mod check;
mod cli;
mod detect;
mod dev;
mod dev_replay;
mod engine;
mod figures;
mod files;
mod forecast;
mod generate;
mod load_settings;
mod outward;
mod print;
mod published_keys;
mod rebuild;
mod remote;
mod run;
mod running_source;
mod service;
mod standby;
mod tables;
mod trees;
mod workers;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    allocator::set_up();
    let cli = cli::Cli::parse();
    match dispatch(cli.command) {
        Ok(code) => code,
        // Whoever read the output has read enough (`| head`).
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<print::Usage>() => {
            eprintln!("tidecast: {error}; see --help");
            ExitCode::from(2)
        }
        Err(error) => {
            // One line: causes follow the colon. What a person has to do is in the words themselves.
            eprintln!("tidecast: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn dispatch(command: cli::Command) -> anyhow::Result<ExitCode> {
    match command {
        cli::Command::Dev(options) => dev::run(&options),
        cli::Command::Run(options) => run::run(&options),
        cli::Command::Check(options) => check::run(&options),
        cli::Command::Forecast(options) => forecast::run(&options),
        cli::Command::Backtest(options) => backtest::run(&options),
        cli::Command::Detect(options) => detect::run(&options),
        cli::Command::Replay(options) => remote::replay(&options),
        cli::Command::Rules { command } => remote::rules(&command),
        cli::Command::Generate(options) => generate::run(&options),
        cli::Command::Completions { shell } => {
            cli::completions(shell)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
