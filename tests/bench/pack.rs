//! `std:pack` of 200 MB of mixed files, against `tar | zstd`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lockgate_tests::Project;

use crate::measure::{line, median, ms, ratio, run};

/// Bytes of source code, and of everything else.
const SOURCES: u64 = 150_000_000;
const BINARIES: u64 = 50_000_000;
/// Repetitions of each.
const TIMES: usize = 3;
/// Levels of zstd that are compared.
const LEVELS: [u8; 2] = [1, 3];

pub(crate) fn bench() {
    let project = Project::new();
    let size = gather(&project.join("src"));
    line("mixed files: crate sources and compiled libraries", &format!("{} MB", size / 1_000_000), "");
    for level in LEVELS {
        let (mut native, mut node, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        let mut packed = 0;
        for number in 0..TIMES {
            let mut command = Command::new("sh");
            let script = format!("tar -C src -cf - . | zstd -q -{level} -T1 -f -o native.tar.zst");
            command.args(["-c", &script]).current_dir(project.path());
            native.push(run(command).wall);
            project.pipeline(&format!(
                "[[stage]]\nid = \"pack\"\nplugin = \"std:pack\"\nconfig = {{ format = \"tar.zst\", level = {level} }}\n\
                 inputs.src = {{ dir = \"src\", ignore = false }}\n\
                 limits = {{ fuel = \"10T\", memory = \"1GiB\", timeout = \"30m\", call_bytes = \"4GiB\" }}\n"
            ));
            let state = format!("state{number}");
            let start = Instant::now();
            let done = project.run(["--state", &state]).code(0);
            whole.push(start.elapsed());
            let event = done.node("pack");
            node.push(Duration::from_micros(event["facts"]["micros"].as_u64().unwrap()));
            packed = event["receipt"]["outputs"]["archive"]["size"].as_u64().unwrap();
            std::fs::remove_dir_all(project.join(state)).unwrap();
        }
        let (native, node) = (median(native), median(node));
        let of_native = std::fs::metadata(project.join("native.tar.zst")).unwrap().len();
        line(&format!("level {level}: `tar | zstd -{level} -T1`, {} MB", of_native / 1_000_000), &ms(native), "");
        line(&format!("level {level}: `std:pack`, {} MB", packed / 1_000_000), &ms(node), "");
        line("  against native", &ratio(node, native), "at most 3 x");
        line("  size against native", &format!("{:.3} x", packed as f64 / of_native as f64), "about 1 x");
        line("  the whole run, with the snapshot", &ms(median(whole)), "");
        let peak = run(project.command(["run", "pipeline.toml"])).peak;
        line("  its peak memory", &format!("{} MiB", peak / 1024), "");
    }
}

/// Copies real files: sources of crates from cargo's registry, and libraries from the target directory.
fn gather(to: &Path) -> u64 {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo"))).expect("a home directory");
    let target = std::env::current_exe().unwrap().parent().unwrap().join("deps");
    let mut copied = take(&home.join("registry/src"), SOURCES, &to.join("sources"));
    copied += take(&target, BINARIES, &to.join("libraries"));
    copied
}

/// Copies files in the order of their names until they are so many bytes.
fn take(from: &Path, limit: u64, to: &Path) -> u64 {
    let mut copied = 0;
    let mut entries: Vec<_> = std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    std::fs::create_dir_all(to).unwrap();
    for path in entries {
        let Ok(facts) = path.symlink_metadata() else { continue };
        let name = path.file_name().unwrap();
        if copied >= limit {
            break;
        } else if facts.is_dir() {
            copied += take(&path, limit - copied, &to.join(name));
        } else if facts.is_file() && facts.len() <= limit - copied {
            std::fs::copy(&path, to.join(name)).unwrap();
            copied += facts.len();
        }
    }
    copied
}
