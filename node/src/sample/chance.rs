//! Seeded chance: the same seed and stream give the same draws for ever.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use serde_json::{Number, Value};

/// A stream of draws.
pub(super) struct Chance(ChaCha20Rng);

impl Chance {
    /// The stream of this number under a seed; streams do not influence each other.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        assert!(low <= high, "an empty range has no number");
        // The modulo's bias is below 2^-40 for ranges as small as ours.
        low + (self.0.next_u64() % (high - low + 1).unsigned_abs()) as i64
    }

    /// True in about `percent` of a hundred draws.
    pub(super) fn percent(&mut self, percent: i64) -> bool {
        self.between(0, 99) < percent
    }

    /// One of these.
    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.between(0, items.len() as i64 - 1) as usize]
    }

    /// The pattern with a random digit in place of each `#`.
    pub(super) fn digits(&mut self, pattern: &str) -> String {
        pattern
            .chars()
            .map(|c| if c == '#' { char::from(b'0' + self.between(0, 9) as u8) } else { c })
            .collect()
    }

    /// A random (version 4) UUID as a URN, as transaction bundles name their entries.
    pub(super) fn urn(&mut self) -> String {
        let mut b = [0u8; 16];
        self.0.fill_bytes(&mut b);
        b[6] = (b[6] & 0x0f) | 0x40;
        b[8] = (b[8] & 0x3f) | 0x80;
        let hex: String = b.iter().map(|byte| format!("{byte:02x}")).collect();
        let (time, rest) = hex.split_at(8);
        format!("urn:uuid:{time}-{}-{}-{}-{}", &rest[..4], &rest[4..8], &rest[8..12], &rest[12..])
    }
}

/// `scaled` / 10^`places` as a JSON number that keeps every digit, trailing zeros too: a
/// thermometer that says 37.0 did not say 37.
pub(super) fn decimal(scaled: i64, places: usize) -> Value {
    let sign = if scaled < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", scaled.unsigned_abs(), width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let literal =
        if places == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") };
    Value::Number(literal.parse::<Number>().expect("digits with one point are a JSON number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_replay_and_differ() {
        let draw = |seed, stream| {
            let mut chance = Chance::new(seed, stream);
            (chance.urn(), chance.digits("77 ###"), chance.between(-3, 3))
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2).0, draw(1, 3).0);
        assert_ne!(draw(1, 2).0, draw(2, 2).0);
        assert_eq!(draw(1, 2).0.len(), "urn:uuid:".len() + 36);
    }

    #[test]
    fn decimals_keep_their_digits() {
        for (scaled, places, literal) in
            [(370, 1, "37.0"), (5, 2, "0.05"), (-12, 1, "-1.2"), (120, 0, "120")]
        {
            assert_eq!(decimal(scaled, places).to_string(), literal);
        }
    }
}
