//! `join`: a node that enters a practice, by a link or by files on a USB stick.

use super::init::Closing;
use crate::context::{Context, Outcome, read_text};
use crate::words::Word;
use carnet_node::service::create;
use carnet_node::service::error::{CommandError, ExitCode};
use carnet_node::service::reply::Created;
use std::path::PathBuf;

/// An answer carries the practice's control entries.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Arguments of `join`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The invitation
    #[arg(required_unless_present_any = ["request", "finish"])]
    invitation: Option<String>,
    /// Write a request file, for a site without a link; `invite --approve` answers it
    #[arg(long, value_name = "FILE", conflicts_with = "invitation")]
    request: Option<PathBuf>,
    /// Finish with the answer in this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["invitation", "request"])]
    finish: Option<PathBuf>,
    /// Name of this site, in a request file [default: the machine's name]
    #[arg(long)]
    site: Option<String>,
    #[command(flatten)]
    closing: Closing,
}

/// Joins, or does one half of it.
pub async fn execute(context: &Context, arguments: Arguments) -> Outcome {
    let (dir, environment) = (&context.dir, &context.environment);
    if let Some(path) = &arguments.finish {
        let answer = read_text(path, ANSWER_BYTES_MAX)?;
        let config = context.config()?;
        let created = super::unlock::opened(context, async |with| {
            Ok(create::finish(dir, environment, &answer, with, &config).await?)
        })
        .await?;
        return joined(context, &created);
    }
    create::refuse_existing(dir)?;
    let closure = arguments.closing.closure(context)?;
    if let Some(path) = &arguments.request {
        let site = arguments.site.unwrap_or_else(machine_name);
        let request = create::request(dir, environment, &site, closure).await?;
        std::fs::write(path, &request.request).map_err(|error| CommandError::file(&error, path))?;
        if !context.answered(&request)? {
            context.say(Word::FileWritten, &[("path", &path.display().to_string())])?;
            context.say(Word::RequestExplained, &[("fingerprint", &request.fingerprint)])?;
        }
        return Ok(ExitCode::Fine);
    }
    let invitation = arguments.invitation.unwrap_or_default();
    let created = create::join(dir, environment, &invitation, closure).await?;
    joined(context, &created)
}

/// What whoever approves the request sees; they may give the site another name.
fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "new site".to_owned() } else { name.trim().to_owned() }
}

fn joined(context: &Context, created: &Created) -> Outcome {
    if context.answered(created)? {
        return Ok(ExitCode::Fine);
    }
    context.say(Word::JoinDone, &[])?;
    context.say(Word::NodeIs, &[("node", &created.node)])?;
    if let Some(key_file) = &created.key_file {
        context.say(Word::KeyFileIs, &[("path", key_file)])?;
    }
    context.say(Word::JoinNext, &[])?;
    Ok(ExitCode::Fine)
}
