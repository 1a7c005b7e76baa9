//! End-to-end tests of Lockgate.
