//! An Automerge change chunk taken apart to be put together otherwise, with a right checksum.
//!
//! Whatever a peer can send, this can write: no length, order or number in it is checked.
//! Format: <https://automerge.org/automerge-binary-format-spec/>.

use sha2::{Digest, Sha256};
use std::io::Write;

/// The four bytes with which every chunk begins.
pub const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];

/// The kind of a change.
pub const CHANGE: u8 = 1;

/// The kind of a compressed change.
pub const COMPRESSED: u8 = 2;

/// The bit in a column's number that says that its bytes are deflated.
pub const DEFLATED: u64 = 8;

/// The columns that attacks speak of.
pub mod column {
    /// The counters of the characters after which others are typed, or that are taken out.
    pub const CHARACTER_COUNTER: u64 = 1 << 4 | 3;
    /// The names of registers.
    pub const KEY: u64 = 1 << 4 | 5;
    /// What each operation does.
    pub const ACTION: u64 = 4 << 4 | 2;
    /// Kind and length of each value.
    pub const VALUE_KIND: u64 = 5 << 4 | 6;
    /// The values, one after another.
    pub const VALUE: u64 = 5 << 4 | 7;
    /// How many operations each operation overwrites.
    pub const OVERWRITTEN: u64 = 7 << 4;
    /// Whose they are.
    pub const OVERWRITTEN_ACTOR: u64 = 7 << 4 | 1;
    /// Their counters.
    pub const OVERWRITTEN_COUNTER: u64 = 7 << 4 | 3;
}

/// A change, field by field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The changes that its author had seen last.
    pub dependencies: Vec<[u8; 32]>,
    /// Who writes.
    pub actor: Vec<u8>,
    /// Its place among the actor's changes.
    pub sequence: u64,
    /// The counter of its first operation.
    pub start: u64,
    /// Time and message, as they are encoded.
    pub time_and_message: Vec<u8>,
    /// The other actors that it names.
    pub others: Vec<Vec<u8>>,
    /// The columns, by their numbers.
    pub columns: Vec<(u64, Vec<u8>)>,
    /// What stands behind the columns.
    pub extra: Vec<u8>,
}

impl Chunk {
    /// Takes an uncompressed change apart.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.get(9..)?;
        take_number(&mut rest)?;
        let mut dependencies = Vec::new();
        for _ in 0..take_number(&mut rest)? {
            dependencies.push(take(&mut rest, 32)?.try_into().ok()?);
        }
        let actor = take_counted(&mut rest)?.to_vec();
        let (sequence, start) = (take_number(&mut rest)?, take_number(&mut rest)?);
        let before = rest;
        while take(&mut rest, 1)?[0] & 0x80 != 0 {}
        take_counted(&mut rest)?;
        let time_and_message = before[..before.len() - rest.len()].to_vec();
        let mut others = Vec::new();
        for _ in 0..take_number(&mut rest)? {
            others.push(take_counted(&mut rest)?.to_vec());
        }
        let mut layout = Vec::new();
        for _ in 0..take_number(&mut rest)? {
            layout.push((take_number(&mut rest)?, take_number(&mut rest)?));
        }
        let mut columns = Vec::new();
        for (number, length) in layout {
            columns.push((number, take(&mut rest, usize::try_from(length).ok()?)?.to_vec()));
        }
        let extra = rest.to_vec();
        Some(Self {
            dependencies,
            actor,
            sequence,
            start,
            time_and_message,
            others,
            columns,
            extra,
        })
    }

    /// A column's bytes; an empty one is made where there is none.
    pub fn column(&mut self, number: u64) -> &mut Vec<u8> {
        let at = self.columns.iter().position(|(known, _)| *known >= number);
        let at = at.unwrap_or(self.columns.len());
        if self.columns.get(at).is_none_or(|(known, _)| *known != number) {
            self.columns.insert(at, (number, Vec::new()));
        }
        &mut self.columns[at].1
    }

    /// All that stands behind the chunk's header; `lengths` tells each column's length otherwise.
    pub fn data(&self, lengths: impl Fn(u64, usize) -> u64) -> Vec<u8> {
        let mut data = Vec::new();
        put_number(&mut data, self.dependencies.len() as u64);
        self.dependencies.iter().for_each(|hash| data.extend_from_slice(hash));
        put_counted(&mut data, &self.actor);
        put_number(&mut data, self.sequence);
        put_number(&mut data, self.start);
        data.extend_from_slice(&self.time_and_message);
        put_number(&mut data, self.others.len() as u64);
        self.others.iter().for_each(|actor| put_counted(&mut data, actor));
        put_number(&mut data, self.columns.len() as u64);
        for (number, column) in &self.columns {
            put_number(&mut data, *number);
            put_number(&mut data, lengths(*number, column.len()));
        }
        self.columns.iter().for_each(|(_, column)| data.extend_from_slice(column));
        data.extend_from_slice(&self.extra);
        data
    }

    /// The chunk.
    pub fn to_bytes(&self) -> Vec<u8> {
        wrap(&self.data(|_, length| length as u64))
    }

    /// The chunk with its data deflated, as Automerge writes large ones.
    pub fn to_compressed(&self) -> Vec<u8> {
        let plain = self.to_bytes();
        let deflated = deflate(&self.data(|_, length| length as u64));
        // Its checksum is that of the uncompressed chunk.
        let mut chunk = [&MAGIC[..], &plain[4..8], &[COMPRESSED]].concat();
        put_counted(&mut chunk, &deflated);
        chunk
    }
}

/// A change chunk around this data, with its checksum.
pub fn wrap(data: &[u8]) -> Vec<u8> {
    let mut hashed = vec![CHANGE];
    put_counted(&mut hashed, data);
    let hash = Sha256::digest(&hashed);
    [&MAGIC[..], &hash[..4], &hashed].concat()
}

/// Makes the checksum of a chunk right again.
pub fn repair(chunk: &mut [u8]) {
    if let Some((head, hashed)) = chunk.split_at_mut_checked(8) {
        head[4..8].copy_from_slice(&Sha256::digest(hashed)[..4]);
    }
}

/// Deflates without a header.
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory takes what is written to it");
    encoder.finish().expect("memory takes what is written to it")
}

/// Appends a number as unsigned LEB128.
pub fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a number as signed LEB128: in a column, the length of a run.
pub fn put_signed(out: &mut Vec<u8>, mut number: i64) {
    loop {
        let byte = number as u8 & 0x7f;
        number >>= 7;
        if (number == 0 && byte & 0x40 == 0) || (number == -1 && byte & 0x40 != 0) {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

/// A column of one value, so many times.
pub fn run(count: i64, value: &[u8]) -> Vec<u8> {
    let mut column = Vec::new();
    put_signed(&mut column, count);
    column.extend_from_slice(value);
    column
}

fn put_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn take_counted<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_number(rest)?;
    take(rest, usize::try_from(length).ok()?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use carnet_node::chart::{Document, Edit, Resource, inspect};
    use serde_json::json;

    #[test]
    fn a_change_taken_apart_and_put_together_is_the_same() {
        let mut document = Document::new([7; 16]);
        let patient = Resource::from_value(json!({"resourceType": "Patient", "id": "a"})).unwrap();
        let written = document.write(5, &[Edit::Put(patient)]).unwrap().unwrap();
        let chunk = Chunk::read(&written.bytes).unwrap();
        assert_eq!(chunk.to_bytes(), written.bytes);
        let later = Chunk { sequence: 300, ..chunk };
        assert_eq!(inspect(&later.to_bytes()).unwrap().sequence, 300);
        let mut altered = written.bytes.clone();
        altered[5] ^= 1;
        assert!(inspect(&altered).is_err());
        repair(&mut altered);
        assert_eq!(altered, written.bytes);
    }

    #[test]
    fn runs_are_written_as_they_are_read() {
        assert_eq!(run(2, &[7]), [2, 7]);
        assert_eq!(run(-2, &[8, 9]), [0x7e, 8, 9]);
        assert_eq!(run(64, &[1]), [0xc0, 0, 1]);
    }
}
