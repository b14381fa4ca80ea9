//! Progress bars: on a terminal only, and gone when the work is done.

use crate::context::{Context, Failure};
use crate::words::Word;
use carnet_node::service::report::Reports;
use carnet_node::service::request::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::time::Duration;

/// Draws the steps that come in, and hands every item to `on_item`, until the command ends.
pub async fn watch(
    context: &Context,
    mut reports: Reports,
    mut on_item: impl FnMut(Value) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut bar: Option<(String, ProgressBar)> = None;
    while let Some(progress) = reports.recv().await {
        match progress {
            Progress::Item(value) => on_item(value)?,
            Progress::Step { phase, done, total } if context.draws() => {
                if bar.as_ref().is_none_or(|(drawn, _)| *drawn != phase) {
                    if let Some((_, old)) = bar.take() {
                        old.finish_and_clear();
                    }
                    bar = Some((phase.clone(), new_bar(context, &phase, total)));
                }
                if let Some((_, bar)) = &bar {
                    total.inspect(|total| bar.set_length(*total));
                    bar.set_position(done);
                }
            }
            Progress::Step { .. } => {}
        }
    }
    if let Some((_, bar)) = bar {
        bar.finish_and_clear();
    }
    Ok(())
}

fn new_bar(context: &Context, phase: &str, total: Option<u64>) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = match total {
        Some(_) => "{msg} {bar:30} {human_pos}/{human_len} {eta}",
        None => "{msg} {spinner} {human_pos}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let message = match Word::of_phase(phase) {
        Some(word) => context.words.text(word).to_owned(),
        None => phase.to_owned(),
    };
    bar.set_message(message);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
