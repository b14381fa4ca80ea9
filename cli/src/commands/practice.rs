//! `practice export-key|import-key`: the key that certifies nodes, off this machine and back.

use crate::context::{Context, Outcome, read_text};
use crate::secrets::{self, PracticeArguments};
use crate::session;
use crate::words::Word;
use carnet_node::service::error::{CommandError, ErrorKind, ExitCode};
use carnet_node::service::request::{PracticeSecret, Request};
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A sealed practice key is a few hundred bytes.
const KEY_BYTES_MAX: u64 = 64 << 10;

/// The practice key.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Write the practice key to a file, sealed under a passphrase
    ExportKey {
        /// The file; it must not exist yet
        file: PathBuf,
        /// File with the passphrase that seals the copy [default: asked for]
        #[arg(long, value_name = "FILE")]
        seal_passphrase_file: Option<PathBuf>,
        /// Take the key off this node once it is written
        #[arg(long)]
        remove: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        practice: PracticeArguments,
    },
    /// Put a practice key back onto this node
    ImportKey {
        /// The file that export-key wrote
        file: PathBuf,
        #[command(flatten)]
        practice: PracticeArguments,
    },
}

/// Does it.
pub async fn execute(context: &Context, command: Command) -> Outcome {
    match command {
        Command::ExportKey { file, seal_passphrase_file, remove, yes, practice } => {
            let practice = match practice.secret()? {
                Some(secret) => secret,
                None => {
                    PracticeSecret::Passphrase(secrets::ask(context, Word::PracticePassphrase)?)
                }
            };
            let seal = secrets::new_passphrase(
                context,
                seal_passphrase_file.as_deref(),
                Word::NewPassphrasePrompt,
            )?;
            if remove {
                let prompt = context.words.text(Word::RemoveKeyAsk);
                secrets::confirm(context, prompt, yes || context.json)?;
            }
            let request = |remove| Request::PracticeExportKey {
                practice: practice.clone(),
                seal: seal.clone(),
                remove,
            };
            let reply = session::ask(context, request(false)).await?;
            let sealed = reply["sealed"].as_str().unwrap_or_default().to_owned();
            write_key(&file, &sealed)?;
            if remove {
                // Only now that the copy lies safely on its disk.
                session::ask(context, request(true)).await?;
            }
            done(context, &file, if remove { Word::KeyMoved } else { Word::KeyExported })
        }
        Command::ImportKey { file, practice } => {
            let sealed = read_text(&file, KEY_BYTES_MAX)?;
            let passphrase = match &practice.practice_passphrase_file {
                Some(path) => secrets::from_file(path)?,
                None => secrets::ask(context, Word::PracticePassphrase)?,
            };
            session::ask(context, Request::PracticeImportKey { sealed, passphrase }).await?;
            done(context, &file, Word::KeyImported)
        }
    }
}

fn write_key(path: &Path, sealed: &str) -> Result<(), CommandError> {
    if sealed.is_empty() {
        return Err(CommandError::new(ErrorKind::Failure, "the node handed out no key"));
    }
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(sealed.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| CommandError::file(&error, path))
}

fn done(context: &Context, file: &Path, word: Word) -> Outcome {
    let path = file.display().to_string();
    if !context.answered(&Value::from_iter([("file", path.as_str())]))? {
        context.say(word, &[("path", &path)])?;
    }
    Ok(ExitCode::Fine)
}
