//! `config show`: every setting, and where each came from.

use crate::context::{Context, Outcome, Style};
use carnet_node::service::error::ExitCode;
use serde_json::{Map, Value, json};

/// Settings.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show every setting
    Show {
        /// Also show where each came from: flag, environment, file or default
        #[arg(long)]
        origin: bool,
    },
}

/// Shows them.
pub fn execute(context: &Context, command: Command) -> Outcome {
    let Command::Show { origin } = command;
    let rows = context.config()?.rows();
    if context.json {
        let entry = |(name, value, from): &(&str, Value, _)| {
            let shown = if origin {
                json!({ "value": value, "origin": format!("{from}") })
            } else {
                value.clone()
            };
            ((*name).to_owned(), shown)
        };
        context.print_json(&rows.iter().map(entry).collect::<Map<_, _>>())?;
        return Ok(ExitCode::Fine);
    }
    for (name, value, from) in &rows {
        let from = if origin { format!("  ({from})") } else { String::new() };
        context.line(format!("{name} = {value}{}", context.paint(Style::Dim, &from)))?;
    }
    Ok(ExitCode::Fine)
}
