//! Simulations, measurements and tools that work on Carnet itself; no part of the product.
//!
//! Each subcommand prints one JSON object, so that figures in `docs/benchmarks.md` can be repeated.

mod dictionary;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Simulations, measurements and tools for Carnet's developers.
#[derive(Parser)]
#[command(name = "carnet-simulations", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train the compression dictionary on invented patients and, if given, official examples.
    TrainDictionary(dictionary::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::TrainDictionary(arguments) => dictionary::run(&arguments),
    };
    match done {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("carnet-simulations: {error}");
            ExitCode::FAILURE
        }
    }
}
