//! Pseudonyms: what the clear headers call a document instead of its patient's id.
//!
//! Every node of the practice that may read has the same key, so two nodes that make the same thing
//! apart give it the same name; who lacks the key can't tell one patient from another. The key
//! never changes, or the same patient would get two charts.

use super::cipher::Secret;
use crate::base::environment::Environment;
use crate::base::private::Private;
use crate::identity::statement::Check;
use carnet_sync_protocol::id::DocumentId;
use std::fmt;

/// The practice-wide key under which names are hashed.
#[derive(Clone)]
pub struct PseudonymKey(Secret);

impl PseudonymKey {
    /// The key of a new practice.
    pub fn generate(environment: &Environment) -> Self {
        Self(Private::new(environment.random()))
    }

    /// The key of this secret.
    pub const fn from_secret(secret: Private<[u8; 32]>) -> Self {
        Self(secret)
    }

    /// The secret, for sharing.
    pub const fn secret(&self) -> &Private<[u8; 32]> {
        &self.0
    }

    /// What the practice's statement says of the key, so that no other can take its place.
    pub fn check(&self) -> Check {
        let mut hasher = blake3::Hasher::new_derive_key("carnet 2026 pseudonym check v1");
        hasher.update(self.0.expose());
        Check::from_hash(&hasher.finalize())
    }

    /// The pseudonym of a document, named by its parts: section, patient or resource, volume.
    pub fn document(&self, parts: &[&str]) -> DocumentId {
        DocumentId(self.hash("document", parts))
    }

    /// An id for a resource that is only described, so that two nodes that create it apart make
    /// one. It has the form of a version 8 UUID.
    pub fn resource_id(&self, parts: &[&str]) -> String {
        let mut b: [u8; 16] = self.hash("resource", parts);
        b[6] = (b[6] & 0x0f) | 0x80;
        b[8] = (b[8] & 0x3f) | 0x80;
        let hex: String = b.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    fn hash<const N: usize>(&self, purpose: &str, parts: &[&str]) -> [u8; N] {
        let mut hasher = blake3::Hasher::new_keyed(self.0.expose());
        for part in std::iter::once(&purpose).chain(parts) {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        let mut name = [0; N];
        hasher.finalize_xof().fill(&mut name);
        name
    }
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PseudonymKey(private)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_depend_on_key_purpose_and_the_cut_between_parts() {
        let key = PseudonymKey::from_secret(Private::new([1; 32]));
        let other = PseudonymKey::from_secret(Private::new([2; 32]));
        assert_eq!(key.document(&["critical", "p1"]), key.document(&["critical", "p1"]));
        assert_ne!(key.document(&["critical", "p1"]), other.document(&["critical", "p1"]));
        assert_ne!(key.document(&["ab", "c"]), key.document(&["a", "bc"]));
        assert_ne!(key.document(&["a", ""]), key.document(&["a"]));
        assert_ne!(key.check(), other.check());
        let id = key.resource_id(&["Practitioner", "identifier=1"]);
        assert_eq!((id.len(), id.as_bytes()[14]), (36, b'8'));
        assert_ne!(
            id.replace('-', ""),
            key.document(&["Practitioner", "identifier=1"]).to_string()
        );
    }
}
