//! `cargo run -p lockgate-tests --bin hostile -- [PART OF A NAME]`: tries the hostile plugins and prints what each took.

#![allow(clippy::print_stdout, reason = "a report is printed")]

use lockgate_tests::hostile::table;

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let outcomes = table::attempt_all(&filter, true);
    println!("{}", table::report(&outcomes));
}
