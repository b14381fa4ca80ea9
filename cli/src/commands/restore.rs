//! `restore`: a node again from its own backup, or a new node of the practice from anybody's
//! ciphertext and the recovery code.

use super::init::Closing;
use super::unlock::opened;
use crate::context::{Context, Failure, Outcome};
use crate::progress;
use crate::secrets;
use crate::words::Word;
use carnet_node::service::create::{self, Restoring};
use carnet_node::service::error::{CommandError, ExitCode};
use carnet_node::service::reply::Revived;
use carnet_node::service::report;
use carnet_node::service::request::{Closure, Opener, Secret};
use std::path::PathBuf;

/// Arguments of `restore`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A backup, or the directory of a node or a relay; it is only read
    #[arg(long, value_name = "FILE|DIR")]
    from: PathBuf,
    /// Make a new node for this site, with keys of its own; needs the recovery code [default: the
    /// node that made the backup]
    #[arg(long)]
    site: Option<String>,
    /// Open the backup with the recovery code, which is asked for
    #[arg(long)]
    recovery_code: bool,
    /// File with the recovery code
    #[arg(long, value_name = "FILE")]
    recovery_code_file: Option<PathBuf>,
    #[command(flatten)]
    closing: Closing,
}

/// Restores into the node's directory.
pub async fn execute(context: &Context, arguments: Arguments) -> Outcome {
    create::refuse_occupied(&context.dir)?;
    if !arguments.from.exists() {
        let error = CommandError::not_found("there is nothing to restore from");
        return Err(error.at(arguments.from.display()).into());
    }
    match &arguments.site {
        Some(site) => new_node(context, &arguments, site.clone()).await,
        None if arguments.from.is_dir() => {
            Err(CommandError::bad_input("a node made from a directory is a new one")
                .at(arguments.from.display())
                .advise("Name its site with --site")
                .into())
        }
        None => same_node(context, &arguments).await,
    }
}

fn code(context: &Context, arguments: &Arguments) -> Result<Secret, Failure> {
    match &arguments.recovery_code_file {
        Some(path) => Ok(secrets::from_file(path)?),
        None => secrets::ask(context, Word::RecoveryCodePrompt),
    }
}

async fn new_node(context: &Context, arguments: &Arguments, site: String) -> Outcome {
    let restoring = Restoring {
        from: arguments.from.clone(),
        site,
        code: code(context, arguments)?,
        closure: arguments.closing.closure(context)?,
    };
    let (reporter, reports) = report::channel();
    let work = create::restore(&context.dir, &context.environment, restoring, reporter);
    let watched = progress::watch(context, reports, |_| Ok(()));
    let (created, watched) = tokio::join!(work, watched);
    watched?;
    let created = created?;
    if context.answered(&created)? {
        return Ok(ExitCode::Fine);
    }
    context.say(Word::RestoreDone, &[])?;
    context.say(Word::NodeIs, &[("node", &created.node)])?;
    if let Some(key_file) = &created.key_file {
        context.say(Word::KeyFileIs, &[("path", key_file)])?;
    }
    Ok(ExitCode::Fine)
}

async fn same_node(context: &Context, arguments: &Arguments) -> Outcome {
    let revived = if arguments.recovery_code || arguments.recovery_code_file.is_some() {
        let with = Opener::RecoveryCode(code(context, arguments)?);
        // Whoever needs the code has nothing else that opens the node.
        let closure = Some(arguments.closing.closure(context)?);
        revive(context, arguments, with, closure).await?
    } else {
        opened(context, async |with| {
            let closure = match &with {
                // The keyring remembers where the key file lies now.
                Opener::KeyFile(path) => Some(Closure::KeyFile(path.clone())),
                Opener::Passphrase(_) if arguments.closing.by_key_file() => {
                    Some(arguments.closing.closure(context)?)
                }
                _ => None,
            };
            revive(context, arguments, with, closure).await
        })
        .await?
    };
    if context.answered(&revived)? {
        return Ok(ExitCode::Fine);
    }
    let (entries, signatures) = (revived.entries.to_string(), revived.signatures.to_string());
    let gaps =
        [("made", revived.made.as_str()), ("entries", &entries), ("signatures", &signatures)];
    context.say(Word::RevivedDone, &gaps)?;
    context.say(Word::NodeIs, &[("node", &revived.node)])?;
    if let Some(key_file) = &revived.key_file {
        context.say(Word::KeyFileIs, &[("path", key_file)])?;
    }
    context.say(Word::RevivedNext, &[])?;
    Ok(ExitCode::Fine)
}

async fn revive(
    context: &Context,
    arguments: &Arguments,
    with: Opener,
    closure: Option<Closure>,
) -> Result<Revived, Failure> {
    let config = context.config()?;
    let (reporter, reports) = report::channel();
    let opening = (with, closure);
    let work = create::revive(
        &context.dir,
        &context.environment,
        &arguments.from,
        opening,
        &config,
        reporter,
    );
    let (revived, watched) = tokio::join!(work, progress::watch(context, reports, |_| Ok(())));
    watched?;
    Ok(revived?)
}
