//! Compaction: the payloads of a document's entries put into packs, and made again when asked for.
//!
//! Sealing chooses nothing: nonce and payload follow from the key, the header and the change, and
//! the header's codec names how it was compressed. So changes that stand together, compressed
//! together, are as good as the payloads, for whoever has the key. Invariants:
//!
//! - Every payload that is dropped was made again and compared, from the pack as it lies in the
//!   ledger, in the transaction that drops it ([`Ledger::pack`](crate::store::Ledger::pack)).
//! - Nothing that a peer says decides about it but how far that peer holds what is held here; and
//!   that decides only about what a *locked* node can hand out.
//! - A packed entry has the same id, place and signature as before. Nobody else can tell.

use super::{Records, RecordsError};
use crate::access::{Action, Permit};
use crate::chart::{FOLDED_MAX, Folded};
use crate::identity::roster::Standing;
use crate::store::ledger::{
    Acknowledged, Group, Held, NewPack, OpenPack, Opener, Opening, Pack, Slot,
};
use crate::vault::block::renewable;
use crate::vault::{self, EpochKey, KeyBook, PackPlace, Sealed};
use carnet_sync_protocol::entry::Header;
use carnet_sync_protocol::frontier::Frontier;
use carnet_sync_protocol::id::{Channel, EpochId, PracticeId};
use carnet_sync_protocol::wire;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest payload that is packed: a longer one gains little from its neighbours.
const PAYLOAD_BYTES_MAX: u64 = 64 << 10;

/// Entries of one pack, however short they are: what is opened has its bound too.
const PACK_ENTRIES_MAX: usize = FOLDED_MAX / 8;

/// Bytes of payloads packed in one call: a fraction of a second, in which others wait.
const SLICE_BYTES: u64 = 64 << 10;

/// What looking at a group costs, packed or not, in bytes of payloads.
const GROUP_BYTES: u64 = 256;

/// The file is written anew where one part in so many of it can be saved.
const REWRITE_SHARE: u64 = 8;

/// When packing pays.
#[derive(Clone, Copy, Debug)]
pub struct Thrift {
    /// Entries of one document that are not packed, above which they are.
    pub entries: usize,
    /// Bytes of their payloads above which they are packed, however few.
    pub bytes: u64,
    /// Bytes of changes in one pack, about: it is opened whole.
    pub pack_bytes: usize,
    /// Bytes that must be saved for a document to be packed.
    pub saving: u64,
}

impl Default for Thrift {
    fn default() -> Self {
        Self { entries: 24, bytes: 2 << 10, pack_bytes: 256 << 10, saving: 512 }
    }
}

/// What compaction did or would do.
#[derive(Clone, Debug, Default)]
pub struct CompactReport {
    /// Documents of which something was packed; a log of the trail counts as one.
    pub documents: u64,
    /// Entries that were packed and had not been.
    pub entries: u64,
    /// Packs that were made, in the place of payloads or of smaller packs.
    pub packs: u64,
    /// Bytes of what these took the place of.
    pub bytes_before: u64,
    /// Bytes of these packs.
    pub bytes_after: u64,
    /// Entries that stay as they are, since they would not come out the same here.
    pub kept: u64,
    /// Entries that stay as they are until all nodes hold them that this one syncs with.
    pub waiting: u64,
    /// The sites of those that are not known to hold everything.
    pub waiting_for: Vec<String>,
}

/// A compaction under way.
#[derive(Debug)]
pub struct Compaction {
    after: Option<Group>,
    /// Nothing is stored.
    dry_run: bool,
    thrift: Thrift,
    groups: (u64, u64),
    report: CompactReport,
}

impl Compaction {
    /// Documents looked at, and how many there are.
    pub fn progress(&self) -> (u64, u64) {
        self.groups
    }

    /// What it came to so far.
    pub fn into_report(self) -> CompactReport {
        self.report
    }
}

/// The changes of a pack.
#[derive(Serialize, Deserialize)]
struct Contents {
    /// By change: how far the arrival of its entry is from the one before.
    #[serde(deserialize_with = "wire::at_most::<_, _, FOLDED_MAX>")]
    arrivals: Vec<u64>,
    changes: Folded,
}

/// What opens a ledger's packs with these keys.
pub fn opener(practice: PracticeId, keys: KeyBook) -> Box<dyn Opener> {
    Box::new(Keys { practice, keys })
}

struct Keys {
    practice: PracticeId,
    keys: KeyBook,
}

struct Changes {
    key: EpochKey,
    by_arrival: BTreeMap<u64, Vec<u8>>,
}

impl Opener for Keys {
    fn open(&self, pack: &Pack) -> Opening {
        let Some(key) = self.keys.epoch(&pack.epoch) else { return Opening::NoKey };
        let place =
            PackPlace { practice: self.practice, epoch: pack.epoch, document: pack.document };
        let Some(by_arrival) = open(key, &place, &pack.bytes) else { return Opening::Damaged };
        Opening::Open(Box::new(Changes { key: key.clone(), by_arrival }))
    }
}

impl OpenPack for Changes {
    fn payload(&self, arrival: u64, header: &Header) -> Option<Sealed> {
        vault::seal(&self.key, header, self.by_arrival.get(&arrival)?).ok()
    }
}

fn open(key: &EpochKey, place: &PackPlace, bytes: &[u8]) -> Option<BTreeMap<u64, Vec<u8>>> {
    let bytes = vault::open_pack(key, place, bytes).ok()?;
    let contents: Contents = wire::decode(&bytes).ok()?;
    let changes = contents.changes.unfold()?;
    let mut arrival = 0_u64;
    let arrivals = contents.arrivals.iter().map(|further| {
        arrival = arrival.wrapping_add(*further);
        arrival
    });
    let by_arrival: BTreeMap<u64, Vec<u8>> = arrivals.zip(changes).collect();
    (by_arrival.len() == contents.arrivals.len()).then_some(by_arrival)
}

/// Entries of one pack to be, with their changes.
#[derive(Default)]
struct Batch {
    entries: Vec<Held>,
    changes: Vec<Vec<u8>>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, held: Held, change: Vec<u8>) {
        self.bytes += change.len();
        self.entries.push(held);
        self.changes.push(change);
    }

    fn seal(mut self, practice: PracticeId, key: &EpochKey) -> Result<NewPack, RecordsError> {
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("forgets-a-change-when-it-packs")
            && let [.., before, last] = &mut self.changes[..]
        {
            last.clone_from(before);
        }
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("packs-a-change-under-another-author") {
            let author = |held: &Held| held.entry.header.log.author;
            let other =
                self.entries.iter().position(|held| author(held) != author(&self.entries[0]));
            self.changes.swap(0, other.unwrap_or(0));
        }
        let mut before = 0;
        let arrivals = self.entries.iter().map(|held| {
            let further = held.arrival.wrapping_sub(before);
            before = held.arrival;
            further
        });
        let arrivals = arrivals.collect();
        let changes = Folded::of(self.changes.iter().map(Vec::as_slice));
        let header = self.entries.first().map(|held| &held.entry.header);
        let header = header.ok_or_else(|| RecordsError::Bug("an empty pack".to_owned()))?;
        let place = PackPlace { practice, epoch: header.epoch, document: header.document };
        let padded = header.log.channel == Channel::Restricted;
        let bytes = wire::encode(&Contents { arrivals, changes });
        let bytes = vault::seal_pack(key, &place, &bytes, padded)?;
        Ok(NewPack { entries: std::mem::take(&mut self.entries), bytes })
    }
}

impl Records {
    /// Begins a compaction that somebody asks for; [`Self::compact_slice`] does it.
    pub fn begin_compaction(
        &mut self,
        permit: &Permit,
        thrift: Thrift,
        dry_run: bool,
    ) -> Result<Compaction, RecordsError> {
        self.require(permit, Action::Operate)?;
        let compaction = Compaction { dry_run, ..self.begin_own_compaction(thrift)? };
        if !dry_run {
            self.note_event(self.event_of(permit, "compact"));
        }
        Ok(compaction)
    }

    /// Begins a compaction that nobody asked for. It is not put on record: nothing that anybody can
    /// see changes, and an entry for it would have to travel to all nodes.
    pub fn begin_own_compaction(&self, thrift: Thrift) -> Result<Compaction, RecordsError> {
        self.charts()?;
        let groups = (0, self.ledger.group_count()?);
        let report = CompactReport::default();
        Ok(Compaction { after: None, dry_run: false, thrift, groups, report })
    }

    /// Packs the next documents; false once there is none left.
    pub fn compact_slice(&mut self, compaction: &mut Compaction) -> Result<bool, RecordsError> {
        self.charts()?;
        let acknowledged = self.acknowledged(&mut compaction.report)?;
        let mut left = SLICE_BYTES;
        while left > 0 {
            let Some(group) = self.ledger.next_group(compaction.after)? else { return Ok(false) };
            let spent = self.compact_group(group, compaction, &acknowledged)?;
            left = left.saturating_sub(GROUP_BYTES + spent.bytes);
            if !spent.more {
                compaction.after = Some(group);
                compaction.groups.0 += 1;
            }
        }
        Ok(true)
    }

    /// A whole compaction, for who has nobody waiting.
    pub fn compact(
        &mut self,
        permit: &Permit,
        thrift: Thrift,
        dry_run: bool,
    ) -> Result<CompactReport, RecordsError> {
        self.require(permit, Action::Operate)?;
        let mut compaction = self.begin_compaction(permit, thrift, dry_run)?;
        while self.compact_slice(&mut compaction)? {
            self.commit_early()?;
        }
        self.commit_early()?;
        Ok(compaction.into_report())
    }

    /// The bytes of the ledger's file.
    pub fn ledger_bytes(&self) -> Result<u64, RecordsError> {
        Ok(self.ledger.room()?.0)
    }

    /// Gives what came free in the ledger's file back to the disk, after what is under way is
    /// durable: by writing the file anew where that makes it much smaller and there is room for
    /// both, else page by page. The bytes of the file before and after.
    pub fn give_room_back(&mut self, saved: u64) -> Result<(u64, u64), RecordsError> {
        self.commit_early()?;
        let (before, free) = self.ledger.room()?;
        if (saved + free) * REWRITE_SHARE >= before {
            // Whatever forbids it (a full disk, a backup under way), the other way is open.
            if let Err(error) = self.ledger.rewrite() {
                tracing::info!(%error, "log.db was not written anew");
            }
        }
        self.ledger.give_back(u32::MAX)?;
        Ok((before, self.ledger.room()?.0))
    }

    /// How far all nodes that this one has to do with are known to hold what is held here. While it
    /// is locked it can't make payloads again, and must have nothing to hand out that it has packed.
    /// A node that it never met gets what it lacks from those that this one did meet.
    fn acknowledged(&self, report: &mut CompactReport) -> Result<Acknowledged, RecordsError> {
        let own = self.keyring.node();
        let (mut frontiers, mut unmet) = (Vec::new(), Vec::new());
        report.waiting_for.clear();
        for node in self.roster.nodes().filter(|node| node.node() != own) {
            let transport = &node.body.keys.transport;
            if self.roster.standing(&node.node()) == Standing::Revoked {
                continue;
            }
            let frontier = self.ledger.peer_frontier(transport)?;
            if frontier.is_none() && self.ledger.peer(transport)?.is_none() {
                unmet.push(node.body.site.clone());
                continue;
            }
            let frontier = frontier.unwrap_or_default();
            if self.ledger.count_beyond(&frontier)? > 0 {
                report.waiting_for.push(node.body.site.clone());
            }
            frontiers.push(frontier);
        }
        if frontiers.is_empty() && !unmet.is_empty() {
            frontiers.push(Frontier::default());
            report.waiting_for = unmet;
        }
        Ok(self.ledger.acknowledged(&frontiers)?)
    }

    fn compact_group(
        &mut self,
        group: Group,
        compaction: &mut Compaction,
        acknowledged: &Acknowledged,
    ) -> Result<Spent, RecordsError> {
        let mut spent = Spent::default();
        let mut epochs: BTreeMap<EpochId, Vec<Slot>> = BTreeMap::new();
        let mut waiting = 0;
        for slot in self.ledger.slots(group)? {
            let Some(epoch) = slot.epoch.filter(|_| vault::CODECS.contains(&slot.codec)) else {
                continue;
            };
            if slot.pack.is_none() && !acknowledged.covers(&slot) {
                waiting += 1;
            } else if slot.bytes <= PAYLOAD_BYTES_MAX && self.charts()?.keys.epoch(&epoch).is_some()
            {
                epochs.entry(epoch).or_default().push(slot);
            }
        }
        for (epoch, slots) in epochs {
            let Some(chosen) = choose(slots, &compaction.thrift) else { continue };
            spent.bytes += chosen.iter().map(|slot| slot.bytes).sum::<u64>();
            spent.more |= self.pack(group, &epoch, &chosen, compaction)?;
        }
        // A dry run leaves them, and would choose the same again.
        spent.more &= !compaction.dry_run;
        if !spent.more {
            compaction.report.waiting += waiting;
        }
        Ok(spent)
    }

    /// Packs what was chosen; whether that changed anything.
    fn pack(
        &mut self,
        group: Group,
        epoch: &EpochId,
        chosen: &[Slot],
        compaction: &mut Compaction,
    ) -> Result<bool, RecordsError> {
        let practice = self.practice();
        let charts = self.charts()?;
        let key = charts.keys.epoch(epoch).ok_or(RecordsError::NoEpochKey)?;
        let report = &mut compaction.report;
        let (mut packs, mut batch) = (Vec::new(), Batch::default());
        let (mut before, mut fresh, mut replaced) = (0, 0, BTreeMap::new());
        for slot in chosen {
            let Some(held) = self.ledger.at(slot.arrival)? else { continue };
            let change = renewable(&charts.keys, &held.entry.header, &held.entry.payload);
            let Some(change) = change else {
                report.kept += 1;
                continue;
            };
            match slot.pack {
                Some(pack) => drop(replaced.insert(pack, self.ledger.pack_length(pack)?)),
                None => {
                    fresh += 1;
                    before += slot.bytes + held.entry.header.nonce.len() as u64;
                }
            }
            batch.add(held, change);
            if batch.bytes >= compaction.thrift.pack_bytes
                || batch.entries.len() == PACK_ENTRIES_MAX
            {
                packs.push(std::mem::take(&mut batch).seal(practice, key)?);
            }
        }
        if !batch.entries.is_empty() {
            packs.push(batch.seal(practice, key)?);
        }
        let before = before + replaced.values().sum::<u64>();
        let after: u64 = packs.iter().map(|pack| pack.bytes.len() as u64).sum();
        // Without a fresh entry the same would be packed again, and again.
        if packs.is_empty() || fresh == 0 || before < after + compaction.thrift.saving {
            return Ok(false);
        }
        if !compaction.dry_run {
            self.begin()?;
            self.ledger.pack(&packs)?;
            if let (Group::Branch(_), Some(last)) = (group, chosen.last()) {
                self.ledger.note_packed(last)?;
            }
        }
        let report = &mut compaction.report;
        report.documents += 1;
        report.entries += fresh;
        report.packs += packs.len() as u64;
        report.bytes_before += before;
        report.bytes_after += after;
        Ok(true)
    }
}

/// What compacting a group came to.
#[derive(Default)]
struct Spent {
    /// The bytes of the payloads that were looked at.
    bytes: u64,
    /// Whether there may be more to do in the same group.
    more: bool,
}

/// The entries of one document and epoch that are worth a new pack: those that are in none, and
/// those of packs that are not much larger, so that an entry is packed again a few times in its
/// life, and packs grow with their document.
fn choose(slots: Vec<Slot>, thrift: &Thrift) -> Option<Vec<Slot>> {
    let (packed, mut chosen): (Vec<Slot>, Vec<Slot>) =
        slots.into_iter().partition(|slot| slot.pack.is_some());
    let mut bytes = 0;
    // What is too much for one call waits for the next.
    let fits = chosen.iter().take_while(|slot| {
        bytes += slot.bytes;
        bytes <= 2 * SLICE_BYTES
    });
    let fits = fits.count();
    let enough = chosen.len() >= thrift.entries;
    let enough = enough || chosen.iter().map(|slot| slot.bytes).sum::<u64>() >= thrift.bytes;
    if !enough || fits == 0 {
        return None;
    }
    chosen.truncate(fits);
    let mut packs: BTreeMap<i64, Vec<Slot>> = BTreeMap::new();
    for slot in packed {
        packs.entry(slot.pack.unwrap_or_default()).or_default().push(slot);
    }
    let mut packs: Vec<Vec<Slot>> = packs.into_values().collect();
    packs.sort_by_key(Vec::len);
    let full = |slots: &[Slot]| {
        slots.iter().map(|slot| slot.bytes).sum::<u64>() * 2 >= thrift.pack_bytes as u64
    };
    for pack in packs {
        if pack.len() > 2 * chosen.len() || full(&pack) {
            break;
        }
        chosen.extend(pack);
    }
    chosen.sort_by_key(|slot| slot.arrival);
    Some(chosen)
}
