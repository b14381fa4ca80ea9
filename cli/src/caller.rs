//! Who gives the command: whoever owns the directory, or the member of staff named by `--as`.

use crate::context::{Context, Failure};
use crate::secrets;
use crate::words::Word;
use carnet_node::service::request::{Caller, Opener};
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
}

impl CallerArguments {
    /// What opens the node for a member of staff who may do so with their own password.
    pub fn opener(&self, context: &Context) -> Result<Option<Opener>, Failure> {
        Ok(match self.caller(context)? {
            Caller::Password { id, password } => Some(Opener::Staff { id, password }),
            Caller::Operator => None,
        })
    }

    /// Who that is, with what proves it.
    pub fn caller(&self, context: &Context) -> Result<Caller, Failure> {
        let Some(id) = self.acting_as.clone() else { return Ok(Caller::Operator) };
        let password = match &self.password_file {
            Some(path) => secrets::from_file(path)?,
            None => secrets::ask(context, Word::PasswordPrompt)?,
        };
        Ok(Caller::Password { id, password })
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
