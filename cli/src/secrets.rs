//! Where passphrases come from: a file that the command line or the environment names, or the
//! terminal. Never from an argument: those stand in the list of processes.

use crate::context::{Context, Failure, read_text};
use crate::words::Word;
use carnet_node::service::error::{CommandError, ErrorKind};
use carnet_node::service::request::{PracticeSecret, Secret};
use std::io::{self, BufRead, Write};
use std::path::Path;

/// Longer ones are a mistake: a key file or a binary named by accident.
const PASSPHRASE_BYTES_MAX: u64 = 4096;

/// The first line of a passphrase file.
pub fn from_file(path: &Path) -> Result<Secret, CommandError> {
    let text = read_text(path, PASSPHRASE_BYTES_MAX)?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(CommandError::bad_input("the file's first line is empty")
            .at(path.display())
            .advise("Write the passphrase into its first line"));
    }
    Ok(Secret::new(line.to_owned()))
}

/// Asks on the terminal without showing what is typed.
pub fn ask(context: &Context, word: Word) -> Result<Secret, Failure> {
    if !context.can_ask() {
        return Err(CommandError::bad_input("a passphrase is needed, and nobody can be asked")
            .advise("Name a file with --passphrase-file or CARNET_PASSPHRASE_FILE")
            .into());
    }
    let typed = rpassword::prompt_password(format!("{} ", context.words.text(word)));
    let typed = typed.map_err(|error| CommandError::new(ErrorKind::Interrupted, error))?;
    if typed.is_empty() {
        return Err(CommandError::new(ErrorKind::Interrupted, "nothing was typed").into());
    }
    Ok(Secret::new(typed))
}

/// Asks for a new passphrase, twice.
pub fn ask_new(context: &Context, word: Word) -> Result<Secret, Failure> {
    let first = ask(context, word)?;
    let again = ask(context, Word::PassphraseAgain)?;
    if first.expose() == again.expose() {
        Ok(first)
    } else {
        Err(CommandError::bad_input("the two passphrases differ").advise("Try again").into())
    }
}

/// A new passphrase from a file, or from the terminal, typed twice.
pub fn new_passphrase(
    context: &Context,
    file: Option<&Path>,
    word: Word,
) -> Result<Secret, Failure> {
    match file {
        Some(path) => Ok(from_file(path)?),
        None => ask_new(context, word),
    }
}

/// What opens the practice key, where the command line names it.
#[derive(Debug, Default, clap::Args)]
pub struct PracticeArguments {
    /// File with the practice passphrase, which opens the practice key
    #[arg(long, value_name = "FILE")]
    pub practice_passphrase_file: Option<std::path::PathBuf>,
    /// File with the recovery code, which opens the practice key where it has no passphrase
    #[arg(long, value_name = "FILE", conflicts_with = "practice_passphrase_file")]
    pub recovery_code_file: Option<std::path::PathBuf>,
}

impl PracticeArguments {
    /// The secret that was named, if any was.
    pub fn secret(&self) -> Result<Option<PracticeSecret>, CommandError> {
        if let Some(path) = &self.recovery_code_file {
            return Ok(Some(PracticeSecret::RecoveryCode(from_file(path)?)));
        }
        let Some(path) = &self.practice_passphrase_file else { return Ok(None) };
        Ok(Some(PracticeSecret::Passphrase(from_file(path)?)))
    }
}

/// Asks a question on the terminal and reads a line; `None` at the end of input.
pub fn question(prompt: &str) -> Result<Option<String>, Failure> {
    let mut out = io::stderr().lock();
    write!(out, "{prompt} ")?;
    out.flush()?;
    let mut line = String::new();
    let count = io::stdin().lock().read_line(&mut line)?;
    Ok((count > 0).then(|| line.trim().to_owned()))
}

/// Asks whether to go on; without a terminal only `--yes` does.
pub fn confirm(context: &Context, prompt: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let interrupted = || CommandError::new(ErrorKind::Interrupted, "not confirmed");
    if !context.can_ask() {
        return Err(CommandError::bad_input("this must be confirmed, and nobody can be asked")
            .advise("Add --yes")
            .into());
    }
    let answer = question(&format!("{prompt} [y/N]"))?.unwrap_or_default();
    match answer.to_lowercase().as_str() {
        "y" | "yes" | "o" | "oui" => Ok(()),
        _ => Err(interrupted().into()),
    }
}
