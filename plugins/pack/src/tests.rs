//! Archives are read back with readers of the same formats, and must be the same bytes each time.

use super::*;
use lockgate_sdk::testing;

#[test]
fn the_schema_file_is_what_the_config_derives() {
    testing::check_schema::<Config>("schema.json", include_str!("../schema.json"));
}
