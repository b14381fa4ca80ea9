//! Why a document refuses.

use super::ChangeHash;
use crate::chart::hostile::Refusal;
use crate::chart::resource::{ResourceError, ResourceKey};

/// Why a document refuses. None of these leaves it changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChartError {
    /// The change builds on others that have not arrived; it can be applied after these.
    #[error("{} earlier changes have not arrived yet; apply it after them", .0.len())]
    MissingDependencies(Vec<ChangeHash>),
    /// The change is damaged or hostile: quarantine it.
    #[error("a change was refused: {0}; it stays in quarantine")]
    Refused(Refusal),
    /// A saved document can't be used: rebuild it from its changes.
    #[error("a saved document can't be used: {0}; rebuild it from the ledger")]
    Damaged(&'static str),
    /// There is no such resource here.
    #[error("there is no {0} here; check the type and the id")]
    NotFound(ResourceKey),
    /// The resource was deleted.
    #[error("{0} was deleted; write it whole to bring it back")]
    Deleted(ResourceKey),
    /// An element can't be set by this name.
    #[error("{element} of {key} can't be set; name an element of FHIR, a choice with its type")]
    NoSuchElement {
        /// The resource.
        key: ResourceKey,
        /// The name given.
        element: String,
    },
    /// Nothing is disputed under this element, or no longer.
    #[error("no conflict over {element} of {key} is open; list the conflicts again")]
    NoSuchConflict {
        /// The resource.
        key: ResourceKey,
        /// The element given.
        element: String,
    },
    /// The conflict is not the one that was seen.
    #[error("the conflict over {element} of {key} has other values now; look at it again")]
    ConflictChanged {
        /// The resource.
        key: ResourceKey,
        /// The element.
        element: String,
    },
    /// The conflict has no such value.
    #[error("the conflict over {element} of {key} has no value with this id; list it again")]
    NoSuchValue {
        /// The resource.
        key: ResourceKey,
        /// The element.
        element: String,
    },
    /// Both can't hold at once.
    #[error("the values of {element} of {key} can't both hold; choose one")]
    OnlyOne {
        /// The resource.
        key: ResourceKey,
        /// The element.
        element: String,
    },
    /// A write is larger than one change may be.
    #[error("this write is larger than one change may be; split it")]
    TooLarge,
    /// What is written is not a resource.
    #[error(transparent)]
    Resource(#[from] ResourceError),
}

impl From<Refusal> for ChartError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
