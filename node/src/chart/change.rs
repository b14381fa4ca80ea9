//! Reads an Automerge change without Automerge.
//!
//! The bytes come from a peer, and the library that they are meant for inflates, allocates and
//! panics on what it is given. So the chunk is taken apart here first, in time and memory linear
//! in its size: only an uncompressed change chunk with a right checksum passes, its columns must
//! be spelled as a node would spell them, and it may hold nothing but what charts are made of.
//! Format: <https://automerge.org/automerge-binary-format-spec/>.

mod brief;
mod column;

pub use self::brief::Brief;
use self::column::{Columns, Cursor};
use super::hostile::Refusal;
use sha2::{Digest, Sha256};

/// Operations in one change: an import of a full volume (2,000 resources of 15 elements) four
/// times over.
pub(crate) const OPERATIONS_MAX: usize = 131_072;

/// Bytes of one change: what the ledger takes as one payload.
pub(crate) const CHANGE_BYTES_MAX: usize = 4 << 20;

/// The name of who made a change, which Automerge calls its message.
const BY_BYTES_MAX: usize = 128;

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const CHUNK_CHANGE: u8 = 1;
const HASH_BYTES: usize = 32;

/// The id of an operation: its counter and its actor's place in the change.
pub(crate) type OperationId = (u64, usize);

/// A change, taken apart.
#[derive(Debug)]
pub(crate) struct RawChange<'a> {
    /// SHA-256 of the chunk: the change's name.
    pub(crate) hash: [u8; 32],
    /// The changes that its author had seen last.
    pub(crate) dependencies: Vec<[u8; 32]>,
    /// Its actor first, then those whose operations it overwrites.
    pub(crate) actors: Vec<[u8; 16]>,
    /// Its place among the actor's changes, from 1.
    pub(crate) sequence: u64,
    /// The counter of its first operation.
    pub(crate) start: u64,
    /// Its author's clock.
    pub(crate) unix_ms: u64,
    /// The person or program that made it, where the author's node named one.
    pub(crate) by: Option<&'a str>,
    /// The counter of its last operation.
    pub(crate) end: u64,
    /// What it does to registers, in order.
    pub(crate) operations: Vec<Operation<'a>>,
    /// What it does within texts, in order.
    pub(crate) typing: Vec<Typing<'a>>,
}

/// One operation on a register at the root.
#[derive(Debug, PartialEq)]
pub(crate) struct Operation<'a> {
    /// Its own counter.
    pub(crate) counter: u64,
    /// The name of the register.
    pub(crate) key: &'a str,
    /// The value written, or nothing for a removal.
    pub(crate) value: Option<Content<'a>>,
    /// The operations that it overwrites.
    pub(crate) overwrites: Vec<OperationId>,
}

/// One operation within a text.
#[derive(Debug, PartialEq)]
pub(crate) struct Typing<'a> {
    /// Its own counter; it names the character that it inserts.
    pub(crate) counter: u64,
    /// The operation that made the text.
    pub(crate) text: OperationId,
    /// What it does.
    pub(crate) stroke: Stroke<'a>,
}

/// What one operation does within a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Stroke<'a> {
    /// Puts a character after another one, or at the start.
    Insert {
        /// The character before it.
        after: Option<OperationId>,
        /// The character.
        character: &'a str,
    },
    /// Takes a character out.
    Remove(OperationId),
}

/// What a register holds, as Automerge stores it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Content<'a> {
    /// A boolean.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A string.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A text object, empty as yet.
    NewText,
}

impl<'a> RawChange<'a> {
    /// Takes a chunk apart, or says why it is refused.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Refusal> {
        if bytes.len() > CHANGE_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let (hash, data) = checked_chunk(bytes)?;
        let mut cursor = Cursor::new(data);
        let dependencies = (0..cursor.count(HASH_BYTES)?)
            .map(|_| cursor.take(HASH_BYTES).map(|hash| hash.try_into().expect("32 bytes taken")))
            .collect::<Result<Vec<[u8; 32]>, _>>()?;
        if !dependencies.is_sorted_by(|one, next| one < next) {
            return Err(Refusal::Malformed);
        }
        let own = actor(&mut cursor)?;
        let (sequence, start) = (cursor.unsigned()?, cursor.unsigned()?);
        let unix_ms = u64::try_from(cursor.signed()?).map_err(|_| Refusal::Malformed)?;
        let by = match cursor.count(1)? {
            0 => None,
            length if length > BY_BYTES_MAX => return Err(Refusal::TooLarge),
            length => Some(actor_name(cursor.take(length)?)?),
        };
        let mut actors = vec![own];
        for _ in 0..cursor.count(17)? {
            actors.push(actor(&mut cursor)?);
        }
        let columns = Columns::read(&mut cursor)?;
        if !cursor.is_empty() {
            return Err(Refusal::Foreign("extra bytes"));
        }
        let count = columns.count() as u64;
        if count == 0 || sequence == 0 || start == 0 {
            return Err(Refusal::Malformed);
        }
        let end = start.checked_add(count - 1).ok_or(Refusal::Malformed)?;
        if end >= u64::from(u32::MAX) {
            return Err(Refusal::Malformed);
        }
        let (operations, typing) = columns.operations(start, actors.len())?;
        Ok(Self {
            hash,
            dependencies,
            actors,
            sequence,
            start,
            unix_ms,
            by,
            end,
            operations,
            typing,
        })
    }
}

/// Who made the change: one line without spaces, as user ids and programs' ids are.
fn actor_name(bytes: &[u8]) -> Result<&str, Refusal> {
    let name = std::str::from_utf8(bytes).map_err(|_| Refusal::Malformed)?;
    if name.bytes().all(|b| b.is_ascii_graphic()) { Ok(name) } else { Err(Refusal::Malformed) }
}

/// The chunk's data, after magic, kind, length and checksum were found right.
fn checked_chunk(bytes: &[u8]) -> Result<([u8; 32], &[u8]), Refusal> {
    let mut cursor = Cursor::new(bytes);
    if cursor.take(4)? != MAGIC {
        return Err(Refusal::Malformed);
    }
    let checksum = cursor.take(4)?;
    if cursor.take(1)? != [CHUNK_CHANGE] {
        return Err(Refusal::Compressed);
    }
    let length = cursor.unsigned()?;
    let data = cursor.rest();
    if length != data.len() as u64 {
        return Err(Refusal::Malformed);
    }
    // What is hashed is the kind, the length and the data: all that stands after the checksum.
    let hash: [u8; 32] = Sha256::digest(&bytes[8..]).into();
    if hash[..4] != *checksum {
        return Err(Refusal::Checksum);
    }
    Ok((hash, data))
}

fn actor(cursor: &mut Cursor<'_>) -> Result<[u8; 16], Refusal> {
    let length = cursor.unsigned()?;
    if length != 16 {
        return Err(Refusal::Foreign("an actor of another length"));
    }
    Ok(cursor.take(16)?.try_into().expect("16 bytes taken"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use automerge::transaction::{CommitOptions, Transactable};
    use automerge::{ActorId, Automerge, ROOT, ReadDoc, ScalarValue};

    fn change(fill: impl FnOnce(&mut automerge::transaction::Transaction<'_>)) -> Vec<u8> {
        let mut document = Automerge::new().with_actor(ActorId::from([7; 16]));
        let mut transaction = document.transaction();
        fill(&mut transaction);
        let (hash, _) = transaction.commit_with(CommitOptions::default().with_time(1234));
        document.get_change_by_hash(&hash.unwrap()).unwrap().raw_bytes().to_vec()
    }

    #[test]
    fn every_operation_is_read() {
        let bytes = change(|t| {
            t.put(ROOT, "a", "text").unwrap();
            t.put(ROOT, "b", -70_000).unwrap();
            t.put(ROOT, "c", true).unwrap();
            t.put(ROOT, "d", ScalarValue::Bytes(vec![1, 2])).unwrap();
            t.put(ROOT, "e", "").unwrap();
            t.put(ROOT, "f", false).unwrap();
        });
        let change = RawChange::read(&bytes).unwrap();
        assert_eq!((change.sequence, change.start, change.unix_ms, change.end), (1, 1, 1234, 6));
        assert_eq!(change.actors, [[7; 16]]);
        let values: Vec<_> = change.operations.iter().map(|o| (o.key, o.value.unwrap())).collect();
        assert_eq!(
            values,
            [
                ("a", Content::Text("text")),
                ("b", Content::Integer(-70_000)),
                ("c", Content::Flag(true)),
                ("d", Content::Bytes(&[1, 2])),
                ("e", Content::Text("")),
                ("f", Content::Flag(false)),
            ]
        );
        let again = automerge::Change::from_bytes(bytes.clone()).unwrap();
        assert_eq!(again.hash().0, change.hash);
    }

    #[test]
    fn what_charts_are_not_made_of_is_refused() {
        use automerge::ObjType;
        for bytes in [
            change(|t| drop(t.put_object(ROOT, "m", ObjType::Map).unwrap())),
            change(|t| drop(t.put_object(ROOT, "l", ObjType::List).unwrap())),
            change(|t| t.put(ROOT, "f", 1.5).unwrap()),
            change(|t| t.put(ROOT, "n", ()).unwrap()),
            change(|t| t.put(ROOT, "u", 7_u64).unwrap()),
            change(|t| t.put(ROOT, "c", ScalarValue::counter(1)).unwrap()),
            change(|t| t.put(ROOT, "t", ScalarValue::Timestamp(1)).unwrap()),
        ] {
            assert!(matches!(RawChange::read(&bytes), Err(Refusal::Foreign(_))));
        }
    }

    #[test]
    fn a_deflated_chunk_is_refused_unread() {
        let mut document = Automerge::new().with_actor(ActorId::from([7; 16]));
        let mut transaction = document.transaction();
        transaction.put(ROOT, "a", "x".repeat(100_000)).unwrap();
        let (hash, _) = transaction.commit();
        let mut change = document.get_change_by_hash(&hash.unwrap()).unwrap();
        assert_eq!(RawChange::read(&change.bytes()).unwrap_err(), Refusal::Compressed);
        assert!(RawChange::read(change.raw_bytes()).is_ok());
        assert_eq!(RawChange::read(&document.save()).unwrap_err(), Refusal::Compressed);
    }

    #[test]
    fn dependencies_are_named_once_and_in_order() {
        let read = |dependencies: &[[u8; 32]]| {
            let bytes = change(|t| t.put(ROOT, "a", "text").unwrap());
            let mut data = vec![dependencies.len() as u8];
            data.extend(dependencies.concat());
            // Behind magic, checksum, kind and length, and the number of dependencies: none.
            data.extend(&bytes[11..]);
            let mut hashed = vec![CHUNK_CHANGE, data.len() as u8 & 0x7f | 0x80];
            hashed.push((data.len() >> 7) as u8);
            hashed.extend(data);
            let checksum = &Sha256::digest(&hashed)[..4];
            RawChange::read(&[&MAGIC[..], checksum, &hashed].concat()).map(|_| ())
        };
        assert_eq!(read(&[[1; 32], [2; 32], [3; 32]]), Ok(()));
        assert_eq!(read(&[[2; 32], [1; 32], [3; 32]]), Err(Refusal::Malformed));
        assert_eq!(read(&[[1; 32], [1; 32], [1; 32]]), Err(Refusal::Malformed));
    }

    #[test]
    fn a_wrong_checksum_is_refused_though_automerge_takes_it() {
        let mut bytes = change(|t| t.put(ROOT, "a", "text").unwrap());
        bytes[4] ^= 1;
        assert!(automerge::Change::from_bytes(bytes.clone()).is_ok());
        assert_eq!(RawChange::read(&bytes).unwrap_err(), Refusal::Checksum);
    }
}
