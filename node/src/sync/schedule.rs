//! Whom to dial, and when. Pure: the time and the seed of chance come from outside.
//!
//! A line that comes up for half a minute must be caught, so the first retries are quick; a
//! district of clinics must not call the hub in step when the power returns, so every wait is
//! drawn at random; and nobody is called more rarely than once a minute.

use carnet_sync_protocol::id::TransportKey;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;

/// The longest wait between two dials.
pub const WAIT_MAX_MS: u64 = 60_000;
/// The longest first wait; it doubles with each failure.
const WAIT_FIRST_MS: u64 = 500;
/// A link that lived this long was a success: the next failure counts as the first.
pub const SETTLED_MS: u64 = 10_000;
/// Dials under way at the same time.
const DIALS_MAX: usize = 8;
/// A peer that refuses is asked as seldom as one that has failed this often; from here on the wait
/// is the longest.
const FAILURES_OF_REFUSAL: u32 = 7;

/// Draws waits at random.
#[derive(Clone, Debug)]
pub struct Chance(ChaCha20Rng);

impl Chance {
    /// Chance that replays from its seed.
    pub fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.next_u64() % (high.saturating_sub(low) + 1)
    }
}

/// What a peer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// To be dialed at this time.
    Waiting { due_ms: u64 },
    /// A dial is under way.
    Dialing,
    /// There is a link, whoever dialed it.
    Linked { since_ms: u64 },
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    phase: Phase,
    failures: u32,
}

/// The plan for all peers that this node dials.
#[derive(Debug)]
pub struct Schedule {
    plans: BTreeMap<TransportKey, Plan>,
    chance: Chance,
}

impl Schedule {
    /// A plan for nobody yet.
    pub fn new(chance: Chance) -> Self {
        Self { plans: BTreeMap::new(), chance }
    }

    /// Adds a peer, to be dialed at once; a peer that is already there is hurried.
    pub fn add(&mut self, peer: TransportKey, now_ms: u64) {
        self.plans
            .entry(peer)
            .or_insert(Plan { phase: Phase::Waiting { due_ms: now_ms }, failures: 0 });
        self.hurry(&peer, now_ms);
    }

    /// Forgets a peer.
    pub fn remove(&mut self, peer: &TransportKey) {
        self.plans.remove(peer);
    }

    /// The peers to dial now; they count as being dialed until told otherwise.
    pub fn due(&mut self, now_ms: u64) -> Vec<TransportKey> {
        let mut free = DIALS_MAX.saturating_sub(self.dialing());
        let mut due = Vec::new();
        for (peer, plan) in &mut self.plans {
            let ready = matches!(plan.phase, Phase::Waiting { due_ms } if due_ms <= now_ms);
            if ready && free > 0 {
                free -= 1;
                plan.phase = Phase::Dialing;
                due.push(*peer);
            }
        }
        due
    }

    /// When [`Schedule::due`] will next have something, if nothing else happens.
    pub fn next_ms(&self) -> Option<u64> {
        if self.dialing() >= DIALS_MAX {
            return None;
        }
        let waits = self.plans.values().filter_map(|plan| match plan.phase {
            Phase::Waiting { due_ms } => Some(due_ms),
            Phase::Dialing | Phase::Linked { .. } => None,
        });
        waits.min()
    }

    /// A dial failed; `refused` when people have to change something before it can succeed.
    pub fn failed(&mut self, peer: &TransportKey, refused: bool, now_ms: u64) {
        let Some(plan) = self.plans.get_mut(peer) else { return };
        if !matches!(plan.phase, Phase::Dialing) {
            return;
        }
        if refused {
            plan.failures = plan.failures.max(FAILURES_OF_REFUSAL);
        }
        plan.wait(&mut self.chance, now_ms);
    }

    /// There is a link to this peer now.
    pub fn linked(&mut self, peer: &TransportKey, now_ms: u64) {
        if let Some(plan) = self.plans.get_mut(peer) {
            plan.phase = Phase::Linked { since_ms: now_ms };
        }
    }

    /// The link to this peer is gone.
    pub fn unlinked(&mut self, peer: &TransportKey, refused: bool, now_ms: u64) {
        let Some(plan) = self.plans.get_mut(peer) else { return };
        let Phase::Linked { since_ms } = plan.phase else { return };
        if refused {
            plan.failures = plan.failures.max(FAILURES_OF_REFUSAL);
        } else if now_ms.saturating_sub(since_ms) >= SETTLED_MS {
            plan.failures = 0;
        }
        plan.wait(&mut self.chance, now_ms);
    }

    /// Somebody wants this peer now: a wait is cut short.
    pub fn hurry(&mut self, peer: &TransportKey, now_ms: u64) {
        if let Some(plan) = self.plans.get_mut(peer)
            && let Phase::Waiting { due_ms } = &mut plan.phase
        {
            *due_ms = now_ms.min(*due_ms);
        }
    }

    fn dialing(&self) -> usize {
        self.plans.values().filter(|plan| plan.phase == Phase::Dialing).count()
    }
}

impl Plan {
    fn wait(&mut self, chance: &mut Chance, now_ms: u64) {
        let longest = (WAIT_FIRST_MS << self.failures.min(FAILURES_OF_REFUSAL)).min(WAIT_MAX_MS);
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::Waiting { due_ms: now_ms + chance.between(longest / 2, longest) };
    }
}

/// When to start one more handshake while those before it are unanswered.
///
/// QUIC doubles the wait between its own probes, so a handshake that began while the line was down
/// may sleep through the half minute in which it is up. A fresh one starts its probes anew.
#[derive(Debug)]
pub struct Race {
    chance: Chance,
    started: usize,
}

/// Three round trips at the 1 second that is assumed before a line has been measured.
const RACE_FIRST_MS: u64 = 3_000;
/// The longest wait between two handshakes.
const RACE_MAX_MS: u64 = 5_000;
/// A moment's head start for the address that is written first.
const ADDRESS_MS: u64 = 250;

impl Race {
    /// A race that has not begun.
    pub fn new(chance: Chance) -> Self {
        Self { chance, started: 0 }
    }

    /// Which of `addresses` (at least one) to try next, and how long to wait for an answer before
    /// the one after that.
    pub fn next(&mut self, addresses: usize) -> (usize, u64) {
        let index = self.started % addresses;
        self.started += 1;
        let wait = if self.started < addresses {
            ADDRESS_MS
        } else {
            self.chance.between(RACE_FIRST_MS, RACE_MAX_MS)
        };
        (index, wait)
    }

    /// Whether every address has been tried.
    pub fn tried_all(&self, addresses: usize) -> bool {
        self.started >= addresses
    }
}

/// Notices that an established link has fallen silent: something was sent, and nothing at all came
/// back for three round trips.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silence {
    received: u64,
    sent: u64,
    unanswered_since_ms: Option<u64>,
}

/// No line is called silent sooner, whatever its round trip.
const SILENCE_MIN_MS: u64 = 3_000;

impl Silence {
    /// Takes the numbers of datagrams so far and the round trip; tells whether the link is silent.
    pub fn observe(&mut self, sent: u64, received: u64, rtt_ms: u64, now_ms: u64) -> bool {
        if received > self.received {
            *self = Self { received, sent, unanswered_since_ms: None };
            return false;
        }
        if sent > self.sent && self.unanswered_since_ms.is_none() {
            self.unanswered_since_ms = Some(now_ms);
        }
        let patience = SILENCE_MIN_MS.max(rtt_ms.saturating_mul(3));
        self.unanswered_since_ms.is_some_and(|since| now_ms.saturating_sub(since) >= patience)
    }
}

/// So many at once, and then one more in each interval.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    burst: u32,
    refill_ms: u64,
    left: u32,
    counted_ms: u64,
}

impl Allowance {
    /// Begins with all of `burst`.
    pub const fn new(burst: u32, refill_ms: u64, now_ms: u64) -> Self {
        Self { burst, refill_ms, left: burst, counted_ms: now_ms }
    }

    /// Takes one, if there is one left.
    pub fn take(&mut self, now_ms: u64) -> bool {
        let intervals = now_ms.saturating_sub(self.counted_ms) / self.refill_ms;
        self.counted_ms += intervals * self.refill_ms;
        let grown = u64::from(self.left) + intervals;
        self.left = u32::try_from(grown).unwrap_or(u32::MAX).min(self.burst);
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

/// Whether a new link to a peer takes the place of the one that there is.
///
/// Who dials believes that there is no link; that is worth more than what this side believes of
/// the old one. The exception: both dialed in the same moment. Then both sides keep the link that
/// the smaller key dialed, or each would close the one that the other keeps.
pub fn takes_over(
    own: &TransportKey,
    peer: &TransportKey,
    old_dialed_here: bool,
    old_age_ms: u64,
    new_dialed_here: bool,
) -> bool {
    if old_dialed_here == new_dialed_here || old_age_ms >= SETTLED_MS {
        return true;
    }
    new_dialed_here == (own < peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> TransportKey {
        TransportKey([byte; 32])
    }

    fn schedule(seed: u8) -> Schedule {
        Schedule::new(Chance::new([seed; 32]))
    }

    /// Lets every dial fail and returns the waits.
    fn waits(seed: u8, count: usize) -> Vec<u64> {
        let mut schedule = schedule(seed);
        schedule.add(key(1), 0);
        let mut now = 0;
        (0..count)
            .map(|_| {
                assert_eq!(schedule.due(now), [key(1)]);
                schedule.failed(&key(1), false, now);
                let next = schedule.next_ms().expect("a failed peer is dialed again");
                assert_eq!(schedule.due(next - 1), []);
                let wait = next - now;
                now = next;
                wait
            })
            .collect()
    }

    #[test]
    fn waits_grow_from_half_a_second_to_a_minute_and_differ_between_nodes() {
        let waits_of_one = waits(1, 40);
        assert!((250..=500).contains(&waits_of_one[0]));
        assert!(waits_of_one.iter().take(4).sum::<u64>() <= 7_500, "the first retries are quick");
        assert!(waits_of_one[10..].iter().all(|wait| (30_000..=60_000).contains(wait)));
        assert_eq!(waits_of_one, waits(1, 40), "the same seed replays");
        assert_ne!(waits_of_one, waits(2, 40), "two nodes do not call in step");
    }

    #[test]
    fn a_settled_link_resets_the_wait_and_a_short_one_does_not() {
        let mut schedule = schedule(1);
        schedule.add(key(1), 0);
        for _ in 0..9 {
            let now = schedule.next_ms().unwrap();
            schedule.due(now);
            schedule.failed(&key(1), false, now);
        }
        let now = schedule.next_ms().unwrap();
        schedule.due(now);
        schedule.linked(&key(1), now);
        assert_eq!(schedule.next_ms(), None);
        schedule.unlinked(&key(1), false, now + SETTLED_MS - 1);
        let next = schedule.next_ms().unwrap();
        assert!(next - now > 30_000, "a link that is refused at once is no success");
        schedule.due(next);
        schedule.linked(&key(1), next);
        let end = next + SETTLED_MS;
        schedule.unlinked(&key(1), false, end);
        assert!(schedule.next_ms().unwrap() - end <= 500);
    }

    #[test]
    fn a_refusal_waits_long_and_somebody_who_asks_cuts_it_short() {
        let mut schedule = schedule(1);
        schedule.add(key(1), 0);
        schedule.due(0);
        schedule.failed(&key(1), true, 0);
        assert!(schedule.next_ms().unwrap() >= 30_000);
        schedule.hurry(&key(1), 5);
        assert_eq!(schedule.due(5), [key(1)]);
        schedule.remove(&key(1));
        schedule.failed(&key(1), false, 6);
        assert_eq!(schedule.next_ms(), None);
    }

    #[test]
    fn dials_at_once_are_limited() {
        let mut schedule = schedule(1);
        (0..20).for_each(|byte| schedule.add(key(byte), 0));
        assert_eq!(schedule.due(0).len(), DIALS_MAX);
        assert_eq!((schedule.due(0).len(), schedule.next_ms()), (0, None));
        schedule.failed(&key(0), false, 0);
        assert_eq!(schedule.due(0), [key(8)]);
    }

    #[test]
    fn a_race_tries_every_address_soon_and_then_again_every_few_seconds() {
        let mut race = Race::new(Chance::new([1; 32]));
        assert_eq!(race.next(2), (0, ADDRESS_MS));
        assert!(!race.tried_all(2));
        let (index, wait) = race.next(2);
        assert_eq!(index, 1);
        assert!(race.tried_all(2) && (RACE_FIRST_MS..=RACE_MAX_MS).contains(&wait));
        assert_eq!(race.next(2).0, 0);
    }

    #[test]
    fn silence_is_sending_without_an_answer_for_three_round_trips() {
        let mut silence = Silence::default();
        assert!(!silence.observe(10, 10, 2_000, 0));
        assert!(!silence.observe(10, 10, 2_000, 60_000), "an idle link is not silent");
        assert!(!silence.observe(11, 10, 2_000, 60_001));
        assert!(!silence.observe(12, 10, 2_000, 66_000));
        assert!(silence.observe(12, 10, 2_000, 66_001));
        assert!(!silence.observe(13, 11, 2_000, 66_002), "an answer ends it");
    }

    #[test]
    fn an_allowance_refills_up_to_its_burst() {
        let mut allowance = Allowance::new(2, 1_000, 0);
        let taken =
            [0, 0, 999, 1_000, 1_001, 60_000, 60_000, 60_000].map(|now| allowance.take(now));
        assert_eq!(taken, [true, true, false, true, false, true, true, false]);
    }

    #[test]
    fn both_sides_keep_the_same_one_of_two_links() {
        let (small, large) = (key(1), key(2));
        // The small key's node: its own dial is the old link, the large one's arrives; and reverse.
        assert!(!takes_over(&small, &large, true, 5, false));
        assert!(takes_over(&large, &small, true, 5, false));
        assert!(takes_over(&small, &large, false, 5, true));
        assert!(!takes_over(&large, &small, false, 5, true));
        assert!(takes_over(&small, &large, true, SETTLED_MS, false), "a dialer knows better");
        assert!(takes_over(&small, &large, false, 5, false), "the newer of one dialer's links");
    }
}
