//! A stage that copies a blob through the contract, chunk by chunk: what reading and writing artifacts costs.

use lockgate_sdk::prelude::*;

/// The plugin.
pub struct Copy;

impl Stage for Copy {
    type Config = ();
    const ABOUT: About = about!("Copies `in` to `out`.")
        .inputs(&[Port::blob("in", "what to copy")])
        .outputs(&[Port::blob("out", "the copy")]);

    fn run((): ()) -> Result<Findings> {
        let mut reader = input("in")?.blob()?;
        let mut writer = output("out").blob()?;
        loop {
            let bytes = reader.fill_buf()?;
            if bytes.is_empty() {
                break;
            }
            let count = bytes.len();
            writer.write_all(bytes)?;
            reader.consume(count);
        }
        writer.finish()?;
        Ok(Findings::new())
    }
}

export_stage!(Copy);
