//! Every decoder of something that comes from outside, each with samples that the product's own
//! encoders have made. The mutation campaign and the fuzz targets share them.

mod local;
mod samples;
mod sealing;

use crate::forger::actor_prefix;
use crate::practice::Outcome;
use carnet_node::access::statement::StaffStatement;
use carnet_node::audit::AuditBatch;
use carnet_node::chart::{Brief, Document, Resource, inspect, parse_json};
use carnet_node::identity::text::from_text;
use carnet_node::identity::{ControlStatement, EnrolmentAnswer, EnrolmentRequest, Invitation};
use carnet_node::records::import::{Import, Source};
use carnet_node::service::request::Asked;
use carnet_node::vault::block::{Beginning, Block, ChangeName, OwnChanges};
use carnet_node::vault::passphrase::Locked;
use carnet_node::vault::{KeyBook, Keyring, RecoveryCode};
use carnet_sync_protocol::certificate::{Certificate, Revocation};
use carnet_sync_protocol::entry::{Run, RunItem};
use carnet_sync_protocol::id::{DocumentId, EntryId, PracticeId};
use carnet_sync_protocol::joint::JointRun;
use carnet_sync_protocol::message::{JoinAnswer, JoinRequest, Message};
use carnet_sync_protocol::receipt::StoredReceipt;
use carnet_sync_protocol::wire;
use samples::Samples;
use sealing::{Packs, Seal};
use std::cell::RefCell;
use std::str::FromStr;

/// What the samples of a decoder are, so that they are altered where it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Bytes of any kind.
    Bytes,
    /// A text; altered by characters.
    Text,
    /// An Automerge change, whose checksum is made right again.
    Change,
}

type Read = Box<dyn Fn(&[u8]) -> bool>;

/// Something that reads what comes from outside.
pub struct Decoder {
    /// Its name.
    pub name: &'static str,
    /// What its samples are.
    pub form: Form,
    /// What the product's encoders make of it.
    pub samples: Vec<Vec<u8>>,
    read: Read,
}

impl Decoder {
    /// Reads; whether it was accepted.
    pub fn read(&self, bytes: &[u8]) -> bool {
        (self.read)(bytes)
    }
}

fn decoder(
    name: &'static str,
    form: Form,
    samples: Vec<Vec<u8>>,
    read: impl Fn(&[u8]) -> bool + 'static,
) -> Decoder {
    Decoder { name, form, samples, read: Box::new(read) }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// The one of this name, over some practice.
pub fn one(name: &str) -> Outcome<Decoder> {
    let found = decoders(1)?.into_iter().find(|decoder| decoder.name == name);
    found.ok_or_else(|| "there is no decoder of this name".into())
}

/// All of them, over the practice of a seed.
pub fn decoders(seed: u64) -> Outcome<Vec<Decoder>> {
    let samples = Samples::make(seed)?;
    let mut all = protocol(&samples);
    all.extend(joint_runs(&samples));
    all.extend(statements(&samples));
    all.extend(charts(&samples)?);
    all.extend(packs(&samples)?);
    all.extend(files(&samples)?);
    all.extend(local::decoders(&samples)?);
    Ok(all)
}

/// What peers send.
fn protocol(samples: &Samples) -> Vec<Decoder> {
    let practice = samples.practice;
    vec![
        decoder("entry", Form::Bytes, samples.runs.clone(), move |bytes| {
            let Ok(run) = Run::from_bytes(bytes) else { return false };
            assert_eq!(run.to_bytes(), bytes, "a run has one encoding");
            assert!(run.head(practice).is_some(), "a run has an end");
            run.verify(practice).is_ok()
        }),
        decoder("message", Form::Bytes, samples.messages.clone(), |bytes| {
            let Ok(message) = Message::from_bytes(bytes) else { return false };
            assert_eq!(message.to_bytes(), bytes, "a message has one encoding");
            true
        }),
        decoder("certificate", Form::Bytes, samples.certificates.clone(), move |bytes| {
            wire::decode::<Certificate>(bytes).is_ok_and(|read| read.verify(practice).is_ok())
        }),
        decoder("revocation", Form::Bytes, samples.revocations.clone(), move |bytes| {
            wire::decode::<Revocation>(bytes).is_ok_and(|read| read.verify(practice).is_ok())
        }),
        decoder("receipt", Form::Bytes, samples.receipts.clone(), move |bytes| {
            wire::decode::<StoredReceipt>(bytes)
                .is_ok_and(|read| read.receipt.verify(practice).is_ok())
        }),
        decoder("join request", Form::Bytes, samples.join_requests.clone(), |bytes| {
            JoinRequest::from_bytes(bytes).is_ok_and(|read| read.verify(Some(&[7; 32])).is_ok())
        }),
        decoder("join answer", Form::Bytes, samples.join_answers.clone(), |bytes| {
            JoinAnswer::from_bytes(bytes).is_ok()
        }),
    ]
}

/// A reader who holds no change but those of the run itself.
struct NoneHeld;

impl OwnChanges for NoneHeld {
    fn whole(&self, dependencies: &[ChangeName], rest: &[u8]) -> (ChangeName, Vec<u8>) {
        Brief::change(dependencies, rest)
    }

    fn named(&self, _: &Beginning) -> Option<(ChangeName, DocumentId)> {
        None
    }
}

/// Runs whose entries travel together, and the block in them, packed and not.
fn joint_runs(samples: &Samples) -> Vec<Decoder> {
    let (practice, book) = (samples.practice, samples.book.clone());
    let mut blocks = Vec::new();
    let mut opened = Vec::new();
    for joint in samples.joint_runs.iter().filter_map(|bytes| JointRun::from_bytes(bytes).ok()) {
        opened.extend(Block::unpack(&joint.block).map(|block| wire::encode(&block)));
        blocks.push(joint.block);
    }
    let joint = JointRun::from_bytes(&samples.joint_runs[0]).expect("it was just encoded");
    let (place, keys) = (joint.clone(), book.clone());
    let items = move |block: &Block, joint: &JointRun, book: &KeyBook| {
        let (log, first) = (joint.log, joint.first_sequence);
        let header = |at: u64, item: &RunItem| {
            item.header(practice, log, first.wrapping_add(at), EntryId::ZERO)
        };
        block.items(book, &NoneHeld, header).map(|unpacked| unpacked.items)
    };
    vec![
        decoder("joint run", Form::Bytes, samples.joint_runs.clone(), move |bytes| {
            let Ok(joint) = JointRun::from_bytes(bytes) else { return false };
            assert!(JointRun::is_in(bytes) && joint.to_bytes() == bytes, "it has one encoding");
            let Ok(block) = Block::unpack(&joint.block) else { return false };
            let Ok(items) = items(&block, &joint, &book) else { return false };
            let JointRun { log, first_sequence, previous, signature, .. } = joint;
            let run = Run { log, first_sequence, previous, items, signature };
            Run::from_bytes(&run.to_bytes()).is_ok() && run.verify(practice).is_ok()
        }),
        decoder("block", Form::Bytes, blocks, |bytes| Block::unpack(bytes).is_ok()),
        // What somebody packs who means harm: it unpacks well, and what is in it is wrong.
        decoder("block, unpacked", Form::Bytes, opened, move |bytes| {
            wire::decode::<Block>(bytes).is_ok_and(|block| items(&block, &place, &keys).is_ok())
        }),
    ]
}

/// What statements and the trail hold, once opened.
fn statements(samples: &Samples) -> Vec<Decoder> {
    vec![
        decoder("control statement", Form::Bytes, samples.control.clone(), |bytes| {
            ControlStatement::from_payload(bytes).is_ok()
        }),
        decoder("staff statement", Form::Bytes, samples.staff.clone(), |bytes| {
            StaffStatement::from_payload(bytes).is_ok()
        }),
        decoder("audit batch", Form::Bytes, samples.audit.clone(), |bytes| {
            AuditBatch::from_payload(bytes).is_ok()
        }),
    ]
}

/// What is sealed, and what is in it.
fn charts(samples: &Samples) -> Outcome<Vec<Decoder>> {
    let (seal, frames) = Seal::over(samples)?;
    let seal_again = seal.clone();
    let payloads = seal.payloads(samples)?;
    let (author, base) = (samples.author, samples.document()?);
    let prefix = actor_prefix(&author);
    let document = RefCell::new(Document::load(&base, samples.actor)?);
    let actor = samples.actor;
    Ok(vec![
        decoder("sealed payload", Form::Bytes, payloads, move |bytes| seal.open(bytes)),
        // What somebody seals who has the key: the cipher is passed, the frame inside is wrong.
        decoder("sealed frame", Form::Bytes, frames, move |bytes| seal_again.open_frame(bytes)),
        decoder("change", Form::Change, samples.changes.clone(), move |bytes| {
            let _ = inspect(bytes);
            let mut document = document.borrow_mut();
            let applied = document.apply(bytes, prefix).is_ok_and(|applied| !applied.known);
            if applied {
                let _ = document.digest();
                *document = Document::load(&base, actor).expect("it was read before");
            }
            applied
        }),
    ])
}

/// What a compaction made.
fn packs(samples: &Samples) -> Outcome<Vec<Decoder>> {
    let (sealed, within) = (Packs::over(samples)?, Packs::over(samples)?);
    let contents = sealed.contents(samples);
    let packs = vec![sealed.seal(&contents)?];
    Ok(vec![
        decoder("pack", Form::Bytes, packs, move |bytes| sealed.open(bytes)),
        decoder("pack, unpacked", Form::Bytes, vec![contents], move |bytes| {
            within.seal(bytes).is_ok_and(|pack| within.open(&pack))
        }),
    ])
}

/// What people hand over: texts and files.
fn files(samples: &Samples) -> Outcome<Vec<Decoder>> {
    let keys = samples.keys;
    let dir = tempfile::tempdir()?;
    Ok(vec![
        decoder("FHIR resource", Form::Text, samples.resources.clone(), |bytes| {
            text(bytes).is_some_and(|text| {
                let read = Resource::parse(text);
                parse_json(text).is_ok() && read.is_ok()
            })
        }),
        decoder("FHIR bundle", Form::Text, samples.bundles.clone(), bundle),
        decoder("gzipped bundle", Form::Bytes, samples.gzipped.clone(), bundle),
        decoder("invitation", Form::Text, samples.invitations.clone(), |bytes| {
            text(bytes).is_some_and(|text| Invitation::from_str(text).is_ok())
        }),
        decoder("enrolment request", Form::Text, samples.requests.clone(), |bytes| {
            text(bytes).is_some_and(|text| EnrolmentRequest::from_text(text).is_ok())
        }),
        decoder("enrolment answer", Form::Text, samples.answers.clone(), move |bytes| {
            text(bytes).is_some_and(|text| EnrolmentAnswer::from_text(text, &keys).is_ok())
        }),
        decoder("recovery code", Form::Text, samples.codes.clone(), |bytes| {
            text(bytes).is_some_and(|text| RecoveryCode::from_str(text).is_ok())
        }),
        // As far as its passphrase is asked for, which costs Argon2's time.
        decoder("practice key file", Form::Text, samples.key_files.clone(), |bytes| {
            let read = |text| from_text("carnet-practice-key-1-", text, 512);
            text(bytes).is_some_and(|text| {
                read(text).is_ok_and(|bytes| wire::decode::<(PracticeId, Locked)>(&bytes).is_ok())
            })
        }),
        decoder("keyring file", Form::Bytes, samples.keyrings.clone(), move |bytes| {
            std::fs::write(dir.path().join("keyring"), keyring_hashed(bytes)).is_ok()
                && Keyring::open(dir.path()).is_ok()
        }),
        decoder("request of a command", Form::Text, samples.asked.clone(), |bytes| {
            serde_json::from_slice::<Asked>(bytes).is_ok()
        }),
    ])
}

fn bundle(bytes: &[u8]) -> bool {
    let mut import = Import::new(vec![Source::bytes("a file".into(), bytes.to_vec())]);
    import.read() && import.is_open()
}

/// The file with a right hash at its end, so that what stands before it is looked at.
fn keyring_hashed(bytes: &[u8]) -> Vec<u8> {
    let content = &bytes[..bytes.len().saturating_sub(32)];
    [content, blake3::hash(content).as_bytes()].concat()
}
