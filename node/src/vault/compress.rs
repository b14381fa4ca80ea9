//! Compression before sealing: zstd, bounded, with the codec's number naming exactly how.
//!
//! | codec | meaning |
//! |---|---|
//! | 16 | zstd 1.5, level 6, `dictionary-v1.bin` |
//! | 17 | zstd 1.5, level 6, no dictionary |
//!
//! A number, once used, never changes its meaning: a better dictionary is a new number. The
//! dictionary is trained by `carnet-simulations train-dictionary`, on invented patients and on
//! public-domain examples, so that it tells nothing of anybody. The frame carries the length of what it holds,
//! and that is checked before anything is allocated, so that a bomb costs its sender and not us.
//! The four bytes that begin every zstd frame are left out.

use super::error::VaultError;
use carnet_sync_protocol::entry::Codec;
use std::cell::RefCell;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, get_frame_content_size};

/// Zstd with the first dictionary.
const TRAINED: Codec = Codec(16);

/// Zstd without a dictionary.
const PLAIN: Codec = Codec(17);

/// The codec with which this version writes.
pub const CODEC: Codec = TRAINED;

/// The codecs that this version reads, the preferred one first.
pub const CODECS: &[Codec] = &[TRAINED, PLAIN];

/// The longest change before compression: what fits a payload even if it can't be compressed.
pub const CHANGE_BYTES_MAX: usize = carnet_sync_protocol::limit::PAYLOAD_BYTES_MAX - (64 << 10);

/// What codec 16 refers to; not a byte of it may ever change.
const DICTIONARY: &[u8] = include_bytes!("dictionary-v1.bin");

/// A level that pays off for small changes and still takes 50 MB in a second.
const LEVEL: i32 = 6;

/// What the index keeps is compressed at each change of a resource, and never travels; small texts
/// come out no longer than at the level of changes.
const INDEX_LEVEL: i32 = 3;

/// Blocks are compressed once for each peer, and every byte of them costs time on a bad line. Level 12
/// saves three bytes in a thousand more, in five times the time: on a good line it was half of what a
/// first sync cost the sender.
const BLOCK_LEVEL: i32 = 9;

/// Packs are compressed once, in idle time, and are there for years.
const PACK_LEVEL: i32 = 15;

/// What every zstd frame begins with (RFC 8878, 3.1.1).
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Both directions of a codec. Contexts are costly to make, so each thread keeps its own.
struct Zstd {
    compressor: Compressor<'static>,
    decompressor: Decompressor<'static>,
}

impl Zstd {
    fn plain() -> Self {
        Self::new(Compressor::new(LEVEL), Decompressor::new())
    }

    /// With the first dictionary.
    fn trained(level: i32) -> Self {
        Self::new(
            Compressor::with_dictionary(level, DICTIONARY),
            Decompressor::with_dictionary(DICTIONARY),
        )
    }

    fn new(
        compressor: std::io::Result<Compressor<'static>>,
        decompressor: std::io::Result<Decompressor<'static>>,
    ) -> Self {
        const REASON: &str = "zstd makes a context for constant parameters";
        let mut compressor = compressor.expect(REASON);
        compressor.set_parameter(CParameter::DictIdFlag(false)).expect(REASON);
        Self { compressor, decompressor: decompressor.expect(REASON) }
    }
}

thread_local! {
    static TRAINED_ZSTD: RefCell<Zstd> = RefCell::new(Zstd::trained(LEVEL));
    static BLOCK_ZSTD: RefCell<Zstd> = RefCell::new(Zstd::trained(BLOCK_LEVEL));
    static PACK_ZSTD: RefCell<Zstd> = RefCell::new(Zstd::trained(PACK_LEVEL));
    static INDEX_ZSTD: RefCell<Zstd> = RefCell::new(Zstd::trained(INDEX_LEVEL));
    static PLAIN_ZSTD: RefCell<Zstd> = RefCell::new(Zstd::plain());
}

fn with_zstd<T>(codec: Codec, act: impl FnOnce(&mut Zstd) -> T) -> Result<T, VaultError> {
    match codec {
        TRAINED => Ok(TRAINED_ZSTD.with_borrow_mut(act)),
        PLAIN => Ok(PLAIN_ZSTD.with_borrow_mut(act)),
        unknown => Err(VaultError::UnknownCodec(unknown)),
    }
}

/// Compresses a change.
pub(super) fn compress(codec: Codec, change: &[u8]) -> Result<Vec<u8>, VaultError> {
    if change.len() > CHANGE_BYTES_MAX {
        return Err(VaultError::TooLarge { max: CHANGE_BYTES_MAX });
    }
    let mut frame = with_zstd(codec, |zstd| zstd.compressor.compress(change))?
        .expect("zstd compresses whatever fits in memory");
    frame.drain(..MAGIC.len());
    Ok(frame)
}

/// The change that was compressed to `body`, never longer than [`CHANGE_BYTES_MAX`].
pub(super) fn decompress(codec: Codec, body: &[u8]) -> Result<Vec<u8>, VaultError> {
    with_zstd(codec, |zstd| zstd.unpack(&framed(body), CHANGE_BYTES_MAX))?
}

/// Compresses what the index keeps of a resource or document, with the dictionary.
pub fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut frame = INDEX_ZSTD
        .with_borrow_mut(|zstd| zstd.compressor.compress(bytes))
        .expect("zstd compresses whatever fits in memory");
    frame.drain(..MAGIC.len());
    frame
}

/// What [`pack`] compressed, if it is no longer than `bytes_max`.
pub fn unpack(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, VaultError> {
    INDEX_ZSTD.with_borrow_mut(|zstd| zstd.unpack(&framed(packed), bytes_max))
}

/// A frame with the four bytes that were left out.
fn framed(body: &[u8]) -> Vec<u8> {
    [&MAGIC, body].concat()
}

/// Compresses a block of changes, with the first dictionary.
pub(super) fn pack_block(bytes: &[u8]) -> Vec<u8> {
    BLOCK_ZSTD
        .with_borrow_mut(|zstd| zstd.compressor.compress(bytes))
        .expect("zstd compresses whatever fits in memory")
}

/// What [`pack_block`] compressed, if it is no longer than `bytes_max`.
pub(super) fn unpack_block(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, VaultError> {
    BLOCK_ZSTD.with_borrow_mut(|zstd| zstd.unpack(packed, bytes_max))
}

/// Compresses a pack, with the first dictionary.
pub(super) fn pack_densely(bytes: &[u8]) -> Vec<u8> {
    PACK_ZSTD
        .with_borrow_mut(|zstd| zstd.compressor.compress(bytes))
        .expect("zstd compresses whatever fits in memory")
}

/// What [`pack_densely`] compressed, if it is no longer than `bytes_max`.
pub(super) fn unpack_dense(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, VaultError> {
    PACK_ZSTD.with_borrow_mut(|zstd| zstd.unpack(packed, bytes_max))
}

impl Zstd {
    fn unpack(&mut self, packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, VaultError> {
        let Ok(Some(length)) = get_frame_content_size(packed) else {
            return Err(VaultError::Malformed);
        };
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= bytes_max)
            .ok_or(VaultError::TooLarge { max: bytes_max })?;
        let mut bytes = Vec::with_capacity(length);
        self.decompressor
            .decompress_to_buffer(packed, &mut bytes)
            .map_err(|_| VaultError::Malformed)?;
        if bytes.len() == length { Ok(bytes) } else { Err(VaultError::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_that_is_read_gives_back_what_was_written() {
        for codec in CODECS {
            for change in [vec![], b"a".to_vec(), vec![7; 100_000], vec![9; CHANGE_BYTES_MAX]] {
                let body = compress(*codec, &change).unwrap();
                assert!(body.len() < change.len().max(16));
                assert_eq!(decompress(*codec, &body).unwrap(), change);
            }
        }
        let unknown = compress(Codec(999), b"a");
        assert!(matches!(unknown, Err(VaultError::UnknownCodec(Codec(999)))));
    }

    #[test]
    fn the_dictionary_is_the_one_that_its_codec_names_and_pays_for_itself() {
        assert_eq!(
            blake3::hash(DICTIONARY).to_hex().as_str(),
            "8c869ad921581d13b313734694a899544dabdfba13c901686e4a375fcdf0b394",
            "codec 16 is this dictionary for ever: give another one a new number"
        );
        let change = br#"{"code":{"coding":[{"code":"8867-4","display":"Heart rate",
            "system":"http://loinc.org"}]},"status":"final","valueQuantity":{"value":81}}"#;
        let trained = compress(TRAINED, change).unwrap();
        assert!(trained.len() * 2 < compress(PLAIN, change).unwrap().len());
        // What one codec wrote, the other must not take for its own.
        assert!(decompress(PLAIN, &trained).is_err());
    }

    /// Texts as changes are: short and long, alike and not.
    fn samples() -> Vec<Vec<u8>> {
        let line = |n: usize| {
            format!(
                "Observation/{n}/valueQuantity{{\"value\":{},\"unit\":\"kg\",\"code\":\"29463-7\"}}",
                n * 7919 % 200
            )
        };
        let lines = |count: usize| (0..count).map(line).collect::<String>().into_bytes();
        let mut noise = vec![0; 5000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        vec![lines(0), lines(1), lines(5), lines(200), lines(10_000), noise]
    }

    #[test]
    fn what_a_codec_makes_of_a_change_never_changes() {
        let made = |codec| {
            let mut hasher = blake3::Hasher::new();
            for sample in samples() {
                let body = compress(codec, &sample).unwrap();
                hasher.update(&(body.len() as u64).to_be_bytes()).update(&body);
            }
            hasher.finalize().to_hex().to_string()
        };
        // Packs and joint runs leave payloads out that this node can make again, bit for bit. A
        // zstd that compresses otherwise makes other ones: what is packed would be lost to whoever
        // asks for it. Do not put the new hash here. Keep the old zstd for the old codecs, and give
        // the new one numbers of its own.
        assert_eq!(
            made(TRAINED),
            "ae440ba9294942d6420592599524ee3d13d2fbd14e6998d0f30a3a786179921c"
        );
        assert_eq!(made(PLAIN), "b0518f9ec30aabf28e390d87f84b6134287ccfbed9929b576601e9c47bd16026");
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        let bomb = zstd::bulk::compress(&vec![0; CHANGE_BYTES_MAX + 1], 3).unwrap();
        assert!(bomb.len() < 1000);
        let refused = decompress(PLAIN, &bomb[4..]);
        assert!(matches!(refused, Err(VaultError::TooLarge { .. })));
        // A frame that claims the greatest length there is, and one that hides its length.
        let claim = [0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 0, 0];
        assert!(matches!(decompress(PLAIN, &claim), Err(VaultError::TooLarge { .. })));
        assert!(matches!(decompress(PLAIN, &[0, 0x58, 1, 0, 0]), Err(VaultError::Malformed)));
    }

    #[test]
    fn a_frame_that_lies_about_its_length_is_refused() {
        let honest = compress(PLAIN, &[7; 200]).unwrap();
        for place in 0..honest.len() {
            for bit in 0..8 {
                let mut altered = honest.clone();
                altered[place] ^= 1 << bit;
                if let Ok(change) = decompress(PLAIN, &altered) {
                    assert!(change.len() <= CHANGE_BYTES_MAX);
                }
            }
            assert!(decompress(PLAIN, &honest[..place]).is_err());
        }
    }

    #[test]
    fn the_index_gets_back_what_it_packed_within_its_bound() {
        let body = br#"{"resourceType":"Patient"}"#.repeat(50);
        let packed = pack(&body);
        assert!(packed.len() < 100);
        assert_eq!(unpack(&packed, 2000).unwrap(), body);
        assert!(matches!(unpack(&packed, 100), Err(VaultError::TooLarge { max: 100 })));
        assert!(unpack(&packed[..10], 2000).is_err());
    }

    #[test]
    fn a_change_that_is_too_long_is_refused() {
        let refused = compress(CODEC, &vec![0; CHANGE_BYTES_MAX + 1]);
        assert!(matches!(refused, Err(VaultError::TooLarge { .. })));
    }
}
