//! Tidecast: the binary. Reads the command line, hands over to the command, turns its end into an exit status.

mod check;
mod cli;
mod dev;
mod dev_replay;
mod generate;
mod load_settings;
mod outward;
mod run;
mod service;
mod tables;

use clap::Parser;
use std::process::ExitCode;

/// Small allocations of many threads, freed on others: mimalloc keeps the resident memory flat.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => {
            // One line: causes follow the colon. What a person has to do is in the words themselves.
            eprintln!("tidecast: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: cli::Command) -> anyhow::Result<ExitCode> {
    match command {
        cli::Command::Dev(options) => dev::run(&options),
        cli::Command::Run(options) => run::run(&options),
        cli::Command::Check(options) => check::run(&options),
        cli::Command::Generate(options) => generate::run(&options),
        cli::Command::Completions { shell } => {
            cli::completions(shell);
            Ok(ExitCode::SUCCESS)
        }
    }
}
