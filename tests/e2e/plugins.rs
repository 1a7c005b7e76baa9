//! The standard plugins, as a user's machine sees them: system tools read what they write.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use lockgate_tests::{Done, Project};
use serde_json::Value;

/// A tree with everything that an archive must keep.
fn tree() -> Project {
    let project = Project::new();
    project.file("src/a.txt", "a\n").file("src/deep/er/b.bin", vec![0; 100_000]).file("src/run.sh", "#!/bin/sh\n");
    project.file("src/with space/ü.txt", "umlaut\n").file("src/empty.txt", "");
    std::fs::create_dir(project.join("src/nothing")).unwrap();
    std::fs::set_permissions(project.join("src/run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    symlink("a.txt", project.join("src/link")).unwrap();
    project
}

/// Packs `src` into `out.<format>`.
fn pack(project: &Project, format: &str, more: &str) -> Done {
    project.run_text(&format!(
        "[[stage]]\nid = \"pack\"\nplugin = \"std:pack\"\ninputs.src = {{ dir = \"src\" }}\nrepeat = 2\n\
         config = {{ format = \"{format}\", prefix = \"top-1.0\"{more} }}\n\
         [[export]]\nfrom = \"pack.archive\"\nto = \"out.{format}\"\n"
    ))
}

/// Runs a system tool in the project's directory.
#[track_caller]
fn tool(project: &Project, program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(project.path()).output();
    let output = output.unwrap_or_else(|error| panic!("this test needs `{program}`: {error}"));
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What was unpacked is what was packed.
#[track_caller]
fn assert_unpacked(project: &Project) {
    tool(project, "diff", &["-r", "--no-dereference", "src", "top-1.0"]);
    let mode = |path: &str| std::fs::metadata(project.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("top-1.0/run.sh"), mode("top-1.0/a.txt")), (0o755, 0o644));
    std::fs::remove_dir_all(project.join("top-1.0")).unwrap();
}

#[test]
fn archives_can_be_read_by_system_tools() {
    let project = tree();
    for format in ["tar.gz", "tar.zst", "zip"] {
        pack(&project, format, "").code(0);
        let file = format!("out.{format}");
        match format {
            "tar.gz" => drop(tool(&project, "tar", &["xzf", &file])),
            "zip" => drop(tool(&project, "unzip", &["-q", &file])),
            _ => {
                tool(&project, "zstd", &["-q", "-d", "-f", &file, "-o", "out.tar"]);
                tool(&project, "tar", &["xf", "out.tar"]);
            }
        }
        assert_unpacked(&project);
    }
    let listed = tool(&project, "tar", &["tvzf", "out.tar.gz", "--numeric-owner"]);
    assert!(listed.lines().all(|line| line.contains(" 0/0 ")), "owners are fixed:\n{listed}");
    let names: Vec<_> = tool(&project, "tar", &["tzf", "out.tar.gz"]).lines().map(str::to_owned).collect();
    assert!(names.iter().all(|name| name.starts_with("top-1.0/")), "{names:?}");
}

#[test]
fn archives_are_the_same_bytes_each_time() {
    for format in ["tar.gz", "tar.zst", "zip"] {
        let (one, two) = (tree(), tree());
        let done = pack(&one, format, "").code(0);
        assert_eq!(pack(&two, format, "").code(0).output("pack", "archive"), done.output("pack", "archive"));
        let file = format!("out.{format}");
        assert_eq!(one.bytes(&file), two.bytes(&file));
        two.file("src/a.txt", "b\n");
        assert_ne!(pack(&two, format, "").code(0).output("pack", "archive"), done.output("pack", "archive"));
    }
}

#[test]
fn levels_and_formats_are_checked() {
    let project = tree();
    pack(&project, "rar", "").code(2).says("lockgate::config").says("tar.zst");
    pack(&project, "tar.gz", ", level = 99").exit.filter(|code| *code != 0).expect("a level that does not exist");
    project.assert_usable();
}

#[test]
fn checksums_agree_with_sha256sum() {
    let project = tree();
    let nodes = "[[stage]]\nid = \"pack\"\nplugin = \"std:pack\"\ninputs.src = { dir = \"src\" }\nconfig.format = \"zip\"\n\
                 [[stage]]\nid = \"sums\"\nplugin = \"std:checksum\"\ninputs.archive = \"pack.archive\"\n\
                 [[stage]]\nid = \"tree\"\nplugin = \"std:checksum\"\ninputs.src = { dir = \"src\" }\n\
                 [[export]]\nfrom = \"pack.archive\"\nto = \"archive\"\n\
                 [[export]]\nfrom = \"sums.sums\"\nto = \"SHA256SUMS\"\n\
                 [[export]]\nfrom = \"tree.sums\"\nto = \"TREESUMS\"\n";
    project.run_text(nodes).code(0);
    let name = project.read("SHA256SUMS").split_whitespace().nth(1).unwrap().to_owned();
    std::fs::rename(project.join("archive"), project.join(&name)).unwrap();
    assert!(tool(&project, "sha256sum", &["-c", "SHA256SUMS"]).contains(": OK"));
    // Of a tree: one line a file, with paths that `sha256sum -c` finds.
    let listed = project.read("TREESUMS");
    assert!(listed.lines().count() >= 5, "{listed}");
    let first = listed.lines().next().unwrap().split_once("  ").unwrap().1.to_owned();
    let dir = if project.has(&first) { "." } else { "src" };
    tool(&project, "sh", &["-c", &format!("cd {dir} && sha256sum -c --quiet {}", project.join("TREESUMS").display())]);
}

#[test]
fn lint_names_line_and_column() {
    let project =
        Project::with_pipeline("[[stage]]\nid = \"lint\"\nplugin = \"std:lint\"\ninputs.src = { dir = \"src\" }\n");
    project.file("src/good.toml", "a = 1\n").file("src/good.json", "{\"a\": [1]}").file("src/good.yaml", "a:\n  - 1\n");
    project.run::<&str>([]).code(0);
    project.file("src/bad.toml", "a = 1\nb = = 2\n").file("src/bad.json", "{\n  \"a\": 1,\n}\n");
    project.file("src/deep/bad.yaml", "a: 1\nb: [1, 2\nc: 3\n");
    let done = project.run::<&str>([]).code(1).node_is("lint", "failed");
    assert!(done.node("lint")["facts"]["findings"]["error"].as_u64() >= Some(3), "{}", done.all());
    let human = project.lockgate(["run", "pipeline.toml"]).code(1);
    human.says("bad.toml:2:5").says("bad.json:3:1").says("deep/bad.yaml:");
    let github = project.lockgate(["run", "pipeline.toml", "--format", "github"]).code(1);
    let all = github.stdout.clone() + &github.stderr;
    let annotated =
        all.lines().any(|line| line.starts_with("::error ") && line.contains("bad.toml") && line.contains("line=2"));
    assert!(annotated, "{}", github.all());
}

#[test]
fn threshold_can_be_tried_by_hand() {
    let project = Project::new();
    let samples = |errors: u64| {
        let side = |side: &str, errors: u64| {
            let points: Vec<_> = (0..100).map(|t| serde_json::json!({"t": t, "v": 20.0})).collect();
            [
                serde_json::json!({"metric": "status", "side": side, "counts": {"200": 100 - errors, "500": errors}}),
                serde_json::json!({"metric": "latency", "side": side, "unit": "ms", "points": points}),
            ]
        };
        let samples = [side("baseline", 0), side("canary", errors)].concat();
        serde_json::json!({"schema": 1, "samples": samples}).to_string()
    };
    let call = |errors: u64| {
        project.file("seen.json", samples(errors));
        project.lockgate(["plugin", "call", "std:threshold", "--input", "observation=seen.json"])
    };
    let answer: Value = serde_json::from_str(&call(10).code(0).stdout).unwrap();
    assert_eq!(answer["verdict"]["word"], "promote", "{answer}");
    let answer: Value = serde_json::from_str(&call(11).code(1).stdout).unwrap();
    assert_eq!(answer["verdict"]["word"], "rollback", "{answer}");
    assert!(
        answer["verdict"]["figures"].as_array().unwrap().iter().any(|figure| figure["passed"] == false),
        "{answer}"
    );
}

#[test]
fn every_standard_plugin_describes_itself() {
    let project = Project::new();
    let names = std::fs::read_dir(lockgate_tests::binary::repository().join("plugins")).unwrap();
    let is_plugin = |path: &std::path::Path| {
        std::fs::read_to_string(path.join("Cargo.toml")).is_ok_and(|manifest| manifest.contains("cdylib"))
    };
    let names: Vec<String> = names
        .map(|entry| entry.unwrap().path())
        .filter(|path| is_plugin(path))
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert!(names.len() >= 16, "{names:?}");
    for name in names {
        let done = project.lockgate(["plugin", "inspect", &format!("std:{name}"), "--format", "json"]).code(0);
        let found: Value = serde_json::from_str(&done.stdout).unwrap();
        assert_eq!(found["manifest"]["name"], name, "{found}");
        let human = project.lockgate(["plugin", "inspect", &format!("std:{name}")]).code(0);
        human.prints("sha256:").prints(&name);
    }
    project.lockgate(["plugin", "inspect", "std:http-probe"]).code(0).prints("lockgate:plugin/http");
}
