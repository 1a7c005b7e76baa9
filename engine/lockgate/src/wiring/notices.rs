//! What is told while something is done, besides what comes of it.

use lockgate_model::NodeId;
use lockgate_runner::Replayed;
use lockgate_syntax::Problem;

/// Hears what is worth to be known and stops nothing.
pub trait Notices: Send + Sync {
    /// Something that may not be as it is meant: one line, which may hold what others wrote.
    fn warning(&self, text: &str);
    /// Something that is good to know: one line.
    fn info(&self, text: &str);
    /// That a run waits for another one: one line, which people want to see at once.
    fn waiting(&self, text: &str);
    /// Problems of a policy file, right before the error that counts them.
    fn problems(&self, problems: &[Problem]);
    /// What came of executing a node again, right before the error about it.
    fn replayed(&self, node: &NodeId, replayed: &Replayed);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Notices for Silent {
    fn warning(&self, _: &str) {}
    fn info(&self, _: &str) {}
    fn waiting(&self, _: &str) {}
    fn problems(&self, _: &[Problem]) {}
    fn replayed(&self, _: &NodeId, _: &Replayed) {}
}
