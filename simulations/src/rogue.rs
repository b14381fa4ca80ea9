//! What somebody with a node's keys can write that no honest node would: signed, sealed and in its
//! place in the log, with a change inside that is meant to harm a document.
//!
//! A signed peer's change reaches the merge engine. It may not take another author's place there,
//! skip what is to come, number its operations so that nobody can go on, or be in two places at
//! once. It is to be set aside, everywhere alike, and what honest nodes write goes on to be shown.

use crate::chance::Chance;
use crate::workload::{Token, word};
use carnet_node::chart::{Document, Edit, inspect};
use carnet_node::identity::statement::EpochKind;
use carnet_node::records::Records;
use carnet_node::records::compact::opener;
use carnet_node::store::ledger::{Held, Ledger};
use carnet_node::vault::{self, EpochKey, KeyBook, Unlocked};
use carnet_sync_protocol::entry::{Entry, Header, HybridTime, VerifiedRun};
use carnet_sync_protocol::id::{Author, Channel, DocumentId, EpochId, LogId};
use sha2::{Digest, Sha256};
use std::error::Error;
use std::path::Path;

/// How a change is made harmful.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// It is written as the actor of another author.
    Actor,
    /// Its place among its actor's changes skips some.
    Sequence,
    /// Its operations are numbered far beyond all others.
    Numbering,
    /// It stands on a change that does not exist.
    Dependency,
    /// Its payload is not what the header says that it is.
    Garbage,
    /// It is sealed for another place in the log.
    Place,
    /// One sound change stands in two logs.
    Twice,
    /// Two sound changes stand in one place among their actor's, each in a log of its own.
    Twins,
}

impl Attack {
    const ALL: [Self; 8] = [
        Self::Actor,
        Self::Sequence,
        Self::Numbering,
        Self::Dependency,
        Self::Garbage,
        Self::Place,
        Self::Twice,
        Self::Twins,
    ];

    /// Whether what it says may be shown.
    pub const fn is_sound(self) -> bool {
        matches!(self, Self::Twice | Self::Twins)
    }
}

/// Entries that are ready to be signed away.
pub struct Crafted {
    /// What is wrong with them.
    pub attack: Attack,
    /// The document that they are aimed at.
    pub document: DocumentId,
    /// The runs.
    pub runs: Vec<VerifiedRun>,
}

/// A node's secrets in the wrong hands.
pub struct Rogue<'a> {
    /// Its records, of which it uses what it knows.
    pub records: &'a Records,
    /// Its keys.
    pub unlocked: Unlocked,
    /// Its directory.
    pub home: &'a Path,
    /// Its clock.
    pub unix_ms: u64,
}

/// What an attack is built upon.
struct Aim {
    channel: Channel,
    id: DocumentId,
    /// The changes of the document, with their authors, in order of arrival.
    changes: Vec<(Author, Vec<u8>)>,
}

type Outcome<T> = Result<T, Box<dyn Error>>;

impl Rogue<'_> {
    /// Crafts something; nothing if this node holds nothing to aim at.
    pub fn craft(&self, token: Token, chance: &mut Chance) -> Outcome<Option<Crafted>> {
        let attack = *chance.pick(&Attack::ALL).unwrap_or(&Attack::Actor);
        let book = KeyBook::read(self.records.roster(), self.unlocked.hpke());
        let Some((epoch, key)) = book.current(self.records.roster(), EpochKind::General) else {
            return Ok(None);
        };
        let Some(aim) = self.aim(&book, chance)? else { return Ok(None) };
        let me = self.records.author();
        let actor = match attack {
            Attack::Actor => match another(&aim.changes, &me)? {
                Some(actor) => actor,
                None => return Ok(None),
            },
            _ => actor_of(&me, chance),
        };
        let Some(change) = self.change(&aim, actor, "language", token)? else { return Ok(None) };
        let change = match attack {
            Attack::Sequence => altered(&change, |parts| parts.sequence += 1 + chance.below(9)),
            Attack::Numbering => {
                altered(&change, |parts| parts.start += 1 << chance.between(1, 24))
            }
            Attack::Dependency => altered(&change, |parts| parts.dependencies.push(chance.bytes())),
            _ => Some(change),
        };
        let Some(change) = change else { return Ok(None) };
        let channels: &[Channel] = match (attack, aim.channel) {
            (Attack::Twice | Attack::Twins, Channel::Critical) => {
                &[Channel::Critical, Channel::Clinical]
            }
            (Attack::Twice | Attack::Twins, other) => &[Channel::Critical, other],
            (_, Channel::Critical) => &[Channel::Critical],
            (_, Channel::Clinical) => &[Channel::Clinical],
            _ => &[Channel::Administrative],
        };
        let mut runs = Vec::new();
        let twin = match attack {
            Attack::Twins => self.change(&aim, actor, "implicitRules", token)?,
            _ => None,
        };
        for (number, channel) in channels.iter().enumerate() {
            let log = LogId { channel: *channel, author: me };
            let change = twin.as_ref().filter(|_| number > 0).unwrap_or(&change);
            runs.extend(self.entry(attack, log, &aim, (epoch, key), change)?);
        }
        Ok((!runs.is_empty()).then_some(Crafted { attack, document: aim.id, runs }))
    }

    /// A document under the general key, and what it is made of.
    fn aim(&self, book: &KeyBook, chance: &mut Chance) -> Outcome<Option<Aim>> {
        let mut ledger = Ledger::open_read_only(&self.home.join("log.db"))?;
        ledger.set_opener(Some(opener(ledger.practice(), book.clone())));
        let channels = [Channel::Critical, Channel::Clinical, Channel::Administrative];
        let channel = *chance.pick(&channels).unwrap_or(&Channel::Critical);
        let mut held: Vec<Held> = ledger.of_channel(channel, 0, 4_096)?;
        held.retain(|held| held.entry.header.document != DocumentId::ZERO);
        let Some(id) = chance.pick(&held).map(|held| held.entry.header.document) else {
            return Ok(None);
        };
        let mut changes = Vec::new();
        for held in held.iter().filter(|held| held.entry.header.document == id) {
            let header = &held.entry.header;
            let Some(key) = book.epoch(&header.epoch) else { continue };
            if let Ok(change) = vault::open(key, header, &held.entry.payload) {
                changes.push((header.log.author, change));
            }
        }
        Ok(Some(Aim { channel, id, changes }))
    }

    /// A change that says the word, as an actor would write it who has seen everything.
    fn change(
        &self,
        aim: &Aim,
        actor: [u8; 16],
        element: &str,
        token: Token,
    ) -> Outcome<Option<Vec<u8>>> {
        let mut document = Document::new(actor);
        for (author, change) in &aim.changes {
            // What does not apply here is set aside, as by everybody.
            let _ = document.apply(change, prefix(author));
        }
        let keys = document.keys();
        let Some(key) = keys.first().cloned() else { return Ok(None) };
        let edit = Edit::Set { key, element: element.into(), value: Some(word(token).into()) };
        // What is deleted can't be set.
        Ok(document.write(self.unix_ms, &[edit]).ok().flatten().map(|written| written.bytes))
    }

    /// The change as the next entry of a log; nothing if the log has no beginning yet.
    fn entry(
        &self,
        attack: Attack,
        log: LogId,
        aim: &Aim,
        (epoch, key): (EpochId, &EpochKey),
        change: &[u8],
    ) -> Outcome<Option<VerifiedRun>> {
        let Some(head) = self.records.frontier().heads(&log).last().copied() else {
            return Ok(None);
        };
        let mut header = Header {
            practice: self.records.practice(),
            log,
            sequence: head.sequence + 1,
            previous: head.id,
            document: aim.id,
            epoch,
            codec: vault::CODEC,
            nonce: [0; 24],
            time: HybridTime::from_unix_ms(self.unix_ms),
            payload_length: 0,
            payload_hash: [0; 32],
        };
        let sealed = match attack {
            Attack::Place => {
                let elsewhere = Header { sequence: head.sequence + 2, ..header.clone() };
                vault::seal(key, &elsewhere, change)?
            }
            _ => vault::seal(key, &header, change)?,
        };
        header.nonce = sealed.nonce;
        let mut payload = sealed.payload;
        if attack == Attack::Garbage {
            payload.iter_mut().for_each(|byte| *byte ^= 0x55);
        }
        header.payload_length = payload.len() as u32;
        header.payload_hash = *blake3::hash(&payload).as_bytes();
        let entry = Entry { id: header.id(), header, payload };
        Ok(Some(VerifiedRun::written(vec![entry], self.unlocked.entry())))
    }
}

/// The actor of the last change that somebody else wrote.
fn another(changes: &[(Author, Vec<u8>)], me: &Author) -> Outcome<Option<[u8; 16]>> {
    match changes.iter().rfind(|(author, _)| author != me) {
        Some((_, change)) => Ok(Some(inspect(change)?.actor)),
        None => Ok(None),
    }
}

fn actor_of(author: &Author, chance: &mut Chance) -> [u8; 16] {
    let mut actor = [0; 16];
    actor[..8].copy_from_slice(&prefix(author));
    actor[8..].copy_from_slice(&chance.bytes::<8>());
    actor
}

/// What every actor of an author begins with.
fn prefix(author: &Author) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new_derive_key("carnet 2026 automerge actor v1");
    hasher.update(author.node.as_bytes());
    hasher.update(author.incarnation.as_bytes());
    let mut prefix = [0; 8];
    prefix.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    prefix
}

/// The beginning of a change's data, which an attack alters.
struct Parts {
    dependencies: Vec<[u8; 32]>,
    sequence: u64,
    start: u64,
}

/// Alters a change, and makes its checksum right again. Format:
/// <https://automerge.org/automerge-binary-format-spec/>.
fn altered(change: &[u8], alter: impl FnOnce(&mut Parts)) -> Option<Vec<u8>> {
    let (magic, mut rest) = (change.get(..4)?, change.get(9..)?);
    take_number(&mut rest)?;
    let count = take_number(&mut rest)?;
    let mut dependencies = Vec::new();
    for _ in 0..count {
        dependencies.push(take(&mut rest, 32)?.try_into().ok()?);
    }
    let length = take_number(&mut rest)?;
    let actor = take(&mut rest, length as usize)?.to_vec();
    let (sequence, start) = (take_number(&mut rest)?, take_number(&mut rest)?);
    let mut parts = Parts { dependencies, sequence, start };
    alter(&mut parts);
    parts.dependencies.sort_unstable();
    let mut data = Vec::new();
    put_number(&mut data, parts.dependencies.len() as u64);
    parts.dependencies.iter().for_each(|hash| data.extend_from_slice(hash));
    put_number(&mut data, actor.len() as u64);
    data.extend_from_slice(&actor);
    put_number(&mut data, parts.sequence);
    put_number(&mut data, parts.start);
    data.extend_from_slice(rest);
    let mut hashed = vec![1];
    put_number(&mut hashed, data.len() as u64);
    hashed.extend_from_slice(&data);
    let hash = Sha256::digest(&hashed);
    Some([magic, &hash[..4], &hashed].concat())
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let byte = take(rest, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use carnet_node::chart::{ChartError, Refusal, Resource};
    use serde_json::json;

    #[test]
    fn an_altered_change_is_read_as_what_it_was_altered_to() {
        let mut document = Document::new([7; 16]);
        let patient = Resource::from_value(json!({"resourceType": "Patient", "id": "a"})).unwrap();
        let written = document.write(5, &[Edit::Put(patient)]).unwrap().unwrap();
        assert_eq!(altered(&written.bytes, |_| ()).unwrap(), written.bytes);
        let skipped = altered(&written.bytes, |parts| parts.sequence = 300).unwrap();
        assert_eq!(inspect(&skipped).unwrap().sequence, 300);
        let refused = Document::new([8; 16]).apply(&skipped, [7; 8]);
        assert_eq!(refused.unwrap_err(), ChartError::from(Refusal::Sequence));
        let standing = altered(&written.bytes, |parts| parts.dependencies.push([9; 32])).unwrap();
        assert_eq!(inspect(&standing).unwrap().dependencies.len(), 1);
    }
}
