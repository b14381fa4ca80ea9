//! A node packs its ledger: what comes out must be what was there.

use super::World;
use crate::chance::Chance;
use crate::checks::Flaw;
use crate::workload::permit;
use carnet_node::access::Action;
use carnet_node::records::compact::Thrift;
use carnet_node::records::handle::guarded;
use carnet_node::records::{Records, RecordsError};
use carnet_sync_protocol::entry::Run;
use carnet_sync_protocol::frontier::Head;
use carnet_sync_protocol::id::LogId;

impl World {
    pub(super) fn compact(&mut self, at: usize, chance: &mut Chance) -> Result<(), Flaw> {
        let Some(counter) = self.clinics[at].counter().cloned() else { return Ok(()) };
        if !self.clinics[at].is_unlocked() {
            return Ok(());
        }
        // Small packs, so that some grow and some are full.
        let pack_bytes = chance.between(500, 8_000) as usize;
        let thrift = Thrift { entries: 2, bytes: 1, pack_bytes, saving: 0 };
        let mut records = counter.records();
        let heads: Vec<(LogId, Head)> = heads(&records);
        let before = held(&records, &heads);
        let packed = guarded(&mut records, |records| {
            let report = records.compact(&permit(Action::Operate), thrift, false)?;
            if chance.one_in(2) {
                records.give_room_back(report.bytes_before)?;
            }
            Ok(report)
        });
        let news = records.commit();
        let after = held(&records, &heads);
        drop(records);
        drop(counter);
        match (packed, before, after) {
            (_, Ok(before), Ok(after)) if before != after => {
                let what = format!("c{at} holds something else since it was packed");
                return Err(Flaw::new("what is packed comes out as it was", what));
            }
            (_, Ok(_), Err(error)) => {
                let what = format!("c{at} can't hand out what it has packed: {error}");
                return Err(Flaw::new("what is packed comes out as it was", what));
            }
            // What it committed on the way stands.
            (Err(error), ..) => self.excuse(at, "packing failed", &error.to_string())?,
            (Ok(report), ..) => self.note(format_args!(
                "c{at} packs {} entries into {}, {} wait",
                report.entries, report.packs, report.waiting
            )),
        }
        match news {
            Ok(news) => self.heard(at, &news),
            Err(error) => self.excuse(at, "a commit failed", &error.to_string()),
        }
    }
}

fn heads(records: &Records) -> Vec<(LogId, Head)> {
    let logs = records.frontier().0.iter();
    logs.flat_map(|(log, heads)| heads.iter().map(|head| (*log, *head))).collect()
}

fn held(records: &Records, heads: &[(LogId, Head)]) -> Result<Vec<Vec<Run>>, RecordsError> {
    heads.iter().map(|(log, head)| records.load(log, &[], *head, usize::MAX >> 1)).collect()
}
