//! Simulations, measurements and tools that work on Carnet itself; no part of the product.
//!
//! Each subcommand prints one JSON object, so that figures in `docs/benchmarks.md` can be repeated.

mod chance;
mod checks;
mod clinic;
mod dictionary;
mod faults;
mod histories;
mod journal;
mod local;
mod meddle;
mod mutants;
mod network;
mod rogue;
mod shrink;
mod workload;
mod world;

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
    /// Live seeded histories of a practice, with faults, and check what must hold
    Histories(histories::Arguments),
    /// Plant bugs, and look for each with histories
    Mutants(mutants::Arguments),
    /// Measure what the audit trail costs whoever reads
    Audit(local::audit::Arguments),
    /// Measure one node on this machine, and a sync on loopback
    Local(local::Arguments),
    /// Train the compression dictionary on invented patients and, if given, official examples.
    TrainDictionary(dictionary::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Histories(arguments) => histories::run(&arguments),
        Command::Mutants(arguments) => mutants::run(&arguments),
        Command::Audit(arguments) => local::audit::run(&arguments),
        Command::Local(arguments) => local::run(&arguments),
        Command::TrainDictionary(arguments) => dictionary::run(&arguments).map_err(Into::into),
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
