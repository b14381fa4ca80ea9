//! `demo`: two clinics on this machine work apart and come together, in a minute's reading.

use super::status::clock;
use super::sync::bytes;
use crate::context::{Context, Failure, Outcome, Style};
use crate::progress;
use crate::words::Word;
use carnet_node::service::demo;
use carnet_node::service::error::{CommandError, ExitCode};
use carnet_node::service::reply::{Conflict, Story, SyncedPeer};
use carnet_node::service::report;
use serde_json::Value;
use std::path::PathBuf;

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Leave the two nodes in this directory
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// How many patients to invent
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=1000))]
    patients: u32,
    /// Another seed invents other people
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// Plays the story, then tells it; the exit code is 1 when the nodes differ at its end.
pub async fn execute(context: &Context, arguments: Arguments) -> Outcome {
    let keep = arguments
        .keep
        .map(|path| std::path::absolute(&path).map_err(|error| CommandError::file(&error, &path)));
    let script = demo::Script {
        keep: keep.transpose()?,
        patients: arguments.patients,
        seed: arguments.seed,
    };
    let (reporter, reports) = report::channel();
    let play = demo::play(&context.environment, script, reporter);
    let (story, watched) = tokio::join!(play, progress::watch(context, reports, |_| Ok(())));
    watched?;
    let story = story?;
    let code = if story.converged { ExitCode::Fine } else { ExitCode::Failure };
    if !context.answered(&story)? {
        tell(context, &story)?;
    }
    Ok(code)
}

fn heading(
    context: &Context,
    number: u8,
    word: Word,
    gaps: &[(&str, &str)],
) -> Result<(), Failure> {
    let text = format!("{number}. {}", context.words.fill(word, gaps));
    context.line(format!("\n{}", context.paint(Style::Bold, &text)))
}

fn tell(context: &Context, story: &Story) -> Result<(), Failure> {
    let site = |number: usize| story.sites.get(number).map_or("", String::as_str);
    let sites = [("first", site(0)), ("second", site(1))];
    heading(context, 1, Word::DemoStart, &sites)?;
    let counts = [
        ("first", site(0)),
        ("patients", &*story.patients.to_string()),
        ("resources", &story.resources.to_string()),
    ];
    context.say(Word::DemoImported, &counts)?;
    context.say(Word::DemoJoined, &sites)?;
    synced(context, &story.first_sync)?;

    heading(context, 2, Word::DemoCut, &[])?;
    for edit in &story.apart {
        let what = if edit.element == "new" { Word::DemoAdds } else { Word::DemoEdits };
        let value = short(&edit.value);
        let gaps = [("site", edit.site.as_str()), ("title", &edit.title), ("value", &value)];
        context.say(what, &gaps)?;
    }

    heading(context, 3, Word::DemoBack, &[])?;
    synced(context, &story.second_sync)?;
    for merged in &story.merged {
        let line = context.words.fill(Word::DemoMerged, &[("resource", merged)]);
        context.line(context.paint(Style::Green, &line))?;
    }
    if let Some(conflict) = &story.conflict {
        let disputed = story.apart.iter().find(|edit| edit.resource == conflict.resource);
        let title = disputed.map_or(conflict.resource.as_str(), |edit| edit.title.as_str());
        show_conflict(context, conflict, title)?;
    }

    heading(context, 4, Word::DemoDecided, &[])?;
    if let Some(resolution) = &story.resolution {
        let value = short(&resolution.value);
        let gaps = [("site", resolution.site.as_str()), ("value", &value)];
        context.say(Word::DemoChose, &gaps)?;
    }
    synced(context, &story.third_sync)?;
    ending(context, story)
}

fn ending(context: &Context, story: &Story) -> Result<(), Failure> {
    let (word, style) = if story.converged {
        (Word::DemoConverged, Style::Green)
    } else {
        (Word::DemoDiffers, Style::Red)
    };
    heading(context, 5, Word::DemoEnd, &[])?;
    context.line(context.paint(style, context.words.text(word)))?;
    for (site, digest) in story.sites.iter().zip(&story.state_digests) {
        let digest: String = digest.chars().take(32).collect();
        context.line(format!("   {site:<16} {digest}"))?;
    }
    let gaps = [
        ("entries", story.entries_sent.to_string()),
        ("bytes", bytes(story.bytes_sent)),
        ("receipts", story.receipts.len().to_string()),
        ("seconds", format!("{:.1}", story.seconds)),
    ];
    let gaps: Vec<_> = gaps.iter().map(|(name, value)| (*name, value.as_str())).collect();
    context.say(Word::DemoSum, &gaps)?;
    match &story.kept {
        Some(dir) => context.say(Word::DemoKept, &[("dir", dir)]),
        None => Ok(()),
    }
}

fn synced(context: &Context, peer: &SyncedPeer) -> Result<(), Failure> {
    let gaps = [
        ("sent", peer.entries_sent.to_string()),
        ("received", peer.entries_received.to_string()),
        ("bytes", bytes(peer.bytes_sent + peer.bytes_received)),
        ("seconds", format!("{:.2}", peer.seconds)),
        ("receipt", peer.receipt.as_deref().unwrap_or("-").chars().take(16).collect()),
    ];
    let gaps: Vec<_> = gaps.iter().map(|(name, value)| (*name, value.as_str())).collect();
    context.line(context.paint(Style::Dim, &context.words.fill(Word::DemoSynced, &gaps)))
}

fn show_conflict(context: &Context, conflict: &Conflict, title: &str) -> Result<(), Failure> {
    let gaps = [("title", title)];
    let line = context.words.fill(Word::DemoConflict, &gaps);
    context.line(context.paint(Style::Yellow, &line))?;
    for value in &conflict.values {
        let time = clock(&value.time, context.environment.unix_ms());
        let shown = context.paint(Style::Cyan, &short(&value.value));
        context.line(format!("     {}, {time}: {shown}", value.site))?;
    }
    Ok(())
}

/// What a person reads of a value: a dose's text rather than its whole structure.
fn short(value: &Value) -> String {
    let text = |value: &Value| value.get("text").and_then(Value::as_str).map(str::to_owned);
    let text = match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => items.first().and_then(text),
        other => text(other),
    };
    let text = text.unwrap_or_else(|| value.to_string());
    match text.char_indices().nth(70) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_dose_is_read_by_its_text() {
        assert_eq!(short(&json!([{ "text": "5 mg daily", "timing": {} }])), "5 mg daily");
        assert_eq!(short(&json!("stopped")), "stopped");
        assert_eq!(short(&json!({ "é": "é".repeat(99) })).chars().count(), 73);
    }
}
