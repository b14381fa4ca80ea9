//! Types and ids in as few bytes as they take: with the keys that repeat them, most of an index
//! would be made of them.
//!
//! A type of R4 is kept as its number, and an id that is a UUID, as most are, as its 16 bytes.
//! Columns that hold them are declared without a type, or SQLite would make text of a number. Types
//! keep their order, and so do UUIDs among each other; they stand behind ids of other forms.

use crate::base::fhir::{type_name, type_number};
use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};

/// Where the hyphens of a UUID stand.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// A resource type, as the index keeps it.
#[derive(Clone, Copy)]
pub(super) struct Kind<'a>(pub &'a str);

impl ToSql for Kind<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match type_number(self.0) {
            Some(number) => i64::from(number).into(),
            None => self.0.into(),
        })
    }
}

/// A resource type that was kept so.
pub(super) struct KindText(pub String);

impl FromSql for KindText {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Integer(number) => {
                let name = u8::try_from(number).ok().and_then(type_name);
                name.map(|name| Self(name.to_owned())).ok_or(FromSqlError::OutOfRange(number))
            }
            text => text.as_str().map(|text| Self(text.to_owned())),
        }
    }
}

/// A resource's id, as the index keeps it.
#[derive(Clone, Copy)]
pub(super) enum Id<'a> {
    Uuid([u8; 16]),
    Other(&'a str),
}

impl<'a> From<&'a str> for Id<'a> {
    fn from(text: &'a str) -> Self {
        uuid(text).map_or(Self::Other(text), Self::Uuid)
    }
}

impl<'a> From<&'a String> for Id<'a> {
    fn from(text: &'a String) -> Self {
        text.as_str().into()
    }
}

impl ToSql for Id<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Uuid(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Self::Other(text) => (*text).into(),
        })
    }
}

/// A resource's id that was kept so.
pub(super) struct IdText(pub String);

impl FromSql for IdText {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Blob(bytes) => Ok(Self(spelled(bytes))),
            text => text.as_str().map(|text| Self(text.to_owned())),
        }
    }
}

/// A resource's id that was kept so, as short: to gather many and spell few.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum IdKey {
    Other(String),
    Uuid([u8; 16]),
}

impl IdKey {
    /// The id as it is written.
    pub fn spelled(&self) -> String {
        match self {
            Self::Other(text) => text.clone(),
            Self::Uuid(bytes) => spelled(bytes),
        }
    }
}

impl From<&str> for IdKey {
    fn from(text: &str) -> Self {
        uuid(text).map_or_else(|| Self::Other(text.to_owned()), Self::Uuid)
    }
}

impl FromSql for IdKey {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Blob(bytes) => {
                bytes.try_into().map(Self::Uuid).map_err(|_| FromSqlError::InvalidType)
            }
            text => text.as_str().map(|text| Self::Other(text.to_owned())),
        }
    }
}

/// The bytes of a UUID in its usual spelling: small letters, four hyphens.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let text = text.as_bytes();
    if text.len() != 36 {
        return None;
    }
    let mut bytes = [0; 16];
    let mut digits = 0;
    for (at, byte) in text.iter().enumerate() {
        if HYPHENS.contains(&at) {
            if *byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        bytes[digits / 2] = bytes[digits / 2] << 4 | digit;
        digits += 1;
    }
    Some(bytes)
}

fn spelled(bytes: &[u8]) -> String {
    let mut text = data_encoding::HEXLOWER.encode(bytes);
    for at in HYPHENS {
        if at < text.len() {
            text.insert(at, '-');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    #[test]
    fn types_and_ids_come_back_as_they_were_and_keep_their_order() {
        let database = Connection::open_in_memory().unwrap();
        database.execute_batch("CREATE TABLE t (kind, id, PRIMARY KEY (kind, id))").unwrap();
        let ids = [
            "",
            "0f2e4d6c-8b0a-4c3d-9e1f-000000000000",
            "0F2E4D6C-8B0A-4C3D-9E1F-000000000000",
            "0f2e4d6c-8b0a-4c3d-9e1f-00000000000",
            "0f2e4d6c08b0a-4c3d-9e1f-000000000000",
            "0f2e4d6c-8b0a-4c3d-9e1f-00000000000g",
            "ff2e4d6c-8b0a-4c3d-9e1f-00000000000a",
            "123456789012345678901234567890123456",
            "1234",
            "abcdefabcdefabcd",
            "Ünïcödé-éééééééééééééééééééé",
        ];
        let kinds = ["Patient", "Account", "VisionPrescription", "NoSuchType", "0"];
        for kind in kinds {
            for id in ids {
                let row = (Kind(kind), Id::from(id));
                database.execute("INSERT INTO t VALUES (?1, ?2)", row).unwrap();
            }
        }
        let read = |row: &rusqlite::Row<'_>| {
            Ok((row.get::<_, KindText>(0)?.0, row.get::<_, IdText>(1)?.0))
        };
        let mut all = database.prepare("SELECT kind, id FROM t ORDER BY kind, id").unwrap();
        let all: Vec<(String, String)> =
            all.query_map([], read).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(all.len(), kinds.len() * ids.len());
        for kind in kinds {
            for id in ids {
                assert!(all.contains(&(kind.to_owned(), id.to_owned())), "{kind} {id}");
            }
        }
        let known: Vec<&str> = all.chunk_by(|a, b| a.0 == b.0).map(|c| c[0].0.as_str()).collect();
        assert_eq!(known, ["Account", "Patient", "VisionPrescription", "0", "NoSuchType"]);
        let uuids: Vec<&str> =
            all.iter().filter(|(_, id)| uuid(id).is_some()).map(|(_, id)| id.as_str()).collect();
        assert_eq!(uuids.len(), 2 * kinds.len());
        assert!(uuids.chunks(2).all(|pair| pair[0] < pair[1]));
    }
}
