//! The only source of time and chance.
//!
//! Everything that needs the hour or a random number is handed an [`Environment`], so that a
//! simulated history can be replayed from its seed. A tidy test forbids the standard library's
//! clocks and the operating system's randomness everywhere else.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970-01-01T00:00:00Z; may jump in both directions.
    fn unix_ms(&self) -> u64;

    /// Milliseconds since some moment in the past; never runs backwards.
    fn monotonic_ms(&self) -> u64;
}

/// Gives random bytes, fit for keys.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// A clock and a source of chance, handed to whatever needs them.
#[derive(Clone)]
pub struct Environment {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

impl Environment {
    /// An environment of these two.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy }
    }

    /// The machine's clock and the operating system's randomness.
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock::new()), Arc::new(SystemEntropy))
    }

    /// A clock that stands until it is moved, and chance drawn from a seed.
    pub fn seeded(seed: u64, unix_ms: u64) -> (Self, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock { unix_ms: unix_ms.into(), monotonic_ms: 0.into() });
        (Self::new(clock.clone(), Arc::new(SeededEntropy::new(seed))), clock)
    }

    /// See [`Clock::unix_ms`].
    pub fn unix_ms(&self) -> u64 {
        self.clock.unix_ms()
    }

    /// See [`Clock::monotonic_ms`].
    pub fn monotonic_ms(&self) -> u64 {
        self.clock.monotonic_ms()
    }

    /// Fresh random bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }

    /// A random (version 4) UUID in its usual lower-case form.
    pub fn uuid(&self) -> String {
        let mut b: [u8; 16] = self.random();
        b[6] = (b[6] & 0x0f) | 0x40;
        b[8] = (b[8] & 0x3f) | 0x80;
        let hex: String = b.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may read the clock")]
    fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may read the clock")]
    fn unix_ms(&self) -> u64 {
        // A clock before 1970 reads as 1970: time is for display, and nothing may fail by it.
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64)
    }

    fn monotonic_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may draw chance")]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}

/// A clock that a test or a simulation moves by hand.
#[derive(Debug, Default)]
pub struct ManualClock {
    unix_ms: AtomicU64,
    monotonic_ms: AtomicU64,
}

impl ManualClock {
    /// Lets both clocks run on.
    pub fn advance(&self, ms: u64) {
        self.unix_ms.fetch_add(ms, Ordering::Relaxed);
        self.monotonic_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Makes the wall clock jump; the monotonic one stays.
    pub fn jump_to(&self, unix_ms: u64) {
        self.unix_ms.store(unix_ms, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn unix_ms(&self) -> u64 {
        self.unix_ms.load(Ordering::Relaxed)
    }

    fn monotonic_ms(&self) -> u64 {
        self.monotonic_ms.load(Ordering::Relaxed)
    }
}

/// Chance that replays: ChaCha20 from a seed.
struct SeededEntropy(Mutex<ChaCha20Rng>);

impl SeededEntropy {
    fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha20Rng::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_and_a_uuid_has_its_version() {
        let (one, _) = Environment::seeded(7, 0);
        let (two, clock) = Environment::seeded(7, 0);
        assert_eq!(one.random::<32>(), two.random::<32>());
        assert_eq!(one.uuid().as_bytes()[14], b'4');
        clock.advance(5);
        clock.jump_to(1);
        assert_eq!((two.unix_ms(), two.monotonic_ms()), (1, 5));
    }
}
