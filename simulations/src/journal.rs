//! What happened in a history: hashed always, printed when somebody wants to read it.
//!
//! The hash covers every line, so two runs of a seed that differ anywhere differ in it.

use std::fmt::{Arguments, Write as _};
use std::io::Write as _;
use std::path::Path;

/// The log of one history.
pub struct Journal {
    hasher: blake3::Hasher,
    line: String,
    aloud: bool,
    /// Where the directories lie: another place each time, of which errors tell.
    place: String,
}

impl Journal {
    /// An empty one.
    pub fn new(aloud: bool, place: &Path) -> Self {
        let place = place.to_string_lossy().into_owned();
        Self { hasher: blake3::Hasher::new(), line: String::new(), aloud, place }
    }

    /// Notes what happened, at this time of the world.
    pub fn note(&mut self, now_ms: u64, what: Arguments<'_>) {
        self.line.clear();
        // Writing to a string does not fail.
        let _ = write!(self.line, "{:>9.3}  {what}", now_ms as f64 / 1000.0);
        if self.line.contains(&self.place) {
            self.line = self.line.replace(&self.place, "");
        }
        self.hasher.update(self.line.as_bytes());
        self.hasher.update(b"\n");
        if self.aloud {
            // Whoever read may have seen enough.
            let _ = writeln!(std::io::stdout(), "{}", self.line);
        }
    }

    /// The hash of everything noted.
    pub fn hash(&self) -> blake3::Hash {
        self.hasher.finalize()
    }
}
