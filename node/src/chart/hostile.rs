//! What is refused of a peer, and how a panic is contained.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// Why a change is refused. Such a change is the peer's fault or was damaged; it goes to
/// quarantine, and its document stays as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are not a change.
    #[error("its bytes are not a change")]
    Malformed,
    /// Its checksum is wrong.
    #[error("its checksum is wrong")]
    Checksum,
    /// It is compressed, or another kind of chunk.
    #[error("it is compressed, or no change at all")]
    Compressed,
    /// It is larger than a change may be.
    #[error("it is larger than a change may be")]
    TooLarge,
    /// It does what no node does to a chart.
    #[error("it holds {0}")]
    Foreign(&'static str),
    /// It claims another author's actor.
    #[error("its actor belongs to another author")]
    Actor,
    /// Its place among its actor's changes is taken or was skipped.
    #[error("its sequence number is not its actor's next")]
    Sequence,
    /// Its operations are not numbered from where its past ends.
    #[error("its operations are numbered wrongly")]
    Numbering,
    /// It overwrites what its author could not have seen, or leaves what was seen.
    #[error("it overwrites other values than its author saw")]
    Overwrites,
    /// A register is not spelled as a node would spell it.
    #[error("a register is not written as a node would write it")]
    Register,
    /// Automerge refused it.
    #[error("the merge engine refused it")]
    Engine,
    /// Automerge panicked over it.
    #[error("the merge engine failed over it")]
    Panic,
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs what may panic over hostile bytes. The message of such a panic is kept from the terminal:
/// it would name the content; panics of everything else are reported as before.
pub(crate) fn contain<T>(run: impl FnOnce() -> T) -> Result<T, Refusal> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                report(panic);
            }
        }));
    });
    let before = QUIET.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    QUIET.set(before);
    outcome.map_err(|_| Refusal::Panic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_contained_and_later_ones_are_reported() {
        assert_eq!(contain(|| 7), Ok(7));
        assert_eq!(contain(|| panic!("over hostile bytes")), Err::<(), _>(Refusal::Panic));
        assert!(!QUIET.get());
    }
}
