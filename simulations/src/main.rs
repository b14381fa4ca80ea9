//! Simulations, measurements and tools that work on Carnet itself; no part of the product.
//!
//! Each subcommand prints one JSON object, so that figures in `docs/benchmarks.md` can be repeated.

mod bombs;
mod checks;
mod clinic;
mod dictionary;
mod faults;
mod histories;
mod journal;
mod liars;
mod link;
mod local;
mod measure;
mod meddle;
mod mutants;
mod mutate;
mod network;
mod real;
mod rogue;
mod shrink;
mod workload;
mod world;

use carnet_simulations::chance;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// As in the product, whose memory and speed are measured here.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// Kill two nodes' processes while they work, again and again
    Kill(real::cuts::Arguments),
    /// The same, and what was not synced to the disk is lost
    Unsynced(real::cuts::Arguments),
    /// Let each write or sync of a disk fail, one after another
    IoError(real::failing::Arguments),
    /// Cut the power at each write or sync, one after another
    CrashPoints(real::failing::Arguments),
    /// Fill a node's disk, a little later each time
    DiskFull(real::failing::Arguments),
    /// Import and sync many charts on two small machines
    Memory(real::memory::Arguments),
    /// Cut the power of an emulated machine, again and again; needs QEMU and a kernel
    Power(real::power::Arguments),
    /// What runs in that machine
    #[command(hide = true)]
    PowerGuest(real::power::guest::Arguments),
    /// Lose a node, and restore it from one of its backups, again and again
    Restores(real::restores::Arguments),
    /// Lie to a node over QUIC, and see that it believes nothing
    Liars(liars::Arguments),
    /// Alter what is decoded, and see that nothing panics, hangs or takes memory
    Mutate(mutate::Arguments),
    /// Set off what is short and stands for much, in every place that inflates
    Bombs(bombs::Arguments),
    /// Measure what the audit trail costs whoever reads
    Audit(local::audit::Arguments),
    /// Measure what compaction saves and costs
    Compact(local::compact::Arguments),
    /// Measure one node on this machine, and a sync on loopback
    Local(local::Arguments),
    /// Measure a sync between two running nodes on a bad link
    ///
    /// The nodes are the program `carnet` beside this one: build both first, with
    /// `cargo build --release -p carnet -p carnet-simulations`.
    Link(link::Arguments),
    /// Train the compression dictionary on invented patients and, if given, official examples.
    TrainDictionary(dictionary::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Histories(arguments) => histories::run(&arguments),
        Command::Mutants(arguments) => mutants::run(&arguments),
        Command::Kill(arguments) => real::cuts::kill(&arguments),
        Command::Unsynced(arguments) => real::cuts::unsynced(&arguments),
        Command::IoError(arguments) => real::failing::io_error(&arguments),
        Command::CrashPoints(arguments) => real::failing::crash_points(&arguments),
        Command::DiskFull(arguments) => real::failing::disk_full(&arguments),
        Command::Memory(arguments) => real::memory::run(&arguments),
        Command::Power(arguments) => real::power::run(&arguments),
        Command::PowerGuest(arguments) => real::power::guest::run(&arguments),
        Command::Restores(arguments) => real::restores::run(&arguments),
        Command::Liars(arguments) => liars::run(&arguments),
        Command::Mutate(arguments) => mutate::run(&arguments),
        Command::Bombs(arguments) => bombs::run(&arguments),
        Command::Audit(arguments) => local::audit::run(&arguments),
        Command::Compact(arguments) => local::compact::run(&arguments),
        Command::Local(arguments) => local::run(&arguments),
        Command::Link(arguments) => link::run(&arguments),
        Command::TrainDictionary(arguments) => dictionary::run(&arguments).map_err(Into::into),
    };
    match done {
        Ok(report) => {
            println!("{report}");
            // What is not right, or could not be tried, is never green.
            if report["ok"] == false { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            eprintln!("carnet-simulations: {error}");
            ExitCode::FAILURE
        }
    }
}
