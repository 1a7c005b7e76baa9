//! The node kind `app:count-words`: how many words the files of a tree have. A function of its input, so its result is cached.

use lockgate::node_kind::{Answer, Call, Carries, Declaration, NodeFailure, NodeKind};

/// Counts words.
pub(crate) struct CountWords;

/// Larger files are no texts.
const LARGEST: u64 = 1 << 20;

#[async_trait::async_trait]
impl NodeKind for CountWords {
    fn declare(&self) -> Declaration {
        Declaration::stage("count-words", "1.0.0")
            .summary("Counts the words of the files of a tree")
            .input("text", Carries::Tree)
            .output("count", Carries::Blob)
            .pure()
    }

    async fn run(&self, call: &mut Call) -> Result<Answer, NodeFailure> {
        let text = call.input("text").ok_or_else(|| NodeFailure::new("the input `text` is missing"))?;
        let (mut files, mut words) = (0, 0);
        for file in text.files()? {
            let bytes = text.file(&file, LARGEST)?;
            words += String::from_utf8_lossy(&bytes).split_whitespace().count();
            files += 1;
        }
        call.log("info", &format!("{words} words in {files} files"));
        call.write("count", serde_json::json!({ "files": files, "words": words }).to_string())?;
        Ok(Answer::done())
    }
}
