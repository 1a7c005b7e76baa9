//! What a replay came to, for people and for programs.

use lockgate_model::{NodeId, RunId};
use lockgate_runner::{Past, Replayed};
use serde_json::{Value, json};

use super::output::Output;
use super::style::{Style, clean_line};
use crate::exit::Exit;
use crate::past::PastRun;

/// How many nodes came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    same: usize,
    different: usize,
    left: usize,
    broken: usize,
}

impl Tally {
    /// Counts a node.
    pub(crate) fn take(&mut self, replayed: &Replayed) {
        *match replayed {
            Replayed::Same => &mut self.same,
            Replayed::Different(_) => &mut self.different,
            Replayed::Left(_) => &mut self.left,
            Replayed::Broken(_) => &mut self.broken,
        } += 1;
    }

    /// A difference outweighs what could not be replayed.
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self { different: 1.., .. } => Exit::NotReproducible,
            Self { broken: 1.., .. } => Exit::Infrastructure,
            _ => Exit::Succeeded,
        }
    }

    fn word(self) -> &'static str {
        match self.exit() {
            Exit::NotReproducible => "different",
            Exit::Infrastructure => "broken",
            _ => "same",
        }
    }
}

/// Says that fuel cannot be compared.
pub(crate) fn other_engine(past: &Past, determinism: &str, style: Style) -> String {
    let own = env!("CARGO_PKG_VERSION");
    let (engine, version) = past.other_engine(own, determinism).unwrap_or_default();
    format!(
        "{} recorded by lockgate {}, determinism {};\n  this is lockgate {own}, determinism {determinism}:\n  fuel and action keys are not compared\n",
        style.warn("note:"),
        clean_line(engine),
        clean_line(version),
    )
}

/// A node for people: a line, and one for each thing that differs.
pub(crate) fn node(node: &NodeId, replayed: &Replayed, output: &Output) -> String {
    let style = output.out;
    let line = |word: String, more: &str| format!("  {word} {node}{}{more}\n", if more.is_empty() { "" } else { "  " });
    match replayed {
        Replayed::Same | Replayed::Left(_) if output.quiet => String::new(),
        Replayed::Same => line(style.good("same     "), ""),
        Replayed::Left(left) => line(style.dim("left out "), &style.dim(left.reason())),
        Replayed::Broken(failure) => line(style.bad("broken   "), &clean_line(&failure.message)),
        Replayed::Different(differences) => {
            let mut text = line(style.bad("different"), "");
            for difference in differences {
                text += &format!("            {}\n", clean_line(&difference.what_and_where()));
                text += &format!("              {} {}\n", style.dim("recorded:"), clean_line(&difference.first));
                text += &format!("              {} {}\n", style.dim("replayed:"), clean_line(&difference.second));
            }
            text
        }
    }
}

/// The end for people.
pub(crate) fn end(run: &PastRun, tally: &Tally, style: Style) -> String {
    let Tally { same, different, left, broken } = *tally;
    let mut text = format!("run {}: {same} replayed the same", style.bold(run.summary.id.as_str()));
    for (count, words) in [(different, "differ"), (broken, "could not be replayed"), (left, "left out")] {
        if count > 0 {
            text += &format!(", {count} {words}");
        }
    }
    text.push('\n');
    if let (Some(digest), Exit::Succeeded) = (run.summary.digest, tally.exit()) {
        text += &format!("{} {digest}\n", style.dim("run digest"));
    }
    text
}

/// A node for programs.
pub(crate) fn node_line(run: &RunId, node: &NodeId, replayed: &Replayed) -> String {
    let (result, more) = match replayed {
        Replayed::Same => ("same", None),
        Replayed::Different(differences) => ("different", Some(("differences", json!(differences)))),
        Replayed::Left(left) => ("left-out", Some(("reason", left.reason().into()))),
        Replayed::Broken(failure) => ("broken", Some(("reason", failure.message.as_str().into()))),
    };
    let fields = [("run", json!(run)), ("node", json!(node)), ("result", result.into())];
    line("node-replayed", fields.into_iter().chain(more))
}

/// The end for programs: the last line.
pub(crate) fn end_line(run: &PastRun, tally: &Tally, fuel_compared: bool) -> String {
    let Tally { same, different, left, broken } = *tally;
    let fields = [
        ("run", json!(run.summary.id)),
        ("result", tally.word().into()),
        ("digest", json!(run.summary.digest)),
        ("same", same.into()),
        ("different", different.into()),
        ("left_out", left.into()),
        ("broken", broken.into()),
        ("fuel_compared", fuel_compared.into()),
    ];
    line("replay-finished", fields)
}

/// One line of JSON in this order: what one looks for first stands first.
fn line<'a>(event: &str, fields: impl IntoIterator<Item = (&'a str, Value)>) -> String {
    let fields: String = fields.into_iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect();
    format!("{{\"event\":\"{event}\"{fields}}}\n")
}

#[cfg(test)]
mod tests {
    use lockgate_model::outcome::{Failure, FailureKind};

    use super::*;

    #[test]
    fn a_difference_outweighs_what_is_broken() {
        let broken = Replayed::Broken(Failure { kind: FailureKind::Timeout, message: "slow".into() });
        let mut tally = Tally::default();
        tally.take(&Replayed::Same);
        assert_eq!(tally.exit(), Exit::Succeeded);
        tally.take(&broken);
        assert_eq!(tally.exit(), Exit::Infrastructure);
        tally.take(&Replayed::Different(Vec::new()));
        assert_eq!((tally.exit(), tally.word()), (Exit::NotReproducible, "different"));
    }
}
