//! The settings: a flag over the environment over `carnet.toml` over the default, and for each
//! value where it came from.
//!
//! A key that no version of this table knows is refused by its name: a misspelt setting that is
//! silently ignored is found when it is too late.

use super::error::{CommandError, ErrorKind};
use crate::access::Tightening;
use crate::access::policy::TighteningError;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The file in the node's directory.
pub const FILE_NAME: &str = "carnet.toml";

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The command line.
    Flag,
    /// This variable of the environment.
    Environment(&'static str),
    /// This file.
    File(PathBuf),
    /// Nobody said otherwise.
    Default,
}

/// A setting and its origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

/// What the command line says; the rest is looked up.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--sync-listen`
    pub sync_listen: Option<SocketAddr>,
    /// `--peer`
    pub sync_peers: Option<Vec<String>>,
    /// `--key-file`
    pub key_file: Option<PathBuf>,
    /// `--passphrase-file`
    pub passphrase_file: Option<PathBuf>,
}

/// Every setting of a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the node answers its peers; without it, it only calls them.
    pub sync_listen: Setting<Option<SocketAddr>>,
    /// Peers to call, beside those that it remembers.
    pub sync_peers: Setting<Vec<String>>,
    /// Addresses that invitations name, when the node stands behind a router.
    pub sync_announce: Setting<Vec<String>>,
    /// The key file that opens the node by itself.
    pub key_file: Setting<Option<PathBuf>>,
    /// A file that holds the passphrase, for scripts.
    pub passphrase_file: Setting<Option<PathBuf>>,
    /// Where systemd puts credentials; set by it alone.
    pub credentials: Setting<Option<PathBuf>>,
    /// Rights that the practice takes away from the role table: `ROLE CLASS` or `ROLE CLASS:write`.
    pub access_deny: Setting<Vec<String>>,
    /// How much is logged: `error`, `warn`, `info`, `debug`.
    pub log_level: Setting<String>,
    /// How many days of logs are kept.
    pub log_days: Setting<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    sync: SyncTable,
    #[serde(default)]
    unlock: UnlockTable,
    #[serde(default)]
    access: AccessTable,
    #[serde(default)]
    log: LogTable,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SyncTable {
    listen: Option<SocketAddr>,
    peers: Option<Vec<String>>,
    announce: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UnlockTable {
    key_file: Option<PathBuf>,
    passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessTable {
    deny: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogTable {
    level: Option<String>,
    days: Option<usize>,
}

/// Looks a variable of the environment up; tests hand in their own.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Config {
    /// Reads the settings of the node in `dir`.
    pub fn load(dir: &Path, flags: Flags, environment: Lookup<'_>) -> Result<Self, CommandError> {
        let path = dir.join(FILE_NAME);
        let file = read(&path)?;
        let source = Source { path: &path, environment };
        Ok(Self {
            sync_listen: source.pick(
                flags.sync_listen.map(Some),
                "CARNET_SYNC_LISTEN",
                |text| text.parse().map(Some).map_err(|_| "expected ADDRESS:PORT"),
                file.sync.listen.map(Some),
                None,
            )?,
            sync_peers: source.pick(
                flags.sync_peers,
                "CARNET_PEERS",
                |text| list(text, |item| Ok(item.to_owned())),
                file.sync.peers,
                Vec::new(),
            )?,
            sync_announce: source.pick(
                None,
                "CARNET_ANNOUNCE",
                |text| list(text, |item| Ok(item.to_owned())),
                file.sync.announce,
                Vec::new(),
            )?,
            key_file: source.pick(
                flags.key_file.map(Some),
                "CARNET_KEY_FILE",
                |text| Ok(Some(text.into())),
                file.unlock.key_file.map(|key_file| Some(dir.join(key_file))),
                None,
            )?,
            passphrase_file: source.pick(
                flags.passphrase_file.map(Some),
                "CARNET_PASSPHRASE_FILE",
                |text| Ok(Some(text.into())),
                file.unlock.passphrase_file.map(|passphrase| Some(dir.join(passphrase))),
                None,
            )?,
            credentials: source.pick(
                None,
                "CREDENTIALS_DIRECTORY",
                |text| Ok(Some(text.into())),
                None,
                None,
            )?,
            access_deny: source.denied(file.access.deny)?,
            log_level: source
                .pick(None, "CARNET_LOG", level, file.log.level, "info".to_owned())
                .and_then(|setting| {
                    level(&setting.value).map_err(|why| source.refuse("log.level", why))?;
                    Ok(setting)
                })?,
            log_days: source.pick(
                None,
                "CARNET_LOG_DAYS",
                |text| text.parse().map_err(|_| "expected a number of days"),
                file.log.days,
                14,
            )?,
        })
    }

    /// What the practice takes away from the role table.
    pub fn tightening(&self) -> Result<Tightening, TighteningError> {
        tightening(&self.access_deny.value)
    }

    /// Each setting by its name in the file: name, value, origin.
    pub fn rows(&self) -> Vec<(&'static str, serde_json::Value, Origin)> {
        fn row<T: Serialize>(
            name: &'static str,
            setting: &Setting<T>,
        ) -> (&'static str, serde_json::Value, Origin) {
            let value = serde_json::to_value(&setting.value).unwrap_or_default();
            (name, value, setting.origin.clone())
        }
        vec![
            row("sync.listen", &self.sync_listen),
            row("sync.peers", &self.sync_peers),
            row("sync.announce", &self.sync_announce),
            row("unlock.key_file", &self.key_file),
            row("unlock.passphrase_file", &self.passphrase_file),
            row("access.deny", &self.access_deny),
            row("log.level", &self.log_level),
            row("log.days", &self.log_days),
        ]
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(variable) => f.write_str(variable),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

struct Source<'a> {
    path: &'a Path,
    environment: Lookup<'a>,
}

impl Source<'_> {
    fn pick<T>(
        &self,
        flag: Option<T>,
        variable: &'static str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
        file: Option<T>,
        default: T,
    ) -> Result<Setting<T>, CommandError> {
        if let Some(value) = flag {
            return Ok(Setting { value, origin: Origin::Flag });
        }
        if let Some(text) = (self.environment)(variable).filter(|text| !text.is_empty()) {
            let value = parse(&text)
                .map_err(|why| CommandError::new(ErrorKind::Config, why).at(variable))?;
            return Ok(Setting { value, origin: Origin::Environment(variable) });
        }
        Ok(match file {
            Some(value) => Setting { value, origin: Origin::File(self.path.to_owned()) },
            None => Setting { value: default, origin: Origin::Default },
        })
    }

    fn denied(&self, file: Option<Vec<String>>) -> Result<Setting<Vec<String>>, CommandError> {
        let parse = |text: &str| list(text, |item| Ok(item.to_owned()));
        let setting = self.pick(None, "CARNET_ACCESS_DENY", parse, file, Vec::new())?;
        tightening(&setting.value).map_err(|why| self.refuse("access.deny", &why.to_string()))?;
        Ok(setting)
    }

    fn refuse(&self, key: &str, why: &str) -> CommandError {
        CommandError::new(ErrorKind::Config, format!("{key}: {why}")).at(self.path.display())
    }
}

fn tightening(denied: &[String]) -> Result<Tightening, TighteningError> {
    let mut tightening = Tightening::default();
    for line in denied {
        let (role, class) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        tightening.deny(role, class.trim())?;
    }
    Ok(tightening)
}

fn read(path: &Path) -> Result<File, CommandError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(File::default()),
        Err(error) => return Err(CommandError::file(&error, path)),
    };
    toml::from_str(&text).map_err(|error| {
        CommandError::new(ErrorKind::Config, error.message())
            .at(match error.span() {
                Some(span) => format!("{}:{}", path.display(), line_of(&text, span.start)),
                None => path.display().to_string(),
            })
            .advise(
                "Correct the line, or take it out: `carnet config show --origin` lists the keys",
            )
    })
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn list<T>(
    text: &str,
    item: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<Vec<T>, &'static str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(item).collect()
}

fn level(text: &str) -> Result<String, &'static str> {
    match text {
        "error" | "warn" | "info" | "debug" => Ok(text.to_owned()),
        _ => Err("expected error, warn, info or debug"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    fn dir_with(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(FILE_NAME), text).expect("a file");
        dir
    }

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_file() {
        let dir = dir_with("[sync]\npeers = [\"file:1\"]\n[log]\ndays = 3\n");
        let env = |name: &str| (name == "CARNET_PEERS").then(|| "env:1, env:2".to_owned());
        let flags = Flags { sync_listen: Some("127.0.0.1:9".parse().unwrap()), ..Flags::default() };
        let config = Config::load(dir.path(), flags, &env).expect("it loads");
        assert_eq!(config.sync_listen.origin, Origin::Flag);
        assert_eq!(config.sync_peers.value, ["env:1", "env:2"]);
        assert_eq!(config.sync_peers.origin, Origin::Environment("CARNET_PEERS"));
        assert_eq!(config.log_days.value, 3);
        assert_eq!(config.log_days.origin, Origin::File(dir.path().join(FILE_NAME)));
        assert_eq!(config.log_level.origin, Origin::Default);
        assert_eq!(config.rows().len(), 8);
    }

    #[test]
    fn a_practice_takes_rights_away_and_what_it_does_not_name_rightly_is_refused() {
        let dir = dir_with("[access]\ndeny = [\"nurse notes:write\"]\n");
        let config = Config::load(dir.path(), Flags::default(), &nothing).expect("it loads");
        assert_ne!(config.tightening(), Ok(Tightening::default()));
        let dir = dir_with("[access]\ndeny = [\"king notes\"]\n");
        let error = Config::load(dir.path(), Flags::default(), &nothing).expect_err("refused");
        assert!(error.what.contains("king"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_and_line() {
        let dir = dir_with("[sync]\nlistne = 1\n");
        let error = Config::load(dir.path(), Flags::default(), &nothing).expect_err("refused");
        assert!(error.what.contains("listne"), "{error}");
        assert!(error.place.ends_with(":2"), "{error}");
        assert_eq!(error.exit() as u8, 1);
    }

    #[test]
    fn a_wrong_value_names_its_variable() {
        let dir = dir_with("");
        let env = |name: &str| (name == "CARNET_SYNC_LISTEN").then(|| "here".to_owned());
        let error = Config::load(dir.path(), Flags::default(), &env).expect_err("refused");
        assert_eq!(error.place, "CARNET_SYNC_LISTEN");
    }
}
