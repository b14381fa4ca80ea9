//! Published vectors of what a wrap is made of, through the types that [`super::wrap`] uses.

use super::*;
use data_encoding::HEXLOWER;
use hkdf::Hkdf;
use hpke::{setup_receiver, setup_sender_with_rng};
use rand_core::{TryCryptoRng, TryRng};
use sha2::Sha256;
use std::convert::Infallible;

fn bytes(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.as_bytes()).unwrap()
}

fn secret(hex: &str) -> HpkeSecret {
    HpkeSecret::from_seed(Private::new(bytes(hex).try_into().unwrap()))
}

/// Chance that is known beforehand.
struct Known(Vec<u8>);

impl TryRng for Known {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("keys are made of bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("keys are made of bytes")
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Infallible> {
        into.copy_from_slice(&self.0);
        Ok(())
    }
}

impl TryCryptoRng for Known {}

const IKM_SENDER: &str = "909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b";
const IKM_RECIPIENT: &str = "1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df";
const SECRET: &str = "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb";
const PUBLIC: &str = "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a";
const ENCAPSULATED: &str = "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a";
const INFO: &str = "4f6465206f6e2061204772656369616e2055726e";
const PLAIN: &[u8] = b"Beauty is truth, truth beauty";

/// By the number of the message.
#[rustfmt::skip]
const SEALED: [(usize, &str); 6] = [
    (0, "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28"),
    (1, "6b53c051e4199c518de79594e1c4ab18b96f081549d45ce015be002090bb119e85285337cc95ba5f59992dc98c"),
    (2, "71146bd6795ccc9c49ce25dda112a48f202ad220559502cef1f34271e0cb4b02b4f10ecac6f48c32f878fae86b"),
    (4, "63357a2aa291f5a4e5f27db6baa2af8cf77427c7c1a909e0b37214dd47db122bb153495ff0b02e9e54a50dbe16"),
    (255, "18ab939d63ddec9f6ac2b60d61d36a7375d2070c9b683861110757062c52b8880a5f6b3936da9cd6c23ef2a95c"),
    (256, "7a4a13e9ef23978e2c520fd4d2e757514ae160cd0cd05e556ef692370ca53076214c0c40d4c728d6ed9e727a5b"),
];

const EXPORTED: [(&str, &str); 3] = [
    ("", "4bbd6243b8bb54cec311fac9df81841b6fd61f56538a775e7c80a9f40160606e"),
    ("00", "8c1df14732580e5501b00f82b10a1647b40713191b7c1240ac80e2b68808ba69"),
    ("54657374436f6e74657874", "5acb09211139c43b3090489a9da433e8a30ee7188ba8b0a9a1ccf0c229283e53"),
];

/// RFC 9180, appendix A.2.1: base mode of exactly our suite, both ways, each message that is
/// published.
#[test]
fn hpke_gives_the_published_messages() {
    let (derived, public) = X25519HkdfSha256::derive_keypair(&bytes(IKM_RECIPIENT));
    let recipient = secret(SECRET);
    assert_eq!(derived.to_bytes(), recipient.key().to_bytes());
    assert_eq!(recipient.public().to_string(), PUBLIC);
    let (encapsulated, mut sender) =
        setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &public,
            &bytes(INFO),
            &mut Known(bytes(IKM_SENDER)),
        )
        .unwrap();
    assert_eq!(HEXLOWER.encode(&encapsulated.to_bytes()), ENCAPSULATED);
    let mut receiver = setup_receiver::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &recipient.key(),
        &encapsulated,
        &bytes(INFO),
    )
    .unwrap();
    let mut published = SEALED.into_iter().peekable();
    for number in 0..=256 {
        let associated = format!("Count-{number}");
        let sealed = sender.seal(PLAIN, associated.as_bytes()).unwrap();
        if let Some((_, expected)) = published.next_if(|(at, _)| *at == number) {
            assert_eq!(HEXLOWER.encode(&sealed), expected);
        }
        assert_eq!(receiver.open(&sealed, associated.as_bytes()).unwrap(), PLAIN);
    }
    assert_eq!(published.next(), None);
    for (context, expected) in EXPORTED {
        let mut exported = [0; 32];
        receiver.export(&bytes(context), &mut exported).unwrap();
        assert_eq!(HEXLOWER.encode(&exported), expected);
    }
}

/// The secret that DHKEM makes of what X25519 gives (RFC 9180, 4.1).
fn shared_secret(dh: &[u8], encapsulated: &[u8], public: &[u8]) -> [u8; 32] {
    const SUITE: &[u8] = b"HPKE-v1KEM\x00\x20";
    let ikm = [SUITE, b"eae_prk", dh].concat();
    let info = [&[0, 32][..], SUITE, b"shared_secret", encapsulated, public].concat();
    let mut secret = [0; 32];
    Hkdf::<Sha256>::new(Some(&[]), &ikm).expand(&info, &mut secret).unwrap();
    secret
}

/// Wycheproof's X25519, as the recipient of a wrap computes it. A public key with which every
/// secret gives the same is refused by both sides.
#[test]
fn x25519_is_as_wycheproof_wants_it() {
    use wycheproof::xdh::{TestFlag, TestName, TestSet};
    let (environment, _) = Environment::seeded(2, 0);
    let set = TestSet::load(TestName::X25519).unwrap();
    let (mut checked, mut refused) = (0, 0);
    for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
        checked += 1;
        let encapsulated =
            <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&test.public_key).unwrap();
        let own = HpkeSecret::from_seed(Private::new(test.private_key[..].try_into().unwrap()));
        let given = X25519HkdfSha256::decap(&own.key(), None, &encapsulated);
        let recipient = HpkeKey(test.public_key[..].try_into().unwrap());
        let practice = PracticeId([1; 32]);
        let wrapped =
            wrap(&environment, practice, Purpose::PracticeKey, recipient, &Private::new([4; 32]));
        if test.flags.contains(&TestFlag::ZeroSharedSecret) {
            refused += 1;
            assert!(given.is_err(), "vector {}", test.tc_id);
            assert!(matches!(wrapped, Err(VaultError::UnusableKey)), "vector {}", test.tc_id);
        } else {
            let public = own.public();
            let expected = shared_secret(&test.shared_secret, &test.public_key, public.as_bytes());
            assert!(given.unwrap().0.as_slice() == expected, "vector {}", test.tc_id);
            assert!(wrapped.is_ok(), "vector {}", test.tc_id);
        }
    }
    assert_eq!(checked, set.number_of_tests);
    assert!(refused > 0);
}
