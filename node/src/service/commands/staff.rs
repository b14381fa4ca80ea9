//! Who works here, and what happens in an emergency.

use crate::access::roster::Member;
use crate::access::statement::Standing;
use crate::access::{Action, Actor, Role};
use crate::records::staff::PersonChange;
use crate::service::caller::Who;
use crate::service::error::CommandError;
use crate::service::node::{Node, blocking};
use crate::service::request::{Secret, StaffChange, StaffRequest};
use crate::vault::password::{PASSWORD_CHARACTERS_MIN, make_check};
use serde_json::{Value, json};

/// Does what is asked about staff.
pub async fn execute(node: &Node, who: Who, request: StaffRequest) -> Result<Value, CommandError> {
    match request {
        StaffRequest::List => list(node).await,
        StaffRequest::Add { id, change } => {
            let change = checked(node, &id, change).await?;
            let add = move |records: &mut crate::records::Records, permit: &_| {
                records.add_staff(permit, &id, change)
            };
            Ok(line(&node.act(&who, Action::ManageStaff, add).await?))
        }
        StaffRequest::Change { id, change } => {
            let change = checked(node, &id, change).await?;
            let change = move |records: &mut crate::records::Records, permit: &_| {
                records.change_staff(permit, &id, change)
            };
            Ok(line(&node.act(&who, Action::ManageStaff, change).await?))
        }
        StaffRequest::Reset { id, password, code } => reset(node, who, id, password, code).await,
        StaffRequest::OperatorCharts { allow } => {
            node.act(&who, Action::ManageStaff, move |records, permit| {
                records.allow_operator_charts(permit, allow)
            })
            .await?;
            Ok(json!({ "operator_charts": allow }))
        }
    }
}

/// Opens a patient's chart in an emergency.
pub async fn emergency(
    node: &Node,
    who: Who,
    patient: String,
    reason: String,
) -> Result<Value, CommandError> {
    let patient = patient.strip_prefix("Patient/").unwrap_or(&patient).to_owned();
    let opened = patient.clone();
    node.act(&who, Action::Emergency, move |records, permit| {
        records.open_emergency(permit, &opened, &reason)
    })
    .await?;
    Ok(json!({
        "patient": patient, "actor": who.actor.to_string(),
        "hours": crate::records::door::EMERGENCY_MS / 3_600_000,
    }))
}

async fn list(node: &Node) -> Result<Value, CommandError> {
    let (members, locked): (Vec<Member>, _) = node
        .call(|records| Ok((records.staff()?.members().cloned().collect(), records.locked_out()?)))
        .await?;
    let line = |member: &Member| {
        let mut line = line(member);
        line["locked_out"] = locked.contains(&member.person.id).into();
        line
    };
    Ok(members.iter().map(line).collect())
}

async fn reset(
    node: &Node,
    who: Who,
    id: String,
    password: Secret,
    code: Option<Secret>,
) -> Result<Value, CommandError> {
    let check = check_of(node, &id, password).await?;
    if let (Some(code), Actor::Operator) = (code, &who.actor) {
        let code = code.expose().parse()?;
        return Ok(line(&node.call(move |records| records.reset_staff(&code, &id, check)).await?));
    }
    let change = PersonChange { password: Some(check), ..PersonChange::default() };
    let reset = move |records: &mut crate::records::Records, permit: &_| {
        records.change_staff(permit, &id, change)
    };
    Ok(line(&node.act(&who, Action::ManageStaff, reset).await?))
}

async fn checked(node: &Node, id: &str, change: StaffChange) -> Result<PersonChange, CommandError> {
    let roles = change.roles.map(|roles| {
        let role = |text: &String| {
            text.parse::<Role>().map_err(|error| CommandError::bad_input(error).at(text))
        };
        roles.iter().map(role).collect::<Result<Vec<_>, _>>()
    });
    let password = match change.password {
        Some(password) => Some(check_of(node, id, password).await?),
        None => None,
    };
    Ok(PersonChange {
        name: change.name,
        roles: roles.transpose()?,
        sites: change.sites,
        password,
        standing: change
            .suspended
            .map(|suspended| if suspended { Standing::Suspended } else { Standing::Active }),
        may_unlock: change.may_unlock,
        practitioner: change.practitioner,
    })
}

/// What checks a password; made where it holds up nobody.
pub(super) async fn check_of(
    node: &Node,
    id: &str,
    password: Secret,
) -> Result<Vec<u8>, CommandError> {
    if password.expose().chars().count() < PASSWORD_CHARACTERS_MIN {
        return Err(CommandError::bad_input(format!(
            "a password has at least {PASSWORD_CHARACTERS_MIN} characters"
        ))
        .advise("A few words are easier to type and harder to guess than one with signs in it"));
    }
    let (environment, id) = (node.environment.clone(), id.to_owned());
    Ok(blocking(move || make_check(&environment, &id, &password.0)).await??)
}

fn line(member: &Member) -> Value {
    let person = &member.person;
    json!({
        "id": person.id, "name": person.name,
        "roles": person.roles.iter().map(|role| role.id()).collect::<Vec<_>>(),
        "sites": person.sites,
        "standing": match person.standing {
            Standing::Active => "active",
            Standing::Suspended => "suspended",
        },
        "password": person.password.is_some(),
        "may_unlock": person.may_unlock,
        "practitioner": person.practitioner,
        // Statements that were made apart: the more restrictive holds until somebody decides.
        "disputed": member.heads.len() > 1,
    })
}
