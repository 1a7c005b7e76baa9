//! The format of policy files: one table of all keys, as `crate::shape` has it for pipelines.
//!
//! How to add a key: put it into the table here, read it in `read.rs`, put it into `model::policy`, and give it a golden pair under
//! `tests/ui/policy`.

use lockgate_model::policy::Rule;

use crate::shape::{Key, Keys, LIMITS, MANY, Shape, Type, key, needed};

/// Longest pattern or name.
const PATTERN: Type = Type::Text(lockgate_model::policy::pattern::MAX_PATTERN);
/// Longest fragment of a test: far beyond what anybody reads.
const MAX_FRAGMENT: usize = 64 << 10;
/// What a test may expect.
pub(crate) const EXPECTATIONS: [&str; 2] = ["allowed", "refused"];
const RULES: [&str; Rule::ALL.len()] = {
    let mut names = [""; Rule::ALL.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = Rule::ALL[i].name();
        i += 1;
    }
    names
};

const fn patterns(name: &'static str, doc: &'static str) -> Key {
    key(name, Type::List(&PATTERN, MANY), doc)
}

/// The whole file.
pub(crate) static POLICY: Shape = Shape {
    name: "the policy",
    doc: "A Lockgate policy: what pipelines may have at most. What it does not name it does not allow.",
    groups: &[&[
        needed("schema", Type::Version, "Version of the format: 1."),
        needed("name", Type::Text(100), "The policy's name, for people."),
        key("plugins", Type::Table(&PLUGINS), "What plugins must be."),
        key("signers", Type::Map(Keys::Names, &Type::Table(&SIGNER)), "Trust roots: whose signatures count, by name."),
        key("revoked", Type::Table(&REVOKED), "What is no longer trusted."),
        key(
            "limits",
            Type::Table(&LIMITS),
            "Highest limits. A higher one in a pipeline is refused, a higher default is lowered.",
        ),
        key("grants", Type::Table(&GRANTS), "What pipelines may grant at most; without it nothing."),
        key("environment", Type::Table(&ENVIRONMENT), "What nodes may know of the environment."),
        key("exports", Type::Table(&EXPORTS), "Where results may go."),
        key("test", Type::List(&Type::Table(&TEST), MANY), "Tests of this policy: `lockgate policy test` runs them."),
    ]],
    one_of: &[],
};

static PLUGINS: Shape = Shape {
    name: "`plugins`",
    doc: "What plugins must be. Plugins of the engine itself (`std:`) need no digest and no signature.",
    groups: &[&[
        patterns(
            "sources",
            "Where they may come from: `std`, `path`, `std:pack`, `path:plugins/**`. Default `std` alone.",
        ),
        key(
            "digests",
            Type::Word(&["required"]),
            "Whether each must be pinned by a digest, in the pipeline or by the lock file.",
        ),
        key("signed", Type::List(&Type::Name, MANY), "Signers of which one must have signed each."),
    ]],
    one_of: &[],
};

static SIGNER: Shape = Shape {
    name: "the signer",
    doc: "A trust root.",
    groups: &[&[
        needed("key", Type::Text(4096), "Its public key: PEM, as `lockgate plugin keygen` writes it."),
        key("until", Type::Moment, "Until when its signatures count, as in `2027-01-01T00:00:00Z`. Default: for ever."),
    ]],
    one_of: &[],
};

static REVOKED: Shape = Shape {
    name: "`revoked`",
    doc: "What is no longer trusted.",
    groups: &[&[
        key("keys", Type::List(&Type::Text(80), MANY), "Ids of keys, in hex, whose signatures do not count."),
        key("digests", Type::List(&Type::Text(80), MANY), "Components, `sha256:...`, that may not run."),
    ]],
    one_of: &[],
};

static GRANTS: Shape = Shape {
    name: "`grants`",
    doc: "What pipelines may grant at most. Nothing is allowed by default.",
    groups: &[&[
        patterns(
            "http",
            "Exchanges: `METHOD SCHEME://HOST[:PORT][/PATH-PREFIX]`, with `*` for any method, `*.domain` or `*` for hosts with a \
             name, `:*` for any port.",
        ),
        key("app", Type::Boolean, "Node kinds of the program that embeds the engine."),
        key("clock", Type::Boolean, "The real clock."),
        key("process", Type::List(&Type::Table(&PROCESS), 1_000), "Programs of the host."),
        patterns(
            "secrets",
            "Where secrets may come from, whatever a pipeline calls them: `env:NAME`, `file:PATH`, `store:NAME`, with `*`.",
        ),
        patterns(
            "secrets_in_urls",
            "Those of `secrets` that may stand in URLs (`place = \"url\"`), which servers and proxies write into their logs.",
        ),
        patterns("tcp", "Servers: `HOST:PORT`, with `*.domain` or `*` for hosts with a name, `:*` for any port."),
        patterns("networks", "Networks that are not public, which `http` and `tcp` grants may name: `10.0.0.0/8`."),
    ]],
    one_of: &[],
};

static PROCESS: Shape = Shape {
    name: "the program",
    doc: "A program that pipelines may grant: with at most these arguments, variables, paths and network.",
    groups: &[&[
        needed("program", PATTERN, "As grants must name it: an absolute path, or a name."),
        patterns(
            "arguments",
            "Patterns, as in grants: a grant's must permit nothing that these do not. Default: no arguments.",
        ),
        patterns("env", "Names of variables that its environment may have, as in `LANG` or `GIT_*`."),
        patterns("read", "Absolute paths at or below which it may read."),
        patterns("write", "Absolute paths at or below which it may read and write."),
        key("network", Type::Boolean, "Whether it may open network connections. Default false."),
    ]],
    one_of: &[],
};

static ENVIRONMENT: Shape = Shape {
    name: "`environment`",
    doc: "What nodes may know of the environment.",
    groups: &[&[
        patterns("variables", "Names that nodes may declare in `env`, as in `CI` or `BUILD_*`."),
        patterns("names", "Environments whose secrets may be taken from the store, as in `staging`."),
    ]],
    one_of: &[],
};

static EXPORTS: Shape = Shape {
    name: "`exports`",
    doc: "Where results may go.",
    groups: &[&[patterns(
        "roots",
        "Directories that exports must be at or below: relative to the pipeline's root (`.` is all of it), or absolute.",
    )]],
    one_of: &[],
};

static TEST: Shape = Shape {
    name: "`[[test]]`",
    doc: "A pipeline, and what the policy says to it.",
    groups: &[&[
        needed("name", Type::Text(200), "What it shows."),
        needed(
            "pipeline",
            Type::Text(MAX_FRAGMENT),
            "A pipeline; `schema` and `name` may be left away. Its plugins are not loaded.",
        ),
        needed("expect", Type::Word(&EXPECTATIONS), "What the policy says."),
        key("because", Type::Word(&RULES), "The line that refuses, and no other, as in `grants.http`."),
        key("signed_by", Type::List(&Type::Name, 100), "Signers whose signatures its plugins are taken to have."),
    ]],
    one_of: &[],
};
