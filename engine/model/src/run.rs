//! The state of a run: a fold over its events, by one transition function that starting, resuming and showing all use.
