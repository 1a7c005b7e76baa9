//! Programs beyond the grant, secrets on their way out, connections to elsewhere. The guest is `tests/guests/act`: it does what its
//! config says, and logs what came of it.

use super::Case;
use super::case::Expect::Harmless;
use crate::{Answer, binary};

/// A case of the guest with these steps, under the grants of all four kinds that it asks for; `process` and `secrets` are the lists of
/// their grants.
fn case(
    name: &'static str,
    tries: &'static str,
    stopped_by: &'static str,
    said: &'static str,
    node: &'static str,
) -> Case {
    let guest = |_: &str| std::fs::read(binary::guest("act")).expect("read a guest");
    Case::new(name, tries, stopped_by, Harmless(said), guest).node(node)
}

/// The node of a case: its grants of programs and secrets, and one step.
macro_rules! node {
    ($process:literal, $secrets:literal, $step:literal) => {
        concat!(
            "grants.http = [\"POST http://SERVER/path\"]\ngrants.tcp = [\"SERVER\", \"127.0.0.1:1\"]\ngrants.process = [",
            $process,
            "]\ngrants.secrets = [",
            $secrets,
            "]\nconfig.steps = [",
            $step,
            "]\n"
        )
    };
}

/// A shell with the secret in its environment.
macro_rules! shell {
    ($step:literal) => {
        node!(
            "{ program = \"sh\", arguments = [\"-c\", \"**\"], env = { TOKEN = { secret = \"token\" } } }",
            "\"token\"",
            $step
        )
    };
}

pub(super) fn cases() -> Vec<Case> {
    let programs = [
        case(
            "option-injection",
            "hands a program an option in place of a value",
            "patterns of arguments",
            "error not-granted",
            node!(
                "{ program = \"sort\", arguments = [\"*\"] }",
                "\"token\"",
                "{ run = [\"sort\", \"--output=stolen\"] }"
            ),
        ),
        case(
            "option-behind-the-rest",
            "hides an option among any number of values",
            "patterns of arguments",
            "error not-granted",
            node!("{ program = \"cat\", arguments = [\"...\"] }", "\"token\"", "{ run = [\"cat\", \"a\", \"-A\"] }"),
        ),
        case(
            "shell-in-an-argument",
            "writes a command for a shell into a value",
            "no shell reads arguments",
            "exit 0 \"; echo $((6 * 7))",
            node!(
                "{ program = \"echo\", arguments = [\"*\"] }",
                "\"token\"",
                "{ run = [\"echo\", \"; echo $((6 * 7))\"] }"
            ),
        ),
        case(
            "another-program",
            "runs a program that is not granted",
            "grant of programs",
            "error not-granted",
            node!("{ program = \"true\" }", "\"token\"", "{ run = [\"sh\", \"-c\", \"true\"] }"),
        ),
        case(
            "program-by-path",
            "names a granted program by a path of its own",
            "grant of programs",
            "error not-granted",
            node!("{ program = \"true\" }", "\"token\"", "{ run = [\"/bin/../bin/true\"] }"),
        ),
        case(
            "output-outside",
            "takes a file from outside of the working directory",
            "paths inside of the working directory",
            "error bad-request `../../etc/hostname`",
            shell!("{ run = [\"sh\", \"-c\", \"true\"], take = \"../../etc/hostname\" }"),
        ),
        case(
            "output-by-link",
            "has a program leave a link to a file of the host as its output",
            "no link is followed",
            "error bad-request what the program left",
            shell!("{ run = [\"sh\", \"-c\", \"ln -s /etc/hostname f\"], take = \"f\" }"),
        ),
        case(
            "program-without-end",
            "runs a program that does not end, with children",
            "time of a program",
            "error timeout `sh` did not end within 300 ms",
            shell!("{ run = [\"sh\", \"-c\", \"sleep 1000 & sleep 1000\"], timeout_ms = 300 }"),
        ),
        case(
            "program-that-floods",
            "has a program print without end",
            "1 MiB of each stream, time of a program",
            "error timeout `sh` did not end within 500 ms",
            shell!("{ run = [\"sh\", \"-c\", \"yes\"], timeout_ms = 500 }"),
        ),
    ];
    let secrets = [
        case(
            "secret-in-the-log",
            "logs a secret, and puts it into a finding",
            "placeholders",
            "lockgate-secret-",
            shell!("{ say = \"it is {token}\" }"),
        ),
        case(
            "secret-of-others",
            "asks for a secret that is not granted",
            "grant of secrets",
            "it is none",
            shell!("{ say = \"it is {other}\" }"),
        ),
        case(
            "secret-from-the-server",
            "has a server send a secret back, in body and header",
            "masked answers",
            "200 \"***\" [\"***\"]",
            shell!("{ request = \"http://SERVER/path\", header = \"Authorization: {token}\", send = \"{token}\" }"),
        )
        .server(Answer::Echo, 1),
        case(
            "secret-in-the-url",
            "puts a secret where servers and proxies log it",
            "headers and bodies alone hold secrets",
            "error bad-request the secret `token` stands in the URL",
            shell!("{ request = \"http://SERVER/path?{token}\" }"),
        )
        .server(Answer::Echo, 0),
        case(
            "secret-to-another-host",
            "sends a secret to a granted host that it is not for",
            "`to` of the grant",
            "error not-granted `grants.secrets` of the node does not permit the secret",
            node!(
                "{ program = \"true\" }",
                "{ name = \"token\", to = [\"127.0.0.1:1\"] }",
                "{ request = \"http://SERVER/path\", send = \"{token}\" }"
            ),
        )
        .server(Answer::Echo, 0),
        case(
            "secret-from-a-program",
            "has a program print its secret",
            "masked streams",
            "exit 0 \"***",
            shell!("{ run = [\"sh\", \"-c\", \"echo $TOKEN\"] }"),
        ),
        case(
            "secret-encoded",
            "has a program print its secret as base64",
            "masked streams",
            "exit 0 \"***",
            shell!("{ run = [\"sh\", \"-c\", \"printf %s \\\"$TOKEN\\\" | base64\"] }"),
        ),
        case(
            "secret-in-a-file",
            "has a program leave its secret in an output",
            "no output holds a secret",
            "error secret the program wrote a secret's value into `f`",
            shell!("{ run = [\"sh\", \"-c\", \"echo $TOKEN > f\"], take = \"f\" }"),
        ),
        case(
            "secret-as-an-argument",
            "puts a secret where all processes can read it",
            "arguments hold no secrets",
            "lockgate-secret-",
            shell!("{ run = [\"sh\", \"-c\", \"echo {token}\"] }"),
        ),
    ];
    let connections = [
        case(
            "another-port",
            "connects to a port that is not granted",
            "grant of connections",
            "error not-granted",
            shell!("{ connect = \"127.0.0.1:2\" }"),
        ),
        case(
            "another-name",
            "connects to a granted server by another name",
            "grant of connections",
            "error not-granted",
            shell!("{ connect = \"localhost:1\" }"),
        ),
        case(
            "answer-without-end",
            "reads from a server that never stops",
            "64 KiB of an answer",
            "max-bytes \"HTTP/1.1 200 OK",
            shell!("{ connect = \"SERVER\", send = \"GET / HTTP/1.1\\r\\n\\r\\n\", until = \"never\" }"),
        )
        .server(Answer::Endless, 1),
        case(
            "server-that-is-silent",
            "waits for a server that never answers",
            "time of an exchange",
            "error timeout there was no answer within 300 ms",
            shell!("{ connect = \"SERVER\", send = \"GET / HTTP/1.1\\r\\n\\r\\n\", until = \"x\", timeout_ms = 300 }"),
        )
        .server(Answer::Never, 1),
    ];
    // Those without a server of their own still name one in their grants.
    let mut all: Vec<_> = programs.into_iter().chain(secrets).chain(connections).collect();
    for case in &mut all {
        if case.server.is_none() {
            case.server = Some(Answer::Never);
        }
    }
    all
}
