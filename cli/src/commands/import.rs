//! `import FILE...`: FHIR bundles, resources and NDJSON, all or nothing for each bundle.

use crate::commands::patient::hint;
use crate::context::{Context, Outcome, Style, typed};
use crate::session;
use crate::words::Word;
use carnet_node::service::error::{CommandError, ExitCode};
use carnet_node::service::reply::Imported;
use carnet_node::service::request::Request;
use std::path::PathBuf;

/// Arguments of `import`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Bundles, resources or NDJSON, each also gzipped; they are resolved together, in any order
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Imports.
pub async fn execute(context: &Context, arguments: Arguments) -> Outcome {
    // The node may have another working directory.
    let absolute =
        |path: PathBuf| path.canonicalize().map_err(|error| CommandError::file(&error, &path));
    let files = arguments.files.into_iter().map(absolute).collect::<Result<Vec<_>, _>>()?;
    let imported: Imported = typed(session::ask(context, Request::Import { files }).await?)?;
    let code = match (imported.failed, imported.bundles) {
        (0, _) => ExitCode::Fine,
        (_, 0) => ExitCode::Failure,
        _ => ExitCode::Partial,
    };
    if context.answered(&imported)? {
        return Ok(code);
    }
    for failure in &imported.failures {
        let place = match failure.entry {
            Some(entry) => format!("{}#{}/{entry}", failure.file, failure.bundle),
            None => format!("{}#{}", failure.file, failure.bundle),
        };
        let gaps = [("place", place.as_str()), ("reason", &failure.reason)];
        context.line(context.paint(Style::Red, &context.words.fill(Word::ImportRefused, &gaps)))?;
    }
    let gaps = [
        ("resources", imported.resources.to_string()),
        ("bundles", imported.bundles.to_string()),
        ("existing", imported.existing.to_string()),
        ("skipped", imported.skipped.to_string()),
        ("failed", imported.failed.to_string()),
        ("seconds", format!("{:.1}", imported.seconds)),
    ];
    let gaps: Vec<_> = gaps.iter().map(|(name, value)| (*name, value.as_str())).collect();
    context.say(Word::ImportDone, &gaps)?;
    hint(context, &imported.duplicates);
    Ok(code)
}
