//! What each request does. One file for each group; every answer is one of [`super::reply`], or
//! FHIR as the records show it.

mod audit;
mod backup;
pub(super) mod bulk;
pub(super) mod charts;
pub(super) mod compact;
mod health;
mod keys;
mod logins;
mod membership;
mod pairs;
pub(super) mod peers;
mod quarantine;
mod review;
mod staff;

use super::caller;
use super::error::{CommandError, ErrorKind};
use super::node::Node;
use super::report::Reporter;
use super::request::{Asked, Request};
use crate::records::Records;
use carnet_sync_protocol::certificate::Role;
use serde::Serialize;
use serde_json::Value;

/// Does what is asked; the same in the daemon and in a single command.
pub async fn execute(
    node: &Node,
    asked: impl Into<Asked>,
    reporter: Reporter,
) -> Result<Value, CommandError> {
    let Asked { caller, purpose, request } = asked.into();
    let who = caller::identify(node, caller, purpose).await?;
    if request.is_about_charts() {
        refuse_on_relay(node).await?;
    }
    match request {
        Request::Unlock { with, new } => keys::unlock(node, with, new).await,
        Request::Lock => keys::lock(node).await,
        Request::PassphraseChange { old, new } => keys::change_passphrase(node, old, new).await,
        Request::PracticeExportKey { practice, seal, remove } => {
            keys::export_practice_key(node, who, practice, seal, remove).await
        }
        Request::PracticeImportKey { sealed, passphrase } => {
            keys::import_practice_key(node, who, sealed, passphrase).await
        }
        Request::Invite { site, role, admit, addresses, hours, practice } => {
            let wish = membership::Wish { site, role, admit, addresses, hours };
            membership::invite(node, who, wish, practice).await
        }
        Request::Approve { request, site, role, admit, addresses, practice } => {
            let site = site.unwrap_or_default();
            let hours = membership::APPROVAL_HOURS;
            let wish = membership::Wish { site, role, admit, addresses, hours };
            membership::approve(node, who, request, wish, practice).await
        }
        Request::NodeList => membership::list(node).await,
        Request::NodeRevoke { node: named, action, dry_run, practice } => {
            membership::revoke(node, who, named, action, dry_run, practice).await
        }
        Request::NodeRenew { node: named, practice } => {
            membership::renew(node, who, named, practice).await
        }
        Request::PeerAdd { address, node: named } => peers::add(node, address, named).await,
        Request::PeerRemove { peer } => peers::remove(node, peer).await,
        Request::PeerList => peers::list(node).await,
        Request::Sync { peer, timeout_s } => peers::sync(node, peer, timeout_s, &reporter).await,
        Request::Status => health::status(node).await,
        Request::Verify => health::verify(node, who, reporter).await,
        Request::Backup { to } => backup::backup(node, who, to, reporter).await,
        Request::Compact { dry_run } => compact::compact(node, who, dry_run, &reporter).await,
        Request::Import { files } => bulk::import(node, who, files, reporter).await,
        Request::Export { patient } => bulk::export(node, who, patient, &reporter).await,
        Request::Staff(request) => staff::execute(node, who, request).await,
        Request::Login(request) => logins::execute(node, who, request).await,
        Request::Audit(request) => audit::execute(node, who, request, &reporter).await,
        Request::Emergency { patient, reason } => {
            staff::emergency(node, who, patient, reason).await
        }
        Request::PatientSearch { query, limit } => charts::search(node, who, query, limit).await,
        Request::PatientShow { patient } => charts::patient(node, who, patient).await,
        Request::PatientDuplicates { limit } => pairs::duplicates(node, who, limit).await,
        Request::PatientPair { first, second, say } => {
            pairs::say(node, who, first, second, say).await
        }
        Request::ChartShow { resource } => charts::show(node, who, resource).await,
        Request::ChartHistory { resource } => charts::history(node, who, resource).await,
        Request::ChartEdit { resource, set, delete } => {
            charts::edit(node, who, resource, set, delete).await
        }
        Request::ChartPut { body } => charts::put(node, who, body).await,
        Request::ChartConflicts { resource } => charts::conflicts(node, who, resource).await,
        Request::ChartResolve { resource, element, choose, seen } => {
            charts::resolve(node, who, resource, element, choose, seen).await
        }
        Request::ReviewList { signed } => review::list(node, who, signed).await,
        Request::ReviewSignOff { item, note } => review::sign_off(node, who, item, note).await,
        Request::Quarantine(request) => quarantine::execute(node, who, request).await,
    }
}

/// On a relay nothing would be found, and whoever asks would wait for what can never be shown.
async fn refuse_on_relay(node: &Node) -> Result<(), CommandError> {
    let role = |records: &mut Records| Ok(records.keyring().certificate().map(|own| own.body.role));
    match node.call(role).await? {
        Some(Role::Relay) => Err(CommandError::new(
            ErrorKind::Denied,
            "this node is a relay: it keeps and passes on what it cannot read",
        )
        .advise("Ask a clinic's node")),
        _ => Ok(()),
    }
}

/// A typed answer as JSON.
fn answer(reply: impl Serialize) -> Result<Value, CommandError> {
    serde_json::to_value(reply)
        .map_err(|error| CommandError::new(ErrorKind::Failure, format!("no answer: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::environment::Environment;
    use crate::service::config::{Config, Flags};
    use crate::service::create::{self, Founding};
    use crate::service::report;
    use crate::service::request::{Choose, Closure, Opener, Progress, Say, Secret};
    use serde_json::json;
    use std::path::Path;

    const PASSPHRASE: &str = "hibiscus and baobab";

    async fn found(dir: &Path) -> String {
        let founding = Founding {
            practice: "Casamance".into(),
            site: "Sédhiou".into(),
            closure: Closure::Passphrase(Secret::new(PASSPHRASE.into())),
            practice_passphrase: None,
        };
        let created = create::init(dir, &Environment::system(), founding).await.expect("founded");
        created.recovery_code.expect("a code")
    }

    async fn open(dir: &Path) -> Result<Node, CommandError> {
        let config = Config::load(dir, Flags::default(), &|_| None).expect("settings");
        Node::open(dir, Environment::system(), config).await
    }

    async fn ask(node: &Node, request: Request) -> Result<Value, CommandError> {
        let (reporter, _reports) = report::channel();
        execute(node, request, reporter).await
    }

    async fn unlock(node: &Node, passphrase: &str) -> Result<Value, CommandError> {
        let with = Opener::Passphrase(Secret::new(passphrase.into()));
        ask(node, Request::Unlock { with, new: None }).await
    }

    fn exit(outcome: Result<Value, CommandError>) -> u8 {
        outcome.map_or_else(|error| error.exit() as u8, |_| 0)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_refusal_has_its_exit_code() {
        let parent = tempfile::tempdir().expect("a directory");
        let dir = parent.path().join("node");
        assert_eq!(open(&dir).await.expect_err("nothing there").exit() as u8, 10);
        let code = found(&dir).await;
        assert!(create::refuse_existing(&dir).is_err());
        let node = open(&dir).await.expect("opened");
        assert_eq!(open(&dir).await.expect_err("held").exit() as u8, 11);
        assert_eq!(exit(unlock(&node, "hibiscus").await), 12);
        assert_eq!(exit(ask(&node, Request::Export { patient: None }).await), 13);
        assert_eq!(exit(ask(&node, Request::Status).await), 0);
        let with = Opener::RecoveryCode(Secret::new(code));
        let new = Some(Secret::new("forgotten no more".into()));
        assert_eq!(exit(ask(&node, Request::Unlock { with, new }).await), 0);
        assert_eq!(exit(ask(&node, Request::Lock).await), 0);
        assert_eq!(exit(unlock(&node, PASSPHRASE).await), 12);
        assert_eq!(exit(unlock(&node, "forgotten no more").await), 0);
        node.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_patient_registered_twice_is_hinted_at_listed_linked_and_separated() {
        let parent = tempfile::tempdir().expect("a directory");
        let dir = parent.path().join("node");
        found(&dir).await;
        let node = open(&dir).await.expect("opened");
        unlock(&node, PASSPHRASE).await.expect("unlocked");
        let awa = |id: &str| {
            json!({"resourceType": "Patient", "id": id, "birthDate": "1987-03-21",
                "gender": "female", "name": [{"family": "Diatta", "given": ["Aïssatou"]}]})
        };
        let put = ask(&node, Request::ChartPut { body: awa("p1") }).await.expect("written");
        assert_eq!(put["duplicates"], json!(null));
        let file = parent.path().join("patient.json");
        std::fs::write(&file, awa("p2").to_string()).expect("written");
        let imported = ask(&node, Request::Import { files: vec![file.clone()] }).await;
        let hint = json!([{"patient": "p2", "same": "p1", "score": 72}]);
        assert_eq!(imported.expect("imported")["duplicates"], hint);
        let again = ask(&node, Request::Import { files: vec![file] }).await.expect("imported");
        assert_eq!(again["duplicates"], json!([]), "not new any more");
        let put = ask(&node, Request::ChartPut { body: awa("p3") }).await.expect("written");
        assert_eq!(put["duplicates"].as_array().map(Vec::len), Some(2));

        let pairs = ask(&node, Request::PatientDuplicates { limit: 2 }).await.expect("listed");
        assert_eq!(pairs.as_array().map(Vec::len), Some(2), "of three");
        let reasons: Vec<_> = pairs[0]["reasons"].as_array().into_iter().flatten().collect();
        assert_eq!(reasons[0], &json!({"evidence": "same-name", "points": 40}));
        assert_eq!(pairs[0]["patients"][1]["site"], "Sédhiou");
        let say = |first: &str, second: &str, say: Say| {
            let (first, second) = (first.to_owned(), second.to_owned());
            Request::PatientPair { first, second, say }
        };
        let linked = ask(&node, say("Patient/p2", "p1", Say::Link)).await.expect("linked");
        assert_eq!(linked["changed"], true);
        let show = Request::PatientShow { patient: "p2".into() };
        let shown = ask(&node, show).await.expect("shown");
        let charts: Vec<_> = shown["charts"].as_array().into_iter().flatten().collect();
        assert_eq!((charts.len(), &charts[0]["links"][0]["with"]), (2, &json!("p2")));
        let of_p1 = |line: &&Value| line["chart"] == "p1" && line["site"] == "Sédhiou";
        assert!(shown["resources"].as_array().into_iter().flatten().any(|line| of_p1(&line)));
        assert_eq!(exit(ask(&node, say("p1", "p1", Say::Link)).await), 1);
        assert_eq!(exit(ask(&node, say("p1", "p9", Say::Link)).await), 1);
        assert_eq!(exit(ask(&node, say("p1", "p2", Say::Unlink)).await), 0);
        let show = Request::PatientShow { patient: "p1".into() };
        let shown = ask(&node, show).await.expect("shown");
        assert_eq!(shown["charts"].as_array().map(Vec::len), Some(1));
        node.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_patient_is_imported_found_changed_and_exported() {
        let parent = tempfile::tempdir().expect("a directory");
        let dir = parent.path().join("node");
        found(&dir).await;
        let node = open(&dir).await.expect("opened");
        unlock(&node, PASSPHRASE).await.expect("unlocked");
        let file = parent.path().join("patient.json");
        let patient = json!({
            "resourceType": "Patient", "id": "p1", "birthDate": "1987-03-21",
            "name": [{ "family": "Diatta", "given": ["Aïssatou"] }],
        });
        std::fs::write(&file, patient.to_string()).expect("written");
        let imported = ask(&node, Request::Import { files: vec![file.clone()] }).await;
        let imported = imported.expect("imported");
        assert_eq!((&imported["resources"], &imported["failed"]), (&json!(1), &json!(0)));
        let again = ask(&node, Request::Import { files: vec![file] }).await.expect("imported");
        assert_eq!((&again["resources"], &again["existing"]), (&json!(0), &json!(1)));
        let query = Request::PatientSearch { query: "aissa".into(), limit: 5 };
        assert_eq!(ask(&node, query).await.expect("searched")[0]["id"], "p1");

        let set = vec![("birthDate".to_owned(), json!("1987-03-12"))];
        let edit = Request::ChartEdit { resource: "Patient/p1".into(), set, delete: false };
        assert_eq!(ask(&node, edit).await.expect("edited")["changed"], true);
        let history = Request::ChartHistory { resource: "Patient/p1".into() };
        let history = ask(&node, history).await.expect("a history");
        assert_eq!(history[0]["body"]["birthDate"], "1987-03-12");
        assert_eq!(history[1]["body"]["birthDate"], "1987-03-21");

        let (reporter, mut reports) = report::channel();
        execute(&node, Request::Export { patient: None }, reporter).await.expect("exported");
        let Some(Progress::Item(exported)) = reports.recv().await else { panic!("no resource") };
        assert_eq!(exported["birthDate"], "1987-03-12");
        let before = ask(&node, Request::Verify).await.expect("verified");
        assert_eq!(before["ok"], true);
        let compact = |dry_run| Request::Compact { dry_run };
        let dry = ask(&node, compact(true)).await.expect("looked at");
        let done = ask(&node, compact(false)).await.expect("packed");
        assert_eq!((&dry["entries"], &dry["dry_run"]), (&done["entries"], &json!(true)));
        assert_eq!(done["waiting_for"], json!([]));
        let after = ask(&node, Request::Verify).await.expect("verified");
        assert_eq!((&after["ok"], &after["state_digest"]), (&json!(true), &before["state_digest"]));
        let resolve = Request::ChartResolve {
            resource: "Patient/p1".into(),
            element: "birthDate".into(),
            choose: Choose::Both,
            seen: "0".into(),
        };
        assert_eq!(exit(ask(&node, resolve).await), 1, "there is no conflict to decide");
        node.close().await;
    }
}
