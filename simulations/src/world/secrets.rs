//! Who holds which key at the end, what the files tell a thief, and how large they have become.

use super::World;
use crate::checks::Flaw;
use crate::clinic::Clinic;
use crate::workload::WORD;
use carnet_node::identity::statement::EpochKind;
use carnet_node::records::{Records, RecordsError};
use carnet_node::vault::KeyBook;
use carnet_sync_protocol::certificate::Role;
use std::fs;

/// A node's files at most: what SQLite's write-ahead logs hold before they are folded in, and some
/// kilobytes for each entry with all that is derived from it.
const BYTES_MAX: u64 = 16 << 20;
const BYTES_OF_ENTRY_MAX: u64 = 8 << 10;

impl World {
    /// Asks the oracles about keys and files.
    pub(super) fn judge_secrets(&self) -> Result<(), Flaw> {
        let knows = self.active.iter().find_map(|at| self.clinics[*at].counter());
        let Some(knows) = knows.cloned() else { return Ok(()) };
        let records = knows.records();
        for (at, clinic) in self.clinics.iter().enumerate() {
            let cut_off = !self.active.contains(&at);
            keys_are_where_they_belong(&records, clinic, cut_off)?;
        }
        let entries = records.status().map_err(|error| failed(&error))?.entries;
        drop(records);
        let search = self.plan.seed.is_multiple_of(8);
        for clinic in &self.clinics {
            files_tell_nothing(clinic, entries, search)?;
        }
        Ok(())
    }
}

fn failed(error: &RecordsError) -> Flaw {
    Flaw::harness("looking at keys", error)
}

fn keys_are_where_they_belong(
    records: &Records,
    clinic: &Clinic,
    cut_off: bool,
) -> Result<(), Flaw> {
    let roster = records.roster();
    let Some(certificate) = roster.certificate(&clinic.node) else { return Ok(()) };
    let relay = certificate.body.role == Role::Relay;
    let unrestricted = !certificate.body.capabilities.restricted;
    if !relay && !unrestricted && !cut_off {
        return Ok(());
    }
    let unlocked = clinic.secrets().map_err(|error| failed(&error))?;
    let book = KeyBook::read(roster, unlocked.hpke());
    let has_one =
        |kind| roster.epochs().any(|epoch| epoch.kind == kind && book.epoch(&epoch.id).is_some());
    let [general, restricted] = [EpochKind::General, EpochKind::Restricted];
    let name = &clinic.name;
    if relay && (has_one(general) || has_one(restricted) || book.pseudonym().is_some()) {
        return Err(Flaw::new("relays never held a key", format!("{name} can open one")));
    }
    if unrestricted && has_one(restricted) {
        let what = format!("{name} may not read what is restricted, and can");
        return Err(Flaw::new("keys are where they belong", what));
    }
    for kind in EpochKind::ALL {
        let current = roster.current_epoch(kind).and_then(|current| book.epoch(&current));
        if cut_off && current.is_some() {
            let what = format!("{name} is cut off, and has the key under which others write");
            return Err(Flaw::new("who is cut off can't read what is written afterwards", what));
        }
    }
    Ok(())
}

/// The files of a node are not larger than they may be, and hold no word that somebody wrote.
fn files_tell_nothing(clinic: &Clinic, entries: u64, search: bool) -> Result<(), Flaw> {
    let harness = |error: std::io::Error| Flaw::harness("reading files", &error);
    let mut bytes = 0;
    for file in fs::read_dir(clinic.home()).map_err(harness)? {
        let path = file.map_err(harness)?.path();
        bytes += fs::metadata(&path).map_err(harness)?.len();
        if search && contains(&fs::read(&path).map_err(harness)?, WORD.as_bytes()) {
            let what = format!("{} holds a word of a chart in clear text", path.display());
            return Err(Flaw::new("what stays on disk is ciphertext", what));
        }
    }
    if bytes > BYTES_MAX + entries * BYTES_OF_ENTRY_MAX {
        let what = format!("{} takes {bytes} bytes for {entries} entries", clinic.name);
        return Err(Flaw::new("disk stays within its bound", what));
    }
    Ok(())
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    let Some((first, rest)) = word.split_first() else { return true };
    let mut at = 0;
    while let Some(found) = text[at..].iter().position(|byte| byte == first) {
        at += found + 1;
        if text[at..].starts_with(rest) {
            return true;
        }
    }
    false
}
