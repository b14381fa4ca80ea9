//! `export`: resources as NDJSON, or as one bundle.

use crate::context::{Context, Failure, Outcome};
use crate::session::Session;
use crate::words::Word;
use carnet_node::service::error::{CommandError, ExitCode};
use carnet_node::service::request::Request;
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Everything that this node can read
    #[arg(long, required_unless_present = "patient")]
    all: bool,
    /// Only the chart of this patient
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    patient: Option<String>,
    /// Form of the output; --json means ndjson
    #[arg(long, value_enum, default_value = "ndjson", conflicts_with = "json")]
    format: Format,
    /// Write to this file, readable by its owner only [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Format {
    /// A resource on each line
    Ndjson,
    /// A Bundle of type collection
    Bundle,
}

/// Exports.
pub async fn execute(context: &Context, arguments: Arguments) -> Outcome {
    let file = arguments.output.as_ref().map(|path| {
        let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        open.map_err(|error| CommandError::file(&error, path))
    });
    let out: Box<dyn Write + Send> = match file {
        Some(file) => Box::new(file?),
        None => Box::new(io::stdout()),
    };
    let mut writer = Writer { out: BufWriter::new(out), format: arguments.format, count: 0 };
    let session = Session::open(context).await?;
    let request = Request::Export { patient: arguments.patient };
    let outcome = session.stream(context, request, |item| writer.write(&item)).await;
    session.close().await;
    outcome?;
    let count = writer.finish()?.to_string();
    if let Some(path) = &arguments.output {
        let path = path.display().to_string();
        context.note(Word::ExportDone, &[("count", &count), ("path", &path)]);
    }
    Ok(ExitCode::Fine)
}

struct Writer<W: Write> {
    out: BufWriter<W>,
    format: Format,
    count: u64,
}

impl<W: Write> Writer<W> {
    fn write(&mut self, resource: &Value) -> Result<(), Failure> {
        let (before, after): (&[u8], &[u8]) = match (self.format, self.count) {
            (Format::Ndjson, _) => (b"", b"\n"),
            (Format::Bundle, 0) => (OPENING, b"}"),
            (Format::Bundle, _) => (b",\n{\"resource\":", b"}"),
        };
        self.out.write_all(before)?;
        serde_json::to_writer(&mut self.out, resource).map_err(io::Error::from)?;
        self.out.write_all(after)?;
        self.count += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<u64, Failure> {
        match (self.format, self.count) {
            (Format::Ndjson, _) => {}
            (Format::Bundle, 0) => self.out.write_all(EMPTY)?,
            (Format::Bundle, _) => self.out.write_all(b"\n]}\n")?,
        }
        self.out.flush()?;
        Ok(self.count)
    }
}

const EMPTY: &[u8] = b"{\"resourceType\":\"Bundle\",\"type\":\"collection\"}\n";
const OPENING: &[u8] =
    b"{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[\n{\"resource\":";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(format: Format, count: usize) -> String {
        let mut bytes = Vec::new();
        let mut writer = Writer { out: BufWriter::new(&mut bytes), format, count: 0 };
        for id in 0..count {
            writer.write(&json!({ "resourceType": "Patient", "id": id })).expect("written");
        }
        writer.finish().expect("finished");
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_bundle_of_any_size_is_json_and_ndjson_has_a_line_each() {
        for count in 0..3 {
            let bundle: Value =
                serde_json::from_str(&written(Format::Bundle, count)).expect("JSON");
            assert_eq!(bundle["entry"].as_array().map_or(0, Vec::len), count);
            assert_eq!(written(Format::Ndjson, count).lines().count(), count);
        }
    }
}
