//! `init`: the first node of a new practice, and its recovery code, shown once.

use crate::context::{Context, Failure, Outcome, Style};
use crate::secrets;
use crate::words::Word;
use carnet_node::service::create::{self, Founding};
use carnet_node::service::error::{CommandError, ExitCode};
use carnet_node::service::request::Closure;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// How often the code may be typed back before the command gives up asking.
const TRIES: usize = 3;

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Name of the practice
    #[arg(long)]
    practice: String,
    /// Name of this site
    #[arg(long)]
    site: String,
    #[command(flatten)]
    closing: Closing,
    /// File with a passphrase that seals the practice key [default: the recovery code seals it]
    #[arg(long, value_name = "FILE")]
    practice_passphrase_file: Option<PathBuf>,
    /// Do not ask for the recovery code back
    #[arg(long)]
    no_confirm: bool,
}

/// With what the new node shall open.
#[derive(Debug, clap::Args)]
pub struct Closing {
    /// What opens the node
    #[arg(long, value_enum, default_value = "passphrase")]
    unlock: Unlock,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Unlock {
    /// A passphrase, asked for or in --passphrase-file
    Passphrase,
    /// A key file (--key-file, by default outside the data directory)
    Keyfile,
}

impl Closing {
    /// Whether a key file was chosen.
    pub const fn by_key_file(&self) -> bool {
        matches!(self.unlock, Unlock::Keyfile)
    }

    /// Asks for what is missing.
    pub fn closure(&self, context: &Context) -> Result<Closure, Failure> {
        Ok(match self.unlock {
            Unlock::Passphrase => {
                let file = context.config()?.passphrase_file.value;
                let word = Word::NewPassphrasePrompt;
                Closure::Passphrase(secrets::new_passphrase(context, file.as_deref(), word)?)
            }
            Unlock::Keyfile => Closure::KeyFile(match context.config()?.key_file.value {
                Some(path) => {
                    std::path::absolute(&path).map_err(|error| CommandError::file(&error, &path))?
                }
                None => default_key_file(&context.dir)?,
            }),
        })
    }
}

/// Outside the data directory, so that a copy of the data, or its disk, does not open itself.
fn default_key_file(dir: &Path) -> Result<PathBuf, CommandError> {
    let dir = std::path::absolute(dir).map_err(|error| CommandError::file(&error, dir))?;
    let name = dir.file_name().map_or("node".into(), |name| name.to_string_lossy());
    let mut hasher = DefaultHasher::new();
    dir.hash(&mut hasher);
    let file = format!("{name}-{:08x}.key", hasher.finish() as u32);
    Ok(match directories::ProjectDirs::from("", "", "carnet") {
        Some(dirs) => dirs.config_dir().join(file),
        None => dir.with_file_name(file),
    })
}

/// Makes the node.
pub async fn execute(context: &Context, arguments: Arguments) -> Outcome {
    create::refuse_existing(&context.dir)?;
    let practice_passphrase = match &arguments.practice_passphrase_file {
        Some(path) => Some(secrets::from_file(path)?),
        None => None,
    };
    let founding = Founding {
        practice: arguments.practice,
        site: arguments.site.clone(),
        closure: arguments.closing.closure(context)?,
        practice_passphrase,
    };
    let created = create::init(&context.dir, &context.environment, founding).await?;
    if context.answered(&created)? {
        return Ok(ExitCode::Fine);
    }
    let dir = context.dir.display().to_string();
    context.say(Word::InitDone, &[("site", &arguments.site), ("dir", &dir)])?;
    context.say(Word::NodeIs, &[("node", &created.node)])?;
    if let Some(key_file) = &created.key_file {
        context.say(Word::KeyFileIs, &[("path", key_file)])?;
    }
    let code = created.recovery_code.unwrap_or_default();
    context.line("")?;
    context.say(Word::RecoveryCodeHead, &[])?;
    context.line(format!("\n    {}\n", context.paint(Style::Bold, &code)))?;
    context.say(Word::RecoveryCodeWarning, &[])?;
    if !arguments.no_confirm && context.can_ask() {
        confirm(context, &code)?;
    }
    Ok(ExitCode::Fine)
}

fn confirm(context: &Context, code: &str) -> Result<(), Failure> {
    for _ in 0..TRIES {
        let typed = secrets::question(context.words.text(Word::RecoveryCodeAsk))?;
        let Some(typed) = typed else { break };
        if plain(&typed) == plain(code) {
            return context.say(Word::RecoveryCodeRight, &[]);
        }
        context.say(Word::RecoveryCodeWrong, &[])?;
    }
    context.line(format!("\n    {}\n", context.paint(Style::Bold, code)))?;
    context.say(Word::RecoveryCodeUnconfirmed, &[])
}

/// The code as it is read: case, spaces and dashes do not matter, nor letters that look alike.
fn plain(code: &str) -> String {
    code.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| match letter.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_compared_as_it_is_read() {
        assert_eq!(plain("ab0l-i9"), plain("ABO1 19"));
        assert_ne!(plain("AB01"), plain("AB02"));
    }

    #[test]
    fn the_default_key_file_lies_outside_the_data() {
        let dir = Path::new("/srv/clinic");
        let one = default_key_file(dir).expect("a path");
        assert!(!one.starts_with(dir));
        assert_ne!(one, default_key_file(Path::new("/other/clinic")).expect("a path"));
    }
}
