//! `completions`: a script that completes commands in a shell.

use crate::context::Outcome;
use carnet_node::service::error::ExitCode;
use clap::CommandFactory;
use std::io::Write;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The shell
    shell: clap_complete::Shell,
}

/// Prints the script.
pub fn execute(arguments: Arguments) -> Outcome {
    // Written to memory first: the generator panics when its reader has gone.
    let mut script = Vec::new();
    let mut command = crate::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "carnet", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(ExitCode::Fine)
}
