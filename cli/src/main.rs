//! `carnet`: the program that clinics and scripts run.
//!
//! Parses the command line, hands each command to its file in `commands/`, and turns one error into
//! one exit code. What the commands do happens in `carnet_node::service`.

mod caller;
mod commands;
mod context;
mod narrative;
mod progress;
mod secrets;
mod session;
mod words;

use carnet_node::service::config::Flags;
use carnet_node::service::error::{CommandError, ErrorKind, ExitCode};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use commands::*;
use context::{Context, Failure, Outcome};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use tokio::signal::unix::{Signal, SignalKind, signal};
use words::Language;

/// The system's allocator gives memory back only where nothing small lies above it: an import of
/// 43,000 resources left two gigabytes behind of which a tenth was in use.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Offline-first clinic sync node: a practice's charts, kept sealed, merged and reconciled.
#[derive(Debug, Parser)]
#[command(name = "carnet", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 fine, 1 failure, 3 partial, 4 denied, 10 no node here, \
    11 in use, 12 wrong passphrase, 13 locked, 130 interrupted.\n\
    Language: CARNET_LANG or LANG (English, French).";

/// What every command takes.
#[derive(Debug, clap::Args)]
struct Shared {
    /// Directory of the node [default: the platform's data directory]
    #[arg(long, global = true, env = "CARNET_DIR", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one line of JSON with stable keys
    #[arg(long, global = true)]
    json: bool,
    /// File whose first line is the passphrase (or CARNET_PASSPHRASE_FILE)
    #[arg(long, global = true, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Key file that opens the node (or CARNET_KEY_FILE)
    #[arg(long, global = true, value_name = "FILE")]
    key_file: Option<PathBuf>,
    #[command(flatten)]
    caller: caller::CallerArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the first node of a new practice
    Init(init::Arguments),
    /// Run the node in the foreground until SIGTERM
    Run(run::Arguments),
    /// Open the charts of the running node
    Unlock(unlock::Arguments),
    /// Close the charts of the running node; it goes on syncing
    Lock,
    /// Change the passphrase
    #[command(subcommand)]
    Passphrase(passphrase::Command),
    /// Make a one-use invitation for a new node, or answer a request file
    Invite(invite::Arguments),
    /// Make a node that joins a practice by invitation
    Join(join::Arguments),
    /// Write the node into one sealed, verified file, while it runs
    Backup(backup::Arguments),
    /// Restore a node from its backup, or a practice from any node's directory and the recovery code
    Restore(restore::Arguments),
    /// Peers that this node calls
    #[command(subcommand)]
    Peer(peer::Command),
    /// Nodes of the practice
    #[command(subcommand)]
    Node(node::Command),
    /// Reconcile with the peers now, and wait until it is done
    Sync(sync::Arguments),
    /// Show problems first, then a line for each peer
    Status,
    /// Take in FHIR bundles, resources or NDJSON, also gzipped
    Import(import::Arguments),
    /// Find and show patients, and say which are one person
    #[command(subcommand)]
    Patient(patient::Command),
    /// Show and change resources, and decide conflicts
    #[command(subcommand)]
    Chart(chart::Command),
    /// Decide the open conflicts and sign off what must be looked at, one after another
    Review(review::Arguments),
    /// See entries that are set aside, and decide what becomes of them
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    /// Hand out resources as NDJSON or as a bundle
    Export(export::Arguments),
    /// Check every chain, signature, hash and decryption, and the index
    Verify,
    /// Pack what all nodes hold, so that it takes less of the disk
    Compact(compact::Arguments),
    /// Open a session: the commands that follow are this person's
    Login(login::Login),
    /// End the session of this device
    Logout,
    /// A short PIN for changing places at a shared device
    #[command(subcommand)]
    Pin(login::Pin),
    /// API tokens of programs
    #[command(subcommand)]
    Token(login::Token),
    /// Members of staff, their roles and rights
    #[command(subcommand)]
    Staff(staff::Command),
    /// Open a patient's chart in an emergency; it is on record and will be looked at
    Emergency(emergency::Arguments),
    /// Who did what
    #[command(subcommand)]
    Audit(audit::Command),
    /// The practice key
    #[command(subcommand)]
    Practice(practice::Command),
    /// Look for trouble; changes nothing
    Doctor,
    /// Settings
    #[command(subcommand)]
    Config(config::Command),
    /// Show two clinics that work apart and come together
    Demo(demo::Arguments),
    /// Print completions for a shell
    Completions(completions::Arguments),
}

fn main() {
    leave_no_core();
    let code = match start() {
        Ok(code) => code,
        // Nobody reads any more; there is nobody to tell.
        Err(Failure::ClosedPipe) => ExitCode::Fine,
        Err(Failure::Command(error)) => {
            Context::new(PathBuf::new(), false, Flags::default()).tell(&error)
        }
    };
    // Nobody may be reading any more.
    let _ = std::io::stdout().flush();
    leave(code)
}

/// Ends the process at once, without what C libraries do at the end: SQLCipher wipes there what a
/// thread that is still reading the ledger would fall over.
fn leave(code: ExitCode) -> ! {
    signal_hook::low_level::exit(i32::from(code as u8))
}

/// Keys and charts are in memory: a crash must not leave them in a file, nor hand them to a program
/// that collects crashes.
fn leave_no_core() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    // To ask for less is never refused.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// Everything that can fail before there is a context to tell it.
fn start() -> Outcome {
    let language = Language::from_environment(|name| std::env::var(name).ok());
    let command = words::help::translate(Arguments::command(), language);
    let line = caller::sort_out_password_files(std::env::args_os().collect());
    let parsed =
        command.try_get_matches_from(line).and_then(|found| Arguments::from_arg_matches(&found));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(told) => {
            let code = if told.use_stderr() { ExitCode::Failure } else { ExitCode::Fine };
            told.print()?;
            return Ok(code);
        }
    };
    let Shared { dir, json, passphrase_file, key_file, caller } = arguments.shared;
    let flags = Flags { passphrase_file, key_file, ..Flags::default() };
    let mut context = Context::new(dir.map_or_else(default_dir, Ok)?, json, flags);
    context.caller = caller;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::new(ErrorKind::Failure, error))?;
    let outcome = runtime.block_on(until_interrupted(&context, arguments.command));
    Ok(match outcome {
        Err(Failure::Command(error)) => context.tell(&error),
        other => other?,
    })
}

async fn until_interrupted(context: &Context, command: Command) -> Outcome {
    // `run` ends in its own, orderly way.
    if let Command::Run(arguments) = command {
        return run::execute(context, arguments).await;
    }
    let interrupt = signal(SignalKind::interrupt());
    let interrupt = interrupt.map_err(|error| CommandError::new(ErrorKind::Failure, error))?;
    // A task of its own: this one may be waiting for a line that nobody will type any more.
    tokio::spawn(leave_when_interrupted(interrupt));
    dispatch(context, command).await
}

/// What is under way is left as a power cut would leave it: to wait for its end could take minutes.
async fn leave_when_interrupted(mut interrupt: Signal) {
    if interrupt.recv().await.is_some() {
        put_terminal_in_order();
        leave(ExitCode::Interrupted)
    }
}

async fn dispatch(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Init(arguments) => init::execute(context, arguments).await,
        Command::Run(arguments) => run::execute(context, arguments).await,
        Command::Unlock(arguments) => unlock::execute(context, arguments).await,
        Command::Lock => unlock::lock(context).await,
        Command::Passphrase(command) => passphrase::execute(context, command).await,
        Command::Invite(arguments) => invite::execute(context, arguments).await,
        Command::Join(arguments) => join::execute(context, arguments).await,
        Command::Backup(arguments) => backup::execute(context, arguments).await,
        Command::Restore(arguments) => restore::execute(context, arguments).await,
        Command::Peer(command) => peer::execute(context, command).await,
        Command::Node(command) => node::execute(context, command).await,
        Command::Sync(arguments) => sync::execute(context, arguments).await,
        Command::Status => status::execute(context).await,
        Command::Import(arguments) => import::execute(context, arguments).await,
        Command::Patient(command) => patient::execute(context, command).await,
        Command::Chart(command) => chart::execute(context, command).await,
        Command::Review(arguments) => review::execute(context, arguments).await,
        Command::Quarantine(command) => quarantine::execute(context, command).await,
        Command::Export(arguments) => export::execute(context, arguments).await,
        Command::Verify => verify::execute(context).await,
        Command::Compact(arguments) => compact::execute(context, arguments).await,
        Command::Login(arguments) => login::login(context, arguments).await,
        Command::Logout => login::logout(context).await,
        Command::Pin(command) => login::pin(context, command).await,
        Command::Token(command) => login::token(context, command).await,
        Command::Staff(command) => staff::execute(context, command).await,
        Command::Emergency(arguments) => emergency::execute(context, arguments).await,
        Command::Audit(command) => audit::execute(context, command).await,
        Command::Practice(command) => practice::execute(context, command).await,
        Command::Doctor => doctor::execute(context).await,
        Command::Config(command) => config::execute(context, command),
        Command::Demo(arguments) => demo::execute(context, arguments).await,
        Command::Completions(arguments) => completions::execute(arguments),
    }
}

fn default_dir() -> Result<PathBuf, CommandError> {
    directories::ProjectDirs::from("", "", "carnet")
        .map(|dirs| dirs.data_dir().to_owned())
        .ok_or_else(|| {
            CommandError::new(ErrorKind::NoNode, "this account has no home directory")
                .advise("Name the node's directory with --dir or CARNET_DIR")
        })
}

/// A passphrase prompt that was interrupted hid what is typed, and what comes next should not stand
/// behind half a progress bar.
fn put_terminal_in_order() {
    if std::io::stdin().is_terminal() {
        let _ = std::process::Command::new("stty").arg("echo").status();
    }
    if std::io::stderr().is_terminal() {
        // Not through the standard library: whoever asks the question holds its lock.
        let _ = rustix::io::write(rustix::stdio::stderr(), b"\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_command_has_its_help() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            command.get_subcommands().for_each(check);
        }
        let command = Arguments::command();
        command.clone().debug_assert();
        check(&command);
    }

    #[test]
    fn shared_arguments_stand_before_or_after_the_command() {
        for line in ["carnet --dir D --json status", "carnet status --dir D --json"] {
            let arguments = Arguments::try_parse_from(line.split(' ')).expect("it parses");
            assert_eq!(arguments.shared.dir, Some("D".into()));
            assert!(arguments.shared.json);
        }
        assert!(Arguments::try_parse_from(["carnet", "nonsense"]).is_err());
    }
}
