//! The end-to-end tests: the real binary, real components, real files. One test binary, so that they are linked once.
//!
//! In reading order: [`files`] pipelines that are wrong, [`components`] plugins that are no plugins, [`guests`] plugins that
//! misbehave, [`verdicts`] health checks and canaries that do, [`inputs`] and [`exports`] the host's files, [`ports`] servers that
//! misbehave, [`semantics`], [`looks`] and [`signals`] what a run does when, [`digests`] the same result everywhere, [`plugins`] the
//! standard ones, [`jobs`] the repository's own pipelines, [`commands`] the rest of the command line, [`repository`] what README and
//! ARCHITECTURE claim.
