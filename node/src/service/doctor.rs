//! Looks for trouble, from outside the store: it can be asked while the node runs, or when it
//! cannot be opened. Reads only.

use super::config::Config;
use super::control::Client;
use super::error::{CommandError, ErrorKind};
use super::reply::{Check, CheckStatus, Status};
use super::report;
use super::request::Request;
use crate::base::environment::Environment;
use crate::vault::{Keyring, Protection};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Below this an import or a long sync may stop for lack of room.
const FREE_BYTES_LOW: u64 = 1 << 30;

/// Before this moment (2026-01-01) no Carnet existed: such a clock is wrong.
const CLOCK_FLOOR_MS: u64 = 1_767_225_600_000;

/// Examines the directory, and the node that runs on it if one does.
pub async fn examine(
    dir: &Path,
    environment: &Environment,
    config: Result<Config, CommandError>,
) -> Vec<Check> {
    let mut checks = vec![directory(dir), room(dir), clock(environment), settings(&config)];
    match Keyring::open(dir) {
        Ok(keyring) => {
            checks.push(admitted(&keyring));
            checks.push(certificate(&keyring, environment));
            checks.push(protection(&keyring));
            checks.push(key_file(&keyring, config.as_ref().ok()));
        }
        Err(error) => {
            let error = CommandError::from(error);
            let fix = if error.kind == ErrorKind::NoNode {
                "Make a node with `carnet init` or `carnet join`, or name its directory with --dir"
            } else {
                "Put the file back from a backup, or restore the practice: `carnet restore`"
            };
            checks.push(check("keyring", CheckStatus::Failed, error, fix));
        }
    }
    checks.push(file(dir, "log.db", CheckStatus::Failed, "Restore from a peer: `carnet restore`"));
    checks.push(file(dir, "index.db", CheckStatus::Warning, "It is made anew at the next unlock"));
    checks.extend(running(dir).await);
    checks
}

fn check(
    name: &str,
    status: CheckStatus,
    detail: impl std::fmt::Display,
    fix: impl std::fmt::Display,
) -> Check {
    let fix = if status == CheckStatus::Ok { String::new() } else { fix.to_string() };
    Check { name: name.to_owned(), status, detail: detail.to_string(), fix }
}

fn directory(dir: &Path) -> Check {
    let name = "directory";
    let place = dir.display();
    match fs::metadata(dir) {
        Err(error) => {
            let detail = format!("{place}: {error}");
            check(name, CheckStatus::Failed, detail, "Name the node's directory with --dir")
        }
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            let detail = format!("{place} can be opened by other users");
            check(name, CheckStatus::Warning, detail, format!("chmod 700 {place}"))
        }
        Ok(found) => check(name, CheckStatus::Ok, format!("{place}, of user {}", found.uid()), ""),
    }
}

fn room(dir: &Path) -> Check {
    match fs4::available_space(dir) {
        Err(error) => check("room", CheckStatus::Warning, error, "Look at the disk"),
        Ok(free) => {
            let status = if free < FREE_BYTES_LOW { CheckStatus::Warning } else { CheckStatus::Ok };
            check("room", status, format!("{} MB free", free >> 20), "Make room on this disk")
        }
    }
}

fn clock(environment: &Environment) -> Check {
    let now = environment.unix_ms();
    let shown = crate::records::read::instant(now);
    let status = if now < CLOCK_FLOOR_MS { CheckStatus::Warning } else { CheckStatus::Ok };
    check("clock", status, shown, "Set the clock: times are for display, but they would be wrong")
}

fn settings(config: &Result<Config, CommandError>) -> Check {
    match config {
        Ok(_) => check("settings", CheckStatus::Ok, "carnet.toml and the environment agree", ""),
        Err(error) => check("settings", CheckStatus::Failed, error, "Correct that line"),
    }
}

fn admitted(keyring: &Keyring) -> Check {
    if keyring.certificate().is_none() {
        let fix = "Finish with `carnet join --finish FILE`, or join again with an invitation";
        check("member", CheckStatus::Warning, "this node asked to join, and was not answered", fix)
    } else {
        check("member", CheckStatus::Ok, format!("node {}", keyring.node()), "")
    }
}

fn certificate(keyring: &Keyring, environment: &Environment) -> Check {
    let Some(certificate) = keyring.certificate() else {
        return check("certificate", CheckStatus::Warning, "none yet", "Finish joining");
    };
    let expires = certificate.body.expires_ms;
    let detail = format!("until {}", crate::records::read::instant(expires));
    let status =
        if environment.unix_ms() > expires { CheckStatus::Warning } else { CheckStatus::Ok };
    let fix = "It still syncs; `carnet node renew` on a node that may admit gives it a new one";
    check("certificate", status, detail, fix)
}

fn protection(keyring: &Keyring) -> Check {
    match keyring.protection() {
        Protection::KeyBesideData => check(
            "protection",
            CheckStatus::Warning,
            "unprotected if stolen: the key file lies beside the data",
            "Move it to another disk and name it with CARNET_KEY_FILE, or set a passphrase",
        ),
        Protection::KeyFileElsewhere => {
            check("protection", CheckStatus::Ok, "a key file outside the data directory", "")
        }
        Protection::Passphrase => check("protection", CheckStatus::Ok, "a passphrase", ""),
    }
}

fn key_file(keyring: &Keyring, config: Option<&Config>) -> Check {
    let name = "key file";
    let set = config.and_then(|config| config.key_file.value.as_deref());
    let Some(path) = set.or(keyring.key_file()) else {
        return check(name, CheckStatus::Ok, "none: somebody unlocks after each start", "");
    };
    let place = path.display();
    match fs::metadata(path) {
        Err(error) => {
            let detail = format!("{place}: {error}");
            check(name, CheckStatus::Warning, detail, "The node starts locked; unlock it otherwise")
        }
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            let detail = format!("{place} can be read by other users");
            check(name, CheckStatus::Warning, detail, format!("chmod 600 {place}"))
        }
        Ok(_) => check(name, CheckStatus::Ok, place, ""),
    }
}

fn file(dir: &Path, name: &str, missing: CheckStatus, fix: &str) -> Check {
    match fs::metadata(dir.join(name)) {
        Ok(found) => check(name, CheckStatus::Ok, format!("{} kB", found.len() >> 10), ""),
        Err(error) => check(name, missing, error, fix),
    }
}

async fn running(dir: &Path) -> Vec<Check> {
    let client = match Client::connect(dir).await {
        Ok(Some(client)) => client,
        Ok(None) => {
            let fix = "Start it with `carnet run`, best by systemd (docs/operations.md)";
            return vec![check("running", CheckStatus::Warning, "no node runs here", fix)];
        }
        Err(error) => {
            let fix = "Run this command as the user who owns the directory";
            return vec![check("running", CheckStatus::Failed, error, fix)];
        }
    };
    let (reporter, _reports) = report::channel();
    let status = client.ask(Request::Status.into(), &reporter).await.and_then(|reply| {
        serde_json::from_value::<Status>(reply)
            .map_err(|error| CommandError::new(ErrorKind::Failure, error))
    });
    match status {
        Err(error) => {
            vec![check("running", CheckStatus::Failed, error, "Restart it, and look at its log")]
        }
        Ok(status) => of_status(&status),
    }
}

fn of_status(status: &Status) -> Vec<Check> {
    let state = if status.locked { "locked" } else { "unlocked" };
    let health = if status.ok { CheckStatus::Ok } else { CheckStatus::Failed };
    let own = env!("CARGO_PKG_VERSION");
    let same = if status.version == own { CheckStatus::Ok } else { CheckStatus::Warning };
    let version = format!("the node is {}, this program {own}", status.version);
    let met = status.peers.iter().filter(|peer| peer.last_sync.is_some()).count();
    let known = status.peers.len();
    let peers = if met < known { CheckStatus::Warning } else { CheckStatus::Ok };
    vec![
        check("running", health, state, "`carnet status` says what is wrong"),
        check("version", same, version, "Restart the node"),
        check(
            "peers",
            peers,
            format!("{met} of {known} were met"),
            "Check their addresses (`carnet peer list`) and the firewall (UDP)",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[tokio::test]
    async fn an_empty_directory_is_examined_and_left_empty() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).expect("set");
        let (environment, _) = Environment::seeded(1, 0);
        let config = Config::load(dir.path(), Default::default(), &|_| None);
        let checks = examine(dir.path(), &environment, config).await;
        let by_name: BTreeMap<_, _> =
            checks.iter().map(|check| (check.name.as_str(), check)).collect();
        assert_eq!(by_name["directory"].status, CheckStatus::Ok);
        assert_eq!(by_name["keyring"].status, CheckStatus::Failed);
        assert_eq!(by_name["clock"].status, CheckStatus::Warning);
        assert_eq!(by_name["running"].status, CheckStatus::Warning);
        assert!(by_name["keyring"].fix.contains("carnet init"));
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0);
    }
}
