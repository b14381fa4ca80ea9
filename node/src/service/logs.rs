//! The daemon's logs: a file a day in the node's directory, the oldest removed.
//!
//! Only what this program writes itself goes there, and its errors never hold a patient's data.

use super::config::Config;
use super::error::CommandError;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{Builder, Rotation};
use tracing_subscriber::EnvFilter;

/// The folder in the node's directory.
pub const FOLDER: &str = "logs";

/// Starts logging; the guard writes out what is still in memory when it is dropped.
pub fn start(dir: &Path, config: &Config) -> Result<WorkerGuard, CommandError> {
    let folder = dir.join(FOLDER);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| CommandError::file(&error, &folder))?;
    let appender = Builder::new()
        .rotation(Rotation::DAILY)
        .filename_prefix("carnet")
        .filename_suffix("log")
        .max_log_files(config.log_days.value.max(1))
        .build(&folder)
        .map_err(|error| CommandError::bad_input(error).at(folder.display()))?;
    let (writer, guard) = tracing_appender::non_blocking(appender);
    let level = &config.log_level.value;
    // Libraries only warn: what they tell of a connection is theirs to choose, not ours.
    let filter = format!("warn,carnet_node={level},carnet_sync_protocol={level}");
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(writer)
        .finish();
    // A second daemon in one process (a test) goes on in the first one's log.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(guard)
}
