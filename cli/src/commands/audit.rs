//! `audit`: who did what.

use super::status::clock;
use crate::context::{Context, Failure, Outcome, Style, typed};
use crate::session::{self, Session};
use crate::words::Word;
use carnet_node::access::Class;
use carnet_node::records::trail::TrailReport;
use carnet_node::service::error::ExitCode;
use carnet_node::service::request::{AuditFilter, AuditRequest, Request};
use serde_json::Value;

/// The audit trail.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List who did what
    List(Filter),
    /// Check that nothing of the trail was altered, removed, reordered or cut off
    Verify,
    /// Hand out the trail for other systems
    Export {
        /// fhir (AuditEvent as NDJSON) or csv
        #[arg(long, default_value = "fhir", value_parser = ["fhir", "csv"])]
        format: String,
        #[command(flatten)]
        filter: Filter,
    },
    /// Tell who has seen a patient's record, in words for the patient
    Seen {
        /// The patient's id
        patient: String,
    },
}

/// Which events.
#[derive(Debug, clap::Args)]
pub struct Filter {
    /// About this patient
    #[arg(long, value_name = "ID")]
    patient: Option<String>,
    /// By this user id, app:ID, operator or node
    #[arg(long, value_name = "ID")]
    staff: Option<String>,
    /// This action: read, search, write, login...
    #[arg(long)]
    action: Option<String>,
    /// From this day or instant on
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this day or instant
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Filter {
    fn asked(self, form: &str) -> Request {
        let Self { patient, staff, action, since, until } = self;
        let form = form.to_owned();
        Request::Audit(AuditRequest::List(AuditFilter {
            patient,
            staff,
            action,
            since,
            until,
            form,
        }))
    }
}

/// Does it.
pub async fn execute(context: &Context, command: Command) -> Outcome {
    match command {
        Command::List(filter) => {
            listed(context, filter.asked("json"), |event| line(context, event)).await
        }
        Command::Export { format, filter } => {
            let asked = filter.asked(&format);
            let written =
                |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
            stream(context, asked, |item| context.line(written(&item))).await?;
            Ok(ExitCode::Fine)
        }
        Command::Seen { patient } => {
            let asked = Request::Audit(AuditRequest::Seen { patient });
            listed(context, asked, |event| sentence(context, event)).await
        }
        Command::Verify => verify(context).await,
    }
}

async fn stream(
    context: &Context,
    request: Request,
    on_item: impl FnMut(Value) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let session = Session::open(context).await?;
    let outcome = session.stream(context, request, on_item).await;
    session.close().await;
    outcome.map(drop)
}

async fn listed(
    context: &Context,
    request: Request,
    show: impl Fn(&Value) -> Option<String>,
) -> Outcome {
    let mut all = Vec::new();
    stream(context, request, |event| {
        if context.json {
            all.push(event);
            return Ok(());
        }
        show(&event).map_or(Ok(()), |line| context.line(line))
    })
    .await?;
    context.answered(&all)?;
    Ok(ExitCode::Fine)
}

fn line(context: &Context, event: &Value) -> Option<String> {
    let text = |key: &str| event[key].as_str().unwrap_or_default();
    let outcome = match text("outcome") {
        "done" => String::new(),
        _ => context.paint(Style::Red, &format!("{} {}", text("outcome"), text("detail"))),
    };
    let about = match (text("subject"), text("patient")) {
        (subject, "") => subject.to_owned(),
        ("", patient) => format!("Patient/{patient}"),
        (subject, patient) if subject == format!("Patient/{patient}") => subject.to_owned(),
        (subject, patient) => format!("{subject} (Patient/{patient})"),
    };
    let time = clock(text("time"), context.environment.unix_ms());
    Some(
        format!(
            "{time}  {:<14} {:<16} {:<12} {about} {outcome}",
            text("site"),
            text("actor"),
            text("action")
        )
        .trim_end()
        .to_owned(),
    )
}

/// One disclosure in words that a patient understands; what is no disclosure says nothing.
fn sentence(context: &Context, event: &Value) -> Option<String> {
    let text = |key: &str| event[key].as_str().unwrap_or_default();
    let word = match (text("action"), text("outcome")) {
        ("audit", _) => return None,
        (_, "denied") => Word::SeenDenied,
        ("break-glass", _) => Word::SeenEmergency,
        ("write" | "create" | "delete" | "resolve", _) => Word::SeenWrote,
        ("export", _) => Word::SeenExported,
        _ => Word::SeenRead,
    };
    let who = match (event["name"].as_str(), text("actor")) {
        (Some(name), _) => name,
        (None, "operator") => context.words.text(Word::SeenOperator),
        (None, actor) => actor,
    };
    let kind = text("subject").split('/').next().unwrap_or_default();
    let word_of = if kind.is_empty() { Word::SeenChart } else { Word::of_class(Class::of(kind)) };
    let what = context.words.text(word_of);
    let time = clock(text("time"), context.environment.unix_ms());
    let gaps = [
        ("time", time.as_str()),
        ("who", who),
        ("site", text("site")),
        ("what", what),
        ("reason", text("detail")),
    ];
    Some(context.words.fill(word, &gaps))
}

async fn verify(context: &Context) -> Outcome {
    let reply = session::ask(context, Request::Audit(AuditRequest::Verify)).await?;
    let report: TrailReport = typed(reply)?;
    let code = if report.ok { ExitCode::Fine } else { ExitCode::Failure };
    if context.answered(&report)? {
        return Ok(code);
    }
    for problem in &report.problems {
        context.line(context.paint(Style::Red, problem))?;
    }
    let (events, unwitnessed) = (report.events.to_string(), report.unwitnessed.to_string());
    let gaps = [("events", events.as_str()), ("unwitnessed", &unwitnessed)];
    context.say(if report.ok { Word::TrailSound } else { Word::TrailBroken }, &gaps)?;
    if report.unwitnessed > 0 {
        context.say(Word::TrailUnwitnessed, &gaps)?;
    }
    Ok(code)
}
