//! `compact`: what all nodes hold is packed, and takes less of the disk.

use crate::commands::sync::bytes;
use crate::context::{Context, Outcome, Style, typed};
use crate::session;
use crate::words::Word;
use carnet_node::service::error::ExitCode;
use carnet_node::service::reply::Compacted;
use carnet_node::service::request::Request;

/// Arguments of `compact`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Say what it would save, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Compacts.
pub async fn execute(context: &Context, arguments: Arguments) -> Outcome {
    let request = Request::Compact { dry_run: arguments.dry_run };
    let done: Compacted = typed(session::ask(context, request).await?)?;
    if context.answered(&done)? {
        return Ok(ExitCode::Fine);
    }
    let (before, after) = (bytes(done.bytes_before), bytes(done.bytes_after));
    let (log_before, log_after) = (bytes(done.log_bytes.0), bytes(done.log_bytes.1));
    let (entries, documents) = (done.entries.to_string(), done.documents.to_string());
    let (waiting, sites) = (done.waiting.to_string(), done.waiting_for.join(", "));
    let (kept, seconds) = (done.kept.to_string(), format!("{:.1}", done.seconds));
    let gaps = [
        ("entries", entries.as_str()),
        ("documents", &documents),
        ("before", &before),
        ("after", &after),
        ("log_before", &log_before),
        ("log_after", &log_after),
        ("waiting", &waiting),
        ("sites", &sites),
        ("kept", &kept),
        ("seconds", &seconds),
    ];
    let word = match (done.entries, done.dry_run) {
        (0, _) => Word::CompactNothing,
        (_, true) => Word::CompactWould,
        (_, false) => Word::CompactDone,
    };
    context.line(context.paint(Style::Green, &context.words.fill(word, &gaps)))?;
    if done.waiting > 0 {
        context.say(Word::CompactWaiting, &gaps)?;
    }
    if done.kept > 0 {
        context.say(Word::CompactKept, &gaps)?;
    }
    Ok(ExitCode::Fine)
}
