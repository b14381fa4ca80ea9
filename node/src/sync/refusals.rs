//! Who was sent away and why, counted, so that the trail tells of a flood without being one.
//!
//! The first of a kind is put on record at once; those that follow within a minute are counted and
//! told together.

use carnet_sync_protocol::id::TransportKey;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How long those of a kind are counted before they are told.
const WINDOW_MS: u64 = 60_000;

/// Kinds that are counted apart; what is beyond goes under one.
const KINDS_MAX: usize = 256;

/// What is put on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The key that one of them proved to hold.
    pub(super) peer: TransportKey,
    /// Why.
    pub(super) reason: String,
    /// How many.
    pub(super) count: u64,
}

struct Window {
    peer: TransportKey,
    ends_ms: u64,
    untold: u64,
}

/// A member of the practice is counted by itself, strangers together: keys cost nothing.
type Kind = (Option<TransportKey>, String);

/// The counts.
#[derive(Default)]
pub(super) struct Refusals(Mutex<BTreeMap<Kind, Window>>);

impl Refusals {
    // Nothing that can panic half-way is done under the lock.
    fn windows(&self) -> MutexGuard<'_, BTreeMap<Kind, Window>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one; gives what is to be put on record now.
    pub(super) fn count(
        &self,
        peer: TransportKey,
        is_member: bool,
        reason: &str,
        now_ms: u64,
    ) -> Option<Told> {
        let mut windows = self.windows();
        let mut kind: Kind = (is_member.then_some(peer), reason.to_owned());
        if windows.len() >= KINDS_MAX && !windows.contains_key(&kind) {
            kind = (None, "many reasons".to_owned());
        }
        let ends_ms = now_ms + WINDOW_MS;
        match windows.get_mut(&kind) {
            Some(window) => {
                window.untold += 1;
                None
            }
            None => {
                let told = Told { peer, reason: kind.1.clone(), count: 1 };
                windows.insert(kind, Window { peer, ends_ms, untold: 0 });
                Some(told)
            }
        }
    }

    /// What was counted in windows that are over; in all, if `at_once`.
    pub(super) fn due(&self, now_ms: u64, at_once: bool) -> Vec<Told> {
        let mut due = Vec::new();
        self.windows().retain(|(_, reason), window| {
            if now_ms < window.ends_ms && !at_once {
                return true;
            }
            if window.untold > 0 {
                let (peer, reason) = (window.peer, reason.clone());
                due.push(Told { peer, reason, count: std::mem::take(&mut window.untold) });
                window.ends_ms = now_ms + WINDOW_MS;
                return true;
            }
            false
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_once_and_then_counted() {
        let refusals = Refusals::default();
        let key = |byte: u16| {
            let mut key = [0; 32];
            key[..2].copy_from_slice(&byte.to_le_bytes());
            TransportKey(key)
        };
        let first = refusals.count(key(1), false, "forged", 0).unwrap();
        assert_eq!((first.peer, first.count), (key(1), 1));
        for stranger in 2..1_000 {
            assert_eq!(refusals.count(key(stranger), false, "forged", 10), None);
        }
        assert!(refusals.count(key(7), true, "forged", 10).is_some(), "a member, by itself");
        assert_eq!(refusals.due(30_000, false), []);
        let due = refusals.due(WINDOW_MS, false);
        assert_eq!(due, [Told { peer: key(1), reason: "forged".into(), count: 998 }]);
        assert_eq!(refusals.due(3 * WINDOW_MS, false), [], "nothing more came");
        for number in 0..2_000_u16 {
            refusals.count(key(number), true, "flooding", 0);
        }
        assert!(refusals.windows().len() <= KINDS_MAX + 1);
        let told: u64 = refusals.due(0, true).iter().map(|told| told.count).sum();
        assert!(told > 1_000, "none is forgotten: {told}");
    }
}
