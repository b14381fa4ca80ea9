//! Real processes on real files: what a node acknowledged is there, whatever is cut, fails or
//! fills up.
//!
//! Here the product's own program runs, in directories of its own, and is asked over its control
//! socket as the command line does. Faults of the disk come from a small layer of C that is
//! preloaded into its process (`faults.c`), so that nothing of them is in the product and no root is
//! needed. Every campaign has a control, which breaks a promise on purpose and must be found out.

mod caller;
pub mod cuts;
mod disk;
pub mod failing;
pub mod memory;
pub mod power;
mod program;
mod promises;
pub mod restores;
mod site;

use std::error::Error;
use std::fs;
use std::path::Path;

/// What a campaign comes to.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// Milliseconds of this process's clock.
pub fn now_ms() -> u64 {
    use carnet_node::base::environment::Environment;
    use std::sync::OnceLock;
    static CLOCK: OnceLock<Environment> = OnceLock::new();
    CLOCK.get_or_init(Environment::system).monotonic_ms()
}

/// Waits.
pub fn pause(ms: u64) {
    std::thread::sleep(std::time::Duration::from_millis(ms));
}

/// Copies the files of a folder into a new one.
pub fn copy(from: &Path, to: &Path) -> Outcome<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
