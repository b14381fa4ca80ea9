//! `patient search|show|duplicates|link|unlink|distinct`.

use super::status::clock;
use crate::context::{Context, Failure, Outcome, Style, typed};
use crate::session;
use crate::words::Word;
use carnet_node::service::error::ExitCode;
use carnet_node::service::reply::{Duplicate, Edited, LikelySame};
use carnet_node::service::request::{Request, Say};
use serde_json::Value;

/// Hints shown after an import; `patient duplicates` lists them all.
const HINTS_MAX: usize = 10;

/// Find and show patients, and say which are one person.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Find patients by name, identifier, birth date or phone
    Search {
        /// A name or its beginning (accents and small slips do not matter), an identifier, a birth
        /// date (1987-03-21) or a phone number
        #[arg(required = true)]
        query: Vec<String>,
        /// Show at most so many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Show a patient and what the chart holds, with all charts that are linked with it
    Show {
        /// The patient's id
        patient: String,
    },
    /// List pairs of patients who are likely one person, with what speaks for it
    Duplicates {
        /// Show at most so many
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Say that two charts are of one person: they are shown together from here on
    Link(Pair),
    /// Take back what was said of two charts by `link` or `distinct`
    Unlink(Pair),
    /// Say that two charts are not of one person: they are not proposed again
    Distinct(Pair),
}

/// Two patients.
#[derive(Debug, clap::Args)]
pub struct Pair {
    /// A patient's id
    first: String,
    /// The other patient's id
    second: String,
}

/// Does it.
pub async fn execute(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Search { query, limit } => {
            let request = Request::PatientSearch { query: query.join(" "), limit };
            let found = session::ask(context, request).await?;
            if context.answered(&found)? {
                return Ok(ExitCode::Fine);
            }
            let rows = found.as_array().map_or(&[][..], Vec::as_slice);
            for patient in rows {
                line(context, patient)?;
            }
            if rows.is_empty() {
                context.say(Word::NobodyFound, &[])?;
            }
        }
        Command::Show { patient } => {
            let shown = session::ask(context, Request::PatientShow { patient }).await?;
            if context.answered(&shown)? {
                return Ok(ExitCode::Fine);
            }
            show(context, &shown)?;
        }
        Command::Duplicates { limit } => duplicates(context, limit).await?,
        Command::Link(pair) => say(context, pair, Say::Link, Word::PairLinked).await?,
        Command::Unlink(pair) => say(context, pair, Say::Unlink, Word::PairUnlinked).await?,
        Command::Distinct(pair) => say(context, pair, Say::Distinct, Word::PairDistinct).await?,
    }
    Ok(ExitCode::Fine)
}

async fn duplicates(context: &Context, limit: u32) -> Result<(), Failure> {
    let request = Request::PatientDuplicates { limit };
    let mut pairs: Vec<Duplicate> = typed(session::ask(context, request).await?)?;
    for reason in pairs.iter_mut().flat_map(|pair| &mut pair.reasons) {
        reason.words = context.words.evidence(reason.evidence).to_owned();
    }
    if context.answered(&pairs)? {
        return Ok(());
    }
    for pair in &pairs {
        let word = if pair.contradicted { Word::PairContradicted } else { Word::PairLikely };
        let head = context.words.fill(word, &[("score", &pair.score.to_string())]);
        context.line(context.paint(Style::Yellow, &head))?;
        for patient in &pair.patients {
            let name = context.paint(Style::Bold, &patient.name);
            let birth_date = patient.birth_date.as_deref().unwrap_or_default();
            let gender = patient.gender.as_deref().unwrap_or_default();
            let numbers = patient.identifiers.join(", ");
            let (site, id) = (&patient.site, &patient.id);
            context.line(format!("  {name}  {birth_date}  {gender}  {numbers}  {site}  {id}"))?;
        }
        let reasons: Vec<String> = pair
            .reasons
            .iter()
            .map(|reason| format!("{} {:+}", reason.words, reason.points))
            .collect();
        context.line(context.paint(Style::Dim, &format!("    {}", reasons.join("; "))))?;
    }
    context.say(if pairs.is_empty() { Word::NoDuplicates } else { Word::PairsNext }, &[])
}

async fn say(context: &Context, pair: Pair, say: Say, done: Word) -> Result<(), Failure> {
    let Pair { first, second } = pair;
    let request = Request::PatientPair { first: first.clone(), second: second.clone(), say };
    let edited: Edited = typed(session::ask(context, request).await?)?;
    if context.answered(&edited)? {
        return Ok(());
    }
    let word = if edited.changed { done } else { Word::PairSame };
    context.say(word, &[("first", &first), ("second", &second)])
}

/// Hints on standard error that a new patient is likely registered already.
pub fn hint(context: &Context, duplicates: &[LikelySame]) {
    for LikelySame { patient, same, score } in duplicates.iter().take(HINTS_MAX) {
        let gaps = [("patient", &**patient), ("same", same), ("score", &score.to_string())];
        context.note(Word::LikelyRegistered, &gaps);
    }
    if !duplicates.is_empty() {
        context.note(Word::LikelyRegisteredNext, &[]);
    }
}

fn line(context: &Context, patient: &Value) -> Result<(), Failure> {
    let part = |key: &str| text(patient, key);
    let name = context.paint(Style::Bold, part("name"));
    let line = format!("{name}  {}  {}  {}", part("birthDate"), part("gender"), part("id"));
    context.line(line)
}

/// A text of an object; nothing where there is none.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Says that a person has several charts, which, and where what was said of them is disputed.
fn charts(context: &Context, charts: &[Value]) -> Result<(), Failure> {
    context.say(Word::PersonCharts, &[("count", &charts.len().to_string())])?;
    for chart in charts {
        let part = |key: &str| text(chart, key);
        let (site, name, birth_date) = (part("site"), part("name"), part("birthDate"));
        context.line(format!("  {site}  {name}  {birth_date}  {}", part("id")))?;
        for link in chart["links"].as_array().into_iter().flatten() {
            // Each link stands with both of its charts; it is told with the first.
            if link["disputed"] == Value::Bool(true) && text(chart, "id") < text(link, "with") {
                warn(context, Word::LinkDisputed, text(chart, "id"), text(link, "with"))?;
            }
        }
        for other in chart["contradicted"].as_array().into_iter().flatten() {
            let other = other.as_str().unwrap_or_default();
            if text(chart, "id") < other {
                warn(context, Word::LinkContradicted, text(chart, "id"), other)?;
            }
        }
    }
    Ok(())
}

fn warn(context: &Context, word: Word, first: &str, second: &str) -> Result<(), Failure> {
    let text = context.words.fill(word, &[("first", first), ("second", second)]);
    context.line(context.paint(Style::Red, &text))
}

fn show(context: &Context, shown: &Value) -> Result<(), Failure> {
    line(context, &shown["patient"])?;
    for emergency in shown["emergencies"].as_array().into_iter().flatten() {
        let time = clock(text(emergency, "time"), context.environment.unix_ms());
        let gaps = [
            ("who", text(emergency, "who")),
            ("time", &time),
            ("reason", text(emergency, "reason")),
        ];
        let told = context.words.fill(Word::ChartInEmergency, &gaps);
        context.line(context.paint(Style::Yellow, &told))?;
    }
    let person = shown["charts"].as_array().map_or(&[][..], Vec::as_slice);
    if person.len() > 1 {
        charts(context, person)?;
    }
    for resource in shown["resources"].as_array().into_iter().flatten() {
        let mark = if resource["conflicted"] == Value::Bool(true) {
            context.paint(Style::Yellow, context.words.text(Word::InConflict))
        } else {
            String::new()
        };
        context.line(format!(
            "  {:<22} {:<10} {} {mark}",
            text(resource, "resourceType"),
            text(resource, "date"),
            text(resource, "title"),
        ))?;
        let mut place = format!("    {}", text(resource, "reference"));
        if person.len() > 1 {
            let (site, chart) = (text(resource, "site"), text(resource, "chart"));
            place = format!("{place}  [{site}, {chart}]");
        }
        context.line(context.paint(Style::Dim, &place))?;
    }
    match shown["withheld"].as_u64() {
        None | Some(0) => Ok(()),
        Some(count) => context.say(Word::PatientWithheld, &[("count", &count.to_string())]),
    }
}
