//! The program that is tried, and the layer that makes its disk fail; both are built here.

use super::Outcome;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which program is tried.
#[derive(clap::Args)]
pub struct Program {
    /// Try this `carnet` [default: it is built as this program was, optimised or not]
    #[arg(long = "program", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Program {
    /// The program's path.
    pub fn carnet(&self) -> Outcome<PathBuf> {
        match &self.file {
            Some(file) => Ok(file.canonicalize()?),
            None => build(),
        }
    }
}

/// Builds `carnet` as this program was built, optimised or not.
fn build() -> Outcome<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no workspace")?;
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--locked", "-p", "carnet"]).current_dir(root);
    if profile == "release" {
        command.arg("--release");
    }
    if !command.status()?.success() {
        return Err("carnet could not be built".into());
    }
    let built = target.join(profile).join("carnet");
    if built.is_file() { Ok(built) } else { Err(format!("{} is missing", built.display()).into()) }
}

/// Compiles the layer into `folder`. The C compiler is the one that the workspace needs anyway.
pub fn layer(folder: &Path) -> Outcome<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/real/faults.c");
    let built = folder.join("faults.so");
    let compiler = std::env::var_os("CC").unwrap_or("cc".into());
    let mut command = Command::new(compiler);
    command.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&built).arg(&source);
    command.args(["-ldl", "-pthread"]);
    let output = command.output()?;
    if output.status.success() {
        Ok(built)
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("{} could not be compiled: {said}", source.display()).into())
    }
}
