//! `patient search|show`.

use crate::context::{Context, Failure, Outcome, Style};
use crate::session;
use crate::words::Word;
use carnet_node::service::error::ExitCode;
use carnet_node::service::request::Request;
use serde_json::Value;

/// Find and show patients.
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
    /// Show a patient and what the chart holds
    Show {
        /// The patient's id
        patient: String,
    },
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
    }
    Ok(ExitCode::Fine)
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

fn show(context: &Context, shown: &Value) -> Result<(), Failure> {
    line(context, &shown["patient"])?;
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
        context.line(context.paint(Style::Dim, &format!("    {}", text(resource, "reference"))))?;
    }
    match shown["withheld"].as_u64() {
        None | Some(0) => Ok(()),
        Some(count) => context.say(Word::PatientWithheld, &[("count", &count.to_string())]),
    }
}
