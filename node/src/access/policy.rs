//! The role table: who may do what, whole and in one place.
//!
//! A decision is a function of actor, action, class of information (with its restriction), and
//! purpose, and of nothing else. `docs/roles.md` is this table, printed; a test compares them. A
//! practice can take rights away (`[access]` in `carnet.toml`) and never give any: the table is
//! the safe floor.

use super::class::Class;
use super::permit::{Action, Purpose};
use super::role::Role;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// What a role may do with a class of information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Nothing.
    None,
    /// See it.
    Read,
    /// See and change it.
    Write,
    /// See the notifiable conditions in it.
    Notifiable,
    /// What the API token's scopes say.
    Scope,
    /// See one's own.
    Own,
}

impl Right {
    const fn of_letter(letter: u8) -> Self {
        match letter {
            b'r' => Self::Read,
            b'w' => Self::Write,
            b'n' => Self::Notifiable,
            b's' => Self::Scope,
            b'o' => Self::Own,
            _ => Self::None,
        }
    }

    /// Its name for scripts.
    pub const fn id(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
            Self::Notifiable => "notifiable",
            Self::Scope => "scope",
            Self::Own => "own",
        }
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Read => "read",
            Self::Write => "write",
            Self::Notifiable => "notifiable",
            Self::Scope => "by scope",
            Self::Own => "own",
        }
    }
}

/// A letter for each role in the order of [`Role::ALL`]:
/// physician, nurse, medical assistant, laboratory, pharmacy, front desk, billing, dietary aide,
/// social worker, public health, privacy officer, administrator, relay, application, patient.
#[rustfmt::skip]
const RIGHTS: [(Class, &[u8; 15]); 21] = [
    //                      pnm lp fb ds pp a rap
    (Class::Demographics,  b"wwwrrwrrr-r--so"),
    (Class::Allergies,     b"wwwrw--r-----so"),
    (Class::Alerts,        b"wwwrr---r----so"),
    (Class::Problems,      b"wwrrr-r-rn---so"),
    (Class::Medications,   b"wwrrw--------so"),
    (Class::Immunizations, b"www-w--------so"),
    (Class::Observations,  b"wwwwr--------so"),
    (Class::Results,       b"wwrwr--------so"),
    (Class::Orders,        b"wwwwr---r----so"),
    (Class::Procedures,    b"wwrr--r------so"),
    (Class::Diet,          b"wwr----r-----so"),
    (Class::Notes,         b"wwr-----w----so"),
    (Class::Encounters,    b"wwwrr-r-r----so"),
    (Class::Plans,         b"wwr-r---w----so"),
    (Class::Scheduling,    b"wwwr-wr-w----so"),
    (Class::Coverage,      b"rrr-rwr-w----so"),
    (Class::Billing,       b"r----rw------so"),
    (Class::Consents,      b"wwr--w--r-r--so"),
    (Class::Directory,     b"wrrrrwrrrrrw-so"),
    (Class::Knowledge,     b"wrrrrrrrrrrw-so"),
    (Class::Other,         b"wwr----------so"),
];

/// Acts that are not about one resource, in the same order of roles; `y` for yes.
#[rustfmt::skip]
const ACTS: [(Action, &str, &[u8; 15]); 10] = [
    (Action::Search,      "find patients",                        b"yyyyyyyyy-y--y-"),
    (Action::Emergency,   "open any chart in an emergency",       b"yyyyy----------"),
    (Action::Import,      "bring records in from outside",        b"y----------y---"),
    (Action::Export,      "take records out",                     b"y----------y--y"),
    (Action::Aggregate,   "count cases without names",            b"y--------yyy---"),
    (Action::Audit,       "read who did what",                    b"----------yy---"),
    (Action::Review,      "see what must be looked at",           b"y---------yy---"),
    (Action::SignOff,     "sign it off",                          b"y---------y----"),
    (Action::ManageStaff, "manage staff and API tokens",          b"-----------y---"),
    (Action::Administer,  "manage nodes and keys",                b"-----------y---"),
];

/// Rights that a practice takes away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tightening {
    /// The role may not see this class, and so not change it either.
    unseen: BTreeSet<(Role, Class)>,
    /// The role may see this class and not change it.
    unchanged: BTreeSet<(Role, Class)>,
}

/// A setting that takes no right away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TighteningError {
    /// No such role.
    #[error("\"{0}\" is no role; `carnet staff roles` lists them")]
    Role(String),
    /// No such class, or neither `read` nor `write` after the colon.
    #[error(
        "\"{0}\" is no class of information; write CLASS, or CLASS:write to leave reading; `carnet staff roles` lists the classes"
    )]
    Class(String),
}

impl Tightening {
    /// Takes `what` (a class, or `class:write`) away from a role.
    pub fn deny(&mut self, role: &str, what: &str) -> Result<(), TighteningError> {
        let role: Role = role.parse().map_err(|_| TighteningError::Role(role.to_owned()))?;
        let unknown = || TighteningError::Class(what.to_owned());
        let (name, only_write) = match what.split_once(':') {
            None | Some((_, "read")) => (what.split(':').next().unwrap_or(what), false),
            Some((name, "write")) => (name, true),
            Some(_) => return Err(unknown()),
        };
        let class = Class::named(name).ok_or_else(unknown)?;
        let denied = if only_write { &mut self.unchanged } else { &mut self.unseen };
        denied.insert((role, class));
        Ok(())
    }
}

/// What the role may do with this class, the practice's own rules applied.
pub fn right(role: Role, class: Class, tightening: &Tightening) -> Right {
    if tightening.unseen.contains(&(role, class)) {
        return Right::None;
    }
    let letters = RIGHTS.iter().find(|(of, _)| *of == class).map(|(_, letters)| letters);
    let right = letters.map_or(Right::None, |letters| Right::of_letter(letters[role as usize]));
    if right == Right::Write && tightening.unchanged.contains(&(role, class)) {
        return Right::Read;
    }
    right
}

/// Whether the role may do this kind of thing at all.
pub fn may(role: Role, action: Action) -> bool {
    match action {
        // What is seen or changed decides.
        Action::Read | Action::Write => role != Role::Relay,
        // Whoever may start the program may run the node: these show nothing of a patient.
        Action::Operate => true,
        other => ACTS
            .iter()
            .find(|(act, _, _)| *act == other)
            .is_some_and(|(_, _, letters)| letters[role as usize] == b'y'),
    }
}

/// Why somebody of this role may act; the first is what is assumed when nothing is said.
pub const fn purposes(role: Role) -> &'static [Purpose] {
    use Purpose::{Emergency, Operations, PatientRequest, Payment, PublicHealth, Treatment};
    match role {
        Role::Physician
        | Role::Nurse
        | Role::MedicalAssistant
        | Role::Laboratory
        | Role::Pharmacy => &[Treatment, Emergency, Operations],
        Role::FrontDesk => &[Treatment, Operations, Payment],
        Role::Billing => &[Payment, Operations],
        Role::DietaryAide => &[Treatment],
        Role::SocialWorker => &[Treatment, Operations],
        Role::PublicHealth => &[PublicHealth],
        Role::PrivacyOfficer | Role::Administrator | Role::Relay => &[Operations],
        Role::Application => &[Treatment, Payment, Operations, PublicHealth],
        Role::Patient => &[PatientRequest],
    }
}

/// The whole table as Markdown.
pub fn table() -> String {
    let none = Tightening::default();
    let mut text = String::from("| |");
    for role in Role::ALL {
        let _ = write!(text, " {role} |");
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(Role::ALL.len()));
    text.push('\n');
    for class in Class::ALL {
        let _ = write!(text, "| **{}** |", class.id());
        for role in Role::ALL {
            let _ = write!(text, " {} |", right(role, class, &none).in_words());
        }
        text.push('\n');
    }
    for (action, words, _) in ACTS {
        let _ = write!(text, "| *{words}* |");
        for role in Role::ALL {
            let _ = write!(text, " {} |", if may(role, action) { "yes" } else { "" });
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole_and_in_order() {
        for (at, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(RIGHTS[at].0, class);
        }
        for (at, role) in Role::ALL.into_iter().enumerate() {
            assert_eq!(role as usize, at);
            assert!(!purposes(role).is_empty());
        }
    }

    /// The golden table: whoever changes a right changes what people read of it, in one commit.
    #[test]
    fn the_document_shows_the_table_as_it_is() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/roles.md");
        let document = std::fs::read_to_string(path).unwrap();
        assert!(
            document.contains(&table()),
            "docs/roles.md shows another table; put this one there:\n{}",
            table()
        );
    }

    #[test]
    fn the_minimum_that_is_necessary() {
        let none = Tightening::default();
        let right = |role, kind| right(role, Class::of(kind), &none);
        for (role, sees, does_not) in [
            (Role::Billing, "Condition", "Composition"),
            (Role::Billing, "Procedure", "Observation"),
            (Role::DietaryAide, "NutritionOrder", "Condition"),
            (Role::DietaryAide, "AllergyIntolerance", "MedicationRequest"),
            (Role::FrontDesk, "Appointment", "Condition"),
            (Role::FrontDesk, "Coverage", "Encounter"),
            (Role::Laboratory, "Observation", "Composition"),
            (Role::Pharmacy, "MedicationRequest", "Composition"),
            (Role::SocialWorker, "CarePlan", "MedicationRequest"),
            (Role::PrivacyOfficer, "Patient", "Condition"),
            (Role::Administrator, "Organization", "Patient"),
        ] {
            assert_ne!(right(role, sees), Right::None, "{role} {sees}");
            assert_eq!(right(role, does_not), Right::None, "{role} {does_not}");
        }
        assert_eq!(right(Role::PublicHealth, "Condition"), Right::Notifiable);
        assert_eq!(right(Role::PublicHealth, "Patient"), Right::None);
        assert_eq!(right(Role::Physician, "NoSuchType"), Right::Write);
        assert_eq!(right(Role::Relay, "Patient"), Right::None);
    }

    #[test]
    fn a_practice_takes_rights_away_and_gives_none() {
        let mut tightening = Tightening::default();
        tightening.deny("nurse", "notes:write").unwrap();
        tightening.deny("clinician", "billing").unwrap();
        // There is no right to take away, and none comes of it.
        tightening.deny("front-desk", "notes:write").unwrap();
        assert_eq!(right(Role::Nurse, Class::Notes, &tightening), Right::Read);
        assert_eq!(right(Role::Physician, Class::Billing, &tightening), Right::None);
        assert_eq!(right(Role::FrontDesk, Class::Notes, &tightening), Right::None);
        assert_eq!(tightening.deny("king", "notes"), Err(TighteningError::Role("king".into())));
        assert_eq!(
            tightening.deny("nurse", "notes:all"),
            Err(TighteningError::Class("notes:all".into()))
        );
        assert_eq!(
            tightening.deny("nurse", "secrets"),
            Err(TighteningError::Class("secrets".into()))
        );
    }
}
