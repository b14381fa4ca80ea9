//! Sessions of one device, and the PINs with which people change places in them.
//!
//! A session belongs to one person at one node. It ends when nobody has used it for a quarter of
//! an hour, twelve hours after the password that began it, when the machine is started anew, and
//! when the person's password is another. Whoever changes places by PIN gets a session of their
//! own, which ends no later than the one it came from.
//!
//! Time is told by the machine's uptime: no clock that is set lengthens a session.

use crate::base::environment::Uptime;
use serde::{Deserialize, Serialize};

/// How long a session lasts that nobody uses.
pub const IDLE_MS: u64 = 15 * 60_000;

/// How long after the password.
pub const LIFETIME_MS: u64 = 12 * 3_600_000;

/// How late its use may be noted: a session ends so much early, and is not written with each click.
pub const TOUCH_MS: u64 = 30_000;

/// Wrong PINs of one person after which only their password lets them in.
pub const WRONG_PINS_MAX: u32 = 5;

/// Wrong PINs of whomever that end the session in which they are tried.
pub const SESSION_WRONG_PINS_MAX: u32 = 10;

/// Which password of a person something was made under.
pub type PasswordMark = [u8; 32];

/// The mark of a password's check.
pub fn password_mark(check: &[u8]) -> PasswordMark {
    blake3::derive_key("carnet 2026 password mark v1", check)
}

/// What is kept of a session's token, or looked for by it. Tokens are 256 random bits, so neither
/// what is kept nor how long it takes to find helps to guess one.
pub fn token_hash(token: &str) -> [u8; 32] {
    blake3::derive_key("carnet 2026 session token v1", token.as_bytes())
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Whose it is: a user id.
    pub person: String,
    /// The password under which it is.
    password: PasswordMark,
    /// When the password was given that began it.
    begun: Uptime,
    /// When it was last known to be used.
    used: Uptime,
    /// PINs that were tried in it, or in those that it came from, and not right.
    wrong_pins: u32,
}

impl Session {
    /// A session after a password.
    pub const fn begin(person: String, password: PasswordMark, now: Uptime) -> Self {
        Self { person, password, begun: now, used: now, wrong_pins: 0 }
    }

    /// The session of a person who takes this one's place.
    #[must_use]
    pub const fn hand_over(&self, person: String, password: PasswordMark, now: Uptime) -> Self {
        Self { person, password, used: now, ..*self }
    }

    /// Whether it still lasts, for a person whose password is this one.
    pub fn lasts(&self, password: &PasswordMark, now: Uptime) -> bool {
        self.is_within_time(now)
            && self.password == *password
            && self.wrong_pins < SESSION_WRONG_PINS_MAX
    }

    /// Whether it has not run out.
    pub fn is_within_time(&self, now: Uptime) -> bool {
        now.since(&self.used).is_some_and(|idle| idle <= IDLE_MS)
            && now.since(&self.begun).is_some_and(|age| age <= LIFETIME_MS)
    }

    /// Notes its use; true if that must be kept.
    pub fn touch(&mut self, now: Uptime) -> bool {
        let due = now.since(&self.used).is_some_and(|since| since >= TOUCH_MS);
        if due {
            self.used = now;
        }
        due
    }

    /// Counts a PIN that is tried: wrong, until it proves right.
    pub const fn try_pin(&mut self) {
        self.wrong_pins = self.wrong_pins.saturating_add(1);
    }

    /// It was right.
    pub const fn pin_was_right(&mut self) {
        self.wrong_pins = self.wrong_pins.saturating_sub(1);
    }
}

/// A PIN of one person at this device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// What checks it, as `vault` wrote it.
    pub check: Vec<u8>,
    /// The password under which it was set: whoever gets a new one sets a new PIN.
    password: PasswordMark,
    /// Wrong ones since the last right one, or the last password.
    wrong: u32,
}

impl Pin {
    /// A new PIN.
    pub const fn new(check: Vec<u8>, password: PasswordMark) -> Self {
        Self { check, password, wrong: 0 }
    }

    /// Whether it counts, for a person whose password is this one.
    pub fn is_of(&self, password: &PasswordMark) -> bool {
        self.password == *password
    }

    /// Whether only the password helps.
    pub const fn is_locked(&self) -> bool {
        self.wrong >= WRONG_PINS_MAX
    }

    /// Counts an attempt: wrong, until it proves right.
    pub const fn try_it(&mut self) {
        self.wrong = self.wrong.saturating_add(1);
    }

    /// It was right, or the password was.
    pub const fn forgive(&mut self) {
        self.wrong = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::environment::Environment;

    const OWN: PasswordMark = [1; 32];

    #[test]
    fn a_session_ends_when_idle_and_twelve_hours_after_the_password() {
        let (environment, clock) = Environment::seeded(1, 0);
        let now = || environment.uptime();
        let mut session = Session::begin("awa".into(), OWN, now());
        clock.advance(IDLE_MS);
        assert!(session.lasts(&OWN, now()));
        clock.advance(1);
        assert!(!session.lasts(&OWN, now()), "idle");
        session = Session::begin("awa".into(), OWN, now());
        for minute in 0..=12 * 60 {
            assert!(session.lasts(&OWN, now()), "after {minute} minutes of use");
            assert_eq!(session.touch(now()), minute > 0);
            assert!(!session.touch(now()), "kept already");
            clock.advance(60_000);
        }
        assert!(!session.lasts(&OWN, now()), "too old, though used");
    }

    #[test]
    fn neither_a_clock_nor_a_start_of_the_machine_lengthens_a_session() {
        let (environment, clock) = Environment::seeded(1, 1_700_000_000_000);
        let session = Session::begin("awa".into(), OWN, environment.uptime());
        for unix_ms in [1_400_000_000_000, 2_000_000_000_000] {
            clock.jump_to(unix_ms);
            assert!(session.lasts(&OWN, environment.uptime()));
        }
        clock.advance(IDLE_MS + 1);
        clock.jump_to(1_700_000_000_000);
        assert!(!session.lasts(&OWN, environment.uptime()), "the clock was set back");
        let session = Session::begin("awa".into(), OWN, environment.uptime());
        clock.reboot();
        assert!(!session.lasts(&OWN, environment.uptime()));
        clock.advance(IDLE_MS * 2);
        assert!(!session.lasts(&OWN, environment.uptime()));
    }

    #[test]
    fn who_takes_over_gets_no_more_time_and_a_new_password_ends_what_was_before() {
        let (environment, clock) = Environment::seeded(1, 0);
        let first = Session::begin("awa".into(), OWN, environment.uptime());
        clock.advance(LIFETIME_MS);
        let second = first.hand_over("ben".into(), [2; 32], environment.uptime());
        assert!(second.lasts(&[2; 32], environment.uptime()));
        assert!(!second.lasts(&OWN, environment.uptime()), "another password");
        clock.advance(1);
        assert!(!second.lasts(&[2; 32], environment.uptime()));
    }

    #[test]
    fn wrong_pins_end_the_session_they_are_tried_in_and_lock_the_pin() {
        let now = Uptime::default();
        let mut session = Session::begin("awa".into(), OWN, now);
        (1..SESSION_WRONG_PINS_MAX).for_each(|_| session.try_pin());
        assert!(session.lasts(&OWN, now));
        session.try_pin();
        assert!(!session.hand_over("ben".into(), OWN, now).lasts(&OWN, now));
        session.pin_was_right();
        assert!(session.lasts(&OWN, now));
        let mut pin = Pin::new(vec![7], OWN);
        (1..WRONG_PINS_MAX).for_each(|_| pin.try_it());
        assert!(!pin.is_locked());
        pin.try_it();
        assert!(pin.is_locked());
        pin.forgive();
        assert!(!pin.is_locked() && pin.is_of(&OWN) && !pin.is_of(&[2; 32]));
    }
}
