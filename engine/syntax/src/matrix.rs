//! Matrices: one node for each combination of values. The combination stands in the id, keys sorted: `build[opt=1,target=a]`.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use lockgate_model::id::MAX_NODE_ID;
use lockgate_model::pipeline::{MAX_NODES, ParamValue};

use crate::problem::{Code, cut};
use crate::report::Problems;
use crate::table::{Table, scalar};

/// Values by key, keys sorted.
pub(crate) type Combination = BTreeMap<String, ParamValue>;

/// A node's matrix, not yet unfolded.
#[derive(Debug)]
pub(crate) struct Matrix {
    keys: Vec<(String, Vec<ParamValue>)>,
}

impl Matrix {
    /// Reads a `matrix`; none where there is a problem.
    pub(crate) fn read(table: &Table<'_>, base: &str, problems: &Problems) -> Option<Self> {
        let mut keys = Vec::new();
        let mut fine = true;
        let mut wrong = |span: &Range<usize>, message: String, hint: Option<&str>| {
            fine = false;
            problems.report(Code::Matrix, span, "", message, hint.map(ToOwned::to_owned));
        };
        if table.map.is_empty() {
            wrong(&table.span, "the matrix is empty".to_owned(), Some("leave it away, or give it keys with values"));
        }
        for (key, value) in table.map.iter() {
            let items = table.list(key.get_ref());
            if value.get_ref().as_array().is_some_and(|list| list.is_empty()) {
                wrong(
                    &key.span(),
                    format!("the matrix has no values for `{}`", cut(key.get_ref().to_string(), 80)),
                    None,
                );
            }
            let mut seen = HashSet::new();
            let mut values = Vec::with_capacity(items.len());
            for item in items {
                let Some(value) = scalar(item.get_ref()) else { continue };
                let text = value.to_string();
                let permitted = |c: char| c.is_ascii_alphanumeric() || "_-.+".contains(c);
                if text.is_empty() || !text.chars().all(permitted) {
                    let message = format!("the matrix value `{}` cannot stand in an id", cut(text.clone(), 80));
                    wrong(&item.span(), message, Some("values are letters, digits, `_`, `-`, `.` and `+`"));
                }
                if !seen.insert(text.clone()) {
                    wrong(&item.span(), format!("the matrix value `{}` stands there twice", cut(text, 80)), None);
                }
                values.push(value);
            }
            keys.push((key.get_ref().to_string(), values));
        }
        keys.sort();
        let longest: usize = keys
            .iter()
            .map(|(key, values)| key.len() + 2 + values.iter().map(|v| v.to_string().len()).max().unwrap_or(0))
            .sum();
        if base.len() + 1 + longest > MAX_NODE_ID {
            wrong(
                &table.span,
                format!("the matrix makes ids longer than {MAX_NODE_ID} bytes"),
                Some("use shorter keys and values"),
            );
        }
        fine.then_some(Self { keys })
    }

    /// Number of combinations; beyond [`MAX_NODES`] any number that is.
    pub(crate) fn len(&self) -> usize {
        let product = self.keys.iter().try_fold(1_usize, |n, (_, values)| n.checked_mul(values.len()));
        product.unwrap_or(usize::MAX).min(MAX_NODES + 1)
    }

    /// All combinations, in the order of the values; the last key by name changes fastest. Only after [`Self::len`] was checked.
    pub(crate) fn combinations(&self) -> Vec<Combination> {
        let mut all = vec![Combination::new()];
        for (key, values) in &self.keys {
            all = all
                .into_iter()
                .flat_map(|so_far| {
                    values.iter().map(move |value| {
                        let mut next = so_far.clone();
                        next.insert(key.clone(), value.clone());
                        next
                    })
                })
                .collect();
        }
        all
    }
}

/// The id of one combination.
pub(crate) fn id(base: &str, combination: &Combination) -> String {
    let parts: Vec<_> = combination.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{base}[{}]", parts.join(","))
}
