//! Samples, altered: where a decoder is likely to stumble, and otherwise anywhere.

use crate::chance::Chance;
use crate::chunk::{self, Chunk, column, put_number, put_signed};
use crate::decoders::Form;

/// The longest that an altered sample may become: what inflates has to be small first.
const BYTES_MAX: usize = 256 << 10;

/// Numbers at the edges of what is counted.
const NUMBERS: [u64; 14] = [
    0,
    1,
    127,
    128,
    255,
    256,
    0xffff,
    1 << 20,
    u32::MAX as u64 - 1,
    u32::MAX as u64,
    1 << 40,
    1 << 60,
    i64::MAX as u64,
    u64::MAX,
];

/// Pieces of text at which readers of JSON and of codes stumble.
const PIECES: [&str; 20] = [
    "[",
    "]",
    "{",
    "}",
    "\"",
    ",",
    ":",
    "\\u0000",
    "\\ud800",
    "null",
    "1e999999999",
    "-0",
    "0.00000000000000000000000000000000001",
    "é",
    "\u{202e}",
    "\u{0}",
    "resourceType",
    "Bundle",
    "urn:uuid:",
    "//",
];

/// A sample, altered; `other` is another sample of the same decoder.
pub fn mutate(form: Form, sample: &[u8], other: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = match form {
        Form::Change if !chance.one_in(4) => change(sample, other, chance),
        _ => sample.to_vec(),
    };
    if form != Form::Change || chance.one_in(2) {
        for _ in 0..chance.between(1, 4) {
            alter(form, &mut bytes, other, chance);
            bytes.truncate(BYTES_MAX);
        }
    }
    if form == Form::Change && !chance.one_in(8) {
        chunk::repair(&mut bytes);
    }
    bytes
}

/// One alteration somewhere.
fn alter(form: Form, bytes: &mut Vec<u8>, other: &[u8], chance: &mut Chance) {
    let at = chance.index(bytes.len() + 1);
    let length = 1 + chance.index(bytes.len().saturating_sub(at).min(64));
    let end = (at + length).min(bytes.len());
    match chance.below(if form == Form::Text { 12 } else { 10 }) {
        0 | 1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << chance.below(8);
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = *chance.pick(&[0, 1, 0x7f, 0x80, 0xff, b'9', b'"']).unwrap_or(&0);
            }
        }
        3 => drop(bytes.drain(at.min(end)..end)),
        4 => {
            let piece = bytes[at.min(end)..end].to_vec();
            insert(bytes, at, &piece);
        }
        5 => {
            let from = chance.index(other.len() + 1);
            let until = (from + 1 + chance.index(256)).min(other.len());
            insert(bytes, at, &other[from.min(until)..until]);
        }
        6 => bytes.truncate(at),
        7 => {
            let mut number = Vec::new();
            put_number(&mut number, *chance.pick(&NUMBERS).unwrap_or(&0));
            bytes.splice(at.min(end)..end, number);
        }
        8 => {
            let number = *chance.pick(&NUMBERS).unwrap_or(&0);
            let number = if chance.one_in(2) { number.to_be_bytes() } else { number.to_le_bytes() };
            let width = *chance.pick(&[1, 2, 4, 8]).unwrap_or(&4);
            for (place, byte) in bytes.iter_mut().skip(at).take(width).zip(&number[..width]) {
                *place = *byte;
            }
        }
        9 => {
            let times = 1 + chance.below(10);
            let piece = bytes[at.min(end)..end].repeat(chance.index(1 << times) + 1);
            insert(bytes, at, &piece);
        }
        _ => {
            let piece = chance.pick(&PIECES).copied().unwrap_or_default();
            let times = if chance.one_in(4) { 1 << chance.below(13) } else { 1 };
            insert(bytes, at, &piece.as_bytes().repeat(times));
        }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let at = at.min(bytes.len());
    bytes.splice(at..at, piece.iter().copied());
}

/// A change whose fields or columns are others.
fn change(sample: &[u8], other: &[u8], chance: &mut Chance) -> Vec<u8> {
    let Some(mut chunk) = Chunk::read(sample) else { return sample.to_vec() };
    let other = Chunk::read(other);
    for _ in 0..chance.between(1, 3) {
        field(&mut chunk, other.as_ref(), chance);
    }
    match chance.below(32) {
        0 => chunk.to_compressed(),
        1 => {
            let wrong = *chance.pick(&NUMBERS).unwrap_or(&0);
            let which = chance.index(chunk.columns.len().max(1));
            let number = chunk.columns.get(which).map_or(0, |(number, _)| *number);
            let length = |at: u64, length: usize| if at == number { wrong } else { length as u64 };
            chunk::wrap(&chunk.data(length))
        }
        _ => chunk.to_bytes(),
    }
}

fn field(chunk: &mut Chunk, other: Option<&Chunk>, chance: &mut Chance) {
    let number = *chance.pick(&NUMBERS).unwrap_or(&0);
    match chance.below(12) {
        0 => chunk.sequence = number,
        1 => chunk.start = number,
        2 => chunk.sequence = chunk.sequence.wrapping_add(chance.below(3)).wrapping_sub(1),
        3 => chunk.start = chunk.start.wrapping_add(chance.below(5)).wrapping_sub(2),
        4 => match chance.below(3) {
            0 => chunk.dependencies.push(chance.bytes()),
            1 => drop(chunk.dependencies.pop()),
            _ => chunk.dependencies.extend(other.iter().flat_map(|o| o.dependencies.clone())),
        },
        5 => match (chance.below(2), other) {
            (0, Some(other)) => chunk.actor.clone_from(&other.actor),
            _ => chunk.others.push(chance.bytes::<16>().to_vec()),
        },
        6 => {
            if let Some((number, column)) = other.and_then(|other| chance.pick(&other.columns)) {
                chunk.column(*number).clone_from(column);
            }
        }
        7 => {
            let kinds = [
                column::KEY,
                column::ACTION,
                column::VALUE_KIND,
                column::OVERWRITTEN,
                column::OVERWRITTEN_COUNTER,
                column::CHARACTER_COUNTER,
            ];
            let kind = *chance.pick(&kinds).unwrap_or(&column::KEY);
            let mut run = Vec::new();
            put_signed(&mut run, number as i64 >> chance.below(64));
            put_signed(&mut run, (number >> chance.below(64)) as i64);
            let column = chunk.column(kind);
            let at = chance.index(column.len() + 1);
            insert(column, at, &run);
        }
        _ => {
            let which = chance.index(chunk.columns.len().max(1));
            if let Some((_, column)) = chunk.columns.get_mut(which) {
                alter(Form::Bytes, column, &[0, 1, 2, 0x7f], chance);
                column.truncate(BYTES_MAX);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_chance_makes_the_same_of_a_sample() {
        let made = |seed| mutate(Form::Text, b"{\"a\": 1}", b"[2]", &mut Chance::new(seed));
        assert_eq!(made(7), made(7));
        assert!((0..64).any(|seed| made(seed) != made(7)));
        assert!((0..999).all(|seed| made(seed).len() <= BYTES_MAX));
    }
}
