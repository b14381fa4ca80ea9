//! What a node with a valid certificate can do to what it passes on: drop, replay, alter, forge.
//!
//! It speaks the protocol over its own TLS link, so each of these reaches the other side's session.
//! None of it may be accepted, and all of it must leave the others able to converge.

use crate::chance::Chance;
use carnet_sync_protocol::SigningKey;
use carnet_sync_protocol::entry::{Run, sign_entry};
use carnet_sync_protocol::id::{Author, Channel, NodeId, PracticeId};

/// Frames that are remembered to be replayed.
const REMEMBERED_MAX: usize = 16;

/// Who meddles.
#[derive(Default)]
pub struct Meddler {
    remembered: Vec<(Channel, Vec<u8>)>,
}

impl Meddler {
    /// Remembers a frame that somebody sent.
    pub fn overhear(&mut self, channel: Channel, frame: &[u8]) {
        if self.remembered.len() < REMEMBERED_MAX {
            self.remembered.push((channel, frame.to_vec()));
        }
    }

    /// What is sent in place of a frame, and what that is called.
    pub fn alter(
        &self,
        channel: Channel,
        frame: &[u8],
        practice: PracticeId,
        chance: &mut Chance,
    ) -> (&'static str, Vec<Vec<u8>>) {
        let Ok(mut run) = Run::from_bytes(frame) else { return self.alter_joint(frame, chance) };
        let item = chance.index(run.items.len());
        match chance.below(16) {
            0 => ("drops", Vec::new()),
            1 => ("doubles", vec![frame.into(), frame.into()]),
            2 => match run.items[item].payload.first_mut() {
                Some(byte) => {
                    *byte ^= 1;
                    ("alters a payload of", vec![run.to_bytes()])
                }
                None => ("passes on", vec![frame.into()]),
            },
            3 => {
                run.items[item].document.0[0] ^= 1;
                ("alters a document's name in", vec![run.to_bytes()])
            }
            4 => {
                run.items[item].time.0 ^= 1 << 20;
                ("alters a time in", vec![run.to_bytes()])
            }
            5 if run.items.len() > 1 => {
                run.items.pop();
                ("cuts the end off", vec![run.to_bytes()])
            }
            6 => ("forges as a stranger", vec![strange(run, practice, chance)]),
            7 => {
                let mut bytes = frame.to_vec();
                let at = chance.index(bytes.len());
                bytes[at] ^= 1 << chance.below(8);
                ("flips a bit of", vec![bytes])
            }
            8 => {
                let old = self.remembered.iter().filter(|(of, _)| *of == channel);
                let old: Vec<&Vec<u8>> = old.map(|(_, frame)| frame).collect();
                match chance.pick(&old) {
                    Some(old) => ("replays before", vec![(*old).clone(), frame.into()]),
                    None => ("passes on", vec![frame.into()]),
                }
            }
            _ => ("passes on", vec![frame.into()]),
        }
    }
}

impl Meddler {
    /// The same for a joint run, of which only the key-holders see the inside.
    fn alter_joint(&self, frame: &[u8], chance: &mut Chance) -> (&'static str, Vec<Vec<u8>>) {
        match chance.below(8) {
            0 => ("drops", Vec::new()),
            1 => ("doubles", vec![frame.into(), frame.into()]),
            2 | 3 => {
                let mut bytes = frame.to_vec();
                let at = chance.index(bytes.len());
                bytes[at] ^= 1 << chance.below(8);
                ("flips a bit of", vec![bytes])
            }
            _ => ("passes on", vec![frame.into()]),
        }
    }
}

/// The run as if somebody had written it whom nobody certified; the signature is right.
fn strange(mut run: Run, practice: PracticeId, chance: &mut Chance) -> Vec<u8> {
    let key = SigningKey::from_bytes(&chance.bytes());
    let node = NodeId(key.verifying_key().to_bytes());
    run.log.author = Author { node, ..run.log.author };
    run.first_sequence = 1;
    if let Some(last) = run.head(practice) {
        run.signature = sign_entry(&key, last.id);
    }
    run.to_bytes()
}
