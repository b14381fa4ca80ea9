//! Places within a node: what a peer has signed, who has the practice's keys.

use super::places::must;
use super::{Outcome, Place, told};
use carnet_node::access::Action;
use carnet_node::chart::{Document, Edit, ResourceKey};
use carnet_node::records::import::Source;
use carnet_simulations::chunk::{Chunk, DEFLATED, column, put_number};
use carnet_simulations::forger::{Content, Forger};
use carnet_simulations::poison::with_register;
use carnet_simulations::practice::{Node, permit};
use carnet_sync_protocol::entry::VerifiedRun;
use carnet_sync_protocol::id::{Channel, DocumentId, LogId, TransportKey};
use carnet_sync_protocol::joint::JointRun;
use serde_json::json;
use std::error::Error;
use std::io::Read;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The longest change that can be sealed.
const CHANGE_BYTES: u64 = carnet_node::vault::CHANGE_BYTES_MAX as u64;

const fn place(name: &'static str, size_max: u64, set_off: fn(u64) -> Outcome) -> Place {
    Place { name, bytes_max: 64 * MIB, size_max, set_off }
}

/// All of them.
pub(super) const PLACES: [Place; 9] = [
    place("a log of empty changes", GIB, |size| Peer::new()?.log(size)),
    place("a log of empty changes, passed on", GIB, |size| Peer::new()?.passed_on(size)),
    Place {
        name: "an import that is taken",
        bytes_max: 384 * MIB,
        size_max: 16 * MIB,
        set_off: imported,
    },
    place("a deflated change", 2 * GIB, |size| {
        let peer = Peer::new()?;
        let mut bytes = peer.sound.to_compressed();
        bytes.truncate(9);
        let bomb = deflated(size)?;
        put_number(&mut bytes, bomb.len() as u64);
        bytes.extend_from_slice(&bomb);
        peer.change(bytes)
    }),
    place("a deflated column", 2 * GIB, |size| {
        let peer = Peer::new()?;
        let (mut chunk, bomb) = (peer.sound.clone(), deflated(size)?);
        chunk.column(column::VALUE);
        for column in chunk.columns.iter_mut().filter(|(number, _)| *number == column::VALUE) {
            *column = (column::VALUE | DEFLATED, bomb.clone());
        }
        let bytes = chunk.to_bytes();
        peer.change(bytes)
    }),
    place("a register of numbers", 4 * MIB, |size| register("0", size)),
    place("a register of empty lists", 4 * MIB, |size| register("[]", size)),
    place("a register of objects", 4 * MIB, |size| register("{\"a\":0}", size)),
    place("a register of nested objects", 4 * MIB, |size| {
        register(&format!("{}0{}", "{\"\":".repeat(120), "}".repeat(120)), size)
    }),
];

/// So many zeros, to be read.
pub(super) fn zeros(size: u64) -> impl Read {
    std::io::repeat(0).take(size)
}

fn deflated(size: u64) -> Result<Vec<u8>, std::io::Error> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::copy(&mut zeros(size), &mut encoder)?;
    encoder.finish()
}

/// Resources of a thousand values each, all of which are taken; or too many, and none is.
fn imported(size: u64) -> Outcome {
    let mut node = Node::found(1)?;
    let items = vec!["{\"b\":0}"; 495].join(",");
    let mut lines = String::new();
    let mut count = 0_u64;
    while (lines.len() as u64) < size {
        lines += &format!("{{\"resourceType\":\"Basic\",\"id\":\"r{count}\",\"a\":[{items}]}}\n");
        count += 1;
    }
    let sources = vec![Source::bytes("bomb".into(), lines.into_bytes())];
    let mut reason = None;
    let told = told(|| {
        let report = node.records.import(&permit(Action::Import), sources, |_, _| {})?;
        must(
            "all is taken or nothing",
            report.resources == count || (report.resources == 0 && report.failed == 1),
        )?;
        reason = report.failures.into_iter().next().map(|failure| failure.reason);
        Ok::<_, Box<dyn Error>>(())
    });
    match told.refused {
        Some(error) => Err(error.into()),
        None => Ok(super::Told { refused: reason, ..told }),
    }
}

/// A list of so many bytes, as a node would spell it, in the name of a patient.
fn register(item: &str, size: u64) -> Outcome {
    let peer = Peer::new()?;
    // A change is no longer than its bound; the rest of it takes some hundred bytes.
    let size = size.min(CHANGE_BYTES - 4_096) as usize;
    let items = vec![item; (size / (item.len() + 1)).max(1)];
    let list = format!("[{}]", items.join(","));
    let bytes = with_register(&peer.sound, "Patient/p/name", list.as_bytes());
    drop((items, list));
    peer.change(bytes)
}

/// A node with a patient, and the keys of a peer in the wrong hands.
struct Peer {
    node: Node,
    forger: Forger,
    /// The patient's document.
    channel: Channel,
    document: DocumentId,
    key: ResourceKey,
    /// A change that it would take.
    sound: Chunk,
    reader: carnet_sync_protocol::id::NodeId,
}

type Done<T> = Result<T, Box<dyn Error>>;

impl Peer {
    fn new() -> Done<Self> {
        let mut node = Node::found(1)?;
        let (mut peer, _) = node.join(2, "Kolda")?;
        let (third, _) = node.join(3, "Bignona")?;
        let key = node.put(json!({"resourceType": "Patient", "id": "p", "gender": "male"}))?;
        peer.carry_from(&mut node.records)?;
        let forger = Forger::new(&peer.records, peer.unlocked()?)?;
        let suffix = [9; 8];
        let aim = forger.find(&peer.records, &key, suffix)?.ok_or("the patient is nowhere")?;
        let mut document = Document::load(
            &{ aim.document }.save(),
            carnet_simulations::forger::actor(&forger.author(), suffix),
        )?;
        let edit = Edit::Set {
            key: key.clone(),
            element: "name".into(),
            value: Some(json!([{"family": "Diatta"}])),
        };
        let written = document.write(5, &[edit])?.ok_or("nothing was written")?;
        let sound = Chunk::read(&written.bytes).ok_or("a change can't be read")?;
        let reader = third.records.author().node;
        Ok(Self { node, forger, channel: aim.channel, document: aim.id, key, sound, reader })
    }

    /// Hands runs to the node, and has it show what it got.
    fn hand_over(&mut self, runs: &[VerifiedRun]) -> Done<()> {
        let received = self.node.records.receive(runs)?;
        must("it is kept", received.refused.is_empty())?;
        self.node.records.commit()?;
        self.node.records.catch_up()?;
        self.node.records.commit()?;
        Ok(())
    }

    /// The patient is shown as before, the ledger holds, and so many entries are set aside.
    fn is_well(&mut self) -> Done<u64> {
        let shown = self.node.records.read(&permit(Action::Read), &self.key)?;
        must("the patient is shown", shown.resource["gender"] == "male")?;
        let report = self.node.records.verify(&permit(Action::Administer), |_, _| {})?;
        let only_set_aside = report.problems.iter().all(|problem| problem.contains("is set aside"));
        must("the ledger is sound", only_set_aside)?;
        Ok(self.node.records.quarantine_list(&permit(Action::Review))?.count)
    }

    /// A change of the patient's document.
    fn change(mut self, bytes: Vec<u8>) -> Outcome {
        let runs = match bytes.len() as u64 > CHANGE_BYTES {
            // It can't even be sealed.
            true => return Ok(super::Told { rise: 0, refused: Some("too long".into()) }),
            false => {
                vec![self.forger.entry(self.channel, self.document, Content::Change(&bytes))?]
            }
        };
        drop(bytes);
        let mut told = told(|| self.hand_over(&runs).map_err(|error| error.to_string()));
        if let Some(error) = told.refused {
            return Err(error.into());
        }
        told.refused = (self.is_well()? > 0).then(|| "set aside".to_owned());
        Ok(told)
    }

    /// Changes of nothing but zeros, which take a few hundred bytes each and a hundred thousand
    /// times as much when they are open.
    fn empty(&mut self, size: u64) -> Done<Vec<VerifiedRun>> {
        let mut runs = Vec::new();
        for from in (0..size).step_by(CHANGE_BYTES as usize) {
            let zeros = vec![0; (size - from).min(CHANGE_BYTES) as usize];
            runs.push(self.forger.entry(self.channel, self.document, Content::Change(&zeros))?);
        }
        Ok(runs)
    }

    fn log(mut self, size: u64) -> Outcome {
        let runs = self.empty(size)?;
        let mut told = told(|| self.hand_over(&runs).map_err(|error| error.to_string()));
        if let Some(error) = told.refused {
            return Err(error.into());
        }
        must("each is set aside", self.is_well()? == runs.len() as u64)?;
        told.refused = Some("set aside".into());
        Ok(told)
    }

    /// The same log, on its way from this node to a third.
    fn passed_on(mut self, size: u64) -> Outcome {
        let runs = self.empty(size)?;
        self.hand_over(&runs)?;
        let log = LogId { channel: self.channel, author: self.forger.author() };
        let last = runs.last().ok_or("nothing was written")?.head();
        let records = &mut self.node.records;
        let mut entries = 0;
        let mut joint: Vec<JointRun> = Vec::new();
        let told = told(|| {
            for run in records.load(&log, &[], last, 16 << 20)? {
                entries += run.items.len();
                joint.extend(records.joint(&run, &self.reader));
            }
            Ok::<_, carnet_node::records::RecordsError>(())
        });
        must("it can be passed on", told.refused.is_none() && entries >= runs.len())?;
        // What travels jointly is made again from what was sent.
        for joint in joint {
            let frame = joint.to_bytes();
            let again =
                records.open_joint(&TransportKey([7; 32]), &JointRun::from_bytes(&frame)?)?;
            must("a joint run is made again", again.is_some())?;
        }
        Ok(told)
    }
}
