//! The lines that are imitated.

use std::time::Duration;

/// Bytes that IPv4 and UDP put before each datagram; they take their time on the line.
pub const HEADER_BYTES: u64 = 28;

/// A line's kind, as it is named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// 100 Mbit/s, half a millisecond one way
    Lan,
    /// 64 kbit/s, 300 ms one way, 2% loss
    #[value(name = "2g")]
    Gprs,
    /// 512 kbit/s, 300 ms one way, 1% loss
    Satellite,
    /// The same as 2g, away for 60 s of each 90 s
    Flaky,
}

/// Away for `down` at the end of each `every`.
#[derive(Clone, Copy, Debug)]
pub struct Outages {
    /// From one return to the next.
    pub every: Duration,
    /// How long of it the line is away.
    pub down: Duration,
}

impl Outages {
    /// Whether the line is away so long after it first came up.
    pub fn away(&self, since_start: Duration) -> bool {
        let phase = since_start.as_nanos() % self.every.as_nanos().max(1);
        phase >= self.every.saturating_sub(self.down).as_nanos()
    }
}

/// What a line does to datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Bits a second each way, headers included; none is without limit.
    pub bits_per_second: Option<u64>,
    /// One way.
    pub delay: Duration,
    /// The delay of a datagram is up to so much longer or shorter; none overtakes another.
    pub jitter: Duration,
    /// Of a thousand datagrams, so many are lost after they took their time on the line.
    pub lost_per_mille: u64,
    /// What waits for its turn beyond so much is dropped, as by a router.
    pub queue: Duration,
    /// When it is away.
    pub outages: Option<Outages>,
}

impl Shape {
    /// As fast as this machine.
    pub const OPEN: Self = Self {
        bits_per_second: None,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        lost_per_mille: 0,
        queue: Duration::from_secs(2),
        outages: None,
    };

    /// How long so many bytes of payload occupy the line.
    pub fn time_of(&self, bytes: u64) -> Duration {
        let nanos = |rate: u64| (bytes + HEADER_BYTES) * 8 * 1_000_000_000 / rate.max(1);
        self.bits_per_second.map_or(Duration::ZERO, |rate| Duration::from_nanos(nanos(rate)))
    }

    /// There and back, without the time of the bytes.
    pub fn round_trip(&self) -> Duration {
        self.delay * 2
    }
}

impl Profile {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Gprs => "2g",
            Self::Satellite => "satellite",
            Self::Flaky => "flaky",
        }
    }

    /// What it does to datagrams. The queue of a thin line is two seconds long.
    pub const fn shape(self) -> Shape {
        let thin = Shape {
            bits_per_second: Some(64_000),
            delay: Duration::from_millis(300),
            jitter: Duration::from_millis(10),
            lost_per_mille: 20,
            ..Shape::OPEN
        };
        match self {
            Self::Lan => Shape {
                bits_per_second: Some(100_000_000),
                delay: Duration::from_micros(500),
                queue: Duration::from_millis(50),
                ..Shape::OPEN
            },
            Self::Gprs => thin,
            Self::Satellite => Shape { bits_per_second: Some(512_000), lost_per_mille: 10, ..thin },
            Self::Flaky => Shape {
                outages: Some(Outages {
                    every: Duration::from_secs(90),
                    down: Duration::from_secs(60),
                }),
                ..thin
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thin_line_takes_its_time_and_goes_away() {
        let flaky = Profile::Flaky.shape();
        // 772 bytes and 28 of headers, at eight to a millisecond.
        assert_eq!(flaky.time_of(772), Duration::from_millis(100));
        let away: Vec<u64> = (0..200)
            .filter(|second| flaky.outages.expect("some").away(Duration::from_secs(*second)))
            .collect();
        assert_eq!((away[0], away[59], away[60]), (30, 89, 120));
        assert_eq!(Shape::OPEN.time_of(1_000_000), Duration::ZERO);
    }
}
