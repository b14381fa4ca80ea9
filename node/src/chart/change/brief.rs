//! A change on its way to somebody who holds its document: less what follows from the rest.

use super::{CHUNK_CHANGE, Cursor, HASH_BYTES, MAGIC, checked_chunk};
use sha2::{Digest, Sha256};

/// A change, less its frame, its checksum and the names of what it builds on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    /// The change's name.
    pub hash: [u8; 32],
    /// The changes that it builds on, in order.
    pub dependencies: Vec<[u8; 32]>,
    /// What stands behind them.
    pub rest: Vec<u8>,
}

impl Brief {
    /// The brief form of a change; nothing if the change would come out otherwise.
    pub fn of(change: &[u8]) -> Option<Self> {
        let (hash, data) = checked_chunk(change).ok()?;
        let mut cursor = Cursor::new(data);
        let count = cursor.count(HASH_BYTES).ok()?;
        let dependencies = (0..count)
            .map(|_| cursor.take(HASH_BYTES).ok()?.try_into().ok())
            .collect::<Option<Vec<[u8; 32]>>>()?;
        // Lengths are read in their shortest form only, so nothing else could come out otherwise.
        dependencies.is_sorted().then(|| Self { hash, dependencies, rest: cursor.rest().to_vec() })
    }

    /// The name of the change that builds on these, and the change.
    pub fn change(dependencies: &[[u8; 32]], rest: &[u8]) -> ([u8; 32], Vec<u8>) {
        let mut sorted = dependencies.to_vec();
        sorted.sort_unstable();
        let mut data = Vec::with_capacity(10 + sorted.len() * HASH_BYTES + rest.len());
        put_number(sorted.len() as u64, &mut data);
        data.extend(sorted.as_flattened());
        data.extend_from_slice(rest);
        let mut change = Vec::with_capacity(19 + data.len());
        change.extend_from_slice(&MAGIC);
        change.extend_from_slice(&[0; 4]);
        change.push(CHUNK_CHANGE);
        put_number(data.len() as u64, &mut change);
        change.append(&mut data);
        let hash: [u8; 32] = Sha256::digest(&change[8..]).into();
        change[4..8].copy_from_slice(&hash[..4]);
        (hash, change)
    }
}

/// LEB128.
fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_comes_back_whatever_the_order_in_which_its_dependencies_are_named() {
        for (count, length) in [(0_u8, 0), (1, 1), (3, 100), (2, 200), (200, 70_000)] {
            let dependencies: Vec<[u8; 32]> = (0..count).map(|n| [n; 32]).collect();
            let rest = vec![7; length];
            let (hash, change) = Brief::change(&dependencies, &rest);
            let brief = Brief::of(&change).unwrap();
            assert_eq!(brief, Brief { hash, dependencies: dependencies.clone(), rest });
            let reversed: Vec<_> = dependencies.into_iter().rev().collect();
            assert_eq!(Brief::change(&reversed, &brief.rest), (hash, change));
        }
    }

    #[test]
    fn what_would_come_out_otherwise_has_no_brief_form() {
        let (_, sound) = Brief::change(&[[1; 32], [2; 32]], b"rest");
        for place in 0..sound.len() {
            let mut altered = sound.clone();
            altered[place] ^= 1;
            // Whatever is altered, the checksum tells.
            assert_eq!(Brief::of(&altered), None, "{place}");
            assert_eq!(Brief::of(&sound[..place]), None);
        }
        // Dependencies out of order, with the checksum made right.
        let at = sound.len() - 4 - 64;
        let mut swapped = sound.clone();
        swapped[at..at + 32].fill(2);
        swapped[at + 32..at + 64].fill(1);
        let hash: [u8; 32] = Sha256::digest(&swapped[8..]).into();
        swapped[4..8].copy_from_slice(&hash[..4]);
        assert_eq!(Brief::of(&swapped), None);
    }
}
