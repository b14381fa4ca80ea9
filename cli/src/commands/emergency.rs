//! `emergency`: opens a patient's chart when nobody who may is there.

use crate::context::{Context, Outcome};
use crate::session;
use crate::words::Word;
use carnet_node::service::error::ExitCode;
use carnet_node::service::request::Request;

/// Arguments of `emergency`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The patient's id
    patient: String,
    /// Why, in words; the privacy officer reads it
    #[arg(long)]
    reason: String,
}

/// Does it.
pub async fn execute(context: &Context, arguments: Arguments) -> Outcome {
    let Arguments { patient, reason } = arguments;
    let reply = session::ask(context, Request::Emergency { patient, reason }).await?;
    if !context.answered(&reply)? {
        let hours = reply["hours"].to_string();
        let patient = reply["patient"].as_str().unwrap_or_default();
        context.say(Word::EmergencyOpened, &[("patient", patient), ("hours", &hours)])?;
    }
    Ok(ExitCode::Fine)
}
