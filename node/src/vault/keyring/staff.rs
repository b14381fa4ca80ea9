//! Staff who may unlock the node with their own password, so that no shared passphrase is taped to
//! the laptop.
//!
//! A slot remembers which password it was made with, by the hash of what checks it: when the
//! password changes, or the right ends, the slot goes.

use super::content::Slot;
use super::{Keyring, Unlocked, context};
use crate::base::environment::Environment;
use crate::base::private::Private;
use crate::vault::error::VaultError;
use crate::vault::passphrase::Locked;
use std::collections::BTreeMap;

impl Keyring {
    /// Lets this person's password unlock the node; `check` is what checks the password.
    pub fn set_staff_slot(
        &mut self,
        environment: &Environment,
        unlocked: &Unlocked,
        id: &str,
        check: &[u8],
        password: &Private<String>,
    ) -> Result<(), VaultError> {
        let context = context(&part(id), &self.content.keys);
        let locked = Locked::lock(environment, self.cost, password, &context, &unlocked.master)?;
        let slot = Slot::Staff { id: id.to_owned(), check: hash(check), locked };
        self.change(|content| {
            content.slots.retain(|slot| !is_of(slot, id));
            content.slots.push(slot);
        })
    }

    /// Whether this person's present password unlocks the node.
    pub fn has_staff_slot(&self, id: &str, check: &[u8]) -> bool {
        let check = hash(check);
        let is_made_with = |slot: &Slot| matches!(slot, Slot::Staff { check: made_with, .. } if *made_with == check);
        self.content.slots.iter().any(|slot| is_of(slot, id) && is_made_with(slot))
    }

    /// Keeps the slots of those who are entitled, by user id and what checks their password, and
    /// takes away all others; tells whether any went.
    pub fn keep_staff_slots(
        &mut self,
        entitled: &BTreeMap<String, Vec<u8>>,
    ) -> Result<bool, VaultError> {
        let stays = |slot: &Slot| match slot {
            Slot::Staff { id, check, .. } => {
                entitled.get(id).is_some_and(|current| hash(current) == *check)
            }
            _ => true,
        };
        if self.content.slots.iter().all(stays) {
            return Ok(false);
        }
        self.change(|content| content.slots.retain(stays))?;
        Ok(true)
    }
}

/// What binds a slot to its person.
pub(super) fn part(id: &str) -> String {
    format!("staff {id}")
}

fn is_of(slot: &Slot, id: &str) -> bool {
    matches!(slot, Slot::Staff { id: of, .. } if of == id)
}

fn hash(check: &[u8]) -> [u8; 32] {
    *blake3::hash(check).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::environment::Place;
    use crate::vault::{Binding, UnlockMethod, UnlockSecret};

    fn text(text: &str) -> Private<String> {
        Private::new(text.to_owned())
    }

    #[test]
    fn a_person_unlocks_with_their_password_until_it_or_their_right_ends() {
        let dir = tempfile::tempdir().unwrap();
        let (environment, _) = Environment::seeded(5, 0);
        let method = UnlockMethod::Passphrase(text("the shared passphrase"));
        let place = Place { machine: "m".into(), inode: 1, born_ns: None };
        let (mut keyring, unlocked) =
            Keyring::create(dir.path(), &environment, &method, Binding::new(&place)).unwrap();
        keyring.set_staff_slot(&environment, &unlocked, "awa", b"check", &text("baobab")).unwrap();
        let secret = |id: &str, password: &str| UnlockSecret::Staff {
            id: id.into(),
            password: text(password),
        };
        let mut keyring = Keyring::open(dir.path()).unwrap();
        assert!(keyring.unlock(&secret("awa", "baobab")).is_ok());
        assert!(keyring.unlock(&secret("ben", "baobab")).is_err());
        assert!(keyring.unlock(&secret("awa", "hibiscus")).is_err());
        assert!(keyring.has_staff_slot("awa", b"check") && !keyring.has_staff_slot("awa", b"new"));
        let entitled = |check: &[u8]| BTreeMap::from([("awa".to_owned(), check.to_vec())]);
        assert!(!keyring.keep_staff_slots(&entitled(b"check")).unwrap());
        assert!(keyring.keep_staff_slots(&entitled(b"new")).unwrap());
        assert!(keyring.unlock(&secret("awa", "baobab")).is_err(), "the password was changed");
        assert!(keyring.unlock(&UnlockSecret::Passphrase(text("the shared passphrase"))).is_ok());
    }
}
