//! The audit of a journal by the command line: heads that are signed and kept elsewhere, and journals that somebody had a hand in.

use lockgate_tests::Project;
use rusqlite::Connection;

use crate::signatures::opened;

/// Two runs, and a signed head after the first.
fn project() -> Project {
    let project = Project::with_pipeline("[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\n");
    project.lockgate(["plugin", "keygen", "--output", "audit"]).code(0);
    project.lockgate(["plugin", "keygen", "--output", "other"]).code(0);
    project.run::<&str>([]).code(0);
    project.lockgate(["audit", "sign", "--key", "audit.key", "--output", "elsewhere/head.json"]).code(0);
    project.run(["--no-cache"]).code(0);
    project
}

fn alter(project: &Project, sql: &str) {
    Connection::open(project.join(".lockgate/state.db")).unwrap().execute_batch(sql).unwrap();
}

const VERIFY: [&str; 5] = ["audit", "verify", "elsewhere/head.json", "--key", "audit.pub"];

#[test]
fn a_journal_that_nobody_touched_is_good() {
    let project = project();
    let done = project.lockgate(["audit", "verify"]).code(0);
    done.prints("records as they were written, the last one sha256:");
    project.lockgate(VERIFY).code(0).says("the first").says("are those of then");
    project.lockgate(&VERIFY[..3]).code(0).says("nobody checked who signed");
    let statement = opened(&project, &project.read("elsewhere/head.json"), "audit.pub");
    assert_eq!(statement["predicateType"], "urn:lockgate:audit-head:v1");
    let database = Connection::open(project.join(".lockgate/state.db")).unwrap();
    let hash = |seq: u64| {
        let sql = "SELECT lower(hex(hash)) FROM records WHERE seq = ?1";
        database.query_row(sql, [seq as i64], |row| row.get::<_, String>(0)).unwrap()
    };
    let records = statement["predicate"]["records"].as_u64().unwrap();
    assert_eq!(statement["subject"][0]["digest"]["lockgate-record-v1"], hash(records));
    assert_eq!(statement["predicate"]["first"], format!("sha256:{}", hash(1)));
}

#[test]
fn the_first_record_that_suffered_is_named() {
    let cut = "DELETE FROM records WHERE seq > 3;
               UPDATE head SET (seq, hash) = (SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1)";
    let swap = "UPDATE records SET seq = 0 WHERE seq = 2; UPDATE records SET seq = 2 WHERE seq = 3;
                UPDATE records SET seq = 3 WHERE seq = 0";
    for (sql, alone, says) in [
        (
            "UPDATE records SET body = replace(body, '\"succeeded\"', '\"failed\"') WHERE seq = 3",
            5,
            "record 3: it was altered",
        ),
        ("DELETE FROM records WHERE seq = 2", 5, "record 2: it is missing"),
        (swap, 5, "record 2: it was moved, record 3 stands in its place"),
        (cut, 0, "record 4: it is missing"),
    ] {
        let project = project();
        alter(&project, sql);
        project.lockgate(["audit", "verify"]).code(alone);
        project.lockgate(VERIFY).code(5).says(says);
        if alone != 0 {
            // Nobody signs what is damaged.
            project.lockgate(["audit", "sign", "--key", "audit.key"]).code(5).says(says);
        }
    }
}

#[test]
fn a_journal_that_was_made_anew_is_not_the_one_that_was_signed() {
    let project = project();
    let other = Project::with_pipeline("[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\n");
    other.run::<&str>([]).code(0);
    other.run(["--no-cache"]).code(0);
    other.lockgate(["audit", "verify"]).code(0);
    let mut command = other.command(["audit", "verify"]);
    command.arg(project.join("elsewhere/head.json")).arg("--key").arg(project.join("audit.pub"));
    lockgate_tests::project::finish(command).code(5).says("another journal, or all of it was written anew");
}

#[test]
fn heads_of_strangers_are_refused() {
    let project = project();
    project
        .lockgate(["audit", "verify", "elsewhere/head.json", "--key", "other.pub"])
        .code(3)
        .says("no signature is by");
    project.file("bad.json", "{}");
    project.lockgate(["audit", "verify", "bad.json", "--key", "audit.pub"]).code(2).says("DSSE");
    project.lockgate(["audit", "verify", "gone.json", "--key", "audit.pub"]).code(2);
    project.lockgate(["audit", "verify", "--key", "audit.pub"]).code(2).says("no head is named");
    let empty = Project::new();
    empty.lockgate(["audit", "verify"]).code(2);
}
