//! The permit: proof, carried in the types, that a decision was made before a chart was opened.
//!
//! Its fields are private and it has no public constructor, so whoever holds one got it from a
//! function of this module that decided. Until a practice has staff accounts there is one such
//! function: the operator at the machine, who has unlocked the node, acts as administrator.

use std::fmt;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// See a chart.
    Read,
    /// Change a chart.
    Write,
    /// Look for patients.
    Search,
    /// Invite, revoke, export, verify.
    Administer,
}

impl Action {
    /// The name that the audit trail keeps.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Search => "search",
            Self::Administer => "administer",
        }
    }
}

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    /// The person at the machine who unlocked the node; an administrator until there are staff.
    Operator,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
        }
    }
}

/// Why somebody acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// The care of the patient.
    Treatment,
    /// The running of the practice and of its nodes.
    Administration,
}

/// Leave to do one kind of action; see the module's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    actor: Actor,
    action: Action,
    purpose: Purpose,
}

impl Permit {
    /// Who may act.
    pub const fn actor(&self) -> Actor {
        self.actor
    }

    /// What the permit is for.
    pub const fn action(&self) -> Action {
        self.action
    }

    /// Why.
    pub const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Whether it covers an action. To administer includes everything; to write includes to read
    /// what is written over, and to read or write includes to find the patient.
    pub fn allows(&self, action: Action) -> bool {
        match self.action {
            Action::Administer => true,
            Action::Write => action != Action::Administer,
            Action::Read => matches!(action, Action::Read | Action::Search),
            Action::Search => action == Action::Search,
        }
    }
}

/// The decision for the person at the machine, who may do everything.
pub const fn operator_permit(action: Action) -> Permit {
    let purpose = match action {
        Action::Administer => Purpose::Administration,
        Action::Read | Action::Write | Action::Search => Purpose::Treatment,
    };
    Permit { actor: Actor::Operator, action, purpose }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_covers_what_its_action_needs_and_no_more() {
        use Action::{Administer, Read, Search, Write};
        let covered = |action| -> Vec<Action> {
            let permit = operator_permit(action);
            [Read, Write, Search, Administer].into_iter().filter(|a| permit.allows(*a)).collect()
        };
        assert_eq!(covered(Read), [Read, Search]);
        assert_eq!(covered(Write), [Read, Write, Search]);
        assert_eq!(covered(Search), [Search]);
        assert_eq!(covered(Administer), [Read, Write, Search, Administer]);
    }
}
