//! `lockgate schema`: the JSON Schemas of what goes in and of what comes out.

use super::Ended;
use crate::args::{SchemaArgs, SchemaOf};
use crate::difference::Difference;
use crate::exit::Exit;
use crate::render::json;
use crate::render::output::Output;

/// Prints a schema.
pub(crate) fn schema(args: &SchemaArgs, output: &Output) -> Ended {
    let schema = match args.of {
        SchemaOf::Pipeline => lockgate_syntax::json_schema(),
        SchemaOf::Policy => lockgate_syntax::policy_schema(),
        SchemaOf::Case => lockgate_syntax::case_schema(),
        SchemaOf::Events => json::events_schema(),
        SchemaOf::Runs => {
            json::schema_of::<super::runs::Line>("Lockgate run", "One line of `lockgate runs --format json`.")
        }
        SchemaOf::Diff => json::schema_of::<Difference>("Lockgate diff", "What `lockgate diff --format json` prints."),
    };
    output.data(&format!("{schema:#}\n"));
    Ok(Exit::Succeeded)
}
