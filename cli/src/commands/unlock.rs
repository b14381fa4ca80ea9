//! `unlock` and `lock`: open and close the charts of the running node.

use crate::context::{Context, Failure, Outcome, typed};
use crate::secrets;
use crate::session::Session;
use crate::words::Word;
use carnet_node::service::error::{CommandError, ErrorKind, ExitCode};
use carnet_node::service::reply::LockState;
use carnet_node::service::request::{Opener, Request, Secret};
use serde_json::Value;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Arguments of `unlock`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Open with the recovery code (asked for, or read from standard input) when the passphrase is
    /// forgotten
    #[arg(long, value_name = "CODE", num_args = 0..=1, default_missing_value = "-")]
    recovery_code: Option<String>,
    /// Open with the recovery code in this file
    #[arg(long, value_name = "FILE", conflicts_with = "recovery_code")]
    recovery_code_file: Option<PathBuf>,
    /// File with the passphrase that replaces the forgotten one
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
}

/// Opens the charts.
pub async fn execute(context: &Context, arguments: Arguments) -> Outcome {
    let session = Session::open(context).await?;
    let state = unlock(context, &session, &arguments).await;
    tell(context, session, state).await
}

/// Closes the charts.
pub async fn lock(context: &Context) -> Outcome {
    let session = Session::open(context).await?;
    let state = session.ask(context, Request::Lock).await;
    tell(context, session, state).await
}

async fn unlock(
    context: &Context,
    session: &Session,
    arguments: &Arguments,
) -> Result<Value, Failure> {
    if let Some(code) = recovery_code(context, arguments)? {
        let file = arguments.new_passphrase_file.as_deref();
        let asks = file.is_some() || context.can_ask();
        let word = Word::NewPassphrasePrompt;
        let new = asks.then(|| secrets::new_passphrase(context, file, word)).transpose()?;
        let with = Opener::RecoveryCode(code);
        return session.ask(context, Request::Unlock { with, new }).await;
    }
    opened(context, async |with| session.ask(context, Request::Unlock { with, new: None }).await)
        .await
}

async fn tell(context: &Context, session: Session, state: Result<Value, Failure>) -> Outcome {
    let running = matches!(session, Session::Running);
    session.close().await;
    let state: LockState = typed(state?)?;
    if !context.answered(&state)? {
        context.say(if state.locked { Word::NowLocked } else { Word::NowUnlocked }, &[])?;
    }
    if !running {
        // What this process opened is closed again when it ends.
        context.note(Word::StatusNotRunning, &[]);
    }
    Ok(ExitCode::Fine)
}

/// Opens something with what the command line or the settings name, else with what opens it by
/// itself, else with what the user types.
pub async fn opened<T>(
    context: &Context,
    mut attempt: impl AsyncFnMut(Opener) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let config = context.config()?;
    let opener = if let Some(staff) = context.caller.opener(context)? {
        staff
    } else if let Some(path) = config.passphrase_file.value {
        Opener::Passphrase(secrets::from_file(&path)?)
    } else if let Some(path) = config.key_file.value {
        let absolute = std::path::absolute(&path);
        Opener::KeyFile(absolute.map_err(|error| CommandError::file(&error, &path))?)
    } else {
        Opener::Automatic
    };
    let automatic = matches!(opener, Opener::Automatic);
    match attempt(opener).await {
        Err(Failure::Command(error))
            if automatic && error.kind == ErrorKind::Locked && context.can_ask() =>
        {
            let passphrase = secrets::ask(context, Word::PassphrasePrompt)?;
            attempt(Opener::Passphrase(passphrase)).await
        }
        outcome => outcome,
    }
}

fn recovery_code(context: &Context, arguments: &Arguments) -> Result<Option<Secret>, Failure> {
    if let Some(path) = &arguments.recovery_code_file {
        return Ok(Some(secrets::from_file(path)?));
    }
    Ok(match arguments.recovery_code.as_deref() {
        None => None,
        Some("-") if std::io::stdin().is_terminal() => {
            Some(secrets::ask(context, Word::RecoveryCodePrompt)?)
        }
        Some("-") => Some(secrets::from_file(Path::new("-"))?),
        Some(code) => Some(Secret::new(code.to_owned())),
    })
}
