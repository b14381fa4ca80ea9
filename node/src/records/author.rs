//! This node's own entries: sealed, chained and signed in its log of a channel.

use super::status::CLOCK_FLOOR_MS;
use super::{Records, RecordsError};
use crate::identity::statement::{ControlStatement, EpochKind};
use crate::vault;
use carnet_sync_protocol::entry::{Codec, Entry, Header, HybridTime, Opening, VerifiedRun};
use carnet_sync_protocol::id::{Author, Channel, DocumentId, EntryId, EpochId, LogId};
use carnet_sync_protocol::{limit, wire};

/// What one new entry says; everything else of its header follows from the log.
pub(super) enum Content<'a> {
    /// A control statement, in clear text.
    Statement(&'a ControlStatement),
    /// A document's change, to be sealed.
    Change { document: DocumentId, bytes: &'a [u8] },
}

/// Where an own entry came to stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub id: EntryId,
    pub arrival: u64,
    pub time: HybridTime,
}

/// How far what was written last may stand ahead of the clock.
const CLOCK_AHEAD_MS: u64 = 24 * 3_600_000;

impl Records {
    /// Who this node is when it writes.
    pub fn author(&self) -> Author {
        Author { node: self.keyring.node(), incarnation: self.keyring.incarnation() }
    }

    /// Writes one control statement and takes it into the roster.
    pub(super) fn write_statement(
        &mut self,
        statement: &ControlStatement,
    ) -> Result<EntryId, RecordsError> {
        self.leave_forked_life()?;
        let placed = self.append_own(Channel::Control, &[Content::Statement(statement)])?;
        let placed = placed.last().ok_or_else(|| RecordsError::Bug("an unwritten entry".into()))?;
        if let Some(held) = self.ledger.at(placed.arrival)? {
            self.fold_statement(&held);
        }
        Ok(placed.id)
    }

    /// Appends entries to this node's log of `channel`: runs as long as a session carries them,
    /// each signed at its end.
    pub(super) fn append_own(
        &mut self,
        channel: Channel,
        contents: &[Content<'_>],
    ) -> Result<Vec<Placed>, RecordsError> {
        self.begin()?;
        let log = LogId { channel, author: self.author() };
        let (mut sequence, mut previous) =
            self.ledger.heads(&log).first().map_or((0, EntryId::ZERO), |h| (h.sequence, h.id));
        let mut run = Vec::new();
        let mut size = 0;
        let opening = sequence == 0;
        if opening {
            let payload = wire::encode(&Opening { predecessor: self.predecessor(&log) });
            let entry = self.clear_entry(log, 1, previous, Codec::OPENING, payload);
            (sequence, previous) = (1, entry.id);
            run.push(entry);
        }
        let mut placed = Vec::with_capacity(contents.len() + 1);
        for content in contents {
            let entry = self.own_entry(log, sequence + 1, previous, content)?;
            (sequence, previous) = (sequence + 1, entry.id);
            if run.len() == limit::RUN_ENTRIES_MAX || size + entry.payload.len() > limit::RUN_BYTES
            {
                placed.extend(self.append_run(std::mem::take(&mut run))?);
                size = 0;
            }
            size += entry.payload.len();
            run.push(entry);
        }
        placed.extend(self.append_run(run)?);
        self.transaction.grown.insert(log);
        Ok(placed.split_off(usize::from(opening)))
    }

    fn append_run(&mut self, run: Vec<Entry>) -> Result<Vec<Placed>, RecordsError> {
        if run.is_empty() {
            return Ok(Vec::new());
        }
        let written: Vec<_> = run.iter().map(|entry| (entry.id, entry.header.time)).collect();
        let key = self.charts()?.unlocked.entry().clone();
        let channel = run.first().map(|entry| entry.header.log.channel);
        let appended = self.ledger.append(&VerifiedRun::written(run, &key))?;
        if channel != Some(Channel::Audit) {
            self.matter.last = appended.new.end;
        }
        Ok(appended
            .new
            .zip(written)
            .map(|(arrival, (id, time))| Placed { id, arrival, time })
            .collect())
    }

    /// Leaves this life if a log of it forked (a copy of this directory wrote too), before anything
    /// is written: a document's changes and the entries that carry them must have one author.
    pub(super) fn leave_forked_life(&mut self) -> Result<(), RecordsError> {
        let author = self.author();
        let forked = |log: LogId| log.author == author && self.ledger.heads(&log).len() > 1;
        if self.ledger.logs().any(forked) {
            self.begin_incarnation()?;
        }
        Ok(())
    }

    /// Begins a new life: nothing that this node writes from here on can collide with what a copy
    /// of it, or it itself before a restore, has written.
    pub fn begin_incarnation(&mut self) -> Result<(), RecordsError> {
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("writes-on-after-a-restore") {
            return Ok(());
        }
        let binding = super::open::observe(&self.environment, &self.dir)?;
        self.keyring.renew_incarnation(&self.environment, binding)?;
        if let Some(charts) = &mut self.charts {
            // Documents in memory carry the old incarnation's actor.
            charts.documents.forget_unsaved();
        }
        Ok(())
    }

    fn predecessor(&self, log: &LogId) -> Option<(Author, u64, EntryId)> {
        let mine = |other: &LogId| {
            other.channel == log.channel
                && other.author.node == log.author.node
                && other.author != log.author
        };
        let heads = self.ledger.logs().filter(mine).flat_map(|other| {
            self.ledger.heads(&other).iter().map(move |head| (other.author, head.sequence, head.id))
        });
        heads
            .filter_map(|head| self.ledger.stamp(&head.2).ok().flatten().map(|s| (s.arrival, head)))
            .max_by_key(|(arrival, _)| *arrival)
            .map(|(_, head)| head)
    }

    fn own_entry(
        &mut self,
        log: LogId,
        sequence: u64,
        previous: EntryId,
        content: &Content<'_>,
    ) -> Result<Entry, RecordsError> {
        match content {
            Content::Statement(statement) => Ok(self.clear_entry(
                log,
                sequence,
                previous,
                Codec::STATEMENT,
                statement.to_payload(),
            )),
            Content::Change { document, bytes } => {
                let time = self.tick();
                let kind = EpochKind::of(log.channel)
                    .ok_or_else(|| RecordsError::Bug("a sealed entry in a clear channel".into()))?;
                let charts = self.charts()?;
                let current = charts.keys.current(&self.roster, kind);
                let (epoch, key) = current.ok_or_else(|| self.no_key())?;
                let mut header = self.header(log, sequence, previous, time);
                header.document = *document;
                header.epoch = epoch;
                header.codec = vault::CODEC;
                let sealed = vault::seal(key, &header, bytes)?;
                header.nonce = sealed.nonce;
                Ok(complete(header, sealed.payload))
            }
        }
    }

    /// Why there is no key to write with.
    fn no_key(&self) -> RecordsError {
        if self.is_cut_off() { RecordsError::CutOff } else { RecordsError::NoEpochKey }
    }

    fn clear_entry(
        &mut self,
        log: LogId,
        sequence: u64,
        previous: EntryId,
        codec: Codec,
        payload: Vec<u8>,
    ) -> Entry {
        let time = self.tick();
        let mut header = self.header(log, sequence, previous, time);
        header.codec = codec;
        complete(header, payload)
    }

    fn header(&self, log: LogId, sequence: u64, previous: EntryId, time: HybridTime) -> Header {
        Header {
            practice: self.ledger.practice(),
            log,
            sequence,
            previous,
            document: DocumentId::ZERO,
            epoch: EpochId::ZERO,
            codec: Codec::OPENING,
            nonce: [0; 24],
            time,
            payload_length: 0,
            payload_hash: [0; 32],
        }
    }

    /// The time of the next entry. It never runs backwards, so that a clock that starts at 1970 does
    /// no harm to it; unless the clock may be right and stands a day and more before what was written
    /// last: then it ran ahead, and was set right.
    fn tick(&mut self) -> HybridTime {
        let now = self.environment.unix_ms();
        let ahead = self.time.unix_ms().saturating_sub(now);
        self.time = match now >= CLOCK_FLOOR_MS && ahead > CLOCK_AHEAD_MS {
            true => HybridTime::from_unix_ms(now),
            false => self.time.tick(now),
        };
        self.time
    }
}

fn complete(mut header: Header, payload: Vec<u8>) -> Entry {
    header.payload_length = payload.len() as u32;
    header.payload_hash = *blake3::hash(&payload).as_bytes();
    Entry { id: header.id(), header, payload }
}
