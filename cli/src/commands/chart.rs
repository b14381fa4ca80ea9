//! `chart show|history|edit|put|conflicts|resolve`: one resource at a time.

use super::patient::{hint, text};
use super::status::clock;
use crate::context::{Context, Failure, Outcome, Style, read_text, typed};
use crate::narrative;
use crate::session;
use crate::words::Word;
use carnet_node::records::read::TAG_SYSTEM;
use carnet_node::service::error::{CommandError, ExitCode};
use carnet_node::service::reply::{Conflict, Edited};
use carnet_node::service::request::{Choose, Request};
use serde_json::Value;
use std::path::PathBuf;

/// One change is at most 4 MiB; its JSON may be somewhat longer.
const RESOURCE_BYTES_MAX: u64 = 8 << 20;

/// Show and change resources, and decide conflicts.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show a resource; what is in conflict is marked and carries every value
    Show {
        /// TYPE/ID
        resource: String,
    },
    /// Show what became of a resource: who, where, when
    History {
        /// TYPE/ID
        resource: String,
    },
    /// Change elements of a resource, or delete it
    Edit {
        /// TYPE/ID
        resource: String,
        /// New value of an element as JSON; null removes it
        #[arg(long, value_name = "ELEMENT=JSON", required_unless_present = "delete")]
        set: Vec<String>,
        /// Delete the resource; its history stays
        #[arg(long, conflicts_with = "set")]
        delete: bool,
    },
    /// Write a whole resource from a file, or from standard input (-)
    Put {
        /// File with the resource as JSON
        file: PathBuf,
    },
    /// List the conflicts that await a decision
    Conflicts {
        /// Only those of this resource: TYPE/ID
        resource: Option<String>,
    },
    /// Decide a conflict
    Resolve {
        /// TYPE/ID
        resource: String,
        /// The element, as `chart conflicts` shows it
        element: String,
        /// Id of the value to keep
        #[arg(long, value_name = "VALUE_ID", required_unless_present = "both")]
        choose: Option<String>,
        /// Keep both, where they can stand side by side (lists, what both typed into a draft)
        #[arg(long, conflicts_with = "choose")]
        both: bool,
        /// The set of values that you saw; refused when it has changed since
        #[arg(long)]
        seen: String,
    },
}

/// Does it.
pub async fn execute(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Show { resource } => {
            let shown = session::ask(context, Request::ChartShow { resource }).await?;
            if !context.answered(&shown)? {
                if narrative::is_note(&shown) {
                    note(context, &shown)?;
                }
                context.line(format!("{shown:#}"))?;
            }
        }
        Command::History { resource } => {
            let versions = session::ask(context, Request::ChartHistory { resource }).await?;
            if !context.answered(&versions)? {
                history(context, &versions)?;
            }
        }
        Command::Edit { resource, set, delete } => {
            let set = set.iter().map(|pair| assignment(pair)).collect::<Result<Vec<_>, _>>()?;
            edited(context, Request::ChartEdit { resource, set, delete }).await?;
        }
        Command::Put { file } => {
            let body = json(&read_text(&file, RESOURCE_BYTES_MAX)?, &file.display().to_string())?;
            edited(context, Request::ChartPut { body }).await?;
        }
        Command::Conflicts { resource } => {
            let request = Request::ChartConflicts { resource };
            let conflicts: Vec<Conflict> = typed(session::ask(context, request).await?)?;
            if !context.answered(&conflicts)? {
                for conflict in &conflicts {
                    describe(context, conflict)?;
                    context.line(format!("  --seen {}\n", conflict.seen))?;
                }
                if conflicts.is_empty() {
                    context.say(Word::NoConflicts, &[])?;
                }
            }
        }
        Command::Resolve { resource, element, choose, both: _, seen } => {
            let choose = choose.map_or(Choose::Both, Choose::Value);
            edited(context, Request::ChartResolve { resource, element, choose, seen }).await?;
        }
    }
    Ok(ExitCode::Fine)
}

async fn edited(context: &Context, request: Request) -> Result<(), Failure> {
    let edited: Edited = typed(session::ask(context, request).await?)?;
    if context.answered(&edited)? {
        return Ok(());
    }
    let word = if edited.changed { Word::EditDone } else { Word::EditSame };
    context.say(word, &[("resource", &edited.resource)])?;
    hint(context, &edited.duplicates);
    Ok(())
}

fn assignment(pair: &str) -> Result<(String, Value), CommandError> {
    let (element, value) = pair.split_once('=').ok_or_else(|| {
        CommandError::bad_input("expected ELEMENT=JSON").at(format!("--set {pair}"))
    })?;
    let place = format!("--set {element}");
    if element.is_empty() || !element.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(CommandError::bad_input("not the name of a top-level element").at(place));
    }
    Ok((element.to_owned(), json(value, &place)?))
}

fn json(text: &str, place: &str) -> Result<Value, CommandError> {
    serde_json::from_str(text).map_err(|error| {
        // serde_json's own text may quote what was typed; the position is enough.
        let position = format!("line {}, column {}", error.line(), error.column());
        CommandError::bad_input(format!("not JSON at {position}"))
            .at(place)
            .advise("A text needs its quotes: --set status='\"stopped\"'")
    })
}

/// A conflict in plain words: the resource, and each value with who wrote it, where and when.
pub fn describe(context: &Context, conflict: &Conflict) -> Result<(), Failure> {
    let kind = match conflict.kind.as_str() {
        "same-resource" if !conflict.element.starts_with('_') => Word::ConflictTyped,
        "same-resource" => Word::ConflictSameResource,
        "deleted-and-edited" => Word::ConflictDeleted,
        _ => Word::ConflictSameElement,
    };
    let resource = context.paint(Style::Bold, &conflict.resource);
    let gaps = [("resource", resource.as_str()), ("element", &conflict.element)];
    context.say(kind, &gaps)?;
    for (number, value) in conflict.values.iter().enumerate() {
        let letter = letter(number);
        let shown = match &value.value {
            Value::Null => context.words.text(Word::ValueRemoved).to_owned(),
            value => value.to_string(),
        };
        context.line(format!("  {letter}) {}", context.paint(Style::Cyan, &shown)))?;
        read(context, 3, &value.value)?;
        // Of a deletion and an edit both say the same resource; what was done must be said too.
        let done = [(value.deleted, Word::ValueDeleted), (value.moved.is_some(), Word::ValueMoved)];
        for (_, word) in done.into_iter().filter(|(is_so, _)| *is_so) {
            context.line(format!("     {}", context.words.text(word)))?;
        }
        let time = clock(&value.time, context.environment.unix_ms());
        let author: String = value.author.chars().take(12).collect();
        let gaps = [("site", value.site.as_str()), ("author", &author), ("time", &time)];
        let line = context.words.fill(Word::ValueBy, &gaps);
        context.line(context.paint(Style::Dim, &format!("     {line}  [{}]", value.id)))?;
    }
    Ok(())
}

/// A note as people read it, above the same as JSON.
fn note(context: &Context, shown: &Value) -> Result<(), Failure> {
    let tags = shown["meta"]["tag"].as_array();
    let is_conflict = |tag: &Value| tag["system"] == TAG_SYSTEM && tag["code"] == "conflict";
    let disputed = tags.is_some_and(|tags| tags.iter().any(is_conflict));
    let mark = if disputed { context.words.text(Word::InConflict) } else { "" };
    let mark = context.paint(Style::Yellow, mark);
    context.line(format!("{}  {}  {mark}", text(shown, "status"), text(shown, "date")))?;
    read(context, 0, shown)?;
    context.line("")
}

/// The titles and narratives of a value, if it has any.
fn read(context: &Context, indent: usize, value: &Value) -> Result<(), Failure> {
    let lines = narrative::lines(value);
    if lines.iter().all(|line| line.title) {
        return Ok(());
    }
    for line in lines {
        let text = if line.title { context.paint(Style::Bold, &line.text) } else { line.text };
        context.line(format!("{}{text}", "  ".repeat(indent + line.depth)))?;
    }
    Ok(())
}

/// The letter by which a value is chosen; beyond the alphabet its number.
pub fn letter(number: usize) -> String {
    match u8::try_from(number) {
        Ok(number) if number < 26 => char::from(b'a' + number).to_string(),
        _ => (number + 1).to_string(),
    }
}

fn history(context: &Context, versions: &Value) -> Result<(), Failure> {
    for version in versions.as_array().into_iter().flatten() {
        let time = clock(text(version, "time"), context.environment.unix_ms());
        let site = context.paint(Style::Bold, text(version, "site"));
        let deleted = if version["deleted"] == Value::Bool(true) {
            context.words.text(Word::ValueRemoved)
        } else {
            ""
        };
        let late = if version["late"] == Value::Bool(true) {
            context.paint(Style::Yellow, context.words.text(Word::WrittenLate))
        } else {
            String::new()
        };
        let author = match text(version, "author") {
            node if node == text(version, "node") => "",
            person => person,
        };
        let id = text(version, "version");
        let line = format!("{time}  {site}  {author:<12} {id} {deleted} {late}");
        context.line(line.trim_end())?;
        context.line(context.paint(Style::Dim, &format!("    {}", version["body"])))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_an_element_and_json() {
        let (element, value) = assignment("dose={\"value\":1.50}").expect("it parses");
        assert_eq!((element.as_str(), value.to_string()), ("dose", "{\"value\":1.50}".to_owned()));
        assert!(assignment("status").is_err());
        assert!(assignment("a.b=1").is_err());
        let error = assignment("status=Awa Diop").expect_err("not JSON");
        assert!(!error.to_string().contains("Awa"), "an error never repeats a value");
    }

    #[test]
    fn values_have_letters() {
        assert_eq!((letter(0), letter(25), letter(26)), ("a".into(), "z".into(), "27".into()));
    }
}
