//! What somebody with a node's keys can sign: entries with any content, in their places in the log.

use carnet_node::chart::{Document, ResourceKey};
use carnet_node::identity::statement::EpochKind;
use carnet_node::records::Records;
use carnet_node::store::ledger::Ledger;
use carnet_node::vault::{self, EpochKey, KeyBook, Unlocked};
use carnet_sync_protocol::entry::{Codec, Entry, Header, HybridTime, Opening, VerifiedRun};
use carnet_sync_protocol::frontier::Head;
use carnet_sync_protocol::id::{Author, Channel, DocumentId, EntryId, EpochId, LogId, PracticeId};
use carnet_sync_protocol::wire;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;

/// A node's secrets in the wrong hands. It writes on where the node stood when they were taken, so
/// what both write afterwards is a fork.
pub struct Forger {
    unlocked: Unlocked,
    practice: PracticeId,
    author: Author,
    epoch: EpochId,
    key: EpochKey,
    ledger: PathBuf,
    unix_ms: u64,
    heads: BTreeMap<LogId, Head>,
}

/// What is sealed into an entry.
pub enum Content<'a> {
    /// A change, compressed and sealed as it should be.
    Change(&'a [u8]),
    /// These bytes in place of the sealed payload, under this codec.
    Raw(Codec, Vec<u8>),
}

/// A change, with its author.
pub type Authored = (Author, Vec<u8>);

/// Where an attack is aimed at.
#[derive(Debug)]
pub struct Aim {
    /// The document's channel.
    pub channel: Channel,
    /// Its name.
    pub id: DocumentId,
    /// What it holds.
    pub document: Document,
}

impl Forger {
    /// Takes what a node has.
    pub fn new(records: &Records, unlocked: Unlocked) -> Result<Self, Box<dyn Error>> {
        let book = KeyBook::read(records.roster(), unlocked.hpke());
        let (epoch, key) =
            book.current(records.roster(), EpochKind::General).ok_or("there is no epoch yet")?;
        let key = key.clone();
        let author = records.author();
        let own = records.frontier().0.iter().filter(|(log, _)| log.author == author);
        Ok(Self {
            unlocked,
            practice: records.practice(),
            author,
            epoch,
            key,
            ledger: records.dir().join("log.db"),
            unix_ms: records.environment().unix_ms(),
            heads: own.filter_map(|(log, heads)| Some((*log, *heads.first()?))).collect(),
        })
    }

    /// As whom it signs.
    pub const fn author(&self) -> Author {
        self.author
    }

    /// The node's secrets.
    pub fn unlocked(&self) -> &Unlocked {
        &self.unlocked
    }

    /// Goes back, or elsewhere: the next entry of this log stands after `head`.
    pub fn stand_at(&mut self, channel: Channel, head: Head) {
        self.heads.insert(LogId { channel, author: self.author }, head);
    }

    /// Where the next entry of a log stands after.
    pub fn head(&self, channel: Channel) -> Option<Head> {
        self.heads.get(&LogId { channel, author: self.author }).copied()
    }

    /// The next entry of a log; before the first, the one that opens it.
    pub fn entry(
        &mut self,
        channel: Channel,
        document: DocumentId,
        content: Content<'_>,
    ) -> Result<VerifiedRun, Box<dyn Error>> {
        let log = LogId { channel, author: self.author };
        let mut run = Vec::new();
        if !self.heads.contains_key(&log) {
            let payload = wire::encode(&Opening { predecessor: None });
            let opening = complete(self.header(log), payload);
            self.heads.insert(log, Head { sequence: 1, id: opening.id });
            run.push(opening);
        }
        let mut header = self.header(log);
        (header.document, header.epoch, header.codec) = (document, self.epoch, vault::CODEC);
        let entry = match content {
            Content::Change(change) => {
                let sealed = vault::seal(&self.key, &header, change)?;
                header.nonce = sealed.nonce;
                complete(header, sealed.payload)
            }
            Content::Raw(codec, bytes) => complete(Header { codec, ..header }, bytes),
        };
        self.heads.insert(log, Head { sequence: entry.header.sequence, id: entry.id });
        run.push(entry);
        Ok(VerifiedRun::written(run, self.unlocked.entry()))
    }

    fn header(&self, log: LogId) -> Header {
        let head = self.heads.get(&log);
        Header {
            practice: self.practice,
            log,
            sequence: head.map_or(1, |head| head.sequence + 1),
            previous: head.map_or(EntryId::ZERO, |head| head.id),
            document: DocumentId::ZERO,
            epoch: EpochId::ZERO,
            codec: Codec::OPENING,
            nonce: [0; 24],
            time: HybridTime::from_unix_ms(self.unix_ms),
            payload_length: 0,
            payload_hash: [0; 32],
        }
    }

    /// The last entry of a document.
    pub fn last_entry(&self, document: &DocumentId) -> Result<EntryId, Box<dyn Error>> {
        let ledger = Ledger::open_read_only(&self.ledger)?;
        let last = ledger.of_document(document, 0, 4_096)?.pop();
        Ok(last.ok_or("the document has no entry")?.entry.id)
    }

    /// The document that holds a resource, as the actor with this suffix would write on in it.
    pub fn find(
        &self,
        records: &Records,
        key: &ResourceKey,
        suffix: [u8; 8],
    ) -> Result<Option<Aim>, Box<dyn Error>> {
        let ledger = Ledger::open_read_only(&self.ledger)?;
        for id in ledger.documents()?.into_iter().filter(|id| *id != DocumentId::ZERO) {
            let Some(first) = ledger.of_document(&id, 0, 1)?.pop() else { continue };
            let mut document = Document::new(actor(&self.author, suffix));
            for (author, change) in self.changes(records, &id)? {
                // What does not apply here is set aside, as by everybody.
                let _ = document.apply(&change, actor_prefix(&author));
            }
            if document.contains(key) {
                let channel = first.entry.header.log.channel;
                return Ok(Some(Aim { channel, id, document }));
            }
        }
        Ok(None)
    }

    /// The changes of a document with their authors, in order of arrival.
    pub fn changes(
        &self,
        records: &Records,
        document: &DocumentId,
    ) -> Result<Vec<Authored>, Box<dyn Error>> {
        let book = KeyBook::read(records.roster(), self.unlocked.hpke());
        let ledger = Ledger::open_read_only(&self.ledger)?;
        let (mut changes, mut after) = (Vec::new(), 0);
        loop {
            let page = ledger.of_document(document, after, 256)?;
            let Some(last) = page.last() else { return Ok(changes) };
            after = last.arrival;
            for held in page {
                let header = &held.entry.header;
                if let Some(key) = book.epoch(&header.epoch)
                    && let Ok(change) = vault::open(key, header, &held.entry.payload)
                {
                    changes.push((header.log.author, change));
                }
            }
        }
    }
}

fn complete(mut header: Header, payload: Vec<u8>) -> Entry {
    header.payload_length = payload.len() as u32;
    header.payload_hash = *blake3::hash(&payload).as_bytes();
    Entry { id: header.id(), header, payload }
}

/// What every actor of an author begins with.
pub fn actor_prefix(author: &Author) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new_derive_key("carnet 2026 automerge actor v1");
    hasher.update(author.node.as_bytes());
    hasher.update(author.incarnation.as_bytes());
    let mut prefix = [0; 8];
    prefix.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    prefix
}

/// An actor of an author.
pub fn actor(author: &Author, suffix: [u8; 8]) -> [u8; 16] {
    let mut actor = [0; 16];
    actor[..8].copy_from_slice(&actor_prefix(author));
    actor[8..].copy_from_slice(&suffix);
    actor
}
