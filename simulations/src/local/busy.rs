//! How long a clinician waits for a chart while the node is busy importing.

use super::node::{self, Site};
use super::{Outcome, SAMPLE_DAY_MS};
use carnet_node::access::{Action, operator_permit};
use carnet_node::chart::{Resource, ResourceKey};
use carnet_node::records::Handle;
use carnet_node::records::import::{Import, Source};
use carnet_node::sample::{Generator, Size};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often somebody looks at a chart.
const LOOK: Duration = Duration::from_millis(15);

/// Reads and writes while files are imported, of invented large patients and of each folder.
pub fn measure(patients: usize, samples: &[PathBuf]) -> Outcome<Value> {
    let mut generator = Generator::new(5, SAMPLE_DAY_MS);
    let invented = (0..patients)
        .map(|n| Source::bytes(n.to_string(), generator.patient(Size::Large).to_string().into()))
        .collect();
    let mut measured = vec![beside("nothing", Vec::new())?, beside("invented", invented)?];
    for folder in samples {
        let files = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
        let sources = files.into_iter().map(|file| Source::file(file.path())).collect();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        measured.push(beside(&name, sources)?);
    }
    Ok(measured.into())
}

/// Reads and edits of one resource while these are imported; of no sources, for a second.
fn beside(name: &str, sources: Vec<Source>) -> Outcome<Value> {
    let (records, dir) = Site::found()?.into_parts();
    let (handle, owner) = Handle::start(records);
    let body = json!({"resourceType": "Basic", "id": "looked-at", "code": {"text": "here"}});
    let key = Resource::from_value(body.clone())?.key();
    edit(&handle, body.clone())?;
    let done = AtomicBool::new(false);
    let idle = sources.is_empty();
    let (reads, writes) = std::thread::scope(|scope| -> Outcome<_> {
        let importer = scope.spawn(|| {
            let imported = import(&handle, sources);
            if idle {
                std::thread::sleep(Duration::from_secs(1));
            }
            done.store(true, Ordering::Relaxed);
            imported
        });
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        while !done.load(Ordering::Relaxed) {
            let begun = node::now();
            read(&handle, &key)?;
            reads.push(begun.elapsed());
            if reads.len() % 5 == 0 {
                let begun = node::now();
                let text = format!("edit {}", writes.len());
                let mut body = body.clone();
                body["code"]["text"] = text.into();
                edit(&handle, body)?;
                writes.push(begun.elapsed());
            }
            std::thread::sleep(LOOK);
        }
        importer.join().map_err(|_| "the import ended in a panic")??;
        Ok((reads, writes))
    })?;
    drop(owner);
    drop(dir);
    let (mut reads, mut writes) = (reads, writes);
    Ok(json!({
        "beside": name,
        "reads": reads.len(), "read_ms": node::percentiles(&mut reads),
        "writes": writes.len(), "write_ms": node::percentiles(&mut writes),
    }))
}

fn import(handle: &Handle, sources: Vec<Source>) -> Result<(), String> {
    let mut import = Import::new(sources);
    while import.read() {
        while import.is_open() {
            let turn = move |records: &mut carnet_node::records::Records| {
                records.import_turn(&operator_permit(Action::Import), &mut import)?;
                Ok(import)
            };
            import = handle.call_blocking(turn).map_err(|error| error.to_string())?;
        }
    }
    let report = import.into_report();
    if report.failed > 0 { Err(format!("{} bundles failed", report.failed)) } else { Ok(()) }
}

fn read(handle: &Handle, key: &ResourceKey) -> Outcome<()> {
    let key = key.clone();
    let permit = operator_permit(Action::Read);
    handle.call_blocking(move |records| records.read(&permit, &key).map(drop))?;
    Ok(())
}

fn edit(handle: &Handle, body: Value) -> Outcome<()> {
    let resource = Resource::from_value(body)?;
    let permit = operator_permit(Action::Write);
    handle.call_blocking(move |records| records.put(&permit, &resource).map(drop))?;
    Ok(())
}
