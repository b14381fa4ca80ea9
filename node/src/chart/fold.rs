//! Changes of one document side by side, without what follows from the others.
//!
//! A change names by their hashes the changes that it builds on, and carries a checksum of itself:
//! 36 bytes of most changes, which no compressor makes shorter. Where a change that is named stands
//! before it here, its place says the same, and the checksum is computed. Whatever would not come
//! out byte for byte stands as it is, so anything can be folded.

use super::change::Brief;
use carnet_sync_protocol::wire::at_most;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const HASH_BYTES: usize = 32;

/// The most changes that are folded together, and the most names in them, each of which takes 32
/// bytes of a change: a byte that is read can stand for as many.
pub const FOLDED_MAX: usize = 1 << 16;

/// Bytes side by side, each column by itself, since like next to like compresses best.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folded {
    /// By change: 0 if it stands as it is, else one more than the number of changes that it names.
    #[serde(deserialize_with = "at_most::<_, _, FOLDED_MAX>")]
    names: Vec<u32>,
    /// By name: how many places before, or 0 if it stands among the hashes.
    #[serde(deserialize_with = "at_most::<_, _, FOLDED_MAX>")]
    back: Vec<u32>,
    /// The names of changes that are not here.
    hashes: Vec<u8>,
    /// By change: how many bytes of the text are its.
    #[serde(deserialize_with = "at_most::<_, _, FOLDED_MAX>")]
    lengths: Vec<u32>,
    text: Vec<u8>,
}

impl Folded {
    /// Folds changes, or anything else, in an order in which most stand after those they name.
    pub fn of<'a>(changes: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut folded = Self::default();
        let mut places: BTreeMap<[u8; HASH_BYTES], usize> = BTreeMap::new();
        for (place, change) in changes.into_iter().enumerate() {
            let room = FOLDED_MAX - folded.back.len();
            let brief = Brief::of(change).filter(|brief| brief.dependencies.len() <= room);
            let count = brief.as_ref().map_or(0, |brief| brief.dependencies.len() as u32 + 1);
            folded.names.push(count);
            for name in brief.iter().flat_map(|brief| &brief.dependencies) {
                let back = places.get(name).map_or(0, |before| place - before);
                folded.back.push(back as u32);
                if back == 0 {
                    folded.hashes.extend_from_slice(name);
                }
            }
            places.extend(brief.as_ref().map(|brief| (brief.hash, place)));
            let text = brief.as_ref().map_or(change, |brief| &brief.rest);
            folded.lengths.push(text.len() as u32);
            folded.text.extend_from_slice(text);
        }
        folded
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// What was folded; nothing if this is not what [`Self::of`] made. It is never more than the
    /// columns hold and 38 bytes for each name.
    pub fn unfold(&self) -> Option<Vec<Vec<u8>>> {
        let mut hashes: Vec<[u8; HASH_BYTES]> = Vec::with_capacity(self.names.len());
        let mut changes = Vec::with_capacity(self.names.len());
        let (literals, odd) = self.hashes.as_chunks::<HASH_BYTES>();
        let (mut back, mut literal) = (self.back.iter(), literals.iter());
        let mut rest = self.text.as_slice();
        if self.names.len() != self.lengths.len() || !odd.is_empty() {
            return None;
        }
        for (place, (names, length)) in self.names.iter().zip(&self.lengths).enumerate() {
            let (text, after) = rest.split_at_checked(*length as usize)?;
            rest = after;
            let Some(count) = names.checked_sub(1) else {
                changes.push(text.to_vec());
                hashes.push([0; HASH_BYTES]);
                continue;
            };
            let mut named = Vec::new();
            for _ in 0..count {
                named.push(*match *back.next()? as usize {
                    0 => literal.next()?,
                    back => hashes.get(place.checked_sub(back)?)?,
                });
            }
            let (hash, change) = Brief::change(&named, text);
            hashes.push(hash);
            changes.push(change);
        }
        let all = rest.is_empty() && back.next().is_none() && literal.next().is_none();
        all.then_some(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use automerge::transaction::Transactable;
    use automerge::{ActorId, AutoCommit, ROOT};
    use carnet_sync_protocol::wire;

    /// The changes of two who write in turns and at once.
    fn changes() -> Vec<Vec<u8>> {
        let mut one = AutoCommit::new().with_actor(ActorId::from([1; 16]));
        let mut other = AutoCommit::new().with_actor(ActorId::from([2; 16]));
        for n in 0..40 {
            let writer = if n % 3 == 0 { &mut one } else { &mut other };
            writer.put(ROOT, format!("Observation/{n}/value"), n).unwrap();
            writer.commit();
            if n % 5 == 0 {
                one.merge(&mut other).unwrap();
                other.merge(&mut one).unwrap();
            }
        }
        one.merge(&mut other).unwrap();
        one.get_changes(&[]).iter().map(|change| change.raw_bytes().to_vec()).collect()
    }

    fn fold(changes: &[Vec<u8>]) -> Folded {
        Folded::of(changes.iter().map(Vec::as_slice))
    }

    #[test]
    fn changes_come_out_as_they_went_in_and_name_each_other_by_place() {
        let changes = changes();
        let folded = fold(&changes);
        assert_eq!(folded.unfold().as_ref(), Some(&changes));
        assert!(folded.hashes.is_empty(), "all that are named are here");
        assert!(folded.back.len() >= changes.len() - 2);
        let bytes: usize = changes.iter().map(Vec::len).sum();
        assert!(folded.text.len() < bytes - 38 * (changes.len() - 2));
        // Backwards, or without those that are named, the names stay.
        let mut backwards = changes.clone();
        backwards.reverse();
        assert_eq!(fold(&backwards).unfold(), Some(backwards));
        assert_eq!(fold(&changes[7..]).unfold().as_deref(), Some(&changes[7..]));
    }

    #[test]
    fn anything_else_comes_out_as_it_went_in() {
        let sound = changes().remove(3);
        let mut others =
            vec![vec![], vec![0x85], vec![0x85, 0x6f, 0x4a, 0x83], vec![7; 100], sound.clone()];
        for at in 0..sound.len() {
            let mut altered = sound.clone();
            altered[at] ^= 0x81;
            others.push(altered);
            others.push(sound[..at].to_vec());
        }
        // A length that is longer than it must be.
        let mut long = sound.clone();
        long[9] |= 0x80;
        long.insert(10, 0);
        others.push(long);
        assert_eq!(fold(&others).unfold(), Some(others));
        assert_eq!(fold(&[]).unfold(), Some(vec![]));
    }

    #[test]
    fn what_names_too_many_stands_as_it_is() {
        let sound = changes();
        let rest = Brief::of(&sound[0]).unwrap().rest;
        let (_, long) = Brief::change(&vec![[1; HASH_BYTES]; FOLDED_MAX - 3], &rest);
        let all = [sound, vec![long.clone(), long]].concat();
        let folded = fold(&all);
        assert!(folded.back.len() <= FOLDED_MAX);
        let read: Folded = wire::decode(&wire::encode(&folded)).unwrap();
        assert_eq!(read.unfold(), Some(all));
        let longer = Folded { back: vec![1; FOLDED_MAX + 1], ..Folded::default() };
        assert!(wire::decode::<Folded>(&wire::encode(&longer)).is_err());
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        type Change = fn(&mut Folded);
        let changes_of: [Change; 9] = [
            |folded| folded.names.truncate(3),
            |folded| folded.lengths.truncate(3),
            |folded| folded.lengths[0] += 1,
            |folded| folded.text.push(1),
            |folded| folded.hashes.push(1),
            |folded| folded.hashes.extend([1; 32]),
            |folded| folded.back[3] = 1000,
            |folded| folded.back.push(1),
            |folded| folded.names[5] = u32::MAX,
        ];
        for change in changes_of {
            let mut altered = fold(&changes());
            change(&mut altered);
            assert_eq!(altered.unfold(), None);
        }
    }
}
