//! A slow line between two nodes: passes datagrams on, at most so many bytes a second each way.
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
}

impl Line {
    pub fn new(bytes_per_second: u64) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = front.local_addr().expect("an address").to_string();
        let state = Arc::new(State {
            target: Mutex::new(None),
            ended: AtomicBool::new(false),
            bytes_per_ms: bytes_per_second / 1000,
            carried: AtomicU64::new(0),
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
                let _ = front.send_to(&datagram[..bytes], caller);
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
