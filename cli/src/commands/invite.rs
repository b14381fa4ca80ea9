//! `invite`: a one-use invitation as text and QR code, or the answer to a request file.

use crate::context::{Context, Failure, Outcome, Style, read_text, typed};
use crate::secrets::PracticeArguments;
use crate::session;
use crate::words::Word;
use carnet_node::service::error::{CommandError, ExitCode};
use carnet_node::service::reply::{Approved, Invited};
use carnet_node::service::request::Request;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// A request file is a few hundred bytes.
const REQUEST_BYTES_MAX: u64 = 1 << 20;

/// Arguments of `invite`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Name of the new site
    #[arg(long, required_unless_present = "approve")]
    site: Option<String>,
    /// What the new node may be
    #[arg(long, value_enum, default_value = "clinic")]
    role: Role,
    /// Let the new node admit others in turn (needs the practice key)
    #[arg(long)]
    admit: bool,
    /// Address at which the new node reaches this one [default: where `run` listens]
    #[arg(long, value_name = "HOST:PORT")]
    address: Vec<String>,
    /// For how many hours the invitation can be used
    #[arg(long, default_value_t = 72, value_parser = clap::value_parser!(u32).range(1..=8760))]
    hours: u32,
    /// Answer the request in this file (made by `join --request`)
    #[arg(long, value_name = "FILE")]
    approve: Option<PathBuf>,
    /// Where the answer is written [default: standard output]
    #[arg(long, value_name = "FILE", requires = "approve")]
    output: Option<PathBuf>,
    #[command(flatten)]
    practice: PracticeArguments,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Role {
    /// Reads and writes charts
    Clinic,
    /// Holds and passes on what it cannot read
    Relay,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Clinic => "clinic",
            Self::Relay => "relay",
        }
    }
}

/// Makes the invitation, or the answer.
pub async fn execute(context: &Context, arguments: Arguments) -> Outcome {
    let practice = arguments.practice.secret()?;
    if let Some(path) = &arguments.approve {
        let request = Request::Approve {
            request: read_text(path, REQUEST_BYTES_MAX)?,
            site: arguments.site,
            role: arguments.role.name().to_owned(),
            admit: arguments.admit,
            addresses: arguments.address,
            practice,
        };
        let reply = session::ask(context, request).await?;
        return approved(context, &typed(reply)?, arguments.output.as_deref());
    }
    let request = Request::Invite {
        site: arguments.site.unwrap_or_default(),
        role: arguments.role.name().to_owned(),
        admit: arguments.admit,
        addresses: arguments.address,
        hours: arguments.hours,
        practice,
    };
    let invited: Invited = typed(session::ask(context, request).await?)?;
    if context.answered(&invited)? {
        return Ok(ExitCode::Fine);
    }
    context.line(&invited.invitation)?;
    if std::io::stdout().is_terminal() {
        show_qr(context, &invited.invitation)?;
    }
    let gaps = [("site", invited.site.as_str()), ("expires", &invited.expires)];
    context.note(Word::InviteExplained, &gaps);
    Ok(ExitCode::Fine)
}

fn show_qr(context: &Context, text: &str) -> Result<(), Failure> {
    // Too long for a code, or for the eye: the text stands above.
    let Ok(code) = QrCode::with_error_correction_level(text, qrcode::EcLevel::L) else {
        return Ok(());
    };
    let drawn =
        code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    context.line(format!("\n{}", context.paint(Style::Bold, &drawn)))
}

fn approved(context: &Context, approved: &Approved, output: Option<&Path>) -> Outcome {
    if let Some(path) = output {
        std::fs::write(path, &approved.answer).map_err(|error| CommandError::file(&error, path))?;
    }
    if !context.answered(approved)? {
        match output {
            None => context.line(&approved.answer)?,
            Some(path) => {
                context.say(Word::FileWritten, &[("path", &path.display().to_string())])?;
            }
        }
    }
    Ok(ExitCode::Fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_of_the_usual_length_fits_a_code() {
        let text = "x".repeat(400);
        assert!(QrCode::with_error_correction_level(text, qrcode::EcLevel::L).is_ok());
    }
}
