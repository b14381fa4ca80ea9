//! Automerge's own sync protocol, one conversation for each document, over the same line.
//!
//! Both ends remember what they shared the last time, as its protocol allows; all conversations
//! go over one QUIC stream at the same time. Nobody writes anything to a disk.

use super::documents::{Changes, DocumentName};
use super::line::Line;
use super::profile::Shape;
use super::quic::{self, End, Talk};
use crate::local::Outcome;
use automerge::sync::{Message, State, SyncDoc};
use automerge::{Automerge, Change, ChangeHash};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

struct Held {
    document: Automerge,
    state: State,
}

struct Side {
    held: BTreeMap<DocumentName, Held>,
    wanted: Arc<BTreeMap<DocumentName, Vec<ChangeHash>>>,
    /// Of both sides, how many documents are not yet as they should be.
    left: Arc<AtomicUsize>,
    done: tokio::sync::watch::Sender<Option<Instant>>,
}

fn load(changes: &[Vec<u8>]) -> Outcome<Automerge> {
    let mut document = Automerge::new();
    let changes: Result<Vec<Change>, _> =
        changes.iter().map(|bytes| Change::from_bytes(bytes.clone())).collect();
    document.apply_changes(changes?)?;
    Ok(document)
}

/// What both sites share, and what each (the called one, the caller) has made; `empty` if the
/// caller holds nothing yet.
pub fn measure(
    line: &Line,
    shape: Shape,
    shared: &Changes,
    made: &[Changes; 2],
    empty: bool,
) -> Outcome<Talk> {
    let mut wanted = BTreeMap::new();
    let mut sides = [BTreeMap::new(), BTreeMap::new()];
    let nothing = Vec::new();
    let names = shared.keys().chain(made.iter().flat_map(|made| made.keys()));
    for name in names.copied().collect::<std::collections::BTreeSet<_>>() {
        let common = load(shared.get(&name).unwrap_or(&nothing))?;
        let mut merged = common.fork();
        for (site, made) in made.iter().enumerate() {
            let mut document = common.fork();
            let mut state = State::new();
            if !empty {
                state.shared_heads = common.get_heads();
            }
            if let Some(changes) = made.get(&name) {
                let changes: Result<Vec<Change>, _> =
                    changes.iter().map(|bytes| Change::from_bytes(bytes.clone())).collect();
                let changes = changes?;
                merged.apply_changes(changes.clone())?;
                document.apply_changes(changes)?;
            }
            if !(empty && site == 1) {
                sides[site].insert(name, Held { document, state });
            }
        }
        wanted.insert(name, merged.get_heads());
    }
    let wanted = Arc::new(wanted);
    let level = |name: &DocumentName, held: &Held| held.document.get_heads() == wanted[name];
    let left = sides.iter().map(|side: &BTreeMap<DocumentName, Held>| {
        wanted.len() - side.iter().filter(|(name, held)| level(name, held)).count()
    });
    let left = Arc::new(AtomicUsize::new(left.sum()));
    let (done, mut told) = tokio::sync::watch::channel(None);
    let [called, caller] = sides.map(|held| Side {
        held,
        wanted: wanted.clone(),
        left: left.clone(),
        done: done.clone(),
    });
    quic::over(line, shape, move |called_end, caller_end| async move {
        let talking =
            [tokio::spawn(called.talk(called_end)), tokio::spawn(caller.talk(caller_end))];
        let done = told.wait_for(Option::is_some).await?.unwrap_or_else(quic::moment);
        // What is still said is answered until the line is silent; dropping the tasks does not
        // end them.
        drop(talking);
        Ok(done)
    })
}

impl Side {
    /// Talks about every document until the connection ends.
    async fn talk(mut self, mut end: End) {
        let names: Vec<DocumentName> = self.held.keys().copied().collect();
        for name in names {
            self.say(&name, &end);
        }
        // In step from the beginning: a message each has to be answered before that is known.
        let mut heard = 0;
        while let Some(frame) = end.receive().await {
            let Some((name, message)) = frame.split_first_chunk::<16>() else { continue };
            let Ok(message) = Message::decode(message) else { continue };
            let held = self
                .held
                .entry(*name)
                .or_insert_with(|| Held { document: Automerge::new(), state: State::new() });
            let wanted = &self.wanted[name];
            let before = held.document.get_heads() == *wanted;
            if held.document.receive_sync_message(&mut held.state, message).is_err() {
                continue;
            }
            let after = held.document.get_heads() == *wanted;
            if !before && after {
                self.left.fetch_sub(1, Ordering::Relaxed);
            }
            heard += 1;
            self.say(name, &end);
            if heard >= self.wanted.len() && self.left.load(Ordering::Relaxed) == 0 {
                self.done.send_if_modified(|done| {
                    let first = done.is_none();
                    done.get_or_insert_with(quic::moment);
                    first
                });
            }
        }
    }

    fn say(&mut self, name: &DocumentName, end: &End) {
        let Some(held) = self.held.get_mut(name) else { return };
        if let Some(message) = held.document.generate_sync_message(&mut held.state) {
            // Fails only when the measurement is over.
            let _ = end.outgoing.send([&name[..], &message.encode()].concat());
        }
    }
}
