//! Reading and writing artifacts through the contract, against a plain copy and sha-256 of the same bytes.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use lockgate_tests::Project;
use sha2::{Digest as _, Sha256};

use crate::measure::{line, median, ms, ratio, run};

/// Bytes that are copied.
const SIZE: u64 = 1 << 30;
/// Repetitions of each.
const TIMES: usize = 3;

pub(crate) fn bench() {
    let project = Project::with_pipeline(
        "[plugins]\ncopy = { path = \"copy.wasm\" }\n[[stage]]\nid = \"copy\"\nplugin = \"copy\"\ninputs.in = { file = \"big.bin\" }\n\
         limits = { fuel = \"1T\", call_bytes = \"4GiB\", timeout = \"10m\" }\n",
    );
    project.guest("copy");
    make(&project.join("big.bin"));
    let (mut plain, mut durable, mut node, mut whole) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for number in 0..TIMES {
        let (without, with) = copy(&project.join("big.bin"), &project.join("copy.bin"));
        plain.push(without);
        durable.push(with);
        let state = format!("state{number}");
        let start = Instant::now();
        let done = project.run(["--state", &state]).code(0);
        whole.push(start.elapsed());
        node.push(Duration::from_micros(done.node("copy")["facts"]["micros"].as_u64().unwrap()));
        std::fs::remove_dir_all(project.join(state)).unwrap();
    }
    let (plain, durable, node) = (median(plain), median(durable), median(node));
    line("plain copy and sha-256 of 1 GiB", &ms(plain), "");
    line("  with fsync", &ms(durable), "");
    line("a stage that copies an input to an output", &ms(node), "");
    line("  against the plain copy", &ratio(node, plain), "at most 2 x");
    line("  against the plain copy with fsync", &ratio(node, durable), "");
    line("the whole run, with the snapshot of the input", &ms(median(whole)), "");
    let peak = run(project.command(["run", "pipeline.toml"])).peak;
    line("  its peak memory", &format!("{} MiB", peak / 1024), "under 100 MiB");
}

/// A file that does not compress and holds no two equal blocks.
fn make(path: &Path) {
    let mut file = File::create(path).unwrap();
    let mut block = vec![0_u8; 1 << 20];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..SIZE / block.len() as u64 {
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&block).unwrap();
    }
    file.sync_all().unwrap();
}

/// Copies and hashes; the time without and with waiting for the disk.
fn copy(from: &Path, to: &Path) -> (Duration, Duration) {
    let start = Instant::now();
    let (mut from, mut to) = (File::open(from).unwrap(), File::create(to).unwrap());
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = from.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        to.write_all(&buffer[..count]).unwrap();
    }
    std::hint::black_box(hasher.finalize());
    let without = start.elapsed();
    to.sync_all().unwrap();
    (without, start.elapsed())
}
