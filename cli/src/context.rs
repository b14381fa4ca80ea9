//! What every command is handed: the directory, the language, and the way to the terminal.

use crate::caller::CallerArguments;
use crate::words::{Language, Word, Words};
use carnet_node::base::environment::Environment;
use carnet_node::service::config::{Config, Flags};
use carnet_node::service::error::{CommandError, ErrorKind, ExitCode};
use carnet_node::service::request::{Asked, Caller, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// How a command ends without its work being done.
#[derive(Debug)]
pub enum Failure {
    /// An error to be told.
    Command(CommandError),
    /// Whoever read the output has gone; nobody is left to be told anything.
    ClosedPipe,
}

/// What a command returns: the exit code, or why there is none.
pub type Outcome = Result<ExitCode, Failure>;

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

/// Only writing to standard output or error is turned into a failure without a path.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::ClosedPipe
        } else {
            Self::Command(CommandError::new(ErrorKind::Failure, error))
        }
    }
}

/// A style of the terminal.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Cyan,
}

/// See the head of the file.
#[derive(Clone, Debug)]
pub struct Context {
    /// The node's directory.
    pub dir: PathBuf,
    /// Whether the answer is JSON.
    pub json: bool,
    /// The catalogue.
    pub words: Words,
    /// What the command line says about settings.
    pub flags: Flags,
    /// Time and chance.
    pub environment: Environment,
    /// Who gives the command, and why.
    pub caller: CallerArguments,
    colour: bool,
}

impl Context {
    /// A context for this process.
    pub fn new(dir: PathBuf, json: bool, flags: Flags) -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let plain = variable("NO_COLOR").is_some_and(|value| !value.is_empty())
            || variable("TERM").is_some_and(|value| value == "dumb");
        Self {
            dir,
            json,
            words: Words(Language::from_environment(variable)),
            flags,
            environment: Environment::system(),
            caller: CallerArguments::default(),
            colour: !plain && io::stdout().is_terminal(),
        }
    }

    /// The request, with who asks.
    pub fn asked(&self, request: Request) -> Result<Asked, Failure> {
        // Also before the node is open, when nobody is known by name.
        let caller =
            if request.is_anybodys() { Caller::Operator } else { self.caller.caller(self)? };
        Ok(Asked { caller, purpose: self.caller.acting_for.clone(), request })
    }

    /// The settings of the node in the directory.
    pub fn config(&self) -> Result<Config, CommandError> {
        Config::load(&self.dir, self.flags.clone(), &|name| std::env::var(name).ok())
    }

    /// Whether a person can be asked.
    pub fn can_ask(&self) -> bool {
        !self.json && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Whether bars may be drawn.
    pub fn draws(&self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    /// The text, coloured where somebody sees it.
    pub fn paint(&self, style: Style, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match style {
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Red => "31",
            Style::Green => "32",
            Style::Yellow => "33",
            Style::Cyan => "36",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// Writes a line to standard output.
    pub fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", text.as_ref())?;
        Ok(out.flush()?)
    }

    /// Writes a text of the catalogue to standard output.
    pub fn say(&self, word: Word, gaps: &[(&str, &str)]) -> Result<(), Failure> {
        self.line(self.words.fill(word, gaps))
    }

    /// Writes a text of the catalogue to standard error, where it is in no script's way.
    pub fn note(&self, word: Word, gaps: &[(&str, &str)]) {
        // Whoever closed standard error does not want to hear of it.
        let _ = writeln!(io::stderr(), "{}", self.words.fill(word, gaps));
    }

    /// Writes one line of JSON to standard output.
    pub fn print_json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, value).map_err(io::Error::from)?;
        out.write_all(b"\n")?;
        Ok(out.flush()?)
    }

    /// Prints the answer as JSON when that was asked for; `true` when it was.
    pub fn answered(&self, reply: &impl Serialize) -> Result<bool, Failure> {
        if self.json {
            self.print_json(reply)?;
        }
        Ok(self.json)
    }

    /// Tells the error where it belongs and gives the exit code.
    pub fn tell(&self, error: &CommandError) -> ExitCode {
        let words = self.words;
        let headline = words.text(Word::of_error(error.kind));
        let reason = error.reason.as_ref();
        let told = reason.and_then(|reason| words.of_denial(reason));
        let what = if let Some((what, _)) = &told {
            what.clone()
        } else if error.place.is_empty() {
            error.what.clone()
        } else {
            words.fill(Word::ErrorPlace, &[("place", &error.place), ("what", &error.what)])
        };
        self.note(Word::ErrorLine, &[("headline", headline), ("what", &what)]);
        let advice = match error.what_to_do.as_str() {
            "" if told.is_some() => told.as_ref().map_or("", |(_, advice)| *advice),
            "" => words.text(Word::advice_of(error.kind)),
            given => given,
        };
        self.note(Word::ErrorAdvice, &[("advice", advice)]);
        if self.json {
            let code = error.exit() as u8;
            let told = serde_json::json!({ "error": error, "exit": code });
            let _ = match &error.done {
                Some(done) => self.print_json(done),
                None => self.print_json(&told),
            };
        }
        error.exit()
    }
}

/// Reads the typed answer out of what the node replied.
pub fn typed<T: DeserializeOwned>(reply: Value) -> Result<T, CommandError> {
    serde_json::from_value(reply).map_err(|error| {
        CommandError::new(
            ErrorKind::Failure,
            format!("the node's answer is not understood: {error}"),
        )
        .advise("Restart `carnet run`: it is of another version than this program")
    })
}

/// Reads a text file that was named on the command line, or standard input for `-`.
pub fn read_text(path: &Path, bytes_max: u64) -> Result<String, CommandError> {
    use io::Read;
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().take(bytes_max).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(bytes_max).read_to_string(&mut text))
    };
    read.map_err(|error| CommandError::file(&error, path))?;
    Ok(text)
}
