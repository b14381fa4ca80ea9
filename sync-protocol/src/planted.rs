//! Bugs that are planted on purpose, so that the simulations can show that they find them.
//!
//! Each stands where such a bug would stand, in a few lines behind `#[cfg(planted)]`, and sleeps
//! until the environment names it. The product is built without the cfg, which no feature can
//! switch on: it holds none of them, nor this file (`tests/tidy.rs` and `tests/processes` see to
//! that).

use std::sync::LazyLock;

/// All of them.
pub const ALL: [&str; 29] = [
    // The protocol.
    "skips-a-signature",
    "acknowledges-before-it-stored",
    "counts-nothing-as-acknowledged",
    "digests-without-the-administrative-channel",
    "trusts-the-receipt-of-a-former-life",
    "never-asks-again-for-what-was-uncertified",
    // The ledger.
    "passes-over-a-fork",
    "goes-on-over-a-hole",
    "writes-on-after-a-restore",
    // The records.
    "answers-before-the-commit",
    "takes-strangers-for-certified",
    "lets-in-who-was-cut-off",
    "shows-what-was-written-behind-a-cut",
    "trusts-what-was-overwritten-behind-a-cut",
    "forgets-what-waits",
    "forgets-what-lacks-its-key",
    "moves-the-cursor-too-far",
    "loads-a-document-as-it-was-saved",
    "forgets-where-a-resource-moved-from",
    "takes-over-the-time-of-others",
    "reads-control-only-after-a-restart",
    "gives-keys-to-relays",
    "forgets-a-change-when-it-packs",
    "packs-a-change-under-another-author",
    // The charts.
    "drops-the-loser-of-a-conflict",
    "lets-a-deletion-hide-an-edit",
    "takes-a-change-as-another-author",
    "decides-for-itself-alone",
    "takes-the-first-of-two-in-one-place",
];

/// Whether this bug is awake.
pub fn is(bug: &str) -> bool {
    static AWAKE: LazyLock<String> =
        LazyLock::new(|| std::env::var("CARNET_PLANTED").unwrap_or_default());
    debug_assert!(ALL.contains(&bug), "{bug} is not listed");
    *AWAKE == bug
}
