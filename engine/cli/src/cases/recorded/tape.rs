//! What is recorded of one kind of effect, in its order, and how far a plugin came in it.

use std::collections::HashMap;

use lockgate_host::EffectsError;
use lockgate_model::Digest;
use lockgate_model::effect::Differs;

use super::super::Mismatch;
use super::indent;

/// What is recorded of an effect: what is asked, and the answer.
pub(super) trait Recording {
    /// What a plugin asked.
    type Asked;
    /// The kind of effect, as intents name it.
    const KIND: &'static str;
    /// What it is called, for people: `request`.
    const NAME: &'static str;
    /// How one is called that is missing: `never sent`.
    const NEVER: &'static str;

    /// The line, from 1, on which it begins.
    fn line(&self) -> usize;

    /// What is asked, in one line.
    fn first_line(&self) -> String;

    /// What is asked as text, as far as the record says something about it.
    fn expected(&self) -> String;

    /// What was asked as text, all of it that a record can say something about.
    fn shown(asked: &Self::Asked) -> String;

    /// How what was asked differs from it, as a text that shows both.
    fn differs(&self, asked: &Self::Asked) -> Option<String>;
}

/// The recorded effects of one kind.
pub(super) struct Tape<R: Recording> {
    recorded: Vec<R>,
    /// What was asked, by the digests that the intents have.
    asked: HashMap<Digest, R::Asked>,
    /// How many were asked for.
    answered: usize,
}

impl<R: Recording> Tape<R> {
    pub(super) fn new(recorded: Vec<R>) -> Self {
        Self { recorded, asked: HashMap::new(), answered: 0 }
    }

    /// Takes what was asked: what its intent will name by this digest.
    pub(super) fn ask(&mut self, effect: Digest, asked: R::Asked) {
        self.asked.insert(effect, asked);
    }

    /// What is wrong with asking for this now, where nothing of the kind is granted but what is recorded.
    pub(super) fn refused(&self, asked: &R::Asked) -> Mismatch {
        match self.recorded.get(self.answered) {
            Some(recorded) => self.mismatch(self.answered, recorded.differs(asked).unwrap_or_default()),
            None => self.too_many(self.answered, Some(asked)),
        }
    }

    /// The next record and what was asked, if the two are the same; what is wrong goes to `wrong` too.
    pub(super) fn next(
        &mut self,
        sequence: u64,
        effect: Digest,
        summary: &str,
        wrong: &mut Vec<Mismatch>,
    ) -> Result<(&R, &R::Asked), EffectsError> {
        let index = self.answered;
        self.answered += 1;
        let mismatch = match (self.recorded.get(index), self.asked.get(&effect)) {
            (Some(recorded), Some(asked)) => match recorded.differs(asked) {
                None => return Ok((recorded, asked)),
                Some(why) => self.mismatch(index, why),
            },
            (Some(_), None) => {
                return Err(EffectsError::Record(format!("the request of effect {sequence} was not announced")));
            }
            (None, asked) => self.too_many(index, asked),
        };
        wrong.push(mismatch);
        let recorded = self.recorded.get(index).map(|recorded| format!("{} {}", R::KIND, recorded.first_line()));
        Err(Differs { sequence, recorded, asked: format!("{} {summary}", R::KIND) }.into())
    }

    /// What was recorded and not asked for.
    pub(super) fn missing(&self) -> Option<Mismatch> {
        let next = self.recorded.get(self.answered)?;
        let missing = self.recorded.len() - self.answered;
        let line = next.line();
        let why = format!("expected, by line {line}, and {}:\n{}", R::NEVER, indent(&next.expected()));
        let more = if missing > 1 { format!("and {} more\n", missing - 1) } else { String::new() };
        Some(self.mismatch(self.answered, why + &more))
    }

    fn mismatch(&self, index: usize, why: String) -> Mismatch {
        Mismatch::new(format!("{} {}", R::NAME, index + 1), why)
    }

    fn too_many(&self, index: usize, asked: Option<&R::Asked>) -> Mismatch {
        let shown = asked.map(R::shown).unwrap_or_default();
        let recorded = if index == 0 { "none is recorded".to_owned() } else { format!("only {index} are recorded") };
        self.mismatch(index, format!("one too many, {recorded}:\n{}", indent(&shown)))
    }
}
