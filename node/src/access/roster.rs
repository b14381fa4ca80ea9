//! Who works here: the staff channel's statements, folded to a state.
//!
//! The state is a function of the set of statements and of nothing else, so that nodes agree
//! whatever came first. Of statements about one person of which neither knew the other, the more
//! restrictive holds: the roles and sites that both give, suspended if one suspends. An
//! administrator's next statement names all of them and so decides.

#[cfg(test)]
mod tests;

use super::permit::{Action, Actor, Denial, Grounds, Permit, Purpose};
use super::policy::Tightening;
use super::role::Role;
use super::statement::{Matter, Person, Reach, Ruling, StaffStatement, Standing, Token};
use carnet_sync_protocol::id::{EntryId, LogId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A member of staff as things stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Everything that holds of them.
    pub person: Person,
    /// The statements that say so; more than one when they were made apart.
    pub heads: Vec<EntryId>,
    barred: Vec<Barred>,
}

/// A time in which somebody was not to write, told in entries and not in hours: what lies beyond
/// the logs as they were known when the right was taken, and within them as they were known when
/// it was given back, if it was.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Barred {
    from: BTreeMap<LogId, u64>,
    until: Option<BTreeMap<LogId, u64>>,
}

impl Barred {
    fn covers(&self, log: &LogId, sequence: u64) -> bool {
        let within =
            |reach: &BTreeMap<LogId, u64>| reach.get(log).is_some_and(|known| sequence <= *known);
        !within(&self.from) && self.until.as_ref().is_none_or(within)
    }
}

/// The statements about one person or token that take its rights, each with the one that gives
/// them back.
fn barred(about: &BTreeMap<EntryId, &StaffStatement>) -> Vec<Barred> {
    let takes = |matter: &Matter| match matter {
        Matter::Person(person) => person.standing == Standing::Suspended,
        Matter::Token(token) => token.revoked,
        _ => false,
    };
    let reach = |statement: &StaffStatement| -> BTreeMap<LogId, u64> {
        statement.reach.iter().map(|Reach { log, sequence }| (*log, *sequence)).collect()
    };
    about
        .iter()
        .filter(|(_, statement)| takes(&statement.matter))
        .map(|(id, statement)| Barred {
            from: reach(statement),
            until: about
                .values()
                .find(|later| later.replaces.contains(id) && !takes(&later.matter))
                .map(|later| reach(later)),
        })
        .collect()
}

/// An API token as things stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Everything that holds of it.
    pub token: Token,
    /// The statements that say so.
    pub heads: Vec<EntryId>,
    barred: Vec<Barred>,
}

/// An emergency view that somebody opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emergency {
    /// The statement.
    pub id: EntryId,
    /// Who.
    pub actor: String,
    /// Whose chart.
    pub patient: String,
    /// Why.
    pub reason: String,
    /// When.
    pub time_ms: u64,
}

/// An item of the review list that somebody signed off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedOff {
    /// Who.
    pub by: String,
    /// When.
    pub time_ms: u64,
    /// What they found.
    pub note: String,
}

/// What was decided of an entry that is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruled {
    /// What becomes of it; nothing where it was decided otherwise apart from each other.
    pub ruling: Option<Ruling>,
    /// Who decided last.
    pub by: String,
    /// When.
    pub time_ms: u64,
    /// Why.
    pub note: String,
    /// The statements that say so.
    pub heads: Vec<EntryId>,
}

/// The staff of a practice; see the module's page.
#[derive(Clone, Debug, Default)]
pub struct StaffRoster {
    members: BTreeMap<String, Member>,
    programs: BTreeMap<String, Program>,
    emergencies: Vec<Emergency>,
    signed_off: BTreeMap<String, SignedOff>,
    rulings: BTreeMap<EntryId, Ruled>,
    operator_heads: Vec<EntryId>,
    operator_charts: bool,
}

/// A statement with the entry that brought it.
pub type Said = (EntryId, StaffStatement);

/// What of a statement says what it is about.
fn topic(matter: &Matter) -> Option<String> {
    match matter {
        Matter::Person(person) => Some(format!("person/{}", person.id)),
        Matter::Token(token) => Some(format!("token/{}", token.id)),
        Matter::OperatorCharts(_) => Some("operator".to_owned()),
        Matter::SetAside { entry, .. } => Some(format!("entry/{entry}")),
        Matter::Emergency { .. } | Matter::SignOff { .. } => None,
    }
}

impl StaffRoster {
    /// Folds statements, in whatever order they come.
    pub fn fold(statements: &[Said]) -> Self {
        let mut by_topic: BTreeMap<String, BTreeMap<EntryId, &StaffStatement>> = BTreeMap::new();
        let mut roster = Self::default();
        let mut events: Vec<&Said> = Vec::new();
        for said in statements {
            match topic(&said.1.matter) {
                Some(topic) => {
                    by_topic.entry(topic).or_default().insert(said.0, &said.1);
                }
                None => events.push(said),
            }
        }
        for about in by_topic.into_values() {
            roster.fold_topic(&about);
        }
        events.sort_by_key(|(id, statement)| (statement.time_ms, *id));
        for (id, statement) in events {
            roster.fold_event(*id, statement);
        }
        roster
    }

    fn fold_topic(&mut self, about: &BTreeMap<EntryId, &StaffStatement>) {
        // A statement can only replace one of its own topic; naming another does nothing.
        let replaced: BTreeSet<&EntryId> =
            about.values().flat_map(|statement| &statement.replaces).collect();
        let mut heads: Vec<(EntryId, &StaffStatement)> = about
            .iter()
            .filter(|(id, _)| !replaced.contains(id))
            .map(|(id, statement)| (*id, *statement))
            .collect();
        // The latest last: where nothing is more restrictive (a name, a password) it holds.
        heads.sort_by_key(|(id, statement)| (statement.time_ms, *id));
        let ids: Vec<EntryId> = heads.iter().map(|(id, _)| *id).collect();
        let mut person: Option<Person> = None;
        let mut token: Option<Token> = None;
        for (_, statement) in &heads {
            match &statement.matter {
                Matter::Person(said) => {
                    person = Some(match person {
                        None => said.clone(),
                        Some(before) => restrict(before, said),
                    });
                }
                Matter::Token(said) => {
                    let revoked = said.revoked || token.as_ref().is_some_and(|t| t.revoked);
                    token = Some(Token { revoked, ..said.clone() });
                }
                Matter::OperatorCharts(allowed) => {
                    self.operator_charts =
                        *allowed && (self.operator_heads.is_empty() || self.operator_charts);
                    self.operator_heads = ids.clone();
                }
                Matter::SetAside { entry, ruling, note } => {
                    let agreed = self.rulings.get(entry).is_none_or(|r| r.ruling == Some(*ruling));
                    let ruled = Ruled {
                        ruling: agreed.then_some(*ruling),
                        by: statement.by.clone(),
                        time_ms: statement.time_ms,
                        note: note.clone(),
                        heads: ids.clone(),
                    };
                    self.rulings.insert(*entry, ruled);
                }
                Matter::Emergency { .. } | Matter::SignOff { .. } => {}
            }
        }
        let barred = barred(about);
        if let Some(token) = token {
            self.programs.insert(token.id.clone(), Program { token, heads: ids, barred });
        } else if let Some(person) = person {
            self.members.insert(person.id.clone(), Member { person, heads: ids, barred });
        }
    }

    fn fold_event(&mut self, id: EntryId, statement: &StaffStatement) {
        match &statement.matter {
            Matter::Emergency { actor, patient, reason } => self.emergencies.push(Emergency {
                id,
                actor: actor.clone(),
                patient: patient.clone(),
                reason: reason.clone(),
                time_ms: statement.time_ms,
            }),
            Matter::SignOff { item, note } => {
                // The first who signed is named; later ones change nothing.
                self.signed_off.entry(item.clone()).or_insert_with(|| SignedOff {
                    by: statement.by.clone(),
                    time_ms: statement.time_ms,
                    note: note.clone(),
                });
            }
            Matter::Person(_)
            | Matter::Token(_)
            | Matter::OperatorCharts(_)
            | Matter::SetAside { .. } => {}
        }
    }

    /// The members of staff, by user id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// One of them.
    pub fn member(&self, id: &str) -> Option<&Member> {
        self.members.get(id)
    }

    /// The API tokens, by id.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        self.programs.values()
    }

    /// One of them.
    pub fn program(&self, id: &str) -> Option<&Program> {
        self.programs.get(id)
    }

    /// Every emergency view, the oldest first. It tells of patients: outside, the records hand it
    /// out to whom they may.
    pub(crate) fn emergencies(&self) -> &[Emergency] {
        &self.emergencies
    }

    /// Who signed off this item of the review list.
    pub fn signed_off(&self, item: &str) -> Option<&SignedOff> {
        self.signed_off.get(item)
    }

    /// What was decided of this entry, should it be set aside.
    pub fn ruled(&self, entry: &EntryId) -> Option<&Ruled> {
        self.rulings.get(entry)
    }

    /// Every entry of which something was decided.
    pub fn rulings(&self) -> &BTreeMap<EntryId, Ruled> {
        &self.rulings
    }

    /// The statements on whether the operator may open charts, to be replaced by the next.
    pub fn operator_heads(&self) -> &[EntryId] {
        &self.operator_heads
    }

    /// Whether somebody active is an administrator: from then on the operator only runs the node.
    pub fn has_administrator(&self) -> bool {
        self.administrators().next().is_some()
    }

    /// The active administrators.
    pub fn administrators(&self) -> impl Iterator<Item = &Person> {
        self.members().map(|member| &member.person).filter(|person| {
            person.standing == Standing::Active && person.roles.contains(&Role::Administrator)
        })
    }

    /// Whether the operator may do this.
    pub fn operator_may(&self, action: Action) -> bool {
        if !self.has_administrator() || action == Action::Operate {
            return true;
        }
        let charts = matches!(
            action,
            Action::Read
                | Action::Write
                | Action::Search
                | Action::Import
                | Action::Export
                | Action::Aggregate
        );
        charts && self.operator_charts
    }

    /// The permit of an actor at a site, or why there is none.
    pub fn permit(
        &self,
        actor: &Actor,
        site: &str,
        action: Action,
        purpose: Option<Purpose>,
        tightening: &Arc<Tightening>,
        now_ms: u64,
    ) -> Result<Permit, Denial> {
        if *actor == Actor::Operator {
            return if self.operator_may(action) {
                Ok(super::permit::operator_permit(action))
            } else {
                Err(Denial::Operator)
            };
        }
        let (roles, scopes) = self.grounds(actor, site, now_ms)?;
        let tightening = tightening.clone();
        let grounds = Grounds { actor: actor.clone(), roles, scopes, tightening };
        Permit::decide(grounds, action, purpose, now_ms)
    }

    fn grounds(
        &self,
        actor: &Actor,
        site: &str,
        now_ms: u64,
    ) -> Result<(BTreeSet<Role>, Option<super::scope::Scopes>), Denial> {
        let standing = || Denial::Standing { actor: actor.to_string() };
        match actor {
            Actor::Operator => Ok((BTreeSet::new(), None)),
            Actor::Staff(id) => {
                let person = &self.member(id).ok_or_else(standing)?.person;
                if person.standing == Standing::Suspended {
                    return Err(standing());
                }
                if !person.sites.is_empty() && !person.sites.iter().any(|s| s == site) {
                    return Err(Denial::Site { actor: id.clone() });
                }
                Ok((person.roles.iter().copied().collect(), None))
            }
            Actor::Application(id) => {
                let token = &self.program(id).ok_or_else(standing)?.token;
                // A clock that runs ahead shuts a token out; it is set right, or a new one made.
                if token.revoked || now_ms > token.expires_ms {
                    return Err(standing());
                }
                Ok((BTreeSet::from([Role::Application]), Some(token.scopes.clone())))
            }
            Actor::Patient(_) => Ok((BTreeSet::from([Role::Patient]), None)),
        }
    }

    /// Whether a permit's holder may still act: looked at again when the permit is used.
    pub fn still_holds(&self, permit: &Permit, site: &str, now_ms: u64) -> Result<(), Denial> {
        if !permit.holds_at(now_ms) {
            return Err(Denial::Expired);
        }
        if *permit.actor() == Actor::Operator {
            let may = self.operator_may(permit.action());
            return if may { Ok(()) } else { Err(Denial::Operator) };
        }
        self.grounds(permit.actor(), site, now_ms).map(|_| ())
    }

    /// Everybody who was not to write at some time, as entries name them.
    pub fn ever_barred(&self) -> impl Iterator<Item = String> {
        let people = self.members().filter(|member| !member.barred.is_empty());
        let programs = self.programs().filter(|program| !program.barred.is_empty());
        let people = people.map(|member| Actor::Staff(member.person.id.clone()));
        let programs = programs.map(|program| Actor::Application(program.token.id.clone()));
        people.chain(programs).map(|actor| actor.to_string())
    }

    /// Whether an entry was written by somebody whose rights had been taken, at a node that did not
    /// know it yet. `by` is the actor's name as entries carry it.
    pub fn wrote_late(&self, by: &str, log: &LogId, sequence: u64) -> bool {
        let barred = match by.strip_prefix("app:") {
            Some(program) => self.program(program).map(|program| &program.barred),
            None => self.member(by).map(|member| &member.barred),
        };
        barred.into_iter().flatten().any(|barred| barred.covers(log, sequence))
    }
}

/// What two statements about one person, made apart, have in common.
fn restrict(before: Person, said: &Person) -> Person {
    let both = |a: &[String], b: &[String]| -> Vec<String> {
        // No site named means everywhere.
        match (a.is_empty(), b.is_empty()) {
            (true, _) => b.to_vec(),
            (_, true) => a.to_vec(),
            _ => {
                let common: Vec<_> = a.iter().filter(|site| b.contains(site)).cloned().collect();
                // Nowhere in common is nowhere, and not everywhere.
                if common.is_empty() { vec![String::new()] } else { common }
            }
        }
    };
    Person {
        roles: before.roles.iter().filter(|role| said.roles.contains(role)).copied().collect(),
        sites: both(&before.sites, &said.sites),
        standing: before.standing.max(said.standing),
        may_unlock: before.may_unlock && said.may_unlock,
        ..said.clone()
    }
}
