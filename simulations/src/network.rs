//! Lines between nodes, and the links that stand on them.
//!
//! A session runs over QUIC streams. So at the level of its frames a stream delivers everything in
//! order or breaks: a lost datagram is a *delay* for its stream (a stall), and neither duplication
//! nor reordering of datagrams is seen. Streams do overtake one another, and here they do. A cut
//! holds back what is on its way, in one direction or both: it goes on if the line returns in
//! time, and is lost when an end gives the link up, each end at a moment of its own. Replays and
//! alterations are a matter of who speaks, not of the line (TLS): see `meddle`.

use crate::chance::Chance;
use crate::faults::{Options, Shape};
use carnet_node::sync::Conversation;
use carnet_sync_protocol::id::LogId;
use carnet_sync_protocol::message::{Message, RefuseReason};
use carnet_sync_protocol::session::Lane;
use std::collections::BTreeMap;

/// A pair of nodes that can reach each other when the line is up.
pub struct Line {
    /// The two nodes.
    pub ends: [usize; 2],
    /// Until when nothing goes from this end to the other.
    pub blocked_until: [u64; 2],
    /// The link that each end believes to have.
    pub links: [Option<u64>; 2],
    /// Until when nobody dials.
    pub rest_until: u64,
}

impl Line {
    /// A line that is up.
    pub const fn new(ends: [usize; 2]) -> Self {
        Self { ends, blocked_until: [0, 0], links: [None, None], rest_until: 0 }
    }

    /// Whether frames go both ways.
    pub fn is_open(&self, now: u64) -> bool {
        self.blocked_until.iter().all(|until| *until <= now)
    }
}

/// The lines among so many nodes.
pub fn lines(options: &Options, nodes: usize) -> Vec<[usize; 2]> {
    let all = (0..nodes).flat_map(|a| (a + 1..nodes).map(move |b| [a, b]));
    let fits = |[a, b]: &[usize; 2]| match options.shape {
        Shape::Mesh => true,
        Shape::Star => *a == 0,
        Shape::Line => a + 1 == *b,
        Shape::Ring => a + 1 == *b || (*a == 0 && *b == nodes - 1),
    };
    all.filter(fits).collect()
}

/// One end of a link.
pub struct LinkEnd {
    /// The node.
    pub clinic: usize,
    /// The session, until it is over.
    pub conversation: Conversation,
    /// When it wants to be woken, by its own time.
    pub deadline: Option<u64>,
    /// The wall clock's time when the session began.
    pub began_unix_ms: u64,
    /// The world's time when the session began.
    pub began_ms: u64,
    /// The logs of which it refused something and has not asked for them again.
    pub refused: BTreeMap<LogId, RefuseReason>,
}

impl LinkEnd {
    /// It refuses a log. A gap is but what follows an earlier refusal.
    pub fn refuses(&mut self, log: LogId, reason: RefuseReason) {
        if reason != RefuseReason::Gap || !self.refused.contains_key(&log) {
            self.refused.insert(log, reason);
        }
    }

    /// It says something, perhaps that it wants what it refused.
    pub fn says(&mut self, frame: &[u8]) {
        if !self.refused.is_empty()
            && let Ok(Message::Reconsider(logs)) = Message::from_bytes(frame)
        {
            self.refused.retain(|log, _| !logs.contains(log));
        }
    }

    /// The session's time: the wall clock's at its beginning, carried on steadily.
    pub const fn now_ms(&self, now: u64) -> u64 {
        self.began_unix_ms + (now - self.began_ms)
    }

    /// When the world has come to a session's time.
    pub const fn due(&self, session_ms: u64, now: u64) -> u64 {
        let due = self.began_ms + session_ms.saturating_sub(self.began_unix_ms);
        if due > now { due } else { now }
    }
}

/// A connection.
pub struct Link {
    /// The line on which it stands.
    pub line: usize,
    /// Its ends, in the line's order; none once an end is over.
    pub ends: [Option<LinkEnd>; 2],
    /// When the last frame from each end on each lane arrives.
    last: BTreeMap<(usize, Lane), u64>,
    /// Frames from each end that a cut holds back, in order.
    pub held: [Vec<(Lane, Vec<u8>)>; 2],
    /// Frames on their way, those that are held back among them.
    pub travelling: usize,
}

impl Link {
    /// A connection that is being made.
    pub const fn new(line: usize) -> Self {
        let held = [Vec::new(), Vec::new()];
        Self { line, ends: [None, None], last: BTreeMap::new(), held, travelling: 0 }
    }

    /// When a frame that leaves now arrives.
    pub fn arrival(
        &mut self,
        from: usize,
        lane: Lane,
        now: u64,
        options: &Options,
        chance: &mut Chance,
    ) -> u64 {
        let (fast, slow) = options.delay_ms;
        let mut due = now + chance.between(fast, slow);
        if chance.one_in(options.loss) {
            due += chance.between(200, 3_000);
        }
        let last = self.last.entry((from, lane)).or_default();
        // A stream keeps its order; the world's queue keeps that of equal times.
        *last = due.max(*last);
        *last
    }

    /// When everything that has left an end has arrived.
    pub fn last_arrival(&self, from: usize, now: u64) -> u64 {
        let of_end = self.last.iter().filter(|((end, _), _)| *end == from);
        of_end.map(|(_, due)| *due).max().unwrap_or(now).max(now)
    }
}
