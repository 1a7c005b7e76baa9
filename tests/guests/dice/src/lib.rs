//! A stage that looks for chance in everything that it can reach, and writes down what it found: addresses, fresh memory, hash
//! order, clocks, bits of NaNs, growth of memory, order of what the host lists, its words for errors. Every line of it must be
//! the same each time, in each process, on each machine.

#![cfg(target_arch = "wasm32")]

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};
use std::hint::black_box;

use lockgate_sdk::prelude::*;
use lockgate_sdk::{clock, env};

/// What to vary.
#[config]
#[derive(Default)]
#[serde(default)]
pub struct Config {
    /// Any number: makes different nodes of one stage.
    pub n: u64,
}

/// The plugin.
pub struct Dice;

/// A word of memory that nobody wrote.
static mut FRESH: [u64; 64] = [0; 64];

impl Stage for Dice {
    type Config = Config;
    const ABOUT: About = about!("Looks for chance in everything.")
        .open_inputs(PortKind::Any)
        .outputs(&[Port::blob("out", "what was found"), Port::tree("tree", "files in the order of a hash map")]);

    fn run(config: Config) -> Result<Findings> {
        let mut out = format!("n {}\n", config.n);
        addresses(&mut out);
        hashes(&mut out);
        clocks(&mut out);
        nans(&mut out);
        memory(&mut out);
        host(&mut out)?;
        // The host must put the entries in order, whatever order they are made in.
        let tree = output("tree").tree()?;
        let names: HashSet<String> = (0..50).map(|n| format!("d{}/f{n}", n % 7)).collect();
        for name in &names {
            tree.write(name, name)?;
        }
        tree.finish()?;
        output("out").write(out)?;
        Ok(Findings::new())
    }
}

/// Of the stack, the heap, functions and statics; freed and taken again in turns.
fn addresses(out: &mut String) {
    let on_stack = black_box(7u64);
    let _ = writeln!(
        out,
        "stack {:p} function {:p} static {:p}",
        &raw const on_stack, addresses as *const (), &raw const FRESH
    );
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for round in 0..200usize {
        let block = Vec::<u8>::with_capacity(black_box(round * 37 % 4096 + 1));
        let _ = writeln!(out, "heap {:p}", block.as_ptr());
        kept.push(block);
        if round % 3 == 0 {
            drop(kept.swap_remove(round * 7 % kept.len()));
        }
    }
    // What the allocator hands out was somebody's before, or nobody's.
    let mut sum = 0u64;
    let layout = std::alloc::Layout::from_size_align(1 << 16, 8).unwrap_or(std::alloc::Layout::new::<u64>());
    // SAFETY: the block is as large as the layout says, and read as bytes, which may hold anything in linear memory.
    unsafe {
        let block = std::alloc::alloc(layout);
        for at in 0..layout.size() {
            sum = sum.wrapping_mul(31).wrapping_add(u64::from(core::ptr::read_volatile(block.add(at))));
        }
        std::alloc::dealloc(block, layout);
    }
    let _ = writeln!(out, "fresh {sum}");
}

fn hashes(out: &mut String) {
    let state = RandomState::new();
    let _ = writeln!(out, "hash {} {}", state.hash_one("x"), RandomState::new().hash_one("x"));
    let map: HashMap<u32, u32> = (0..300).map(|n| (n * 7919, n)).collect();
    for (key, value) in &map {
        let _ = write!(out, "{key}:{value} ");
    }
    out.push('\n');
}

fn clocks(out: &mut String) {
    let mut spins = 0u64;
    let start = clock::now_ms();
    // A real clock would move while this counts.
    for _ in 0..200 {
        for n in 0..10_000u64 {
            spins = spins.wrapping_add(black_box(n));
        }
        if clock::now_ms() != start {
            let _ = writeln!(out, "the clock moved after {spins}");
        }
        lockgate_sdk::log::log("info", &format!("at {} after {spins}", clock::now_ms()));
    }
    clock::sleep_ms(1_234);
    let _ = writeln!(out, "clock {start} then {}", clock::now_ms());
}

/// Every way to make one that machines are known to differ in: sign and payload of the result.
#[allow(clippy::eq_op, reason = "what comes of it is the point")]
fn nans(out: &mut String) {
    let (zero, infinity, nan) =
        (black_box(0.0f64), black_box(f64::INFINITY), black_box(f64::from_bits(0xfff4_dead_beef_0001)));
    let all = [
        zero / zero,
        infinity - infinity,
        zero * infinity,
        (-1.0f64 + zero).sqrt(),
        nan + 1.0,
        1.0 + nan,
        nan * zero,
        nan.min(1.0),
        nan.max(zero),
        nan.abs(),
        -nan,
        nan.floor(),
        nan.copysign(-1.0),
        f64::from(black_box(nan as f32)),
        f64::from(black_box(f32::from_bits(0x7fa0_0001)) + 1.0),
    ];
    for value in all {
        let _ = write!(out, "{:016x} ", value.to_bits());
    }
    for value in [black_box(0.1f64) + 0.2, zero.exp() / 3.0, 2.0f64.powf(0.5), 1e308 * 10.0, black_box(0.7f64).sin()] {
        let _ = write!(out, "{value:?} ");
    }
    let _ = writeln!(out, "{} {}", nan as i64, infinity as u32);
}

fn memory(out: &mut String) {
    for pages in [0, 1, 3, 17, 0] {
        let before = core::arch::wasm32::memory_size(0);
        let grown = core::arch::wasm32::memory_grow(0, pages);
        let _ = writeln!(out, "memory {before} grown {grown} to {}", core::arch::wasm32::memory_size(0));
    }
}

/// What the host lists, in its order, and what it says of mistakes.
fn host(out: &mut String) -> Result<()> {
    for input in inputs() {
        let _ = writeln!(out, "input {} {}", input.name, input.digest);
        if let Ok(tree) = input.tree() {
            for entry in tree.entries() {
                let _ = writeln!(out, "  {} {:?}", entry.path, entry.kind);
            }
            for wrong in ["nowhere", "", "../x", "/"] {
                let _ = writeln!(out, "  {wrong}: {:?}", tree.open(wrong).err().map(|error| error.to_string()));
            }
        }
    }
    let _ = writeln!(out, "no input: {:?}", input("nobody").err().map(|error| error.to_string()));
    for (name, value) in env::variables() {
        let _ = writeln!(out, "env {name}={value}");
    }
    let _ = writeln!(out, "env {:?} {:?}", env::var("PATH"), env::var("HOME"));
    let _ = writeln!(
        out,
        "args {:?} threads {:?}",
        std::env::args().collect::<Vec<_>>(),
        std::thread::available_parallelism().ok()
    );
    Ok(())
}

export_stage!(Dice);
