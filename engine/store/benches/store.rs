//! Figures of the store: commits, grouped events, artifacts against a plain copy with sha-256 in the same run, opening, memory.
//!
//! `cargo bench -p lockgate-store` prints them; `-- 4096` streams that many MiB in the memory test (default 512).
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark: it prints, and a failure may end it")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use lockgate_model::digest::Hasher;
use lockgate_model::event::Event;
use lockgate_model::{Digest, RunId};
use lockgate_store::Store;

const PIECE: usize = 1 << 20;
/// Bytes of the artifact that is compared with a plain copy.
const ARTIFACT: usize = 256 << 20;

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = work();
    (value, start.elapsed())
}

fn event(sequence: u64) -> Event {
    Event::EffectFinished {
        node: "probe".parse().unwrap(),
        attempt: 1,
        sequence,
        answer: serde_json::json!({"status": 200, "headers": {"content-type": "text/plain"}, "micros": 1234}),
    }
}

fn journal(store: &Store) {
    let run = RunId::new("r000000000001").unwrap();
    let single = 200;
    let (_, time) = timed(|| (0..single).for_each(|n| drop(store.append(&run, n, &[event(n)]).unwrap())));
    println!("single commits           {:>10.0} /s", single as f64 / time.as_secs_f64());
    let groups: Vec<Vec<Event>> = (0..50).map(|group| (0..1000).map(|n| event(group * 1000 + n)).collect()).collect();
    let (_, time) = timed(|| groups.iter().for_each(|group| drop(store.append(&run, 1, group).unwrap())));
    println!("events, 1000 a commit    {:>10.0} /s", 50_000.0 / time.as_secs_f64());
    let (records, time) = timed(|| store.records(&run).unwrap().len());
    println!("records read and checked {:>10.0} /s", records as f64 / time.as_secs_f64());
    let (records, time) = timed(|| store.verify().unwrap());
    println!("records verified         {:>10.0} /s", records as f64 / time.as_secs_f64());
}

/// Copies with sha-256 and no sync: the peer.
fn plain_copy(from: &Path, to: &Path) -> Digest {
    let (mut from, mut to) = (File::open(from).unwrap(), File::create(to).unwrap());
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; PIECE]);
    loop {
        let count = from.read(&mut buffer).unwrap();
        if count == 0 {
            return hasher.finish();
        }
        hasher.update(&buffer[..count]);
        to.write_all(&buffer[..count]).unwrap();
    }
}

fn artifacts(store: &Store, dir: &Path) {
    let source = dir.join("source");
    let mut file = File::create(&source).unwrap();
    let mut state = 1u64;
    for _ in 0..ARTIFACT / PIECE {
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        };
        file.write_all(&std::iter::repeat_with(next).take(PIECE).collect::<Vec<_>>()).unwrap();
    }
    file.sync_all().unwrap();
    let rate = |time: Duration| ARTIFACT as f64 / 1e6 / time.as_secs_f64();
    let (digest, copy) = timed(|| plain_copy(&source, &dir.join("copy")));
    let (_, copy_synced) = timed(|| {
        plain_copy(&source, &dir.join("copy-synced"));
        File::open(dir.join("copy-synced")).unwrap().sync_all().unwrap();
    });
    println!("plain copy + sha-256     {:>10.0} MB/s, with sync {:.0} MB/s", rate(copy), rate(copy_synced));
    let write = || {
        let (mut from, mut writer, mut buffer) = (File::open(&source).unwrap(), store.blob_writer(), vec![0; PIECE]);
        loop {
            let count = from.read(&mut buffer).unwrap();
            if count == 0 {
                return writer.finish().unwrap().0;
            }
            writer.write_all(&buffer[..count]).unwrap();
        }
    };
    let (written, time) = timed(write);
    assert_eq!(written, digest);
    let ratios = (time.as_secs_f64() / copy.as_secs_f64(), time.as_secs_f64() / copy_synced.as_secs_f64());
    println!(
        "blob written, synced     {:>10.0} MB/s, {:.2}x the copy, {:.2}x with sync",
        rate(time),
        ratios.0,
        ratios.1
    );
    let (_, time) = timed(|| {
        let mut copy = File::create(dir.join("read")).unwrap();
        store.open_blob(&digest).unwrap().copy_to(&mut copy).unwrap().unwrap()
    });
    println!(
        "blob read and checked    {:>10.0} MB/s, {:.2}x the copy",
        rate(time),
        time.as_secs_f64() / copy.as_secs_f64()
    );
    let (_, time) = timed(|| {
        (0..10_000u64).for_each(|n| {
            let _ = store.put_blob(&[n.to_le_bytes(); 500].concat()).unwrap();
        })
    });
    let (_, flush) = timed(|| store.flush().unwrap());
    println!("blobs of 4 kB            {:>10.0} /s", 10_000.0 / (time + flush).as_secs_f64());
}

fn snapshots(store: &Store, dir: &Path) {
    let source = dir.join("tree");
    for folder in 0..100 {
        let folder = source.join(folder.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        for file in 0..100u64 {
            let size = if file % 10 == 0 { 40_000 } else { 2_000 };
            let text = format!("{}-{file}-", folder.display());
            std::fs::write(folder.join(format!("{file}.txt")), text.repeat(size / text.len())).unwrap();
        }
    }
    let spec =
        lockgate_model::pipeline::SnapshotSpec { dir: "tree".into(), include: vec![], exclude: vec![], ignore: true };
    let take = || store.snapshot(dir, &spec, &[]).unwrap();
    let (tree, first) = timed(take);
    let (_, flush) = timed(|| store.flush().unwrap());
    let (_, again) = timed(take);
    println!(
        "snapshot of 10,000 files {:>10.0} ms, and {:.0} ms to disk; again {:.0} ms",
        ms(first),
        ms(flush),
        ms(again)
    );
    let (_, time) = timed(|| store.export(&tree, dir, "out", &[]).unwrap());
    println!("export of 10,000 files   {:>10.0} ms", ms(time));
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?.parse().ok()
}

fn memory(store: &Store, mebibytes: usize) {
    let (digest, time) = timed(|| {
        let mut writer = store.blob_writer();
        let mut piece = vec![7; PIECE];
        for number in 0..mebibytes {
            piece[..8].copy_from_slice(&number.to_le_bytes());
            writer.write_all(&piece).unwrap();
        }
        writer.finish().unwrap().0
    });
    let rate = |time: Duration| mebibytes as f64 * 1.048_576 / time.as_secs_f64();
    let (_, read) = timed(|| store.open_blob(&digest).unwrap().copy_to(&mut std::io::sink()).unwrap().unwrap());
    println!("{mebibytes} MiB streamed in {:.0} MB/s and out {:.0} MB/s", rate(time), rate(read));
    if let Some(peak) = peak_kib() {
        println!("peak memory so far       {:>10.1} MiB", peak as f64 / 1024.0);
    }
}

fn main() {
    let dir = tempfile::tempdir_in(".").unwrap();
    let state = dir.path().join(".lockgate");
    let (store, create) = timed(|| Store::open(&state).unwrap());
    drop(store);
    let (store, open) = timed(|| Store::open(&state).unwrap());
    println!("state directory made in  {:>10.2} ms, opened in {:.2} ms", ms(create), ms(open));
    let mebibytes = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(512);
    memory(&store, mebibytes);
    journal(&store);
    artifacts(&store, dir.path());
    snapshots(&store, dir.path());
    let (_, close) = timed(|| drop(store));
    println!("closed in                {:>10.2} ms", ms(close));
}
