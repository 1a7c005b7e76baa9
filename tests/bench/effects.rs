//! Commits of effects: each one's intent and each one's outcome is a transaction of its own, against SQLite alone on the same disk.

use std::time::Instant;

use lockgate_tests::Project;
use rusqlite::{Connection, params};

use crate::measure::{line, median, run};

/// Sleeps of the node; each is an effect, and so is each reading of the clock around it: 999, the most that a node may cause by
/// default.
const SLEEPS: usize = 499;
/// Bytes of a row of SQLite's: about those of an effect's record.
const ROW: usize = 400;
/// Repetitions of each.
const TIMES: usize = 5;

pub(crate) fn bench() {
    let project = Project::new();
    project.guest("watch");
    for times in [0, SLEEPS] {
        project.file(
            format!("p{times}.toml"),
            format!(
                "schema = 1\nname = \"effects\"\n[plugins]\nwatch = {{ path = \"watch.wasm\" }}\n[[stage]]\nid = \"a\"\nplugin = \"watch\"\n\
                 config = {{ times = {times}, sleep_ms = 0 }}\ngrants.clock = true\n"
            ),
        );
    }
    let events = project.lockgate(["run", &format!("p{SLEEPS}.toml"), "--format", "json"]).code(0).events;
    let commits = |kind: &str| events.iter().filter(|event| event["event"] == *kind).count();
    let commits = commits("effect-intended") + commits("effect-finished");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let time = |times: usize| run(project.command(["run", &format!("p{times}.toml"), "--quiet"])).wall;
        let took = time(SLEEPS).saturating_sub(time(0));
        ours.push(commits as f64 / took.as_secs_f64());
        theirs.push(alone(&project, commits));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    line("SQLite alone, WAL, FULL, one row a commit", &format!("{theirs:.0}/s"), "");
    line(&format!("commits of effects of one node ({commits})"), &format!("{ours:.0}/s"), "");
    line("  against SQLite", &format!("{:.2} x", ours / theirs), "at least 0.5 x");
}

/// Commits a second.
fn alone(project: &Project, commits: usize) -> f64 {
    let path = project.join("alone.db");
    let _ = std::fs::remove_file(&path);
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    connection.execute_batch("CREATE TABLE rows(id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT").unwrap();
    let body = "x".repeat(ROW);
    let start = Instant::now();
    for _ in 0..commits {
        connection.prepare_cached("INSERT INTO rows(body) VALUES (?1)").unwrap().execute(params![body]).unwrap();
    }
    commits as f64 / start.elapsed().as_secs_f64()
}
