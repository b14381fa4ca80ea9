//! A slow line between two nodes: passes datagrams on, at most so many bytes a second each way. Who
//! owns it may listen, or alter what passes.
//!
//! The node that is called may move to another port, as it does when it starts anew; the address
//! that its peer remembers stays this line's.

use super::harness::{now_ms, pause};
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// See the head of the file.
pub struct Line {
    pub address: String,
    state: Arc<State>,
}

struct State {
    target: Mutex<Option<SocketAddr>>,
    ended: AtomicBool,
    bytes_per_ms: u64,
    carried: AtomicU64,
    tap: Tap,
}

/// What the owner of a line does with what passes.
#[derive(Default)]
enum Tap {
    #[default]
    Nothing,
    /// Keeps every datagram, by direction: to the node that is called, and from it.
    Record([Mutex<Vec<Vec<u8>>>; 2]),
    /// Alters one bit in each `n`-th datagram.
    Alter { every: u64, passed: AtomicU64 },
}

impl Line {
    pub fn new(bytes_per_second: u64) -> Self {
        Self::tapped(bytes_per_second, Tap::Nothing)
    }

    /// A line that is listened to.
    pub fn recorded() -> Self {
        Self::tapped(100_000_000, Tap::Record(Default::default()))
    }

    /// A line on which one datagram in so many is altered.
    pub fn altering(every: u64) -> Self {
        Self::tapped(100_000_000, Tap::Alter { every, passed: AtomicU64::new(0) })
    }

    /// What was recorded: towards the node that is called, and from it.
    pub fn heard(&self) -> [Vec<Vec<u8>>; 2] {
        match &self.state.tap {
            Tap::Record(heard) => heard.each_ref().map(|way| way.lock().expect("no panic").clone()),
            _ => Default::default(),
        }
    }

    /// How many datagrams passed a line that alters some.
    pub fn passed(&self) -> u64 {
        match &self.state.tap {
            Tap::Alter { passed, .. } => passed.load(Ordering::Relaxed),
            _ => 0,
        }
    }

    fn tapped(bytes_per_second: u64, tap: Tap) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = front.local_addr().expect("an address").to_string();
        let state = Arc::new(State {
            target: Mutex::new(None),
            ended: AtomicBool::new(false),
            bytes_per_ms: bytes_per_second / 1000,
            carried: AtomicU64::new(0),
            tap,
        });
        let shared = state.clone();
        std::thread::spawn(move || shared.serve(&front));
        Self { address, state }
    }

    /// Where the called node is now; `None` cuts the line.
    pub fn lead_to(&self, target: Option<&str>) {
        let target = target.map(|text| text.parse().expect("an address"));
        *self.state.target.lock().expect("no panic") = target;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
    }
}

impl State {
    fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn target(&self) -> Option<SocketAddr> {
        *self.target.lock().expect("no panic")
    }

    /// Each caller gets a socket of its own towards the node, for the answers.
    fn serve(self: Arc<Self>, front: &UdpSocket) {
        let mut backs: HashMap<SocketAddr, UdpSocket> = HashMap::new();
        let mut gate = Gate::new(self.bytes_per_ms);
        let mut datagram = [0; 65_536];
        front.set_read_timeout(Some(Duration::from_millis(100))).expect("set");
        while !self.ended() {
            let Ok((bytes, caller)) = front.recv_from(&mut datagram) else { continue };
            let Some(target) = self.target() else { continue };
            let back = backs.entry(caller).or_insert_with(|| {
                let back = UdpSocket::bind("127.0.0.1:0").expect("a port");
                let (answers, front) =
                    (back.try_clone().expect("cloned"), front.try_clone().expect("cloned"));
                let shared = self.clone();
                std::thread::spawn(move || shared.answer(&answers, &front, caller));
                back
            });
            gate.pass(bytes);
            self.tap.pass(0, &mut datagram[..bytes]);
            let _ = back.send_to(&datagram[..bytes], target);
        }
    }

    fn answer(&self, back: &UdpSocket, front: &UdpSocket, caller: SocketAddr) {
        let mut gate = Gate::new(self.bytes_per_ms);
        let mut datagram = [0; 65_536];
        back.set_read_timeout(Some(Duration::from_millis(100))).expect("set");
        while !self.ended() {
            let Ok((bytes, from)) = back.recv_from(&mut datagram) else { continue };
            if self.target() == Some(from) {
                gate.pass(bytes);
                self.carried.fetch_add(bytes as u64, Ordering::Relaxed);
                self.tap.pass(1, &mut datagram[..bytes]);
                let _ = front.send_to(&datagram[..bytes], caller);
            }
        }
    }
}

impl Tap {
    fn pass(&self, way: usize, datagram: &mut [u8]) {
        match self {
            Self::Nothing => {}
            Self::Record(heard) => heard[way].lock().expect("no panic").push(datagram.to_vec()),
            Self::Alter { every, passed } => {
                let number = passed.fetch_add(1, Ordering::Relaxed);
                if number % every == every - 1 {
                    // Another place each time, in the head of a packet or in what is sealed.
                    let bit = number as usize * 7_919 % (datagram.len() * 8);
                    datagram[bit / 8] ^= 1 << (bit % 8);
                }
            }
        }
    }
}

/// Holds a datagram back as long as those before it take. More of them wait in the socket's
/// buffer, and what that does not hold is lost, as in a router.
struct Gate {
    bytes_per_ms: u64,
    /// In bytes of the rate, so that datagrams smaller than a millisecond add up.
    free_at: u64,
}

impl Gate {
    const fn new(bytes_per_ms: u64) -> Self {
        Self { bytes_per_ms, free_at: 0 }
    }

    fn pass(&mut self, bytes: usize) {
        let now = now_ms() * self.bytes_per_ms;
        pause(self.free_at.saturating_sub(now) / self.bytes_per_ms);
        self.free_at = self.free_at.max(now) + bytes as u64;
    }
}
