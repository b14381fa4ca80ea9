//! `restore`: a practice again, from somebody's ciphertext and the recovery code.

use super::init::Closing;
use crate::context::{Context, Outcome};
use crate::secrets;
use crate::words::Word;
use carnet_node::service::create::{self, Restoring};
use carnet_node::service::error::ExitCode;
use std::path::PathBuf;

/// Arguments of `restore`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Directory of a peer, a relay or a backup; it is only read
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Name of this site
    #[arg(long)]
    site: String,
    /// File with the recovery code [default: asked for]
    #[arg(long, value_name = "FILE")]
    recovery_code_file: Option<PathBuf>,
    #[command(flatten)]
    closing: Closing,
}

/// Restores the practice into the node's directory.
pub async fn execute(context: &Context, arguments: Arguments) -> Outcome {
    create::refuse_existing(&context.dir)?;
    let code = match &arguments.recovery_code_file {
        Some(path) => secrets::from_file(path)?,
        None => secrets::ask(context, Word::RecoveryCodePrompt)?,
    };
    let restoring = Restoring {
        from: arguments.from,
        site: arguments.site,
        code,
        closure: arguments.closing.closure(context)?,
    };
    let created = create::restore(&context.dir, &context.environment, restoring).await?;
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
