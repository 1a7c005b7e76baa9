//! When each node ran: a table whose last column is drawn, so that nobody needs the drawing.

use std::collections::HashMap;

use lockgate_model::NodeId;
use lockgate_model::event::Event;
use maud::{Markup, html};

use super::{anchor, ended, word};
use crate::past::PastRun;
use crate::time::duration;

/// Marks of one node that are drawn: beyond, they are a block.
const MARKS: usize = 200;

/// When one node ran; times in milliseconds since 1970.
#[derive(Default)]
struct Lane {
    /// Attempts: from, to, whether another followed.
    attempts: Vec<(u64, u64, bool)>,
    looks: Vec<u64>,
}

/// The table.
pub(super) fn timeline(run: &PastRun, shown: &[usize]) -> Markup {
    let lanes = lanes(run);
    let start = run.summary.started_ms;
    let last = run.records.iter().map(|record| record.time_ms).max().unwrap_or(start);
    let whole = last.saturating_sub(start).max(1);
    let percent = |ms: u64| format!("{:.3}%", ms as f64 * 100.0 / whole as f64);
    // A cached or skipped node took no time, and is drawn nowhere.
    let mut rows: Vec<(usize, &Lane)> =
        shown.iter().filter_map(|&index| Some((index, lanes.get(&run.pipeline.nodes[index].id)?))).collect();
    rows.sort_by_key(|(index, lane)| (lane.attempts.first().map(|attempt| attempt.0), *index));
    html! {
        section aria-labelledby="timeline" {
            h2 #timeline { "Timeline" }
            @if rows.is_empty() { p { "No node ran." } } @else {
                div.scroll tabindex="0" role="region" aria-label="Timeline" {
                    table.timeline {
                        thead { tr { th scope="col" { "node" } th.num scope="col" { "began after" } th.num scope="col" { "took" }
                            th scope="col" { "of " (duration(whole * 1_000)) } } }
                        tbody { @for (index, lane) in &rows {
                            @let began = lane.attempts.first().map_or(0, |attempt| attempt.0.saturating_sub(start));
                            @let took = lane.attempts.last().map_or(0, |attempt| attempt.1.saturating_sub(start)).saturating_sub(began);
                            // The journal counts milliseconds; many nodes take less.
                            @let took = ended(run, *index).map_or(0, |node| node.facts.micros).max(took * 1_000);
                            tr {
                                td.what { a href={ "#" (anchor(*index)) } { (run.pipeline.nodes[*index].id) } }
                                td.num { (duration(began * 1_000)) }
                                td.num { (duration(took)) }
                                td.track { div aria-hidden="true" {
                                    @for (from, to, again) in lane.attempts.iter().take(MARKS) {
                                        @let class = if *again { "retry".to_owned() } else { format!("is-{}", word(run, *index)) };
                                        i class=(class) style={ "left:" (percent(from.saturating_sub(start))) ";width:" (percent(to.saturating_sub(*from))) } {}
                                    }
                                    @for look in lane.looks.iter().take(MARKS) {
                                        b style={ "left:" (percent(look.saturating_sub(start))) } {}
                                    }
                                } }
                            }
                        } }
                    }
                }
            }
        }
    }
}

fn lanes(run: &PastRun) -> HashMap<&NodeId, Lane> {
    let mut lanes: HashMap<&NodeId, Lane> = HashMap::new();
    for record in &run.records {
        let Some(node) = record.event.node() else { continue };
        let time = record.time_ms;
        match &record.event {
            Event::AttemptStarted { .. } => {
                let lane = lanes.entry(node).or_default();
                // Whether another attempt follows is known when it does.
                if let Some(before) = lane.attempts.last_mut() {
                    before.2 = true;
                }
                lane.attempts.push((time, time, false));
            }
            Event::LookTaken { .. } => lanes.entry(node).or_default().looks.push(time),
            Event::AttemptFailed { .. } | Event::NodeFinished { .. } => {
                if let Some(attempt) = lanes.get_mut(node).and_then(|lane| lane.attempts.last_mut())
                    && !attempt.2
                {
                    attempt.1 = time;
                }
            }
            // An approval or a wait has no attempt; waiting is what it does.
            Event::NodeWaiting { attempt: None, .. } => {
                lanes.entry(node).or_default().attempts.push((time, time, false));
            }
            Event::NodeWaiting { .. }
            | Event::Signalled { .. }
            | Event::GraphProved { .. }
            | Event::GraphServed { .. }
            | Event::RunWaiting { .. }
            | Event::RunResumed { .. }
            | Event::EffectIntended { .. }
            | Event::EffectFinished { .. }
            | Event::RunStarted { .. }
            | Event::RunFinished { .. } => {}
        }
    }
    lanes.retain(|_, lane| !lane.attempts.is_empty());
    lanes
}
