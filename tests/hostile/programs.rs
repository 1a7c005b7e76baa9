//! WASI programs: what `tests/programs/probe` tries with the files, streams, clocks and random numbers that it is offered.

use super::Case;
use super::case::Expect::{self, Fails, Harmless};

/// The probe with one of its words.
fn probe(
    word: &'static str,
    name: &'static str,
    tries: &'static str,
    stopped_by: &'static str,
    expect: Expect,
) -> Case {
    let program = |_: &str| std::fs::read(crate::binary::program("probe")).expect("read a program");
    Case::new(name, tries, stopped_by, expect, program)
        .program(word)
        .limits("fuel = \"4G\"\nmemory = \"16MiB\"\noutput = \"8MiB\"")
}

pub(super) fn cases() -> Vec<Case> {
    let limit = |part| Fails("limit", part);
    vec![
        probe("spin", "wasi-loop", "loops for ever", "limits.fuel", Fails("fuel", "it spent its 100M of fuel"))
            .limits("fuel = \"100M\""),
        probe(
            "now",
            "wasi-loop-of-times",
            "asks for the time for ever",
            "limits.fuel",
            Fails("fuel", "it spent its 100M of fuel"),
        )
        .limits("fuel = \"100M\""),
        probe(
            "stdout",
            "wasi-stdout",
            "writes to standard output for ever",
            "limits.output",
            limit("its outputs are larger than 8 MiB"),
        ),
        probe(
            "sparse",
            "wasi-sparse",
            "makes an output of a petabyte with nothing in it",
            "limits.output",
            limit("its outputs are larger than 8 MiB"),
        ),
        probe(
            "undeclared",
            "wasi-output-undeclared",
            "writes an output that the node does not name",
            "`outputs` of the node",
            Fails("contract", "add `outputs.other = \"blob\"`"),
        ),
        probe(
            "tmp",
            "wasi-tmp",
            "fills `/tmp`, which lies in the host's memory",
            "limits.memory",
            limit("it needs more than 16 MiB of memory"),
        ),
        probe(
            "names",
            "wasi-names",
            "makes ten million directories in `/tmp`",
            "limits.memory",
            limit("it needs more than 16 MiB of memory"),
        ),
        probe(
            "handles",
            "wasi-handles",
            "opens an input a million times and closes none",
            "limits.handles",
            limit("it holds more than 1000 readers, writers and trees at once"),
        ),
        probe(
            "random",
            "wasi-random",
            "asks for a terabyte of random bytes",
            "16 MiB of one host call",
            limit("of random bytes at once"),
        ),
        probe(
            "poll",
            "wasi-poll",
            "waits for nothing, and so for ever",
            "the rules for waiting",
            Fails("contract", "it waits for nothing"),
        ),
        probe(
            "sleep",
            "wasi-sleep",
            "sleeps for five centuries, without the real clock",
            "nothing: logical time costs none",
            Harmless("15768000000s 15768000000s"),
        ),
        probe(
            "escape",
            "wasi-escape",
            "reads the host's files, and writes to its inputs and the root",
            "the files that it is offered",
            Harmless("write to an input: ReadOnlyFilesystem"),
        ),
    ]
}
