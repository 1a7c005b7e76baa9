//! Inputs that mean harm to the standard plugins that read them: each ends with a message, within its node's fuel and memory, and an
//! honest node beside it is not harmed.

use std::io::Write as _;

use lockgate_tests::Project;

/// What a node is given, and what has to be said of it.
struct Attack {
    name: &'static str,
    plugin: &'static str,
    /// Lines of the node.
    node: String,
    /// Files of the project.
    files: Vec<(&'static str, Vec<u8>)>,
    kind: &'static str,
    says: &'static str,
}

fn attack(name: &'static str, plugin: &'static str, node: &str, says: &'static str) -> Attack {
    Attack { name, plugin, node: node.to_owned(), files: Vec::new(), kind: "error", says }
}

impl Attack {
    fn file(mut self, name: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.push((name, bytes.into()));
        self
    }

    fn kind(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }
}

/// One entry of a tar archive: kind, path, link, size that the header claims, content.
fn entry(kind: u8, path: &str, link: &str, size: u64, content: &[u8]) -> Vec<u8> {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, path.as_bytes());
    put(100, b"0000644\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(148, b"        ");
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut bytes = [&header[..], content].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child = std::process::Command::new("gzip")
        .arg("-9")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, bytes) = (child.stdin.take().unwrap(), bytes.to_vec());
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output.stdout
}

/// A zip of stored entries that all lie at the same place, as bombs have them.
fn overlapping_zip() -> Vec<u8> {
    let content = vec![b'x'; 1000];
    let checksum = 0x3b41_c9e6_u32.to_le_bytes();
    let sizes = [1000_u32.to_le_bytes(), 1000_u32.to_le_bytes()].concat();
    let mut zip =
        [b"PK\x03\x04\x14\0\0\0\0\0\0\0\x21\0".as_slice(), &checksum, &sizes, b"\x01\0\0\0a", &content].concat();
    let begin = zip.len() as u32;
    for _ in 0..50 {
        zip.extend(
            [
                b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\x21\0".as_slice(),
                &checksum,
                &sizes,
                b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0a",
            ]
            .concat(),
        );
    }
    let length = zip.len() as u32 - begin;
    zip.extend(
        [
            b"PK\x05\x06\0\0\0\0".as_slice(),
            &50_u16.to_le_bytes(),
            &50_u16.to_le_bytes(),
            &length.to_le_bytes(),
            &begin.to_le_bytes(),
            b"\0\0",
        ]
        .concat(),
    );
    zip
}

fn archives() -> Vec<Attack> {
    let unpack =
        |name, bytes: Vec<u8>, says| attack(name, "unpack", "inputs.archive = { file = \"x\" }", says).file("x", bytes);
    let text = |path: &str| entry(b'0', path, "", 1, b"x");
    let many: Vec<Vec<u8>> = (0..20_001).map(|n| entry(b'5', &format!("d{n}"), "", 0, b"")).collect();
    let whole = gzip(&tar(&[entry(b'0', "a", "", 9000, &[b'y'; 9000])]));
    vec![
        unpack("dots", tar(&[text("a/../../x")]), "unpack `a/../../x`: it holds `..`, which leads out of the tree"),
        unpack("absolute", tar(&[text("/etc/passwd")]), "unpack `/etc/passwd`: it is absolute"),
        unpack(
            "link-out",
            tar(&[entry(b'2', "a", "../../etc", 0, b"")]),
            "its link leads to `../../etc`, out of the tree",
        ),
        unpack(
            "link-absolute",
            tar(&[entry(b'2', "a", "/etc", 0, b"")]),
            "its link leads to `/etc`, which is absolute",
        ),
        unpack(
            "links-out-together",
            tar(&[entry(b'2', "a/up", "..", 0, b""), entry(b'2', "out", "a/up/..", 0, b"")]),
            "its link leads out of the tree by way of other links",
        ),
        unpack(
            "through-a-link",
            tar(&[entry(b'2', "a", "b", 0, b""), text("a/x")]),
            "nothing is written through links",
        ),
        unpack(
            "hard-link-out",
            tar(&[entry(b'1', "a", "/etc/passwd", 0, b"")]),
            "its hard link leads to `/etc/passwd`: it is absolute",
        ),
        unpack("device", tar(&[entry(b'3', "a", "", 0, b"")]), "it is a device, a pipe or a socket"),
        unpack("twice", tar(&[text("a"), text("./a")]), "it is in the archive twice"),
        unpack(
            "case-twins",
            tar(&[text("Makefile"), text("makefile")]),
            "`makefile` and `Makefile` differ in upper and lower case alone",
        ),
        unpack(
            "bomb-by-ratio",
            gzip(&tar(&[entry(b'0', "a", "", 60 << 20, &vec![0; 60 << 20])])),
            "more than 200 times its size",
        ),
        Attack {
            node: "inputs.archive = { file = \"x\" }\nconfig.max_entries = 20000".to_owned(),
            ..unpack("bomb-by-count", tar(&many), "it has more than 20000 entries")
        },
        unpack("bomb-that-overlaps", overlapping_zip(), "overlaps the entry before it, as in a bomb"),
        unpack(
            "long-name-of-a-gigabyte",
            tar(&[entry(b'L', "a", "", 1 << 30, b"x")]),
            "1073741824 bytes stand in front of an entry",
        ),
        unpack("size-that-lies", tar(&[entry(b'0', "a", "", 1 << 40 >> 8, b"x")]), "the archive is cut off"),
        unpack("cut-off", whole[..whole.len() - 12].to_vec(), "the archive is cut off"),
        unpack(
            "altered",
            [&whole[..whole.len() - 6], &[1, 2, 3, 4, 5, 6]].concat(),
            "the checksum of the gzip file is another",
        ),
        unpack(
            "window-of-a-terabyte",
            b"\x28\xb5\x2f\xfd\x00\xf0\x01\0\0".to_vec(),
            "its zstd frame asks for a window of",
        ),
        unpack(
            "control-characters",
            tar(&[text("a\u{1b}[2J\nb")]),
            "unpack `a\\u{1b}[2J\\nb`: it holds NUL or a line break",
        ),
    ]
}

fn texts() -> Vec<Attack> {
    let deep = |open: &str| open.repeat(200_000);
    let template =
        |name, text: &str, says| attack(name, "template", "inputs.template = { file = \"x\" }", says).file("x", text);
    let loops = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}";
    let pattern = |regex: &str| {
        format!("inputs.src = {{ dir = \"d\" }}\nconfig.patterns = [{{ id = \"a\", regex = '{regex}' }}]")
    };
    vec![
        template("template-that-loops", loops, "`template` does not end within 1000000 steps"),
        template(
            "template-that-calls-itself",
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "recursion limit exceeded",
        ),
        template("template-that-includes-itself", "{% include 'template' %}", "recursion limit exceeded"),
        template(
            "template-of-brackets",
            &format!("{{{{ {} }}}}", "(".repeat(100_000)),
            "a line nests more than 64 brackets",
        ),
        template(
            "template-that-floods",
            "{% for a in range(9999) %}{{ 'x' * 9999 }}{% endfor %}",
            "writes more than 16777216 bytes",
        ),
        attack(
            "data-of-brackets",
            "template",
            "inputs.d = { file = \"x\" }\nconfig.template = \"\"",
            "nested deeper than 64 levels",
        )
        .file("x", deep("[")),
        attack(
            "aliases-that-multiply",
            "template",
            "inputs.d = { file = \"x\" }\nconfig = { template = \"\", formats = { d = \"yaml\" } }",
            "more than 500000 values",
        )
        .file(
            "x",
            (1..12).fold("a0: &a0 [x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
                text + &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 8].join(", "))
            }),
        ),
        attack(
            "json-of-brackets",
            "json",
            "inputs.d = { file = \"x\" }\nconfig.filter = \".\"",
            "nested deeper than 256 levels",
        )
        .file("x", deep("[")),
        attack(
            "filter-of-brackets",
            "json",
            &format!("config.filter = \"{}\"", "(".repeat(10_000)),
            "nests more than 100 brackets",
        ),
        attack(
            "filter-that-nests",
            "json",
            "config.filter = \"reduce range(5000) as $i (1; [.])\"",
            "nested deeper than 256 levels",
        ),
        attack("filter-without-end", "json", "config.filter = \"[range(1e18)] | length\"\nlimits.fuel = \"300M\"", "")
            .kind("fuel"),
        attack(
            "regex-that-multiplies",
            "json",
            "config.filter = '\"a\" | test(\"((a{999}){999}){999}\")'",
            "this regular expression cannot be used",
        ),
        attack("lock-file-of-brackets", "sbom", "inputs.src = { dir = \"d\" }", "a lock file cannot be read")
            .file("d/package-lock.json", deep("{\"a\":")),
        attack("toml-of-brackets", "sbom", "inputs.src = { dir = \"d\" }", "a lock file cannot be read")
            .file("d/Cargo.lock", format!("a = {}", deep("["))),
        attack(
            "licence-of-brackets",
            "licenses",
            "inputs.sbom = { file = \"x\" }\nconfig.allow = [\"MIT\"]",
            "1 package has no licence",
        )
        .file(
            "x",
            format!(
                "{{\"bomFormat\": \"CycloneDX\", \"components\": [{{\"licenses\": [{{\"expression\": \"{}\"}}]}}]}}",
                "(".repeat(9_000)
            ),
        ),
        attack(
            "pattern-that-multiplies",
            "secret-scan",
            &pattern("((a{999}){999}){999}"),
            "the pattern of `a` cannot be used",
        )
        .file("d/f", "x"),
        attack("pattern-that-backtracks", "secret-scan", &pattern("^(a+)+$"), "1 secret was found")
            .file("d/f", format!("{}!\n{}\n", "a".repeat(3_000), "a".repeat(3_000))),
        attack("pattern-of-everything", "secret-scan", &pattern("a*"), "matches the empty text").file("d/f", "x"),
    ]
}

#[track_caller]
fn try_all(attacks: Vec<Attack>) {
    // One project, so that each plugin is compiled once.
    let project = Project::new();
    for Attack { name, plugin, node, files, kind, says } in attacks {
        let _ = std::fs::remove_dir_all(project.join("d"));
        for (path, bytes) in files {
            project.file(path, bytes);
        }
        let done = project.run_text(&format!(
            "[[stage]]\nid = \"victim\"\nplugin = \"std:{plugin}\"\n{node}\n[[stage]]\nid = \"honest\"\nplugin = \"std:noop\"\n"
        ));
        assert_eq!(done.exit, Some(1), "{name}: {}", done.all());
        let failure = &done.node("victim")["receipt"]["failure"];
        assert_eq!(failure["kind"], kind, "{name}: {}", done.all());
        let message = failure["message"].as_str().unwrap_or_default();
        assert!(message.contains(says), "{name}: {message}");
        assert!(message.len() < 2_000 && !message.contains('\u{1b}'), "{name}: {message}");
        done.node_is("honest", "succeeded");
    }
}

#[test]
fn hostile_archives_end_with_a_message() {
    try_all(archives());
}

#[test]
fn hostile_texts_end_with_a_message() {
    try_all(texts());
}
