//! `quarantine list|release|discard`: entries that are set aside and not shown.

use super::patient::text;
use super::status::clock;
use crate::context::{Context, Outcome, Style};
use crate::session;
use crate::words::Word;
use carnet_node::access::statement::Ruling;
use carnet_node::service::error::ExitCode;
use carnet_node::service::request::{QuarantineRequest, Request};
use serde_json::Value;

/// Entries that are set aside and not shown.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List what is set aside, why, and what was decided of it
    List,
    /// Try an entry again; one of a node that was cut off is shown, on every node
    Release(Named),
    /// Leave an entry set aside for good, on every node; it is kept and passed on
    Discard(Named),
}

/// Which entry, and why.
#[derive(Debug, clap::Args)]
pub struct Named {
    /// The entry, as `quarantine list` shows it
    entry: String,
    /// What you found
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    note: String,
}

/// Does it. A release of what the checks still refuse ends with 3.
pub async fn execute(context: &Context, command: Command) -> Outcome {
    let (named, ruling) = match command {
        Command::List => return list(context).await,
        Command::Release(named) => (named, Ruling::Release),
        Command::Discard(named) => (named, Ruling::Discard),
    };
    let Named { entry, note } = named;
    let done =
        session::ask(context, Request::Quarantine(QuarantineRequest::Rule { entry, ruling, note }))
            .await?;
    let shown = done["shown"] == true;
    let fine = shown || ruling == Ruling::Discard;
    let code = if fine { ExitCode::Fine } else { ExitCode::Partial };
    if context.answered(&done)? {
        return Ok(code);
    }
    let word = match (ruling, shown) {
        (Ruling::Discard, _) => Word::QuarantineDiscarded,
        (Ruling::Release, true) => Word::QuarantineReleased,
        (Ruling::Release, false) if done["reason"].is_null() => Word::QuarantineWaits,
        (Ruling::Release, false) => Word::QuarantineStill,
    };
    context.say(word, &[("entry", text(&done, "entry")), ("reason", text(&done, "reason"))])?;
    Ok(code)
}

async fn list(context: &Context) -> Outcome {
    let list = session::ask(context, Request::Quarantine(QuarantineRequest::List)).await?;
    if context.answered(&list)? {
        return Ok(ExitCode::Fine);
    }
    let entries = list["entries"].as_array().map_or(&[][..], Vec::as_slice);
    for entry in entries {
        show(context, entry)?;
    }
    let listed = entries.len() as u64;
    let count = list["count"].as_u64().unwrap_or(listed);
    if count == 0 {
        context.say(Word::QuarantineNothing, &[])?;
    } else if count > listed {
        context.say(Word::QuarantineMore, &[("count", &(count - listed).to_string())])?;
    }
    Ok(ExitCode::Fine)
}

fn show(context: &Context, entry: &Value) -> Outcome {
    let now = context.environment.unix_ms();
    let time = clock(text(entry, "time"), now);
    let (site, channel) = (text(entry, "site"), text(entry, "channel"));
    let word = match entry["withheld"] == true {
        true => Word::QuarantineWithheld,
        false => Word::QuarantineRefused,
    };
    let gaps = [("site", site), ("channel", channel), ("reason", text(entry, "reason"))];
    let line = context.words.fill(word, &gaps);
    context.line(format!("{}  {line}", context.paint(Style::Dim, &time)))?;
    context.line(context.paint(Style::Dim, &format!("    {}", text(entry, "entry"))))?;
    let ruled = &entry["ruled"];
    if ruled.is_object() {
        let time = clock(text(ruled, "time"), now);
        let word = match text(ruled, "ruling") {
            "discard" => Word::QuarantineDiscardedBy,
            "release" => Word::QuarantineReleasedBy,
            _ => Word::QuarantineDisputed,
        };
        let gaps = [("by", text(ruled, "by")), ("time", &time), ("note", text(ruled, "note"))];
        context.line(format!("    {}", context.words.fill(word, &gaps)))?;
    }
    Ok(ExitCode::Fine)
}
