//! What each author wrote, in the light of what that author had seen.
//!
//! A merged state is nobody's version and is not listed.

use super::journal::Story;
use super::{ChangeHash, Document};
use crate::chart::resource::ResourceKey;
use serde_json::Value;

/// One authored version of a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// The change that made it.
    pub change: ChangeHash,
    /// Its author's clock, for display only.
    pub unix_ms: u64,
    /// The resource as its author left it.
    pub body: Value,
    /// Whether its author left it deleted.
    pub deleted: bool,
    /// Where its author left it moved to.
    pub moved: Option<String>,
}

impl Document {
    /// All versions of a resource, each after those that its author had seen; of those that
    /// happened apart, the one with the earlier time first, and then the smaller hash.
    pub fn history(&self, key: &ResourceKey) -> Vec<Version> {
        let Some(story) = self.journal.stories.get(key) else {
            return Vec::new();
        };
        let version = |touch: u32| {
            let state = self.state(key, story, Some(touch));
            let change = story.touches[touch as usize].change as usize;
            Version {
                change: self.change_of(story, touch),
                unix_ms: self.journal.changes[change].unix_ms,
                body: state.body(key),
                deleted: state.deleted(),
                moved: state.moved(),
            }
        };
        self.told(story).into_iter().map(version).collect()
    }

    /// The touches in the order in which a history tells them.
    fn told(&self, story: &Story) -> Vec<u32> {
        let mut waiting: Vec<u32> = (0..story.touches.len() as u32).collect();
        if !story.contested {
            return waiting;
        }
        let mut told = Vec::with_capacity(waiting.len());
        while !waiting.is_empty() {
            // Waiting touches stand in order of arrival: the first one has seen none of the rest,
            // and the others that are ready are apart from all that stand before them.
            let ready = (0..waiting.len()).filter(|at| {
                waiting[..*at].iter().all(|earlier| story.apart(*earlier, waiting[*at]))
            });
            let next =
                ready.min_by_key(|at| self.age(story, waiting[*at])).expect("the first is ready");
            told.push(waiting.remove(next));
        }
        told
    }

    /// The touch with which a history begins.
    pub(super) fn first_told(&self, story: &Story) -> u32 {
        // Whoever had seen none of the touches before is apart from all of them.
        let opens = |at: &u32| story.touches[*at as usize].beside.len() == *at as usize;
        let opening = (0..story.touches.len() as u32).filter(opens);
        opening.min_by_key(|touch| self.age(story, *touch)).unwrap_or(0)
    }

    fn age(&self, story: &Story, touch: u32) -> (u64, [u8; 32]) {
        let change = &self.journal.changes[story.touches[touch as usize].change as usize];
        (change.unix_ms, change.hash)
    }
}
