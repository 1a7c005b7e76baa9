//! `lockgate schema`: the JSON Schema of pipeline files.

use super::Ended;
use crate::exit::Exit;
use crate::render::output::Output;

/// Prints the schema.
pub(crate) fn schema(output: &Output) -> Ended {
    output.data(&format!("{:#}\n", lockgate_syntax::json_schema()));
    Ok(Exit::Succeeded)
}
