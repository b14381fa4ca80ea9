//! Who gives the command: whoever owns the directory, or the member of staff named by `--as`.

use crate::context::{Context, Failure};
use crate::secrets;
use crate::words::Word;
use carnet_node::base::file;
use carnet_node::service::error::CommandError;
use carnet_node::service::request::{Caller, Opener, Secret};
use std::ffi::OsString;
use std::path::PathBuf;

/// What every command takes.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CallerArguments {
    /// Act as this member of staff (user id)
    #[arg(long = "as", global = true, env = "CARNET_AS", value_name = "ID")]
    pub acting_as: Option<String>,
    /// File whose first line is that person's password
    #[arg(long, global = true, env = "CARNET_PASSWORD_FILE", value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Why: TREAT, HPAYMT, HOPERAT, PUBHLTH, PATRQT [default: what is usual for the role]
    #[arg(long = "purpose", global = true, value_name = "CODE")]
    pub acting_for: Option<String>,
    /// File whose first line is an API token; the command is then the program's
    #[arg(long, global = true, env = "CARNET_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Act as whoever owns the directory, though there is a session
    #[arg(long, global = true, conflicts_with = "acting_as")]
    pub as_operator: bool,
}

/// Where `login` leaves the session, for its owner only.
const SESSION_FILE: &str = "session";

impl CallerArguments {
    /// What opens the node for a member of staff who may do so with their own password.
    pub fn opener(&self, context: &Context) -> Result<Option<Opener>, Failure> {
        let Some(id) = self.acting_as.clone() else { return Ok(None) };
        let password = self.password(context)?;
        Ok(Some(Opener::Staff { id, password }))
    }

    /// Who that is, with what proves it: a password, else the session of this device.
    pub fn caller(&self, context: &Context) -> Result<Caller, Failure> {
        if let Some(path) = &self.token_file {
            return Ok(Caller::Token(secrets::from_file(path)?));
        }
        if !self.as_operator
            && self.password_file.is_none()
            && let Some(token) = self.session(context)
        {
            return Ok(Caller::Session { token, id: self.acting_as.clone() });
        }
        let Some(id) = self.acting_as.clone() else { return Ok(Caller::Operator) };
        Ok(Caller::Password { id, password: self.password(context)? })
    }

    fn password(&self, context: &Context) -> Result<Secret, Failure> {
        match &self.password_file {
            Some(path) => Ok(secrets::from_file(path)?),
            None => secrets::ask(context, Word::PasswordPrompt),
        }
    }

    /// The same for somebody who proves it by their password now.
    pub fn by_password_of(&self, id: &str) -> Self {
        Self { acting_as: Some(id.to_owned()), as_operator: true, ..self.clone() }
    }

    /// The same for whoever owns the directory.
    pub fn as_operator(&self) -> Self {
        Self { as_operator: true, ..Self::default() }
    }

    /// The session that `login` left on this device.
    pub fn session(&self, context: &Context) -> Option<Secret> {
        secrets::from_file(&context.dir.join(SESSION_FILE)).ok()
    }

    /// Leaves a session for the commands that follow.
    pub fn keep_session(&self, context: &Context, token: &Secret) -> Result<(), Failure> {
        let path = context.dir.join(SESSION_FILE);
        file::replace(&path, token.expose().as_bytes())
            .map_err(|error| CommandError::file(&error, &path).into())
    }

    /// Takes it away.
    pub fn forget_session(&self, context: &Context) -> Result<(), Failure> {
        let path = context.dir.join(SESSION_FILE);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(CommandError::file(&error, &path).into())
            }
            _ => Ok(()),
        }
    }
}

/// `staff add` and `staff reset` are about a second password. Named after the command,
/// `--password-file` means that one; before it, the caller's.
pub fn sort_out_password_files(mut line: Vec<OsString>) -> Vec<OsString> {
    const OF_CALLER: &str = "--password-file";
    const OF_NEW: &str = "--new-password-file";
    let texts: Vec<String> = line.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let about_another =
        |pair: &[String]| pair[0] == "staff" && matches!(pair[1].as_str(), "add" | "reset");
    let Some(command) = texts.windows(2).position(about_another) else { return line };
    if texts.iter().any(|text| text.starts_with(OF_NEW)) {
        return line;
    }
    for (part, text) in line.iter_mut().zip(&texts).skip(command) {
        if text == OF_CALLER || text.starts_with(&format!("{OF_CALLER}=")) {
            *part = text.replacen(OF_CALLER, OF_NEW, 1).into();
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_file_after_staff_add_is_the_new_persons() {
        let sorted = |line: &str| {
            let parts = line.split(' ').map(OsString::from).collect();
            let sorted = sort_out_password_files(parts);
            sorted.iter().map(|p| p.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            sorted("carnet --as head --password-file A staff add awa --password-file B"),
            "carnet --as head --password-file A staff add awa --new-password-file B"
        );
        assert_eq!(
            sorted("carnet staff reset awa --password-file=B"),
            "carnet staff reset awa --new-password-file=B"
        );
        let explicit = "carnet staff add awa --new-password-file B --as head --password-file A";
        assert_eq!(sorted(explicit), explicit);
        let other = "carnet chart show Patient/p --as awa --password-file A";
        assert_eq!(sorted(other), other);
    }
}
