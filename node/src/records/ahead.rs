//! What a slice of the index needs and all cores can do: opening and reading the changes before their
//! turn, and reading off the resources that they touched.
//!
//! Nothing here decides or keeps anything, so that a slice comes out the same on any number of cores.

use super::body;
use super::documents::Resident;
use super::intake::{Opened, apply};
use super::project::patient_of;
use crate::chart::{ResourceKey, View};
use crate::store::ledger::Held;
use crate::vault::KeyBook;
use carnet_sync_protocol::id::DocumentId;
use rayon::prelude::*;
use std::sync::mpsc;

/// Changes, and resources, from which on another thread pays.
const MANY: usize = 16;

/// Bytes of changes after which no more are read ahead. They need not wait for their turn for long, but
/// a few small payloads may stand for much.
const READ_AHEAD_BYTES_MAX: usize = 8 << 20;

/// A resource as one document has it, made ready for the index.
pub(super) struct Prepared {
    pub key: ResourceKey,
    /// None when every change that made it is withheld.
    pub shown: Option<(View, Packed)>,
}

impl Prepared {
    pub fn of(resident: &Resident, key: &ResourceKey) -> Self {
        let view = resident.document.view(key);
        let shown = view.map(|view| {
            let packed = Packed::of(key, &view);
            (view, packed)
        });
        Self { key: key.clone(), shown }
    }
}

/// What the index keeps of a resource's content.
pub(super) struct Packed {
    pub patient: Option<String>,
    pub body: Vec<u8>,
}

impl Packed {
    pub fn of(key: &ResourceKey, view: &View) -> Self {
        let patient = patient_of(key, &view.body);
        let body = body::pack(key, patient.as_deref(), &view.body);
        Self { patient, body }
    }
}

/// Gives `take` what these entries hold, in their order; of many, read ahead of it on another
/// thread.
pub(super) fn opened<T>(
    keys: &KeyBook,
    entries: &[&Held],
    take: impl FnOnce(&mut dyn Iterator<Item = Opened>) -> T,
) -> T {
    let open = |held: &&Held| Opened::of(keys, held);
    if entries.len() < MANY {
        return take(&mut entries.iter().map(open));
    }
    rayon::in_place_scope(|scope| {
        let (ready, next) = mpsc::channel();
        scope.spawn(move |_| {
            let mut bytes = 0;
            for held in entries {
                let mut opened = open(held);
                if let Opened::Change(change) = &mut opened {
                    change.read();
                    bytes += change.bytes().len();
                }
                // Whoever takes them may have failed.
                if ready.send(opened).is_err() || bytes > READ_AHEAD_BYTES_MAX {
                    return;
                }
            }
        });
        take(&mut entries.iter().map(|held| next.recv().unwrap_or_else(|_| open(held))))
    })
}

/// A document, and the entries of a slice that come into it.
pub(super) struct Coming<'a> {
    pub id: DocumentId,
    pub resident: Resident,
    pub entries: Vec<(&'a Held, Opened)>,
    /// How many of them, from the first, depend on nothing but the document: nothing that was set
    /// aside claims a place in it, and their nodes are not cut off.
    pub sure: usize,
}

impl<'a> Coming<'a> {
    pub fn new(id: DocumentId, resident: Resident) -> Self {
        Self { id, resident, entries: Vec::new(), sure: 0 }
    }

    /// Adds the next entry, unless the document has looked at it; `is_cut` if its node is cut off.
    pub fn push(&mut self, held: &'a Held, opened: Opened, is_cut: bool) {
        if held.arrival <= self.resident.applied {
            return;
        }
        if self.sure == self.entries.len() && !is_cut && !self.resident.claims.any {
            self.sure += 1;
        }
        self.entries.push((held, opened));
    }
}

/// Has each document take in its changes, as far as they are sure and it can. The rest, from the first
/// that fails, is left to its turn.
pub(super) fn take_in(coming: &mut [Coming<'_>]) {
    coming.par_iter_mut().for_each(|Coming { resident, entries, sure, .. }| {
        for (held, opened) in entries.iter_mut().take(*sure) {
            let Opened::Change(change) = opened else { return };
            let Ok(applied) = apply(&mut resident.document, held, change, false) else { return };
            if let Opened::Change(change) = std::mem::replace(opened, Opened::Foreign) {
                *opened = Opened::Taken(change, applied);
            }
        }
    });
}

/// Frees what is needed no more, without keeping the thread that owns the records from its work.
pub(super) fn discard<T: Send + 'static>(spent: Vec<T>) {
    rayon::spawn(move || drop(spent));
}

/// The resources of these documents that the index does not show yet.
pub(super) fn prepared(taken: &[(DocumentId, Resident)]) -> Vec<Vec<Prepared>> {
    let touched = taken.iter().map(|(_, resident)| resident.touched.len()).sum::<usize>();
    if touched < MANY {
        let prepare = |(_, resident): &(DocumentId, Resident)| {
            resident.touched.iter().map(|key| Prepared::of(resident, key)).collect()
        };
        return taken.iter().map(prepare).collect();
    }
    let prepare = |(_, resident): &(DocumentId, Resident)| {
        resident.touched.par_iter().map(|key| Prepared::of(resident, key)).collect()
    };
    taken.par_iter().map(prepare).collect()
}
