//! `passphrase change`.

use crate::context::{Context, Outcome, typed};
use crate::secrets;
use crate::session;
use crate::words::Word;
use carnet_node::service::error::ExitCode;
use carnet_node::service::reply::LockState;
use carnet_node::service::request::{Opener, Request};
use std::path::PathBuf;

/// The passphrase.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Replace the passphrase
    Change {
        /// File with the new passphrase
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
        /// File with the recovery code, in place of the old passphrase
        #[arg(long, value_name = "FILE")]
        recovery_code_file: Option<PathBuf>,
    },
}

/// Changes it.
pub async fn execute(context: &Context, command: Command) -> Outcome {
    let Command::Change { new_passphrase_file, recovery_code_file } = command;
    let word = Word::NewPassphrasePrompt;
    let new = secrets::new_passphrase(context, new_passphrase_file.as_deref(), word)?;
    let change = async |old| {
        session::ask(context, Request::PassphraseChange { old, new: new.clone() }).await
    };
    let reply = match &recovery_code_file {
        Some(path) => change(Opener::RecoveryCode(secrets::from_file(path)?)).await?,
        None => super::unlock::opened(context, change).await?,
    };
    let state: LockState = typed(reply)?;
    if !context.answered(&state)? {
        context.say(Word::PassphraseChanged, &[])?;
    }
    Ok(ExitCode::Fine)
}
