//! Negentropy (range-based set reconciliation) over the ids of entries, then the entries as they
//! are, over the same line. The entries are those of the nodes themselves, audit trail included:
//! sealed payloads, and 80 bytes for the header of each; signatures are given to it for free.

use super::line::Line;
use super::profile::Shape;
use super::quic::{self, End, Talk};
use crate::local::Outcome;
use carnet_node::records::Records;
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use std::collections::BTreeMap;
use std::time::Instant;

/// What an entry's header takes when its fields are packed.
const HEADER_BYTES: usize = 80;

/// Frames begin with what they are.
const RECONCILE: u8 = 0;
const ENTRIES: u8 = 1;
const WANTED: u8 = 2;

/// Entries: when each was written, and how long it is.
pub type Entries = BTreeMap<[u8; 32], (u64, usize)>;

/// The entries that a site holds which does not run.
pub fn entries(records: &Records) -> Outcome<Entries> {
    let mut entries = Entries::new();
    for (log, heads) in &records.frontier().0 {
        for head in heads {
            let mut after = Vec::new();
            while after.first() != Some(head) {
                for run in records.load(log, &after, *head, 1 << 20)? {
                    let run = run.verify(records.practice())?;
                    for entry in run.entries() {
                        let bytes = entry.payload.len() + HEADER_BYTES;
                        entries.insert(*entry.id.as_bytes(), (entry.header.time.0, bytes));
                    }
                    after = vec![run.head()];
                }
            }
        }
    }
    Ok(entries)
}

/// Reconciles what the called site and the caller hold.
pub fn measure(line: &Line, shape: Shape, held: [Entries; 2]) -> Outcome<Talk> {
    let [called, caller] = held;
    quic::over(line, shape, move |called_end, caller_end| async move {
        let answering = tokio::spawn(answer(called, called_end));
        let asking = tokio::spawn(ask(caller, caller_end));
        let (answered, asked) = (answering.await?, asking.await?);
        Ok(answered.map_err(Failure)?.max(asked.map_err(Failure)?))
    })
}

/// What went wrong at one of the ends.
#[derive(Debug, thiserror::Error)]
#[error("negentropy: {0}")]
struct Failure(String);

fn storage(entries: &Entries) -> Result<NegentropyStorageVector, String> {
    let mut storage = NegentropyStorageVector::with_capacity(entries.len());
    for (id, (time, _)) in entries {
        storage.insert(*time, Id::from_byte_array(*id)).map_err(|error| error.to_string())?;
    }
    storage.seal().map_err(|error| error.to_string())?;
    Ok(storage)
}

/// Entries in one frame, as long as the real ones.
fn payload(entries: &Entries, ids: &[[u8; 32]]) -> Vec<u8> {
    let bytes: usize = ids.iter().filter_map(|id| Some(entries.get(id)?.1)).sum();
    let mut frame = vec![0; bytes + 1];
    frame[0] = ENTRIES;
    frame
}

fn frame(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind], bytes].concat()
}

/// Asks until it is known what each side lacks, then sends and fetches it.
async fn ask(entries: Entries, mut end: End) -> Result<Instant, String> {
    let text = |error: negentropy::Error| error.to_string();
    let mut negentropy = Negentropy::owned(storage(&entries)?, 0).map_err(text)?;
    let (mut have, mut need) = (Vec::new(), Vec::new());
    send_to(&end, frame(RECONCILE, &negentropy.initiate().map_err(text)?))?;
    loop {
        let frame_in = end.receive().await.ok_or("the connection ended")?;
        let query = frame_in.get(1..).unwrap_or_default();
        match negentropy.reconcile_with_ids(query, &mut have, &mut need).map_err(text)? {
            Some(query) => send_to(&end, frame(RECONCILE, &query))?,
            None => break,
        }
    }
    let have: Vec<[u8; 32]> = have.iter().map(|id| **id).collect();
    let need: Vec<u8> = need.iter().flat_map(|id| **id).collect();
    send_to(&end, frame(WANTED, &need))?;
    send_to(&end, payload(&entries, &have))?;
    end.receive().await.ok_or("the connection ended")?;
    Ok(quic::moment())
}

/// Answers until it is asked for entries, sends them, and takes those that come.
async fn answer(entries: Entries, mut end: End) -> Result<Instant, String> {
    let text = |error: negentropy::Error| error.to_string();
    let mut negentropy = Negentropy::owned(storage(&entries)?, 0).map_err(text)?;
    loop {
        let frame_in = end.receive().await.ok_or("the connection ended")?;
        let (kind, bytes) = frame_in.split_first().ok_or("an empty frame")?;
        match *kind {
            RECONCILE => {
                let reply = negentropy.reconcile(bytes).map_err(text)?;
                send_to(&end, frame(RECONCILE, &reply))?;
            }
            WANTED => {
                let ids: Vec<[u8; 32]> =
                    bytes.chunks_exact(32).filter_map(|id| id.try_into().ok()).collect();
                send_to(&end, payload(&entries, &ids))?;
            }
            _ => return Ok(quic::moment()),
        }
    }
}

fn send_to(end: &End, bytes: Vec<u8>) -> Result<(), String> {
    end.outgoing.send(bytes).map_err(|error| error.to_string())
}
