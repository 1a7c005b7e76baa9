//! References between nodes: `build`, `build[target=a]`, `build.archive`, `build[target=a].archive`.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::quality::RandomState;
use lockgate_model::pipeline::NodeKind;
use lockgate_model::{NodeId, PortName};

use crate::problem::{Code, MAX_PROBLEMS, cut};
use crate::report::suggest;
use crate::shape::a_node;

/// Most misspellings that are compared with the names of all nodes, which takes a millisecond each.
const MAX_COMPARED: usize = 2 * MAX_PROBLEMS;

/// One node as the file has it: several where it has a matrix.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) kind: NodeKind,
    /// Ids of its combinations; of a node without a matrix its own.
    pub(crate) ids: Vec<NodeId>,
    pub(crate) has_matrix: bool,
    /// Names of its inputs as written.
    pub(crate) inputs: HashSet<String>,
    pub(crate) finally: bool,
    /// Where its id stands.
    pub(crate) span: Range<usize>,
}

/// All nodes of a file by the id that stands there.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) bases: HashMap<String, Base, RandomState>,
    /// Ids in the order of the file, for hints.
    pub(crate) order: Vec<String>,
    /// Combinations that exist.
    pub(crate) known: HashSet<NodeId, RandomState>,
    /// Whether any of them is `finally`.
    pub(crate) has_finally: bool,
    /// Misspellings that were compared with all names.
    compared: AtomicUsize,
}

/// Why a reference does not lead to a node.
pub(crate) struct Miss {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Index {
    pub(crate) fn insert(&mut self, id: &str, base: Base) {
        self.has_finally |= base.finally;
        self.known.extend(base.ids.iter().cloned());
        self.order.push(id.to_owned());
        self.bases.insert(id.to_owned(), base);
    }

    /// A hint at the nearest name; for the first misspellings of a file, which are those that are shown.
    fn nearest<'a>(&self, name: &str, names: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
        if self.compared.fetch_add(1, Ordering::Relaxed) < MAX_COMPARED { suggest(name, names) } else { None }
    }

    /// The base that an id, with or without a combination, belongs to.
    pub(crate) fn base(&self, id: &str) -> Option<&Base> {
        self.bases.get(id.split('[').next().unwrap_or(id))
    }

    /// The nodes that a text names: all combinations where only the base is named.
    pub(crate) fn nodes(&self, text: &str) -> Result<Vec<NodeId>, Miss> {
        let (name, combination) = match text.split_once('[') {
            Some((name, rest)) => (name, Some(rest)),
            None => (text, None),
        };
        let shown = || cut(text.to_owned(), 120);
        let Some(base) = self.bases.get(name) else {
            let hint = self.nearest(name, self.order.iter().map(String::as_str));
            return Err(Miss {
                code: Code::UnknownNode,
                message: format!("there is no node `{}`", cut(name.to_owned(), 80)),
                hint,
            });
        };
        let Some(combination) = combination else { return Ok(base.ids.clone()) };
        let Some(pairs) = combination.strip_suffix(']') else {
            let hint = Some("end it with `]`".to_owned());
            return Err(Miss {
                code: Code::Reference,
                message: format!("the combination in `{}` has no end", shown()),
                hint,
            });
        };
        let mut pairs: Vec<_> = pairs.split(',').map(str::trim).collect();
        pairs.sort_unstable();
        let id = NodeId::new(&format!("{name}[{}]", pairs.join(","))).ok();
        match id.filter(|id| self.known.contains(id)) {
            Some(id) => Ok(vec![id]),
            None => {
                let hint = match base.has_matrix {
                    true => self.nearest(text, base.ids.iter().map(NodeId::as_str)).or_else(|| example(base, "")),
                    false => Some(format!("`{name}` has no matrix: write `{name}`")),
                };
                Err(Miss { code: Code::UnknownNode, message: format!("there is no node `{}`", shown()), hint })
            }
        }
    }

    /// The one node that a text names.
    pub(crate) fn node(&self, text: &str, rest: &str) -> Result<NodeId, Miss> {
        let mut nodes = self.nodes(text)?;
        match (nodes.len(), nodes.pop()) {
            (1, Some(node)) => Ok(node),
            (number, _) => {
                let message = format!(
                    "`{}` names {number} nodes, one for each combination of its matrix",
                    cut(text.to_owned(), 80)
                );
                let hint = self.base(text).and_then(|base| example(base, rest));
                Err(Miss { code: Code::Reference, message, hint })
            }
        }
    }
}

/// Why nothing can be read of a node, if it makes nothing.
pub(crate) fn without_outputs(node: &NodeId, base: Option<&Base>) -> Option<Miss> {
    let kind = base.map(|base| base.kind).filter(|kind| kind.world().is_none())?;
    Some(Miss {
        code: Code::Reference,
        message: format!("`{node}` is {}: it has no outputs", a_node(kind)),
        hint: Some(format!("for the order alone write `after = [\"{node}\"]`")),
    })
}

/// How to write one combination.
fn example(base: &Base, rest: &str) -> Option<String> {
    let first: Vec<_> = base.ids.iter().take(3).map(|id| format!("`{id}{rest}`")).collect();
    if first.is_empty() {
        return None;
    }
    let more = if base.ids.len() > 3 { ", ..." } else { "" };
    Some(format!("name one combination: {}{more}", first.join(", ")))
}

/// Splits `node.port`; the node may hold a combination with dots in it.
pub(crate) fn split(text: &str) -> Result<(&str, PortName), Miss> {
    let at = match text.find(']') {
        Some(end) => Some(end + 1).filter(|at| text[*at..].starts_with('.')),
        None => text.find('.'),
    };
    let wrong = |hint: &str| Miss {
        code: Code::Reference,
        message: format!("`{}` is not `<node>.<output>`", cut(text.to_owned(), 120)),
        hint: Some(hint.to_owned()),
    };
    let Some(at) = at.filter(|at| *at > 0) else {
        return Err(wrong(
            "write the node's id, a dot and the name of its output, as in `package.archive`; for files of the host `{ dir = \"...\" }` or `{ file = \"...\" }`",
        ));
    };
    match PortName::new(&text[at + 1..]) {
        Ok(port) => Ok((&text[..at], port)),
        Err(_) => Err(wrong("the name of an output is letters, digits, `_` and `-`")),
    }
}
