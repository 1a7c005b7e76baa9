//! A plugin's folder: what it is written in, and what is to be made of it.
//!
//! A Rust plugin's folder has a `Cargo.toml`, which says everything. Others have a `plugin.toml`:
//!
//! ```toml
//! name = "line-count"
//! world = "stage"                     # or health-check, canary-evaluator
//! source = "src/plugin.js"            # its ending says the language
//! imports = ["artifacts", "log"]      # what of the contract it may call: nothing else is linked
//! ```

use std::fmt;
use std::path::{Path, PathBuf};

use lockgate_model::manifest::World;
use serde::Deserialize;

use crate::ToolchainError;

/// The file that says what a folder is.
pub const FILE: &str = "plugin.toml";
/// Where built components lie in every project.
pub const BUILT: &str = "target/lockgate";
/// Largest file that is read, in bytes: it holds four keys.
const MAX_FILE: u64 = 64 << 10;

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// By cargo, with the SDK.
    Rust,
    /// In QuickJS.
    JavaScript,
    /// The same, through the compiler of TypeScript.
    TypeScript,
    /// In CPython.
    Python,
    /// Without a C library.
    C,
    /// With Go's own runtime.
    Go,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Rust, Self::JavaScript, Self::TypeScript, Self::Python, Self::C, Self::Go];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::JavaScript => "js",
            Self::TypeScript => "ts",
            Self::Python => "python",
            Self::C => "c",
            Self::Go => "go",
        }
    }

    /// The language of a source file.
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "rs" => Some(Self::Rust),
            "js" | "mjs" => Some(Self::JavaScript),
            "ts" | "mts" => Some(Self::TypeScript),
            "py" => Some(Self::Python),
            "c" => Some(Self::C),
            "go" => Some(Self::Go),
            _ => None,
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A plugin's folder as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The folder, absolute.
    pub directory: PathBuf,
    /// What it is written in.
    pub language: Language,
    /// What `plugin.toml` says; none of a Rust plugin.
    pub plan: Option<Plan>,
}

/// What `plugin.toml` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Name of the component's file.
    pub name: String,
    /// The world to build.
    pub world: World,
    /// The source, relative to the folder.
    pub source: PathBuf,
    /// The interfaces that it may call.
    pub imports: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    world: World,
    source: PathBuf,
    imports: Vec<String>,
}

impl Project {
    /// Looks at a folder.
    pub fn find(directory: &Path) -> Result<Self, ToolchainError> {
        let reading = |source| ToolchainError::Folder { path: directory.to_path_buf(), source };
        let directory = directory.canonicalize().map_err(reading)?;
        let file = directory.join(FILE);
        if file.is_file() {
            let plan = read(&file)?;
            let Some(language) = Language::of(&plan.source) else {
                return Err(wrong(&file, "`source` ends in none of .js, .ts, .py, .c, .go".into()));
            };
            if !directory.join(&plan.source).is_file() {
                return Err(wrong(&file, format!("its source `{}` is no file", plan.source.display())));
            }
            return Ok(Self { directory, language, plan: Some(plan) });
        }
        if directory.join("Cargo.toml").is_file() {
            return Ok(Self { directory, language: Language::Rust, plan: None });
        }
        Err(ToolchainError::Wrong(format!(
            "find a plugin in `{}`: it has neither a Cargo.toml nor a {FILE}",
            directory.display()
        )))
    }

    /// A folder of its own for what is made on the way, which no other language uses.
    pub(crate) fn work(&self) -> PathBuf {
        self.directory.join(BUILT).join("work")
    }

    /// Where programs that a package manager put into the project lie: in it, and in folders above it.
    pub(crate) fn programs(&self, folder: &str) -> Vec<PathBuf> {
        self.directory.ancestors().map(|ancestor| ancestor.join(folder)).collect()
    }
}

fn wrong(file: &Path, reason: String) -> ToolchainError {
    ToolchainError::Wrong(format!("read `{}`: {reason}", file.display()))
}

fn read(file: &Path) -> Result<Plan, ToolchainError> {
    let metadata = file.metadata().map_err(ToolchainError::reading(file))?;
    if metadata.len() > MAX_FILE {
        return Err(wrong(file, format!("it has {} bytes: at most {MAX_FILE} are permitted", metadata.len())));
    }
    let text = std::fs::read_to_string(file).map_err(ToolchainError::reading(file))?;
    let File { name, world, source, imports } =
        toml::from_str(&text).map_err(|error| wrong(file, error.to_string()))?;
    check_name(&name).map_err(|reason| wrong(file, reason))?;
    let inside = source.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if !inside {
        return Err(wrong(file, format!("its source `{}` is not a path inside the folder", source.display())));
    }
    Ok(Plan { name, world, source, imports })
}

/// Names that a package manager or compiler takes for something else.
const RESERVED: [&str; 14] = [
    "alloc",
    "build",
    "core",
    "deps",
    "examples",
    "incremental",
    "lockgate-sdk",
    "node_modules",
    "proc_macro",
    "self",
    "std",
    "super",
    "test",
    "vendor",
];
/// Keywords of the languages, which cannot name a package there.
const KEYWORDS: [&str; 46] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "true", "try", "type",
    "typeof", "unsafe", "use", "where", "while",
];

/// Whether a plugin may have this name, in every language: it names a package, a file and the plugin itself.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase())
        || name.ends_with('-')
        || name.contains("--")
        || !name.chars().all(plain)
    {
        return Err(format!(
            "`{name}` is no name for a plugin: lower-case letters, digits and single `-` between them, beginning with a letter"
        ));
    }
    if name.len() > 64 {
        return Err(format!("`{name}` is too long for a plugin's name: {} characters, at most 64", name.len()));
    }
    if RESERVED.contains(&name) || KEYWORDS.contains(&name) {
        return Err(format!("`{name}` is no name for a plugin: it means something else to compilers"));
    }
    if name.starts_with("lockgate-") {
        return Err(format!("`{name}` is no name for a plugin: those of Lockgate itself begin with `lockgate-`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "line-count", "x2", "a-1"] {
            check_name(good).unwrap();
        }
        for bad in
            ["", "A", "2x", "-a", "a-", "a--b", "a_b", "a.b", "a/b", "..", "ä", "fn", "test", "std", "lockgate-x"]
        {
            check_name(bad).unwrap_err();
        }
        assert!(check_name(&"x".repeat(65)).unwrap_err().contains("at most 64"));
        check_name(&"x".repeat(64)).unwrap();
    }

    fn found(files: &[(&str, &str)]) -> Result<Project, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        Project::find(dir.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_lies_there_says_the_language() {
        let plan = |source: &str| format!("name = \"a\"\nworld = \"stage\"\nsource = \"{source}\"\nimports = []\n");
        for (source, language) in [("a.js", Language::JavaScript), ("a.ts", Language::TypeScript), ("a.c", Language::C)]
        {
            assert_eq!(found(&[(source, ""), (FILE, &plan(source))]).unwrap().language, language);
        }
        assert_eq!(found(&[("Cargo.toml", "")]).unwrap().language, Language::Rust);
        assert!(found(&[]).unwrap_err().contains("neither a Cargo.toml nor a plugin.toml"));
    }

    #[test]
    fn a_plan_that_cannot_be_meant_is_refused() {
        let cases = [
            ("name = \"a\"\nworld = \"stag\"\nsource = \"a.c\"\nimports = []\n", "stag"),
            ("name = \"a\"\nworld = \"stage\"\nsource = \"../a.c\"\nimports = []\n", "not a path inside the folder"),
            ("name = \"a\"\nworld = \"stage\"\nsource = \"a.rb\"\nimports = []\n", "ends in none of"),
            ("name = \"a\"\nworld = \"stage\"\nsource = \"b.c\"\nimports = []\n", "`b.c` is no file"),
            ("name = \"A\"\nworld = \"stage\"\nsource = \"a.c\"\nimports = []\n", "no name for a plugin"),
            ("name = \"a\"\nworlds = \"stage\"\nsource = \"a.c\"\nimports = []\n", "worlds"),
        ];
        for (text, says) in cases {
            let error = found(&[("a.c", ""), (FILE, text)]).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
