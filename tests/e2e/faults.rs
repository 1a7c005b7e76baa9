//! Engines killed at random moments, and state directories that rotted: what was finished is not executed again, and what is damaged
//! is named, never used.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::Instant;

use lockgate_tests::{Done, Project, Running};
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;

/// Kills that hit.
const KILLS: u32 = 200;
/// Runs are killed this often before they may end.
const KILLS_OF_ONE: u32 = 5;

/// Nodes with small and large outputs, some after each other, some beside.
fn pipeline() -> String {
    let noop = |n: usize| {
        let after = if n < 3 { String::new() } else { format!("after = [\"n{}\"]\n", n - 3) };
        format!("[[stage]]\nid = \"n{n}\"\nplugin = \"std:noop\"\nconfig.n = {n}\n{after}")
    };
    let pack = |n: usize| {
        format!(
            "[[stage]]\nid = \"pack{n}\"\nplugin = \"std:pack\"\nafter = [\"n{n}\"]\nconfig.prefix = \"p{n}\"\n\
             inputs.src = {{ dir = \"src\" }}\n\
             [[stage]]\nid = \"sums{n}\"\nplugin = \"std:checksum\"\ninputs.archive = \"pack{n}.archive\"\n"
        )
    };
    (0..9).map(noop).chain((0..3).map(pack)).collect()
}

/// Bytes that no packer makes smaller.
fn noise(count: usize) -> Vec<u8> {
    let mut random = Random(7);
    (0..count).map(|_| random.below(256) as u8).collect()
}

/// Numbers of a seed: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}

/// Bytes of SQLite's log: they grow while a transaction is written.
fn log_size(project: &Project) -> u64 {
    std::fs::metadata(project.join(".lockgate/state.db-wal")).map_or(0, |log| log.len())
}

/// Kills a process once the log grew by so many bytes and somewhat later. Whether it was still there.
fn kill(project: &Project, mut running: Running, grown: u64, spins: u64) -> bool {
    let target = log_size(project) + grown;
    while log_size(project) < target && !running.has_ended() {
        std::hint::spin_loop();
    }
    for _ in 0..spins {
        std::hint::spin_loop();
    }
    if !running.has_ended() {
        running.signal(Signal::KILL);
    }
    running.finish().signal == Some(9)
}

fn show(project: &Project, run: &str) -> Done {
    project.lockgate(["show", run, "--format", "json"]).code(0)
}

/// Nodes that were begun again after they had succeeded, or have two receipts.
fn executed_twice(done: &Done) -> Vec<String> {
    let mut finished: Vec<&Value> = Vec::new();
    let mut twice = Vec::new();
    for event in &done.events {
        let node = match event["event"].as_str() {
            Some("attempt-started") => &event["node"],
            Some("node-finished") => &event["receipt"]["node"],
            _ => continue,
        };
        if finished.contains(&node) {
            twice.push(node.to_string());
        }
        if event["event"] == "node-finished" {
            finished.push(node);
        }
    }
    twice
}

#[test]
fn a_run_killed_at_200_random_moments_ends_like_one_that_was_not() {
    let (begun, seed) = (Instant::now(), 0x6b69_6c6c);
    let mut random = Random(seed);
    let project = Project::with_pipeline(&pipeline());
    project.file("src/noise", noise(60_000)).file("src/a", "a");
    let before = log_size(&project);
    let digest = project.run(["--no-cache"]).code(0).digest();
    let size = log_size(&project).saturating_sub(before).max(100_000);
    let (mut kills, mut runs, mut resumes) = (0, 0, 0);
    while kills < KILLS {
        assert!(runs < 4 * KILLS, "{kills} kills in {runs} runs");
        runs += 1;
        let mut running = project.start(["--no-cache"]);
        // With its first record there is something to go on with.
        running.wait_for_lines(1);
        let id = running.event(0)["run"].as_str().unwrap().to_owned();
        let mut killed = kill(&project, running, random.below(size), random.below(100_000));
        for _ in 1..KILLS_OF_ONE {
            if !killed {
                break;
            }
            kills += 1;
            resumes += 1;
            let running = Running::start(project.command(["resume", &id, "--no-cache"]));
            killed = kill(&project, running, random.below(size / 2), random.below(100_000));
        }
        kills += u32::from(killed);
        let done = project.lockgate(["resume", &id, "--no-cache"]);
        resumes += 1;
        match done.exit {
            // It had ended before.
            Some(2) => drop(done.says("it succeeded")),
            _ => drop(done.code(0)),
        }
        let shown = show(&project, &id);
        assert_eq!(shown.digest(), digest, "seed {seed:#x}, run {runs}");
        assert_eq!(executed_twice(&shown), Vec::<String>::new(), "seed {seed:#x}, run {runs}: {}", shown.all());
    }
    eprintln!(
        "{kills} kills of {runs} runs, {resumes} resumes, seed {seed:#x}: 0 other digests, 0 nodes executed twice; {:.1} s",
        begun.elapsed().as_secs_f32()
    );
    project.run::<&str>([]).code(0);
}

/// A run that waits for an approval, which was given meanwhile, and the digest that it will have.
fn stopped() -> (Project, String) {
    let project = Project::with_pipeline(
        "[[stage]]\nid = \"pack\"\nplugin = \"std:pack\"\ninputs.src = { dir = \"src\" }\n\
         [[stage]]\nid = \"sums\"\nplugin = \"std:checksum\"\ninputs.archive = \"pack.archive\"\n\
         [[approval]]\nid = \"ask\"\nafter = [\"sums\"]\nmessage = \"Go?\"\napprovers = [\"alice\"]\n\
         [[stage]]\nid = \"later\"\nplugin = \"std:checksum\"\ninputs.archive = \"pack.archive\"\ninputs.sums = \"sums.sums\"\n\
         after = [\"ask\"]\n\
         [[export]]\nfrom = \"pack.archive\"\nto = \"dist/archive\"\n",
    );
    project.file("src/noise", noise(100_000)).file("src/a", "a");
    let wait = || {
        project.run(["--no-cache"]).code(6);
        project.lockgate(["approve", "last", "ask", "--as", "alice"]).code(0);
    };
    wait();
    let digest = project.lockgate(["resume", "last", "--format", "json"]).code(0).digest();
    wait();
    (project, digest)
}

fn database(project: &Project) -> Connection {
    Connection::open(project.join(".lockgate/state.db")).unwrap()
}

/// The file of a large blob.
fn blob(project: &Project, digest: &str) -> PathBuf {
    let hex = digest.strip_prefix("sha256:").unwrap();
    project.join(".lockgate/blobs").join(&hex[..2]).join(hex)
}

/// Flips a bit in the middle of a file, and leaves its times as they are.
fn flip(path: &std::path::Path) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let found = file.metadata().unwrap();
    let (middle, mut byte) = (found.len() / 2, [0]);
    file.read_exact_at(&mut byte, middle).unwrap();
    byte[0] ^= 4;
    file.write_all_at(&byte, middle).unwrap();
    file.set_modified(found.modified().unwrap()).unwrap();
}

fn packed(project: &Project) -> String {
    show(project, "last").output("pack", "archive").to_owned()
}

#[test]
fn a_flipped_bit_in_a_record_is_named_and_its_result_is_made_again() {
    let (project, _) = stopped();
    let sql = "SELECT seq FROM records WHERE kind = 'node-finished' AND body LIKE '%\"pack\"%' ORDER BY seq DESC";
    let seq: i64 = database(&project).query_row(sql, [], |row| row.get(0)).unwrap();
    let sql = "UPDATE records SET body = replace(body, '\"fuel\":', '\"fuem\":') WHERE seq = ?1";
    assert_eq!(database(&project).execute(sql, [seq]), Ok(1));
    let named = format!("record {seq} of the journal: it was altered");
    project.lockgate(["show", "last"]).code(5).says(&named);
    project.lockgate(["resume", "last"]).code(5).says(&named);
    project.lockgate(["replay", "last"]).code(5).says(&named);
    project.lockgate(["logs", "last"]).code(5).says(&named);
    // It proves nothing: another run executes the node.
    let done = project.run::<&str>([]).code(6);
    assert_eq!(done.node("pack")["facts"]["cached"], false, "{}", done.all());
    project.lockgate(["show", "last"]).code(0);
}

#[test]
fn a_damaged_artifact_is_named_set_aside_and_made_again() {
    let project = Project::with_pipeline(
        "[[stage]]\nid = \"pack\"\nplugin = \"std:pack\"\ninputs.src = { dir = \"src\" }\n\
         [[export]]\nfrom = \"pack.archive\"\nto = \"dist/archive\"\n",
    );
    project.file("src/noise", noise(100_000));
    let whole = project.run::<&str>([]).code(0);
    let (archive, exported) = (whole.output("pack", "archive"), project.bytes("dist/archive"));
    flip(&blob(&project, archive));
    // Its seal is believed until somebody reads it: then what was exported stays as it was.
    let done = project.run::<&str>([]).code(5).says(&format!("use artifact `{archive}`: its bytes are damaged"));
    assert_eq!(done.node("pack")["facts"]["cached"], true, "{}", done.all());
    assert_eq!(project.bytes("dist/archive"), exported);
    let done = project.run::<&str>([]).code(0);
    assert_eq!(done.node("pack")["facts"]["cached"], false, "{}", done.all());
    assert_eq!((done.digest(), done.output("pack", "archive")), (whole.digest(), archive));
    assert_eq!(
        (project.bytes("dist/archive"), std::fs::read(blob(&project, archive)).unwrap()),
        (exported.clone(), exported)
    );
    // Whoever believes nothing finds it before.
    flip(&blob(&project, archive));
    let done = project.run(["--verify"]).code(0);
    assert_eq!(done.node("pack")["facts"]["cached"], false, "{}", done.all());
}

#[test]
fn resume_makes_what_rotted_again_before_anything_reads_it() {
    let (project, digest) = stopped();
    let archive = packed(&project);
    flip(&blob(&project, &archive));
    // A small one, in the database.
    let sql = "UPDATE objects SET bytes = CAST(replace(CAST(bytes AS TEXT), 'archive', 'brchive') AS BLOB)
               WHERE space = 0 AND instr(bytes, CAST('archive' AS BLOB)) > 0 AND length(bytes) < 200";
    assert!(database(&project).execute(sql, []).unwrap() > 0);
    let done = project.lockgate(["resume", "last", "--format", "json"]).code(0);
    let done = done.says("node `pack`: what it made is damaged or lost").says(&archive).says("node `sums`");
    assert_eq!(done.digest(), digest);
    let begun: Vec<_> = done.events("attempt-started").map(|event| event["node"].clone()).collect();
    assert_eq!(begun, ["later"], "{}", done.all());
    assert_eq!(executed_twice(&show(&project, "last")), Vec::<String>::new());
    assert_eq!(project.bytes("dist/archive"), std::fs::read(blob(&project, &archive)).unwrap());
    // Missing altogether.
    let (project, digest) = stopped();
    std::fs::remove_file(blob(&project, &packed(&project))).unwrap();
    let done = project.lockgate(["resume", "last", "--format", "json"]).code(0).says("node `pack`");
    assert_eq!(done.digest(), digest);
}

#[test]
fn resume_names_a_snapshot_that_rotted_and_takes_it_again_where_it_can() {
    for changed in [false, true] {
        let (project, digest) = stopped();
        let noise = project.bytes("src/noise");
        let hex: String = sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix(&noise))
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        flip(&blob(&project, &format!("sha256:{hex}")));
        flip(&blob(&project, &packed(&project)));
        if changed {
            project.file("src/noise", "new");
            let done = project.lockgate(["resume", "last"]).code(5);
            done.says("give node `pack` its input `src`").says("is damaged or lost");
        } else {
            let done = project.lockgate(["resume", "last", "--format", "json"]).code(0).says("node `pack`");
            assert_eq!(done.digest(), digest);
        }
    }
}
