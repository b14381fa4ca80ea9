//! The columns of a change: run-length encoded, one value for each operation.
//!
//! A run of a few bytes can stand for 2^63 rows, which is why every column is counted against
//! [`OPERATIONS_MAX`] while it is read.

use super::{Content, OPERATIONS_MAX, Operation, OperationId, Stroke, Typing};
use crate::chart::hostile::Refusal;

/// Reads from bytes, and never past their end.
pub(super) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Refusal> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Refusal::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number of things of at least this size, which must all still fit.
    pub(super) fn count(&mut self, item_bytes: usize) -> Result<usize, Refusal> {
        let count = usize::try_from(self.unsigned()?).map_err(|_| Refusal::Malformed)?;
        let fits = count.checked_mul(item_bytes).is_some_and(|bytes| bytes <= self.0.len());
        if fits { Ok(count) } else { Err(Refusal::Malformed) }
    }

    /// LEB128, in its shortest form only.
    pub(super) fn unsigned(&mut self) -> Result<u64, Refusal> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            let part = u64::from(byte & 0x7f);
            if (part << shift) >> shift != part {
                return Err(Refusal::Malformed);
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                let shortest = byte != 0 || shift == 0;
                return if shortest { Ok(value) } else { Err(Refusal::Malformed) };
            }
        }
        Err(Refusal::Malformed)
    }

    /// Signed LEB128.
    pub(super) fn signed(&mut self) -> Result<i64, Refusal> {
        let mut value = 0_i64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let unused = 64_u32.saturating_sub(shift + 7);
                let negative = byte & 0x40 != 0;
                return Ok(if negative && unused > 0 {
                    value | (-1_i64 << (shift + 7))
                } else {
                    value
                });
            }
        }
        Err(Refusal::Malformed)
    }

    fn text(&mut self) -> Result<&'a str, Refusal> {
        let length = self.count(1)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| Refusal::Malformed)
    }
}

/// The columns that a chart's changes have.
#[derive(Default)]
pub(super) struct Columns<'a> {
    text_actors: Vec<Option<u64>>,
    text_counters: Vec<Option<u64>>,
    character_actors: Vec<Option<u64>>,
    character_counters: Vec<Option<i64>>,
    keys: Vec<Option<&'a str>>,
    insertions: Vec<bool>,
    actions: Vec<Option<u64>>,
    value_kinds: Vec<Option<u64>>,
    values: &'a [u8],
    overwritten: Vec<Option<u64>>,
    overwritten_actors: Vec<Option<u64>>,
    overwritten_counters: Vec<Option<i64>>,
}

// A column's number is its id, shifted by four, and the kind of its values.
const TEXT_ACTOR: u64 = 1;
const TEXT_COUNTER: u64 = 2;
const CHARACTER_ACTOR: u64 = 1 << 4 | 1;
const CHARACTER_COUNTER: u64 = 1 << 4 | 3;
const KEY: u64 = 1 << 4 | 5;
const INSERT: u64 = 3 << 4 | 4;
const ACTION: u64 = 4 << 4 | 2;
const VALUE_KIND: u64 = 5 << 4 | 6;
const VALUE: u64 = 5 << 4 | 7;
const OVERWRITTEN: u64 = 7 << 4;
const OVERWRITTEN_ACTOR: u64 = 7 << 4 | 1;
const OVERWRITTEN_COUNTER: u64 = 7 << 4 | 3;
const EXPAND: u64 = 9 << 4 | 4;
const DEFLATED: u64 = 8;

const SET: u64 = 1;
const DELETE: u64 = 3;
const MAKE_TEXT: u64 = 4;

impl<'a> Columns<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Refusal> {
        let count = cursor.count(2)?;
        let mut layout = Vec::with_capacity(count);
        for _ in 0..count {
            let (number, length) = (cursor.unsigned()?, cursor.unsigned()?);
            if number & DEFLATED != 0 {
                return Err(Refusal::Compressed);
            }
            if layout.last().is_some_and(|(last, _)| *last >= number) {
                return Err(Refusal::Malformed);
            }
            layout.push((number, usize::try_from(length).map_err(|_| Refusal::Malformed)?));
        }
        let mut columns = Self::default();
        for (number, length) in layout {
            let data = Cursor::new(cursor.take(length)?);
            match number {
                TEXT_ACTOR => columns.text_actors = runs(data, Cursor::unsigned)?,
                TEXT_COUNTER => columns.text_counters = runs(data, Cursor::unsigned)?,
                CHARACTER_ACTOR => columns.character_actors = runs(data, Cursor::unsigned)?,
                CHARACTER_COUNTER => columns.character_counters = deltas(data)?,
                KEY => columns.keys = runs(data, Cursor::text)?,
                ACTION => columns.actions = runs(data, Cursor::unsigned)?,
                VALUE_KIND => columns.value_kinds = runs(data, Cursor::unsigned)?,
                VALUE => columns.values = data.rest(),
                OVERWRITTEN => columns.overwritten = runs(data, Cursor::unsigned)?,
                OVERWRITTEN_ACTOR => columns.overwritten_actors = runs(data, Cursor::unsigned)?,
                OVERWRITTEN_COUNTER => columns.overwritten_counters = deltas(data)?,
                INSERT => columns.insertions = flags(data)?,
                EXPAND => {
                    if flags(data)?.contains(&true) {
                        return Err(Refusal::Foreign("a mark in a text"));
                    }
                }
                _ => return Err(Refusal::Foreign("what neither registers nor texts have")),
            }
        }
        Ok(columns)
    }

    /// How many operations there are.
    pub(super) fn count(&self) -> usize {
        self.actions.len()
    }

    /// One operation for each row, the first of which has this counter.
    pub(super) fn operations(
        &self,
        start: u64,
        actors: usize,
    ) -> Result<(Vec<Operation<'a>>, Vec<Typing<'a>>), Refusal> {
        if self.longest() > self.count() {
            return Err(Refusal::Malformed);
        }
        let mut values = Cursor::new(self.values);
        let mut overwritten =
            self.overwritten_counters.iter().copied().zip(self.overwritten_actors.iter().copied());
        let (mut operations, mut typing) = (Vec::new(), Vec::new());
        for (row, counter) in (0..self.count()).zip(start..) {
            let value = content(at(&self.value_kinds, row).unwrap_or(0), &mut values)?;
            let count = at(&self.overwritten, row).unwrap_or(0);
            let count = usize::try_from(count).map_err(|_| Refusal::Malformed)?;
            let overwrites = overwritten.by_ref().take(count).map(|id| operation_id(id, actors));
            let overwrites = overwrites.collect::<Result<Vec<_>, _>>()?;
            if overwrites.len() != count {
                return Err(Refusal::Malformed);
            }
            match (at(&self.text_counters, row), at(&self.text_actors, row)) {
                (None, None) => {
                    let (key, value) = self.register(row, value)?;
                    operations.push(Operation { counter, key, value, overwrites });
                }
                (text, actor) => {
                    let text = operation_id((text.and_then(|c| c.try_into().ok()), actor), actors)?;
                    let stroke = self.stroke(row, value, &overwrites, actors)?;
                    typing.push(Typing { counter, text, stroke });
                }
            }
        }
        let left_over = overwritten.next().is_some()
            || self.overwritten_counters.len() != self.overwritten_actors.len();
        if left_over || !values.is_empty() {
            return Err(Refusal::Malformed);
        }
        Ok((operations, typing))
    }

    fn longest(&self) -> usize {
        let of_texts = self.text_actors.len().max(self.text_counters.len());
        let of_characters = self.character_actors.len().max(self.character_counters.len());
        let of_values = self.value_kinds.len().max(self.overwritten.len());
        let of_keys = self.keys.len().max(self.insertions.len());
        of_texts.max(of_characters).max(of_values).max(of_keys)
    }

    /// The name of the register in this row, and what is written to it.
    fn register(
        &self,
        row: usize,
        value: Option<Content<'a>>,
    ) -> Result<(&'a str, Option<Content<'a>>), Refusal> {
        let value = match (self.actions[row], value) {
            (Some(SET), Some(value)) => Some(value),
            (Some(MAKE_TEXT), None) => Some(Content::NewText),
            (Some(DELETE), None) => None,
            _ => return Err(Refusal::Foreign("an operation that charts don't have")),
        };
        let of_a_text = self.is_insertion(row)
            || at(&self.character_counters, row).is_some()
            || at(&self.character_actors, row).is_some();
        let key = at(&self.keys, row).filter(|_| !of_a_text).ok_or(Refusal::Malformed)?;
        Ok((key, value))
    }

    /// What the operation in this row does within a text: no more than insert or remove one
    /// character.
    fn stroke(
        &self,
        row: usize,
        value: Option<Content<'a>>,
        overwrites: &[OperationId],
        actors: usize,
    ) -> Result<Stroke<'a>, Refusal> {
        if at(&self.keys, row).is_some() {
            return Err(Refusal::Malformed);
        }
        let at_start = (Some(0), None);
        let place = match (at(&self.character_counters, row), at(&self.character_actors, row)) {
            place if place == at_start => None,
            place => Some(operation_id(place, actors)?),
        };
        match (self.actions[row], value, self.is_insertion(row)) {
            (Some(SET), Some(Content::Text(character)), true) if overwrites.is_empty() => {
                let mut characters = character.chars();
                if characters.next().is_none() || characters.next().is_some() {
                    return Err(Refusal::Foreign("a text that is not typed by characters"));
                }
                Ok(Stroke::Insert { after: place, character })
            }
            (Some(DELETE), None, false) => {
                let removed = place.filter(|place| overwrites == [*place]);
                removed.map(Stroke::Remove).ok_or(Refusal::Overwrites)
            }
            _ => Err(Refusal::Foreign("an operation that texts don't have")),
        }
    }

    fn is_insertion(&self, row: usize) -> bool {
        self.insertions.get(row).copied().unwrap_or(false)
    }
}

fn at<T: Copy>(column: &[Option<T>], row: usize) -> Option<T> {
    column.get(row).copied().flatten()
}

fn operation_id(
    (counter, actor): (Option<i64>, Option<u64>),
    actors: usize,
) -> Result<OperationId, Refusal> {
    let counter = counter.and_then(|counter| u64::try_from(counter).ok());
    let actor = actor.and_then(|actor| usize::try_from(actor).ok()).filter(|at| *at < actors);
    counter.zip(actor).ok_or(Refusal::Malformed)
}

fn content<'a>(kind: u64, values: &mut Cursor<'a>) -> Result<Option<Content<'a>>, Refusal> {
    let length = usize::try_from(kind >> 4).map_err(|_| Refusal::Malformed)?;
    let bytes = values.take(length)?;
    Ok(Some(match (kind & 15, length) {
        (0, 0) => return Ok(None),
        (1, 0) => Content::Flag(false),
        (2, 0) => Content::Flag(true),
        (4, _) => {
            let mut number = Cursor::new(bytes);
            let whole = number.signed()?;
            if !number.is_empty() {
                return Err(Refusal::Malformed);
            }
            Content::Integer(whole)
        }
        (6, _) => Content::Text(std::str::from_utf8(bytes).map_err(|_| Refusal::Malformed)?),
        (7, _) => Content::Bytes(bytes),
        _ => return Err(Refusal::Foreign("a value that charts don't have")),
    }))
}

/// A run-length encoded column: a positive number and one value, a negative number and that many
/// values, or zero and a number of absent values.
fn runs<'a, T: Copy>(
    mut data: Cursor<'a>,
    mut read: impl FnMut(&mut Cursor<'a>) -> Result<T, Refusal>,
) -> Result<Vec<Option<T>>, Refusal> {
    let mut values = Vec::new();
    while !data.is_empty() {
        let run = data.signed()?;
        let length = if run == 0 { data.unsigned()? } else { run.unsigned_abs() };
        if length == 0 || length > (OPERATIONS_MAX - values.len()) as u64 {
            return Err(if length == 0 { Refusal::Malformed } else { Refusal::TooLarge });
        }
        let length = length as usize;
        match run {
            0 => values.resize(values.len() + length, None),
            1.. => {
                let value = read(&mut data)?;
                values.resize(values.len() + length, Some(value));
            }
            _ => {
                for _ in 0..length {
                    values.push(Some(read(&mut data)?));
                }
            }
        }
    }
    Ok(values)
}

/// Like [`runs`], each value being the difference from the one before.
fn deltas(data: Cursor<'_>) -> Result<Vec<Option<i64>>, Refusal> {
    let mut sum = 0_i64;
    let mut values = runs(data, Cursor::signed)?;
    for delta in values.iter_mut().flatten() {
        sum = sum.checked_add(*delta).ok_or(Refusal::Malformed)?;
        *delta = sum;
    }
    Ok(values)
}

/// A column of booleans holds lengths of runs, the first of which is false.
fn flags(mut data: Cursor<'_>) -> Result<Vec<bool>, Refusal> {
    let mut flags = Vec::new();
    let mut flag = false;
    while !data.is_empty() {
        let length = data.unsigned()?;
        if length > (OPERATIONS_MAX - flags.len()) as u64 {
            return Err(Refusal::TooLarge);
        }
        let is_first = flags.is_empty() && !flag;
        if length == 0 && !is_first {
            return Err(Refusal::Malformed);
        }
        flags.resize(flags.len() + length as usize, flag);
        flag = !flag;
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_to_their_limits() {
        let unsigned = |bytes: &[u8]| Cursor::new(bytes).unsigned();
        assert_eq!(unsigned(&[0xe5, 0x8e, 0x26]), Ok(624_485));
        let max = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(unsigned(&max), Ok(u64::MAX));
        for bad in [
            &[0x80][..],
            &[],
            &[0x80, 0x00],
            &[0xff; 11],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
        ] {
            assert_eq!(unsigned(bad), Err(Refusal::Malformed));
        }
        let signed = |bytes: &[u8]| Cursor::new(bytes).signed();
        assert_eq!(signed(&[0x7f]), Ok(-1));
        assert_eq!(signed(&[0xc0, 0xbb, 0x78]), Ok(-123_456));
        let min = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f];
        assert_eq!(signed(&min), Ok(i64::MIN));
    }

    #[test]
    fn a_run_can_stand_for_no_more_rows_than_a_change_may_have() {
        // 2^62 rows in eleven bytes.
        let bomb = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0xc0, 0x00, 0x01];
        assert_eq!(runs(Cursor::new(&bomb), Cursor::unsigned), Err(Refusal::TooLarge));
        let nulls = [0x00, 0xff, 0xff, 0xff, 0xff, 0x0f];
        assert_eq!(runs(Cursor::new(&nulls), Cursor::unsigned), Err(Refusal::TooLarge));
        let nothing = [0x00, 0x00];
        assert_eq!(runs(Cursor::new(&nothing), Cursor::unsigned), Err(Refusal::Malformed));
        let read = runs(Cursor::new(&[2, 7, 0x7e, 8, 9, 0, 1]), Cursor::unsigned).unwrap();
        assert_eq!(read, [Some(7), Some(7), Some(8), Some(9), None]);
    }
}
