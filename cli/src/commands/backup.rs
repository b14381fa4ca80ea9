//! `backup FILE|DIR`: the node in one sealed, verified file, written while it runs.

use crate::commands::sync::bytes;
use crate::context::{Context, Outcome, Style, typed};
use crate::session;
use crate::words::Word;
use carnet_node::service::error::{CommandError, ExitCode};
use carnet_node::service::reply::BackedUp;
use carnet_node::service::request::Request;
use std::path::PathBuf;

/// Arguments of `backup`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The file, or a directory for a new file named after site and time; an earlier backup of that
    /// name stays until the new one is whole
    #[arg(value_name = "FILE|DIR")]
    to: PathBuf,
}

/// Writes a backup.
pub async fn execute(context: &Context, arguments: Arguments) -> Outcome {
    // The node may have another working directory.
    let to = std::path::absolute(&arguments.to)
        .map_err(|error| CommandError::file(&error, &arguments.to))?;
    let made: BackedUp = typed(session::ask(context, Request::Backup { to }).await?)?;
    if context.answered(&made)? {
        return Ok(ExitCode::Fine);
    }
    let (entries, signatures) = (made.entries.to_string(), made.signatures.to_string());
    let (size, seconds) = (bytes(made.bytes), format!("{:.1}", made.seconds));
    let gaps = [
        ("path", made.file.as_str()),
        ("entries", &entries),
        ("signatures", &signatures),
        ("bytes", &size),
        ("seconds", &seconds),
    ];
    context.line(context.paint(Style::Green, &context.words.fill(Word::BackupDone, &gaps)))?;
    context.say(Word::BackupOpens, &[])?;
    Ok(ExitCode::Fine)
}
