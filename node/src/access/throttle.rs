//! How often somebody may try to log in here: by user and by everybody.
//!
//! All of it is about one node and replicates nowhere, so that who fails here is not locked out
//! elsewhere. An attempt counts as failed from when it begins until it proves right: attempts that
//! run side by side, or whose caller goes away, are none for free.
//!
//! Time is told by the machine's uptime, which nobody sets. When the machine was started anew, a
//! wait begins again: it gets longer, by a quarter of an hour at most, and never shorter. A lock
//! knows no time.

use crate::base::environment::Uptime;
use serde::{Deserialize, Serialize};

/// Failures in a row of one user that cost no wait.
pub const FREE_FAILURES: u32 = 5;

/// Failures in a row that lock a user at this node.
pub const LOCKING_FAILURES: u32 = 20;

/// The first wait; each failure more doubles it.
pub const FIRST_WAIT_MS: u64 = 1_000;

/// The longest wait.
pub const LONGEST_WAIT_MS: u64 = 15 * 60_000;

/// Failures of whomever that a device takes at once.
pub const DEVICE_FAILURES: u32 = 30;

/// After how long a device takes one more.
pub const DEVICE_PAUSE_MS: u64 = 10_000;

/// Why an attempt is not even looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too soon; in so many milliseconds another attempt is taken.
    Wait(u64),
    /// Not before somebody unlocks it.
    Locked,
}

/// The attempts of one user at this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Failures since the last right password.
    failures: u32,
    /// When the last of them began.
    last: Uptime,
    /// Whether the user was ever right here.
    is_known: bool,
    /// Whether it is on record that attempts are refused.
    told: bool,
}

impl Tally {
    /// Whether attempts are refused now.
    pub fn refusal(&self, now: Uptime) -> Option<Refusal> {
        if self.failures >= LOCKING_FAILURES {
            return Some(Refusal::Locked);
        }
        let wait = wait_ms(self.failures).saturating_sub(now.since(&self.last).unwrap_or(0));
        (wait > 0).then_some(Refusal::Wait(wait))
    }

    /// Lets a wait begin again if the machine was started anew; true if it did.
    pub fn settle(&mut self, now: Uptime) -> bool {
        let anew = self.failures > 0 && now.since(&self.last).is_none();
        if anew {
            self.last = now;
        }
        anew
    }

    /// Counts an attempt that begins.
    pub const fn begin(&mut self, now: Uptime) {
        self.failures = self.failures.saturating_add(1);
        self.last = now;
        self.told = false;
    }

    /// The attempt was right.
    pub fn succeed(&mut self) {
        *self = Self { is_known: true, ..Self::default() };
    }

    /// Somebody who may do so lets the user try again.
    pub fn unlock(&mut self) {
        *self = Self { is_known: self.is_known, ..Self::default() };
    }

    /// Whether the user is locked at this node.
    pub const fn is_locked(&self) -> bool {
        self.failures >= LOCKING_FAILURES
    }

    /// Whether this is somebody who works here and has not failed often: the failures of others
    /// don't hold them up.
    pub const fn is_trusted(&self) -> bool {
        self.is_known && self.failures < FREE_FAILURES
    }

    /// Whether the user was ever right here.
    pub const fn is_known(&self) -> bool {
        self.is_known
    }

    /// Notes that attempts are refused; true for the first of a wait. A script that goes on trying
    /// must not fill the disks of every node with the tale of it.
    pub const fn tell(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
    }
}

/// How long one waits after so many failures in a row.
const fn wait_ms(failures: u32) -> u64 {
    if failures < FREE_FAILURES {
        return 0;
    }
    // Beyond this the wait is the longest anyway.
    let doublings = if failures - FREE_FAILURES < 32 { failures - FREE_FAILURES } else { 32 };
    let wait = FIRST_WAIT_MS << doublings;
    if wait < LONGEST_WAIT_MS { wait } else { LONGEST_WAIT_MS }
}

/// The failures of everybody at this device together: a vessel that leaks one every [`DEVICE_PAUSE_MS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Everybody {
    level: u32,
    /// Up to when it has leaked.
    leaked: Uptime,
    /// Whether it is on record that attempts are refused.
    told: bool,
}

impl Everybody {
    /// Lets leak what has leaked since the last look; true if the machine was started anew since,
    /// and the pause begins again.
    pub fn settle(&mut self, now: Uptime) -> bool {
        let passed = now.since(&self.leaked).map(|ms| ms / DEVICE_PAUSE_MS);
        let level = passed.map_or(self.level, |leaks| {
            self.level.saturating_sub(u32::try_from(leaks).unwrap_or(u32::MAX))
        });
        match passed {
            Some(leaks) if level > 0 => {
                self.leaked = self.leaked.after(leaks.saturating_mul(DEVICE_PAUSE_MS));
            }
            _ => self.leaked = now,
        }
        self.level = level;
        self.told &= level > 0;
        passed.is_none()
    }

    /// Whether attempts are refused now.
    pub fn refusal(&self, now: Uptime) -> Option<Refusal> {
        (self.level >= DEVICE_FAILURES).then(|| {
            let passed = now.since(&self.leaked).unwrap_or(0);
            Refusal::Wait(DEVICE_PAUSE_MS.saturating_sub(passed).max(1))
        })
    }

    /// Counts an attempt that begins.
    pub fn begin(&mut self) {
        self.level = self.level.saturating_add(1).min(DEVICE_FAILURES);
    }

    /// The attempt was right.
    pub const fn succeed(&mut self) {
        self.level = self.level.saturating_sub(1);
    }

    /// Notes that attempts are refused; true for the first until the device has come to rest.
    pub const fn tell(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::environment::Environment;

    #[test]
    fn the_wait_doubles_up_to_a_quarter_of_an_hour_and_then_the_user_is_locked() {
        let (environment, clock) = Environment::seeded(1, 0);
        let mut tally = Tally::default();
        let mut waits = Vec::new();
        while !tally.is_locked() {
            match tally.refusal(environment.uptime()) {
                Some(Refusal::Wait(ms)) => {
                    waits.push(ms / 1_000);
                    clock.advance(ms - 1);
                    assert_eq!(tally.refusal(environment.uptime()), Some(Refusal::Wait(1)));
                    clock.advance(1);
                }
                other => assert_eq!(other, None),
            }
            tally.begin(environment.uptime());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900, 900]);
        assert_eq!(waits.len() as u32 + FREE_FAILURES, LOCKING_FAILURES);
        clock.advance(100 * 365 * 24 * 3_600_000);
        clock.reboot();
        tally.settle(environment.uptime());
        assert_eq!(tally.refusal(environment.uptime()), Some(Refusal::Locked), "no time unlocks");
        tally.unlock();
        assert_eq!(tally.refusal(environment.uptime()), None);
    }

    #[test]
    fn a_wait_heeds_no_clock_and_begins_again_with_the_machine() {
        let (environment, clock) = Environment::seeded(1, 1_700_000_000_000);
        let mut tally = Tally::default();
        (0..10).for_each(|_| tally.begin(environment.uptime()));
        let wait = tally.refusal(environment.uptime());
        for unix_ms in [0, 2_000_000_000_000] {
            clock.jump_to(unix_ms);
            assert_eq!(tally.refusal(environment.uptime()), wait);
        }
        clock.advance(30_000);
        assert!(!tally.settle(environment.uptime()));
        assert_eq!(tally.refusal(environment.uptime()), Some(Refusal::Wait(2_000)));
        clock.reboot();
        assert!(tally.settle(environment.uptime()));
        assert!(!tally.settle(environment.uptime()), "once");
        assert_eq!(tally.refusal(environment.uptime()), wait);
        clock.advance(32_000);
        assert_eq!(tally.refusal(environment.uptime()), None);
    }

    #[test]
    fn who_is_right_starts_afresh_and_is_trusted_until_they_fail_often() {
        let now = Uptime::default();
        let mut tally = Tally::default();
        assert!(!tally.is_trusted(), "never seen here");
        (0..7).for_each(|_| tally.begin(now));
        tally.succeed();
        assert_eq!(tally.refusal(now), None);
        assert!(tally.is_trusted());
        (0..FREE_FAILURES).for_each(|_| tally.begin(now));
        assert!(!tally.is_trusted());
        tally.unlock();
        assert!(tally.is_trusted(), "an unlocked user is still known");
    }

    #[test]
    fn a_device_slows_down_and_recovers() {
        let (environment, clock) = Environment::seeded(1, 0);
        let mut everybody = Everybody::default();
        let mut taken = 0;
        for _ in 0..10_000 {
            everybody.settle(environment.uptime());
            if everybody.refusal(environment.uptime()).is_none() {
                everybody.begin();
                taken += 1;
            }
            clock.advance(100);
        }
        // A thousand seconds: thirty at once, and one after every ten seconds.
        assert_eq!(taken, 129);
        clock.advance(DEVICE_PAUSE_MS);
        everybody.settle(environment.uptime());
        assert_eq!(everybody.refusal(environment.uptime()), None, "never for good");
        clock.advance(u64::from(DEVICE_FAILURES) * DEVICE_PAUSE_MS);
        everybody.settle(environment.uptime());
        assert_eq!(everybody.level, 0);
        clock.reboot();
        (0..DEVICE_FAILURES).for_each(|_| everybody.begin());
        everybody.settle(environment.uptime());
        assert_eq!(everybody.refusal(environment.uptime()), Some(Refusal::Wait(DEVICE_PAUSE_MS)));
    }

    #[test]
    fn a_siege_is_told_once() {
        let (environment, clock) = Environment::seeded(1, 0);
        let mut everybody = Everybody::default();
        (0..DEVICE_FAILURES).for_each(|_| everybody.begin());
        assert!(everybody.tell() && !everybody.tell());
        clock.advance(DEVICE_PAUSE_MS);
        everybody.settle(environment.uptime());
        assert!(!everybody.tell(), "still the same");
        clock.advance(DEVICE_PAUSE_MS * u64::from(DEVICE_FAILURES));
        everybody.settle(environment.uptime());
        assert!(everybody.tell());
        let mut tally = Tally::default();
        assert!(tally.tell() && !tally.tell());
        tally.begin(environment.uptime());
        assert!(tally.tell(), "another wait");
    }
}
