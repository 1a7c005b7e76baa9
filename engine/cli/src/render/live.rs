//! The live view on a terminal: one line for each running node with its time, a bar for all, and what is finished above.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use lockgate_model::NodeId;

use super::style::{Style, clean_line};

/// The most running nodes that are shown: what fits on a small terminal. The bar counts the others.
const MAX_SHOWN: usize = 12;
/// How often times move.
const TICK: Duration = Duration::from_millis(100);

/// What is drawn at the bottom of the terminal.
#[derive(Debug)]
pub(crate) struct Live {
    multi: MultiProgress,
    total: ProgressBar,
    shown: HashMap<NodeId, ProgressBar>,
    hidden: usize,
}

impl Live {
    /// A view of a run of so many nodes, drawn on stderr.
    pub(crate) fn new(nodes: usize, style: Style) -> Self {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(15));
        let total = multi.add(ProgressBar::new(nodes as u64));
        let bar = if style.has_color() { "{bar:24.green/dim}" } else { "{bar:24}" };
        total.set_style(template(&format!("  {bar} {{pos}}/{{len}} {{elapsed}} {{msg}}")).progress_chars("━━─"));
        total.enable_steady_tick(TICK);
        Self { multi, total, shown: HashMap::new(), hidden: 0 }
    }

    /// A node began, or begins another attempt.
    pub(crate) fn started(&mut self, node: &NodeId, what: &str) {
        if self.shown.contains_key(node) {
            self.says(node, what);
            return;
        }
        if self.shown.len() >= MAX_SHOWN {
            self.hidden += 1;
            self.total.set_message(format!("({} more running)", self.hidden));
            return;
        }
        let bar = self.multi.insert_before(&self.total, ProgressBar::new_spinner());
        bar.set_style(
            template("  {spinner} {prefix} {elapsed} {wide_msg}").tick_strings(&["⠋", "⠙", "⠸", "⠴", "⠦", "⠇", " "]),
        );
        bar.set_prefix(node.to_string());
        bar.set_message(clean_line(what));
        bar.enable_steady_tick(TICK);
        self.shown.insert(node.clone(), bar);
    }

    /// What a running node does now.
    pub(crate) fn says(&self, node: &NodeId, what: &str) {
        if let Some(bar) = self.shown.get(node) {
            bar.set_message(clean_line(what));
        }
    }

    /// A node is final; `started` says whether it had begun.
    pub(crate) fn finished(&mut self, node: &NodeId, started: bool) {
        match self.shown.remove(node) {
            Some(bar) => {
                bar.finish_and_clear();
                self.multi.remove(&bar);
            }
            None if started => {
                self.hidden = self.hidden.saturating_sub(1);
                let message = if self.hidden > 0 { format!("({} more running)", self.hidden) } else { String::new() };
                self.total.set_message(message);
            }
            None => {}
        }
        self.total.inc(1);
    }

    /// Prints whole lines above the view.
    pub(crate) fn print(&self, text: &str) {
        // A terminal that went away is no error.
        let _ = self.multi.println(text.trim_end_matches('\n'));
    }

    /// Takes the view away.
    pub(crate) fn close(&mut self) {
        for (_, bar) in self.shown.drain() {
            bar.finish_and_clear();
        }
        self.total.finish_and_clear();
        let _ = self.multi.clear();
    }
}

/// The templates are constants of this file; a wrong one would show as indicatif's own.
fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_right() {
        for text in [
            "  {bar:24.green/dim} {pos}/{len} {elapsed} {msg}",
            "  {bar:24} {pos}/{len} {elapsed} {msg}",
            "  {spinner} {prefix} {elapsed} {wide_msg}",
        ] {
            assert!(ProgressStyle::with_template(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn only_so_many_nodes_are_shown() {
        let mut live = Live::new(20, Style::PLAIN);
        let ids: Vec<_> = (0..20).map(|i| NodeId::new(&format!("n{i}")).unwrap()).collect();
        for id in &ids {
            live.started(id, "");
        }
        assert_eq!((live.shown.len(), live.hidden), (MAX_SHOWN, 20 - MAX_SHOWN));
        for id in &ids {
            live.finished(id, true);
        }
        assert_eq!((live.shown.len(), live.hidden, live.total.position()), (0, 0, 20));
    }
}
