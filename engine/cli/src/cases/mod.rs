//! The tests of a plugin: cases in folders, executed in the sandbox with recorded answers, held against golden files. No journal, no
//! network, no policy: nothing that a case does leaves the host. Modules in reading order: `project` (from the command line to
//! folders), `recorded` (answers of effects), `task` (what is called), `execute` (one case, twice), `golden` (what is expected), `text` (what differs).

pub(crate) mod execute;
pub(crate) mod golden;
pub(crate) mod project;
mod recorded;
mod task;
mod text;

pub(crate) use self::execute::{Bench, Profiled, Ran};
pub(crate) use self::project::{CASES, Case, Project};

/// One thing that is not as a case expects it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Mismatch {
    /// What: `status`, `output sums`, `request 2`, ...
    pub(crate) what: String,
    /// What was expected, and what was found, for people; several lines where a difference of texts is shown.
    pub(crate) why: String,
}

impl Mismatch {
    fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }
}
