//! The way back from a command at work: how far it is, and the parts of a long answer.

use super::error::{CommandError, ErrorKind};
use super::request::Progress;
use serde_json::Value;
use tokio::sync::mpsc;

/// Messages under way at most; a command that makes items faster than they are read waits.
const UNDER_WAY_MAX: usize = 64;

/// Takes what a command tells on its way.
#[derive(Clone, Debug)]
pub struct Reporter(mpsc::Sender<Progress>);

/// Where it comes out again.
pub type Reports = mpsc::Receiver<Progress>;

/// A reporter and its other end.
pub fn channel() -> (Reporter, Reports) {
    let (sender, receiver) = mpsc::channel(UNDER_WAY_MAX);
    (Reporter(sender), receiver)
}

impl Reporter {
    /// Tells how far a phase is. A reader who is slow misses some of these, and the thread that
    /// writes the ledger never waits for one.
    pub fn step(&self, phase: &str, done: u64, total: Option<u64>) {
        let _ = self.0.try_send(Progress::Step { phase: phase.to_owned(), done, total });
    }

    /// Hands over a part of the answer, and waits while the reader is behind.
    pub async fn item(&self, value: Value) -> Result<(), CommandError> {
        let gone =
            |_| CommandError::new(ErrorKind::Interrupted, "nobody reads the answer any more");
        self.0.send(Progress::Item(value)).await.map_err(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn steps_never_wait_and_items_end_with_their_reader() {
        let (reporter, reports) = channel();
        for done in 0..1000 {
            reporter.step("import", done, Some(1000));
        }
        drop(reports);
        let error = reporter.item(Value::Null).await.expect_err("nobody reads");
        assert_eq!(error.kind, ErrorKind::Interrupted);
    }
}
