//! Congestion control for thin lines with deep queues: fills the line, and leaves its queue short.
//!
//! A phone's or a satellite's modem queues for seconds before it drops anything, and loses datagrams
//! for reasons of its own. So loss tells little, and delay much. Once a round trip this looks at the
//! least delay that any datagram of it had: near the least of late, more may be on its way;
//! above, a queue has formed, and what may be on its way shrinks to what was delivered in one such
//! least round trip. Loss counts only when it is a large part of what was sent, as on a line whose
//! queue is too short to be seen. What was tried beside it: docs/decisions/0020-congestion.md.

use quinn::congestion::{Controller, ControllerFactory};
use quinn_proto::RttEstimator;
use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is sent before anything is known of the line: ten datagrams.
const WINDOW_INITIAL: u64 = 12_000;
/// Fewer can't be told from silence: of three, two are really on their way.
const DATAGRAMS_MIN: u64 = 3;
/// Delay that comes of receivers that wait to confirm, and of busy processors.
const SLACK: Duration = Duration::from_millis(25);
/// For so long at least, and twice so long at most, the least round trip is remembered: routes
/// change, and other senders come and go.
const BASE_AGE: Duration = Duration::from_secs(10);
/// After so long without having seen the line without a queue, this side empties its own.
const DRAIN_EVERY: Duration = Duration::from_secs(5);

/// So many confirmations in a row that came late are no accident.
const ABOVE_MAX: u32 = 2;

/// Builds a controller for each path; see the head of the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShortQueue;

impl ControllerFactory for ShortQueue {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Window::new(now, current_mtu))
    }
}

/// The least round trip of late.
#[derive(Clone, Debug)]
struct Base {
    least: [Duration; 2],
    since: Instant,
    /// When a datagram last took hardly longer than that, or was made to.
    seen: Instant,
}

impl Base {
    fn get(&self) -> Duration {
        self.least[0].min(self.least[1])
    }

    fn observe(&mut self, now: Instant, rtt: Duration) {
        if now.saturating_duration_since(self.since) > BASE_AGE {
            self.least = [Duration::MAX, self.least[0]];
            self.since = now;
        }
        self.least[0] = self.least[0].min(rtt);
        let base = self.get();
        if rtt <= base + base / 32 + SLACK / 25 {
            self.seen = now;
        }
    }
}

/// One round trip: from a moment until something sent after it is confirmed.
#[derive(Clone, Debug)]
struct Round {
    began: Instant,
    complete: bool,
    acked: u64,
    lost: u64,
    /// The least delay in it, and in the last confirmation alone.
    rtt: Duration,
    rtt_last: Duration,
    /// Confirmed at once, last.
    batch: u64,
    /// The most that was on its way.
    peak: u64,
    /// Confirmations in a row that had waited in a queue.
    above: u32,
}

impl Round {
    const fn begin(now: Instant) -> Self {
        Self {
            began: now,
            complete: false,
            acked: 0,
            lost: 0,
            rtt: Duration::MAX,
            rtt_last: Duration::MAX,
            batch: 0,
            peak: 0,
            above: 0,
        }
    }
}

/// How many bytes may be on their way.
#[derive(Clone, Debug)]
struct Window {
    bytes: u64,
    datagram: u64,
    /// No queue has formed yet: the window doubles.
    starting: bool,
    base: Base,
    round: Round,
    /// Bytes a second that were delivered of late, at best.
    rate: u64,
    /// The queue is drained for one round; then this is the window again.
    drained_from: Option<u64>,
}

impl Window {
    const fn new(now: Instant, datagram: u16) -> Self {
        Self {
            bytes: WINDOW_INITIAL,
            datagram: datagram as u64,
            starting: true,
            base: Base { least: [Duration::MAX; 2], since: now, seen: now },
            round: Round::begin(now),
            rate: 0,
            drained_from: None,
        }
    }

    const fn least(&self) -> u64 {
        self.datagram * DATAGRAMS_MIN
    }

    fn acked(&mut self, now: Instant, sent: Instant, bytes: u64) {
        let rtt = now.saturating_duration_since(sent);
        if self.round.batch == 0 {
            self.round.rtt_last = Duration::MAX;
        }
        self.base.observe(now, rtt);
        let round = &mut self.round;
        round.rtt = round.rtt.min(rtt);
        round.rtt_last = round.rtt_last.min(rtt);
        round.acked += bytes;
        round.batch += bytes;
        round.complete |= sent >= round.began;
    }

    fn batch_ends(&mut self, now: Instant, in_flight: u64) {
        let round = &mut self.round;
        if round.batch == 0 {
            // Nothing that says how long it took.
            return;
        }
        round.peak = round.peak.max(in_flight + std::mem::take(&mut round.batch));
        let above = self.round.rtt_last > self.queued();
        self.round.above = if above { self.round.above + 1 } else { 0 };
        if self.starting && self.round.above >= ABOVE_MAX {
            // Half of what was doubled is in a queue already.
            self.starting = false;
            let base = self.base.get().as_micros() as u64;
            let share = self.bytes * base / (self.round.rtt_last.as_micros() as u64).max(1);
            self.bytes = share.max(self.bytes / 2).max(self.least());
        }
        if self.round.complete {
            let round = std::mem::replace(&mut self.round, Round::begin(now));
            self.round_ends(now, &round);
        }
    }

    /// The delay of a datagram that waited in a queue.
    fn queued(&self) -> Duration {
        let base = self.base.get();
        base + base / 8 + SLACK + time_of(self.datagram, self.rate).min(base / 2)
    }

    fn round_ends(&mut self, now: Instant, round: &Round) {
        let time = now.saturating_duration_since(round.began);
        let delivered = rate(round.acked, time);
        self.rate = delivered.max(self.rate - self.rate / 8);
        if let Some(full) = self.drained_from.take() {
            self.bytes = full.max(self.bytes);
            return;
        }
        if round.peak < self.bytes / 4 * 3 {
            // There was too little to send to learn more.
            return;
        }
        let (base, queued) = (self.base.get(), self.queued());
        let overflows = round.lost > (round.acked / 3).max(self.datagram * 4);
        if round.rtt > queued || overflows {
            self.starting = false;
            // Where the queue shows, the rest of what was lost says nothing.
            let rate = if overflows { delivered } else { rate(round.acked + round.lost, time) };
            let full = product(rate, base + SLACK / 2) + self.datagram;
            let room = if now.saturating_duration_since(self.base.seen) > DRAIN_EVERY {
                self.base.seen = now;
                self.drained_from = Some(full);
                product(rate, base) / 4 * 3
            } else {
                full
            };
            self.bytes = room.clamp(self.bytes / 2, self.bytes);
        } else if self.starting {
            self.bytes *= 2;
        } else {
            let most = product(self.rate, base + base / 3 + SLACK * 2) + self.datagram * 4;
            let calm = (queued - round.rtt).as_micros() as u64;
            let near = ((queued - base).as_micros() as u64).max(1);
            self.bytes = (self.bytes + self.bytes / 4 * calm / near).min(most.max(self.bytes));
        }
        self.bytes = self.bytes.max(self.least());
    }

    fn lost(&mut self, bytes: u64, line_was_away: bool) {
        self.round.lost += bytes;
        if line_was_away {
            // What it will be like when it returns is to be found out.
            self.bytes = (self.bytes / 2).max(self.least());
            self.starting = true;
        }
    }
}

/// Bytes a second.
fn rate(bytes: u64, time: Duration) -> u64 {
    bytes.saturating_mul(1_000_000) / (time.as_micros() as u64).max(1)
}

/// Bytes in a time.
fn product(rate: u64, time: Duration) -> u64 {
    (u128::from(rate) * time.as_micros() / 1_000_000) as u64
}

fn time_of(bytes: u64, rate: u64) -> Duration {
    Duration::from_micros(bytes * 1_000_000 / rate.max(1))
}

impl Controller for Window {
    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, _: bool, _: &RttEstimator) {
        self.acked(now, sent, bytes);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, _: bool, _: Option<u64>) {
        self.batch_ends(now, in_flight);
    }

    fn on_congestion_event(&mut self, _: Instant, _: Instant, persistent: bool, lost_bytes: u64) {
        self.lost(lost_bytes, persistent);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.datagram = new_mtu.into();
        self.bytes = self.bytes.max(self.least());
    }

    fn window(&self) -> u64 {
        self.bytes
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        WINDOW_INITIAL
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line, and a sender that always has more to send. Times in microseconds.
    struct Line {
        bytes_per_second: u64,
        delay_us: u64,
        queue_us: u64,
        lost_per_mille: u64,
        seed: u64,
    }

    /// What came of it.
    #[derive(Debug)]
    struct Outcome {
        /// Of what the line could carry, percent.
        used: u64,
        /// Of what was sent, percent.
        overflowed: u64,
        /// At the mean, once the start is over.
        queue_ms: u64,
    }

    const DATAGRAM: u64 = 1_200;

    struct Packet {
        number: u64,
        sent_us: u64,
        /// When its confirmation arrives; none if it is lost.
        back_us: Option<u64>,
    }

    /// Packets whose confirmation has arrived, and those that are given up because of them.
    fn take_settled(flying: &mut Vec<Packet>, us: u64) -> Vec<Packet> {
        let back = |packet: &Packet| packet.back_us.is_some_and(|back| back <= us);
        let Some(largest) = flying.iter().filter(|packet| back(packet)).map(|p| p.number).max()
        else {
            return Vec::new();
        };
        let given_up = |packet: &Packet| packet.back_us.is_none() && packet.number + 3 <= largest;
        flying.extract_if(.., |packet| back(packet) || given_up(packet)).collect()
    }

    impl Line {
        fn chance(&mut self, below: u64) -> u64 {
            self.seed =
                self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (self.seed >> 33) % below
        }

        fn run(mut self, seconds: u64) -> Outcome {
            let zero = tokio::time::Instant::now().into_std();
            let at = |us| zero + Duration::from_micros(us);
            let mut window = Window::new(zero, DATAGRAM as u16);
            let mut flying = Vec::<Packet>::new();
            let serial = DATAGRAM * 1_000_000 / self.bytes_per_second;
            let (mut free, mut next_send, mut srtt) = (0, 0, 1_000_000);
            let (mut sent, mut delivered, mut overflowed) = (0, 0, 0);
            let mut queues = Vec::new();
            let mut us = 0;
            while us < seconds * 1_000_000 {
                let gone = take_settled(&mut flying, us);
                if !gone.is_empty() {
                    let mut lost = 0;
                    for packet in gone {
                        if packet.back_us.is_some() {
                            srtt = (srtt * 7 + (us - packet.sent_us)) / 8;
                            window.acked(at(us), at(packet.sent_us), DATAGRAM);
                            delivered += 1;
                        } else {
                            lost += DATAGRAM;
                        }
                    }
                    window.batch_ends(at(us), flying.len() as u64 * DATAGRAM);
                    if lost > 0 {
                        window.lost(lost, false);
                    }
                }
                // All confirmations lost: a probe, as QUIC sends one.
                let stuck = flying.iter().all(|packet| packet.back_us.is_none());
                if stuck && flying.last().is_some_and(|last| us > last.sent_us + srtt * 3) {
                    flying.clear();
                }
                let room = flying.len() as u64 * DATAGRAM + DATAGRAM < window.bytes;
                if room && us >= next_send {
                    sent += 1;
                    let start = free.max(us);
                    let waits = start - us;
                    let full = waits > self.queue_us;
                    overflowed += u64::from(full);
                    if !full {
                        free = start + serial;
                        if us > 10_000_000 {
                            queues.push(waits);
                        }
                    }
                    let lost = full || self.chance(1000) < self.lost_per_mille;
                    // Up to ten milliseconds until it is confirmed.
                    let back = free + self.delay_us * 2 + self.chance(10_000);
                    let back_us = (!lost).then_some(back);
                    flying.push(Packet { number: sent, sent_us: us, back_us });
                    let gap = srtt * DATAGRAM * 4 / 5 / window.bytes;
                    next_send = next_send.max(us.saturating_sub(gap * 10)) + gap;
                }
                us += serial.min(1_000) / 2;
            }
            let could = seconds * self.bytes_per_second / DATAGRAM;
            Outcome {
                used: delivered * 100 / could,
                overflowed: overflowed * 100 / sent,
                queue_ms: queues.iter().sum::<u64>() / 1000 / (queues.len() as u64).max(1),
            }
        }
    }

    fn line(kbit: u64, delay_ms: u64, queue_ms: u64, lost_per_mille: u64) -> Outcome {
        let line = Line {
            bytes_per_second: kbit * 125,
            delay_us: delay_ms * 1000,
            queue_us: queue_ms * 1000,
            lost_per_mille,
            seed: 7,
        };
        line.run(60)
    }

    /// Rate, delay one way and loss; then what must be used at least, and the longest mean queue.
    #[test]
    fn a_line_is_filled_and_its_deep_queue_stays_short() {
        let lines = [
            (64, 300, 20, 90, 400),
            (256, 300, 0, 90, 300),
            (512, 300, 10, 90, 300),
            (512, 300, 150, 70, 300),
            (2_000, 50, 10, 90, 100),
            (20_000, 20, 0, 90, 100),
        ];
        for (kbit, delay_ms, lost_per_mille, used, queue_ms) in lines {
            let outcome = line(kbit, delay_ms, 2_000, lost_per_mille);
            let what = format!("{kbit} kbit/s, {delay_ms} ms, {lost_per_mille}: {outcome:?}");
            assert!(outcome.used >= used && outcome.queue_ms <= queue_ms, "{what}");
            assert_eq!(outcome.overflowed, 0, "{what}");
        }
    }

    #[test]
    fn a_queue_too_short_to_be_seen_does_not_overflow_without_end() {
        for queue_ms in [20, 50, 100] {
            let outcome = line(2_000, 100, queue_ms, 10);
            assert!(outcome.used >= 65 && outcome.overflowed <= 25, "{queue_ms} ms: {outcome:?}");
        }
    }

    #[test]
    fn a_round_trip_that_grew_for_good_becomes_the_new_least() {
        let zero = tokio::time::Instant::now().into_std();
        let mut window = Window::new(zero, DATAGRAM as u16);
        // A confirmation of nothing, as of a handshake's.
        window.batch_ends(zero, 0);
        // What the line carries is confirmed whole, after 50 ms first and after 500 ms later.
        let mut now = zero;
        let mut through = |window: &mut Window, rtt_ms: u64, times: u32| {
            for _ in 0..times {
                let (sent, bytes) = (now, window.bytes.min(rtt_ms * 100));
                now += Duration::from_millis(rtt_ms);
                window.acked(now, sent, bytes);
                window.batch_ends(now, 0);
            }
            window.bytes
        };
        assert!(through(&mut window, 50, 100) >= 5_000);
        assert!(through(&mut window, 500, 100) >= 50_000, "100 bytes a millisecond are carried");
    }
}
