//! Canonical bytes of the protocol's structures: postcard, one form for each value.
//!
//! What is decoded is encoded again and compared, so a structure has exactly one encoding and a
//! hash or signature over it means one thing. How many bytes may come is the caller's to bound,
//! before decoding.

use crate::error::Violation;
use serde::de::{DeserializeOwned, Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::marker::PhantomData;

/// The canonical encoding.
///
/// # Panics
/// If the type is one that postcard cannot encode (a sequence of unknown length), which is a bug.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("the protocol's types have a postcard encoding")
}

/// Decodes what [`encode`] made; anything else, trailing bytes included, is refused.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, Violation> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(|_| Violation::Encoding)?;
    if !rest.is_empty() || encode(&value) != bytes {
        return Err(Violation::Encoding);
    }
    Ok(value)
}

/// A list of at most `N`, for `deserialize_with`. A longer one is refused before the rest of it is
/// read: a byte can stand for an item that takes dozens in memory.
pub fn at_most<'de, D: Deserializer<'de>, T: Deserialize<'de>, const N: usize>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_seq(AtMost::<T, N>(PhantomData))
}

struct AtMost<T, const N: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for AtMost<T, N> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {N} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            if list.len() == N {
                return Err(A::Error::invalid_length(N + 1, &self));
            }
            list.push(item);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Few(#[serde(deserialize_with = "at_most::<_, _, 3>")] Vec<Option<[u8; 24]>>);

    #[test]
    fn a_list_that_is_too_long_is_refused_before_it_is_held() {
        for length in 0..=3 {
            let few = Few(vec![Some([7; 24]); length]);
            assert_eq!(decode(&encode(&few)), Ok(few));
        }
        let many = Few(vec![None; 4]);
        assert_eq!(decode::<Few>(&encode(&many)), Err(Violation::Encoding));
    }

    #[test]
    fn only_the_canonical_form_is_accepted() {
        let value = (300_u32, "Sédhiou".to_owned(), Some(7_u8));
        let bytes = encode(&value);
        assert_eq!(decode::<(u32, String, Option<u8>)>(&bytes), Ok(value));
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(decode::<(u32, String, Option<u8>)>(&longer), Err(Violation::Encoding));
        assert_eq!(decode::<(u32, String, Option<u8>)>(&bytes[..4]), Err(Violation::Encoding));
        // 5, spent on two bytes where one does.
        assert_eq!(decode::<u32>(&[0x85, 0x00]), Err(Violation::Encoding));
    }

    #[test]
    fn a_length_beyond_the_bytes_is_refused_without_reserving_it() {
        let claims_four_gigabytes = [0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3];
        assert_eq!(decode::<Vec<u64>>(&claims_four_gigabytes), Err(Violation::Encoding));
    }
}
