//! The match finder under the zstd encoder: double-fast, as zstd's levels 2 to 4 use it.
//!
//! `structured-zstd` writes the blocks (literals, sequences, entropy coding, frame); this finds the repetitions in them. Its
//! own match finders for all 22 levels add 600 kB to a component, and one is enough here.
//!
//! Two tables know the latest position of each hash: one over 8 bytes, for long matches, one over 5, for short ones. The
//! tables hold indexes into the history plus one; 0 is an empty slot. When the history is moved, so are they.

use structured_zstd::encoding::{CompressionLevel, HistoryBuf, Matcher, Sequence};

/// How hard a level searches.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Logarithm of the window.
    window: u32,
    /// Logarithm of the number of slots of the table for long matches.
    long: u32,
    /// That for short ones.
    short: u32,
    /// Logarithm of how many bytes without a match make the next step one byte longer.
    patience: u32,
}

impl Effort {
    /// The highest level.
    pub const LEVELS: u8 = 4;

    /// The effort of a level: 1 (fast) to 4; windows and tables are those of the C encoder's levels.
    pub const fn of(level: u8) -> Self {
        match level {
            0 | 1 => Self { window: 19, long: 15, short: 14, patience: 6 },
            2 => Self { window: 20, long: 16, short: 15, patience: 7 },
            3 => Self { window: 21, long: 17, short: 16, patience: 8 },
            _ => Self { window: 22, long: 19, short: 18, patience: 9 },
        }
    }
}

/// The shortest match that is worth a sequence.
const SHORTEST: usize = 4;

/// Finds matches in a window of history.
pub struct DoubleFast {
    window: usize,
    patience: u32,
    long: Table<8>,
    short: Table<5>,
    /// History, then the current block, then what is not yet claimed by a block.
    buffer: HistoryBuf,
    /// Where the current block is.
    block: std::ops::Range<usize>,
    /// The last two distances, which cost the least to write again.
    recent: [usize; 2],
}

/// The latest position of each hash of `N` bytes.
struct Table<const N: u32> {
    slots: Vec<u32>,
    shift: u32,
}

impl<const N: u32> Table<N> {
    fn new(log: u32) -> Self {
        Self { slots: vec![0; 1 << log], shift: 64 - log }
    }

    /// Puts a position in, and gives back the one before, if any.
    #[inline(always)]
    fn exchange(&mut self, bytes: u64, position: usize) -> Option<usize> {
        // The bytes beyond N are shifted out; the factor is zstd's for 8 bytes.
        let hash = (bytes << (64 - 8 * N)).wrapping_mul(0xCF1B_BCDC_B7A5_6463) >> self.shift;
        let before = std::mem::replace(&mut self.slots[hash as usize], position as u32 + 1);
        (before as usize).checked_sub(1)
    }

    /// Follows the history that was moved to the front by so many bytes.
    fn moved(&mut self, by: usize) {
        self.slots.iter_mut().for_each(|slot| *slot = slot.saturating_sub(by as u32));
    }
}

#[inline(always)]
fn eight(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..at + 8).and_then(|slice| slice.try_into().ok()) {
        Some(array) => u64::from_le_bytes(array),
        None => 0,
    }
}

#[inline(always)]
fn four(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..at + 4).and_then(|slice| slice.try_into().ok()) {
        Some(array) => u32::from_le_bytes(array),
        None => 0,
    }
}

/// How many bytes from `a` and from `b` on are equal; `a` is before `b`, which ends with the slice.
#[inline(always)]
fn common(bytes: &[u8], a: usize, b: usize) -> usize {
    let mut length = 0;
    while b + length + 8 <= bytes.len() {
        let difference = eight(bytes, a + length) ^ eight(bytes, b + length);
        if difference != 0 {
            return length + (difference.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    while b + length < bytes.len() && bytes[a + length] == bytes[b + length] {
        length += 1;
    }
    length
}

impl DoubleFast {
    /// A match finder without history.
    pub fn new(effort: Effort) -> Self {
        Self {
            window: 1 << effort.window,
            patience: effort.patience,
            long: Table::new(effort.long),
            short: Table::new(effort.short),
            buffer: HistoryBuf::new(),
            block: 0..0,
            recent: [1, 4],
        }
    }

    /// Drops history beyond the window once there is as much of it as the window is large, so that a byte is moved once.
    fn slide(&mut self) {
        let surplus = self.block.end.saturating_sub(self.window);
        if surplus < self.window {
            return;
        }
        self.buffer.copy_within(surplus.., 0);
        self.buffer.truncate(self.buffer.len() - surplus);
        self.block = self.block.start.saturating_sub(surplus)..self.block.end - surplus;
        self.long.moved(surplus);
        self.short.moved(surplus);
    }

    /// The best match that begins at `at` or at the next byte: its position and its length, and the earlier position.
    #[inline(always)]
    fn find(&mut self, bytes: &[u8], at: usize) -> Option<(usize, usize, usize)> {
        let here = eight(bytes, at);
        let long = self.long.exchange(here, at);
        let short = self.short.exchange(here, at);
        let window = self.window;
        let fits = |from: &usize, at: usize| *from < at && at - *from <= window;

        let again = (at + 1).checked_sub(self.recent[0]);
        if let Some(from) = again.filter(|from| four(bytes, *from) == (here >> 8) as u32) {
            return Some((at + 1, SHORTEST + common(bytes, from + SHORTEST, at + 1 + SHORTEST), from));
        }
        if let Some(from) = long.filter(|from| fits(from, at) && eight(bytes, *from) == here) {
            return Some((at, 8 + common(bytes, from + 8, at + 8), from));
        }
        let from = short.filter(|from| fits(from, at) && four(bytes, *from) == here as u32)?;
        // A long match one byte on is better than a short one here.
        let next = eight(bytes, at + 1);
        let later = self.long.exchange(next, at + 1);
        if let Some(from) = later.filter(|from| fits(from, at + 1) && eight(bytes, *from) == next) {
            return Some((at + 1, 8 + common(bytes, from + 8, at + 9), from));
        }
        Some((at, SHORTEST + common(bytes, from + SHORTEST, at + SHORTEST), from))
    }
}

impl Matcher for DoubleFast {
    fn get_last_space(&mut self) -> &[u8] {
        &self.buffer[self.block.clone()]
    }

    fn fill_in_place(
        &mut self,
        capacity: usize,
        fill: &mut dyn FnMut(&mut HistoryBuf) -> (usize, bool),
    ) -> (usize, bool) {
        self.slide();
        self.buffer.reserve(capacity);
        fill(&mut self.buffer)
    }

    fn uncommitted_input(&self) -> &[u8] {
        &self.buffer[self.block.end..]
    }

    fn commit_filled(&mut self, len: usize) {
        self.block = self.block.end..(self.block.end + len).min(self.buffer.len());
    }

    fn skip_matching(&mut self) {
        // What looks random is rarely repeated: now and then a position is enough to find a whole copy of it.
        let buffer = std::mem::take(&mut self.buffer);
        let last = self.block.end.saturating_sub(8);
        for at in (self.block.start..last).step_by(64) {
            self.long.exchange(eight(&buffer, at), at);
        }
        self.buffer = buffer;
    }

    fn start_matching(&mut self, mut sequence: impl FnMut(Sequence)) {
        // Taken out, so that the tables can change while it is read.
        let buffer = std::mem::take(&mut self.buffer);
        let bytes = &buffer[..self.block.end];
        // The last place where nine bytes can be read.
        let last = bytes.len().saturating_sub(9);
        let (mut at, mut anchor) = (self.block.start, self.block.start);
        while at < last {
            let Some((mut start, mut length, mut from)) = self.find(bytes, at) else {
                at += 1 + ((at - anchor) >> self.patience);
                continue;
            };
            while start > anchor && from > 0 && bytes[start - 1] == bytes[from - 1] {
                (start, from, length) = (start - 1, from - 1, length + 1);
            }
            let offset = start - from;
            sequence(Sequence::Triple { literal_len: start - anchor, offset, match_len: length });
            if offset != self.recent[0] {
                self.recent = [offset, self.recent[0]];
            }
            let begun = at;
            at = start + length;
            anchor = at;
            if at < last {
                // Positions inside of the match, as zstd fills them in.
                self.long.exchange(eight(bytes, begun + 2), begun + 2);
                self.short.exchange(eight(bytes, begun + 2), begun + 2);
                self.long.exchange(eight(bytes, at - 2), at - 2);
                self.short.exchange(eight(bytes, at - 1), at - 1);
            }
            // Right after a match the distance before the last one often goes on.
            while at < last && self.recent[1] <= at && four(bytes, at) == four(bytes, at - self.recent[1]) {
                let offset = self.recent[1];
                let length = SHORTEST + common(bytes, at + SHORTEST - offset, at + SHORTEST);
                self.recent.swap(0, 1);
                self.long.exchange(eight(bytes, at), at);
                self.short.exchange(eight(bytes, at), at);
                sequence(Sequence::Triple { literal_len: 0, offset, match_len: length });
                at += length;
                anchor = at;
            }
        }
        let rest = self.block.end - anchor;
        if rest > 0 {
            sequence(Sequence::Literals { len: rest });
        }
        self.buffer = buffer;
    }

    fn matches_beyond_window_tables(&self) -> bool {
        // Otherwise the encoder does not search blocks that look random, and misses second copies of compressed files.
        true
    }

    fn reset(&mut self, _level: CompressionLevel) {
        self.buffer.clear();
        self.block = 0..0;
        self.recent = [1, 4];
        self.long.slots.fill(0);
        self.short.slots.fill(0);
    }

    fn window_size(&self) -> u64 {
        self.window as u64
    }
}
