//! The line between two nodes: real datagrams on loopback, delayed, thinned out and counted.
//!
//! Whoever calls knows the line's address; where it leads can change, as when the node that is
//! called starts anew. Counted is what is put on the line, also what it then loses; what is sent
//! while it is away is told apart, since no line carries it. Nothing is looked into.

use super::profile::Shape;
use crate::chance::Chance;
use crate::local::{Outcome, node::now};
use serde_json::{Value, json};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a thread that waits for datagrams looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What went over a line in one direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Datagrams put on the line.
    pub packets: u64,
    /// Their UDP payload.
    pub bytes: u64,
    /// Of these, how many the line lost, by chance or because its queue was full.
    pub lost: u64,
    /// Bytes of the lost ones.
    pub lost_bytes: u64,
    /// Datagrams that were sent while the line was away.
    pub unsent: u64,
}

/// What went over a line since the last [`Line::begin`].
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// From the caller, and to it.
    pub ways: [Count; 2],
    /// The first datagram.
    pub first: Option<Instant>,
    /// The last datagram.
    pub last: Option<Instant>,
    /// When the number of half round trips grew: each datagram counts one more than the highest
    /// that its sender had received.
    flights: Vec<(Instant, u32)>,
}

impl Traffic {
    /// UDP payload, both ways.
    pub fn bytes(&self) -> u64 {
        self.ways.iter().map(|way| way.bytes).sum()
    }

    /// Datagrams, both ways.
    pub fn packets(&self) -> u64 {
        self.ways.iter().map(|way| way.packets).sum()
    }

    /// Time from the first datagram.
    pub fn since_first(&self, moment: Instant) -> Duration {
        self.first.map_or(Duration::ZERO, |first| moment.saturating_duration_since(first))
    }

    /// Round trips until a moment, of datagrams that waited for each other.
    pub fn round_trips(&self, until: Instant) -> f64 {
        let past = self.flights.iter().take_while(|(at, _)| *at <= until);
        f64::from(past.last().map_or(0, |(_, flights)| *flights)) / 2.0
    }

    /// For the report.
    pub fn json(&self) -> Value {
        let way = |count: &Count| {
            json!({"bytes": count.bytes, "packets": count.packets, "lost": count.lost,
                "lost_bytes": count.lost_bytes, "unsent": count.unsent})
        };
        json!({"from_caller": way(&self.ways[0]), "to_caller": way(&self.ways[1])})
    }
}

/// A datagram on its way.
struct Parcel {
    due: Instant,
    flight: u32,
    bytes: Vec<u8>,
}

struct State {
    shape: Shape,
    /// False while somebody has cut the line.
    up: bool,
    since: Instant,
    target: Option<SocketAddr>,
    caller: Option<SocketAddr>,
    traffic: Traffic,
    chance: Chance,
    /// When each way is free, and when its last datagram arrives.
    ways: [(Instant, Instant); 2],
    /// The highest flight that each end has received.
    flights: [u32; 2],
}

impl State {
    fn away(&self, moment: Instant) -> bool {
        let since = moment.saturating_duration_since(self.traffic.first.unwrap_or(self.since));
        !self.up || self.shape.outages.is_some_and(|outages| outages.away(since))
    }

    /// Takes a datagram on one way; none if the line does not carry it to the end.
    fn take(&mut self, way: usize, bytes: &[u8], moment: Instant) -> Option<Parcel> {
        if self.away(moment) {
            self.traffic.ways[way].unsent += 1;
            return None;
        }
        let length = bytes.len() as u64;
        let first = *self.traffic.first.get_or_insert(moment);
        self.traffic.last = Some(moment.max(first));
        let flight = self.flights[way] + 1;
        if self.traffic.flights.last().is_none_or(|(_, last)| *last < flight) {
            self.traffic.flights.push((moment, flight));
        }
        let start = self.ways[way].0.max(moment);
        let full = start.saturating_duration_since(moment) > self.shape.queue;
        let lost = full || self.chance.below(1000) < self.shape.lost_per_mille;
        let count = &mut self.traffic.ways[way];
        count.packets += 1;
        count.bytes += length;
        if lost {
            count.lost += 1;
            count.lost_bytes += length;
        }
        if full {
            return None;
        }
        let free = start + self.shape.time_of(length);
        self.ways[way].0 = free;
        if lost {
            return None;
        }
        let jitter = self.shape.jitter.as_micros() as u64;
        let shift = Duration::from_micros(self.chance.below(jitter * 2 + 1));
        let due = (free + self.shape.delay + shift)
            .checked_sub(self.shape.jitter)
            .unwrap_or(free)
            .max(self.ways[way].1);
        self.ways[way].1 = due;
        Some(Parcel { due, flight, bytes: bytes.to_vec() })
    }
}

/// See the head of the file. Ends when it is dropped.
pub struct Line {
    /// Where callers reach the other end.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    ended: AtomicBool,
    /// Towards callers, and towards the target.
    sockets: [UdpSocket; 2],
}

impl Line {
    /// A line that leads nowhere yet.
    pub fn new(seed: u64) -> Outcome<Self> {
        let sockets = [UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?];
        for socket in &sockets {
            socket.set_read_timeout(Some(LOOK_EVERY))?;
        }
        let address = sockets[0].local_addr()?;
        let moment = now();
        let state = State {
            shape: Shape::OPEN,
            up: true,
            since: moment,
            target: None,
            caller: None,
            traffic: Traffic::default(),
            chance: Chance::new(seed),
            ways: [(moment, moment); 2],
            flights: [0; 2],
        };
        let shared =
            Arc::new(Shared { state: Mutex::new(state), ended: AtomicBool::new(false), sockets });
        for way in 0..2 {
            let (sender, receiver) = channel();
            let (taking, giving) = (shared.clone(), shared.clone());
            std::thread::spawn(move || taking.take(way, &sender));
            std::thread::spawn(move || giving.give(way, &receiver));
        }
        Ok(Self { address, shared })
    }

    /// Leads to another end from now on.
    pub fn lead_to(&self, target: SocketAddr) {
        self.shared.state().target = Some(target);
    }

    /// Counts anew, and carries like this from now on; outages begin to run with the first
    /// datagram.
    pub fn begin(&self, shape: Shape) {
        let mut state = self.shared.state();
        let moment = now();
        state.shape = shape;
        state.up = true;
        state.since = moment;
        state.traffic = Traffic::default();
        state.ways = [(moment, moment); 2];
        state.flights = [0; 2];
    }

    /// Cuts the line, or mends it; what is on its way is lost.
    pub fn set_up(&self, up: bool) {
        self.shared.state().up = up;
    }

    /// What was carried so far.
    pub fn traffic(&self) -> Traffic {
        self.shared.state().traffic.clone()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    // Nothing that can panic half-way is done under the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, way: usize, parcels: &Sender<Parcel>) {
        let mut datagram = vec![0; 65_536];
        while !self.ended.load(Ordering::Relaxed) {
            let Ok((bytes, from)) = self.sockets[way].recv_from(&mut datagram) else { continue };
            let mut state = self.state();
            if way == 0 {
                state.caller = Some(from);
            } else if state.target != Some(from) {
                continue;
            }
            let parcel = state.take(way, &datagram[..bytes], now());
            drop(state);
            if parcel.is_some_and(|parcel| parcels.send(parcel).is_err()) {
                return;
            }
        }
    }

    fn give(&self, way: usize, parcels: &Receiver<Parcel>) {
        while let Ok(parcel) = parcels.recv() {
            std::thread::sleep(parcel.due.saturating_duration_since(now()));
            let mut state = self.state();
            if state.away(now()) {
                state.traffic.ways[way].lost += 1;
                state.traffic.ways[way].lost_bytes += parcel.bytes.len() as u64;
                continue;
            }
            // What arrives at one end raises what that end sends from then on.
            state.flights[1 - way] = state.flights[1 - way].max(parcel.flight);
            let to = if way == 0 { state.target } else { state.caller };
            drop(state);
            if let Some(to) = to {
                // As on any line, nobody hears of a datagram whose receiver is gone.
                let _ = self.sockets[1 - way].send_to(&parcel.bytes, to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::profile::Profile;

    #[test]
    fn a_line_delays_counts_and_goes_away() {
        let line = Line::new(1).expect("a line");
        let (here, there) = (socket(), socket());
        line.lead_to(there.local_addr().expect("an address"));
        let shape = Shape { delay: Duration::from_millis(30), ..Profile::Lan.shape() };
        line.begin(shape);
        let begun = now();
        here.send_to(&[7; 100], line.address).expect("sent");
        let mut buffer = [0; 200];
        let (bytes, back) = there.recv_from(&mut buffer).expect("arrived");
        assert!(bytes == 100 && begun.elapsed() >= Duration::from_millis(30));
        there.send_to(&[8; 50], back).expect("sent");
        assert_eq!(here.recv_from(&mut buffer).expect("arrived").0, 50);
        line.set_up(false);
        here.send_to(&[9; 10], line.address).expect("sent");
        assert!(there.recv_from(&mut buffer).is_err(), "the line is away");
        let traffic = line.traffic();
        assert_eq!((traffic.bytes(), traffic.packets(), traffic.ways[0].unsent), (150, 2, 1));
        assert_eq!(traffic.round_trips(now()), 1.0);
    }

    fn socket() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(500))).expect("set");
        socket
    }
}
