//! Where problems are gathered while a file is read, and how the nearest name of a misspelling is found.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use crate::problem::{Code, MAX_PROBLEMS, Problem, Source};

/// Most problems kept before they are sorted and cut to [`MAX_PROBLEMS`]: the first of a file are shown, whichever check found them.
const MAX_KEPT: usize = 5_000;
/// Most candidates that a misspelling is compared with: a pipeline of 100,000 nodes must not make each misspelling expensive.
const MAX_CANDIDATES: usize = 2_000;

/// Gathers the problems of one file; the same problem at the same place counts once, so that a node's matrix does not repeat it.
pub(crate) struct Problems {
    pub(crate) source: Arc<Source>,
    list: RefCell<Vec<Problem>>,
    seen: RefCell<HashSet<(Code, usize, String)>>,
    dropped: Cell<usize>,
    /// Whether no more were looked for.
    stopped: Cell<bool>,
}

impl Problems {
    pub(crate) fn new(source: Arc<Source>) -> Self {
        Self {
            source,
            list: RefCell::default(),
            seen: RefCell::default(),
            dropped: Cell::new(0),
            stopped: Cell::new(false),
        }
    }

    /// Reports a problem with a label at one place.
    pub(crate) fn report(
        &self,
        code: Code,
        span: &Range<usize>,
        label: &str,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        self.push(Problem::new(code, message, hint).at(&self.source, span, label));
    }

    pub(crate) fn push(&self, problem: Problem) {
        let mut list = self.list.borrow_mut();
        if list.len() >= MAX_KEPT {
            self.dropped.set(self.dropped.get() + 1);
            return;
        }
        if self.seen.borrow_mut().insert((problem.code, problem.offset(), problem.message.clone())) {
            list.push(problem);
        }
    }

    /// Whether so many are kept that no more need be looked for: finding the nearest name of each misspelling takes long.
    pub(crate) fn stop_if_full(&self) -> bool {
        let full = self.list.borrow().len() >= MAX_KEPT;
        self.stopped.set(self.stopped.get() || full);
        full
    }

    /// Whether some parts of the file were not looked at any more.
    pub(crate) fn stopped(&self) -> bool {
        self.stopped.get()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.list.borrow().len() + self.dropped.get()
    }

    /// All of them in the order of their places, the first [`MAX_PROBLEMS`] and a word about the rest.
    pub(crate) fn finish(self) -> Vec<Problem> {
        sorted(self.list.into_inner(), self.dropped.get(), self.stopped.get())
    }
}

/// Sorts problems by place and cuts them to [`MAX_PROBLEMS`]; `dropped` more were not kept, and where it was `stopped` there may be
/// still more.
pub(crate) fn sorted(mut list: Vec<Problem>, dropped: usize, stopped: bool) -> Vec<Problem> {
    list.sort_by_key(Problem::offset);
    let beyond = list.len().saturating_sub(MAX_PROBLEMS) + dropped;
    if beyond > 0 {
        list.truncate(MAX_PROBLEMS);
        let hint = Some("mend the first ones and check again".to_owned());
        let least = if stopped { "at least " } else { "" };
        let message = format!("there are {least}{beyond} more problems, not shown");
        list.push(Problem::new(Code::TooManyProblems, message, hint));
    }
    list
}

/// The candidate nearest to a misspelt name, if one is near enough to be meant.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer texts are no misspellings, and comparing them is quadratic.
    if name.len() > 200 {
        return None;
    }
    let lower = name.to_lowercase();
    let most = (name.chars().count() / 3).max(1);
    let best = candidates
        .into_iter()
        .take(MAX_CANDIDATES)
        // Each byte more or less is a difference, of at most four bytes for one character.
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= 4 * most)
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .min_by_key(|(distance, _)| *distance)?;
    (best.0 <= most).then_some(best.1)
}

/// A hint that names the nearest candidate, else lists them all where they are few.
pub(crate) fn suggest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(near) = nearest(name, candidates.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let all: Vec<_> = candidates.into_iter().take(25).collect();
    match all.len() {
        0 | 25 => None,
        _ => Some(format!("there is {}", list(&all, "and"))),
    }
}

/// `a`, `b` and `c`.
pub(crate) fn list(words: &[&str], last: &str) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((end, [])) => end.clone(),
        Some((end, start)) => format!("{} {last} {end}", start.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_find_the_nearest_name() {
        assert_eq!(nearest("plugn", ["id", "plugin", "inputs"]), Some("plugin"));
        assert_eq!(nearest("Timeout", ["timeout"]), Some("timeout"));
        assert_eq!(nearest("xyz", ["plugin"]), None);
        assert_eq!(suggest("zzz", ["a1", "b1"]), Some("there is `a1` and `b1`".into()));
    }

    #[test]
    fn one_problem_at_one_place_counts_once_and_many_are_cut() {
        let problems = Problems::new(Source::new("x", &"x".repeat(9_000)));
        problems.report(Code::Toml, &(0..1), "", "a", None);
        problems.report(Code::Toml, &(0..1), "", "a", None);
        assert_eq!(problems.count(), 1);
        for at in 1..8_000 {
            problems.report(Code::Toml, &(at..at + 1), "", "a", None);
        }
        let list = problems.finish();
        assert_eq!(list.len(), MAX_PROBLEMS + 1);
        assert_eq!(list[MAX_PROBLEMS].code, Code::TooManyProblems);
        assert!(list[MAX_PROBLEMS].message.contains("7900"), "{}", list[MAX_PROBLEMS].message);
    }
}
