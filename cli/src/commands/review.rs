//! `review`: what must be looked at: conflicts, decided one after another by a person, and the rest
//! of the review list, signed off.

mod items;

use super::chart::{describe, letter};
use super::patient::text;
use crate::context::{Context, Failure, Outcome, typed};
use crate::secrets::question;
use crate::session::{self, Session};
use crate::words::Word;
use carnet_node::service::error::{CommandError, ErrorKind, ExitCode};
use carnet_node::service::reply::Conflict;
use carnet_node::service::request::{Choose, Request};
use std::collections::HashSet;

/// What the user said to a conflict.
#[derive(Debug, PartialEq)]
enum Decision {
    Keep(usize),
    Both,
    Skip,
    Stop,
}

/// Where to go, and how.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only list what must be looked at
    #[arg(long)]
    list: bool,
    /// List what was signed off too
    #[arg(long, requires = "list")]
    signed: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What can be done without a talk.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Sign off an item of the list, for every node
    SignOff {
        /// The item, as `review --list` shows it
        item: String,
        /// What you found
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
}

/// Lists, signs off, or asks until nothing is open or the user has had enough.
pub async fn execute(context: &Context, arguments: Arguments) -> Outcome {
    if let Some(Command::SignOff { item, note }) = arguments.command {
        let request = Request::ReviewSignOff { item, note };
        let done = session::ask(context, request).await?;
        if !context.answered(&done)? {
            context.say(Word::ReviewSigned, &[("item", text(&done, "item"))])?;
        }
        return Ok(ExitCode::Fine);
    }
    if arguments.list {
        let request = Request::ReviewList { signed: arguments.signed };
        let items = session::ask(context, request).await?;
        if !context.answered(&items)? {
            items::list(context, &items)?;
        }
        return Ok(ExitCode::Fine);
    }
    if context.json {
        return Err(CommandError::bad_input("a review is a talk with a person")
            .advise("Scripts use `review --list`, `review sign-off` and `chart resolve`")
            .into());
    }
    let session = Session::open(context).await?;
    let outcome = talk(context, &session).await;
    session.close().await;
    outcome
}

async fn talk(context: &Context, session: &Session) -> Outcome {
    let Some(conflicts) = ask_all(context, session).await? else { return Ok(ExitCode::Partial) };
    let others = items::sign_all(context, session).await?;
    let done = conflicts == 0 && others == 0;
    Ok(if done { ExitCode::Fine } else { ExitCode::Partial })
}

/// How many conflicts are left open; `None` when the user stops.
async fn ask_all(context: &Context, session: &Session) -> Result<Option<usize>, Failure> {
    let mut skipped = HashSet::new();
    let mut decided = 0_u32;
    loop {
        // Asked for again each time: a decision, or a peer, may have changed the rest.
        let request = Request::ChartConflicts { resource: None };
        let open: Vec<Conflict> = typed(session.ask(context, request).await?)?;
        let key = |conflict: &Conflict| {
            (conflict.resource.clone(), conflict.element.clone(), conflict.seen.clone())
        };
        let Some(next) = open.iter().find(|conflict| !skipped.contains(&key(conflict))) else {
            let gaps = [("decided", &*decided.to_string()), ("open", &open.len().to_string())];
            context.say(Word::ReviewDone, &gaps)?;
            return Ok(Some(open.len()));
        };
        context.say(Word::ReviewLeft, &[("count", &(open.len() - skipped.len()).to_string())])?;
        describe(context, next)?;
        match ask_one(context, session, next).await {
            Ok(Some(true)) => decided += 1,
            Ok(Some(false)) => {
                skipped.insert(key(next));
            }
            Ok(None) => return Ok(None),
            Err(Failure::Command(error)) if error.kind == ErrorKind::Changed => {
                context.say(Word::ReviewChanged, &[])?;
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Whether this one was decided; `None` when the user stops.
async fn ask_one(
    context: &Context,
    session: &Session,
    conflict: &Conflict,
) -> Result<Option<bool>, Failure> {
    let choose = loop {
        let Some(said) = question(context.words.text(Word::ReviewAsk))? else { return Ok(None) };
        match decision(&said, conflict) {
            None => context.say(Word::ReviewNotUnderstood, &[])?,
            Some(Decision::Stop) => return Ok(None),
            Some(Decision::Skip) => return Ok(Some(false)),
            Some(Decision::Keep(number)) => {
                break Choose::Value(conflict.values[number].id.clone());
            }
            Some(Decision::Both) => break Choose::Both,
        }
    };
    let both = choose == Choose::Both;
    let request = Request::ChartResolve {
        resource: conflict.resource.clone(),
        element: conflict.element.clone(),
        choose,
        seen: conflict.seen.clone(),
    };
    match session.ask(context, request).await {
        // Of two doses one must be right: what cannot stand side by side is not joined.
        Err(Failure::Command(error)) if both && error.kind == ErrorKind::BadInput => {
            context.say(Word::ReviewCannotKeepBoth, &[])?;
            return Ok(Some(false));
        }
        outcome => outcome?,
    };
    context.say(Word::ReviewKept, &[("resource", &conflict.resource)])?;
    Ok(Some(true))
}

/// Letters choose; the French and English words for the rest both work in either language.
fn decision(said: &str, conflict: &Conflict) -> Option<Decision> {
    let said = said.to_lowercase();
    let chosen = (0..conflict.values.len()).find(|number| letter(*number) == said);
    if let Some(number) = chosen {
        return Some(Decision::Keep(number));
    }
    match said.as_str() {
        "both" | "deux" | "les deux" | "+" => Some(Decision::Both),
        "skip" | "passer" | "" => Some(Decision::Skip),
        "stop" | "quit" | "fin" => Some(Decision::Stop),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carnet_node::service::reply::ConflictValue;
    use serde_json::{Value, json};

    fn conflict(values: &[Value]) -> Conflict {
        let values = values.iter().map(|value| ConflictValue {
            id: "1".into(),
            value: value.clone(),
            author: String::new(),
            site: String::new(),
            time: String::new(),
            deleted: false,
            moved: None,
        });
        Conflict {
            resource: "AllergyIntolerance/1".into(),
            element: "note".into(),
            kind: "same-element".into(),
            seen: "0".into(),
            values: values.collect(),
        }
    }

    #[test]
    fn answers_are_understood_in_both_languages() {
        let conflict = conflict(&[json!(1), json!(2)]);
        assert_eq!(decision("B", &conflict), Some(Decision::Keep(1)));
        assert_eq!(decision("c", &conflict), None);
        assert_eq!(decision("Les deux", &conflict), Some(Decision::Both));
        assert_eq!(decision("", &conflict), Some(Decision::Skip));
        assert_eq!(decision("stop", &conflict), Some(Decision::Stop));
    }
}
