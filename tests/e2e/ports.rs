//! Servers that are not there, slow, endless or broken, behind `std:http-probe`, `std:http-sample` and a plugin that asks for http
//! by itself: the node ends in time, with a verdict, an observation or a reason.

use lockgate_tests::server::closed_port;
use lockgate_tests::{Answer, Done, Project, Server};

/// Probes a URL with half a second of patience.
fn probe(url: &str, more: &str) -> Done {
    let project = Project::with_pipeline(&format!(
        "[[health-check]]\nid = \"up\"\nplugin = \"std:http-probe\"\ngrants.http = [\"GET {url}\"]\n\
         config = {{ url = \"{url}\", timeout_ms = 500 }}\n{more}"
    ));
    let done = project.run::<&str>([]);
    project.assert_usable();
    done
}

#[track_caller]
fn unhealthy(done: Done, reason: &str) {
    let done = done.code(1).node_failed("up", "verdict", "unhealthy");
    let verdict = &done.node("up")["receipt"]["verdict"];
    assert_eq!(verdict["word"], "unhealthy", "{}", done.all());
    let said = verdict["reasons"][0].as_str().unwrap_or_default();
    assert!(said.contains(reason), "`{said}` without `{reason}`");
}

#[test]
fn a_good_answer_is_healthy() {
    let server = Server::new(Answer::ok("fine"));
    let done = probe(&server.url("/health"), "").code(0);
    assert_eq!(done.node("up")["receipt"]["verdict"]["word"], "healthy");
    assert_eq!(server.next_request(), "GET /health HTTP/1.1");
    assert_eq!(server.hits(), 1);
    // The exchange is recorded before and after.
    assert_eq!((done.events("effect-intended").count(), done.events("effect-finished").count()), (1, 1));
}

#[test]
fn a_port_on_which_nobody_listens_is_unhealthy() {
    unhealthy(probe(&format!("http://{}/", closed_port()), ""), "connect");
}

#[test]
fn a_server_that_never_answers_is_unhealthy() {
    unhealthy(probe(&Server::new(Answer::Never).url("/"), ""), "500 ms");
}

#[test]
fn a_server_that_answers_slowly_is_unhealthy() {
    unhealthy(probe(&Server::new(Answer::Drips).url("/"), ""), "500 ms");
}

#[test]
fn a_server_that_answers_for_ever_is_cut_off() {
    for answer in [Answer::Endless, Answer::EndlessHead] {
        let server = Server::new(answer.clone());
        let done = probe(&server.url("/"), "");
        // The status of an endless body is a status; an endless head is none.
        match answer {
            Answer::Endless => assert!(matches!(done.exit, Some(0 | 1)), "{}", done.all()),
            _ => unhealthy(done, ""),
        }
    }
}

#[test]
fn a_server_that_speaks_something_else_is_unhealthy() {
    for answer in [Answer::Closes, Answer::Garbage, Answer::Breaks(100)] {
        unhealthy(probe(&Server::new(answer).url("/"), ""), "");
    }
    unhealthy(probe(&Server::new(Answer::status(500)).url("/"), ""), "500");
}

#[test]
fn an_attempt_that_outlives_its_timeout_is_infrastructure() {
    let server = Server::new(Answer::Never);
    let url = server.url("/");
    let project = Project::with_pipeline(&format!(
        "[[health-check]]\nid = \"up\"\nplugin = \"std:http-probe\"\ngrants.http = [\"GET {url}\"]\n\
         config = {{ url = \"{url}\", timeout_ms = 10000 }}\nlimits.timeout = \"300ms\"\n"
    ));
    project.run::<&str>([]).code(5).node_is("up", "errored").node_failed("up", "timeout", "300 ms");
    project.assert_usable();
}

/// Samples two sides, judges what came.
fn sample(baseline: &str, canary: &str) -> Done {
    let project = Project::with_pipeline(&format!(
        "[[stage]]\nid = \"look\"\nplugin = \"std:http-sample\"\ngrants.http = [\"GET {baseline}\", \"GET {canary}\"]\n\
         config = {{ baseline = \"{baseline}\", canary = \"{canary}\", requests = 20, timeout_ms = 1000, parallel = 40 }}\n\
         [[canary]]\nid = \"judge\"\nplugin = \"std:threshold\"\ninputs.observation = \"look.samples\"\n\
         config = {{ max_p95_ms = 5000, max_p95_increase = 1000, min_p95_increase_ms = 5000 }}\n\
         [[export]]\nfrom = \"look.samples\"\nto = \"samples.json\"\n"
    ));
    let done = project.run::<&str>([]);
    project.assert_usable();
    done
}

#[test]
fn two_good_sides_are_promoted() {
    let (baseline, canary) = (Server::new(Answer::ok("a")), Server::new(Answer::ok("b")));
    let done = sample(&baseline.url("/"), &canary.url("/")).code(0);
    assert_eq!(done.node("judge")["receipt"]["verdict"]["word"], "promote");
    assert_eq!((baseline.hits(), canary.hits()), (20, 20));
}

#[test]
fn a_canary_that_does_not_answer_is_rolled_back_with_figures() {
    let baseline = Server::new(Answer::ok("a"));
    let gone = format!("http://{}/", closed_port());
    let bad = [Answer::Never, Answer::Drips, Answer::Closes, Answer::status(503), Answer::EndlessHead].map(Server::new);
    let urls = bad.iter().map(|server| server.url("/")).chain([gone]);
    for url in urls {
        let done = sample(&baseline.url("/"), &url).code(1).node_is("look", "succeeded");
        let verdict = &done.node("judge")["receipt"]["verdict"];
        assert_eq!(verdict["word"], "rollback", "{}", done.all());
        let rate = verdict["figures"].as_array().unwrap().iter().find(|f| f["name"] == "error-rate").unwrap();
        assert_eq!(rate["value"].as_f64(), Some(1.0), "{rate}");
        assert_eq!(rate["passed"], false, "{rate}");
    }
}

/// Lets the guest `fetch` ask; returns the run and what the guest wrote.
fn fetch(grant: &str, config: &str, more: &str) -> (Done, String) {
    let project = Project::with_pipeline(&format!(
        "plugins.fetch.path = \"fetch.wasm\"\n[[stage]]\nid = \"a\"\nplugin = \"fetch\"\ngrants.http = [{grant}]\n\
         config = {{ {config} }}\n{more}\n[[export]]\nfrom = \"a.out\"\nto = \"out.txt\"\n"
    ));
    project.guest("fetch");
    let done = project.run::<&str>([]);
    let text = if project.has("out.txt") { project.read("out.txt") } else { String::new() };
    project.assert_usable();
    (done, text)
}

#[test]
fn only_what_was_granted_is_asked() {
    let server = Server::new(Answer::ok("secret"));
    let other = Server::new(Answer::ok("secret"));
    let grant = format!("\"GET {}\"", server.url("/api"));
    for (config, code) in [
        (format!("url = \"{}\"", server.url("/api/x?q=1")), "200 6 secret"),
        (format!("url = \"{}\"", server.url("/apix")), "error not-granted"),
        (format!("url = \"{}\"", server.url("/")), "error not-granted"),
        (format!("url = \"{}\"", server.url("/api/../x")), "error "),
        (format!("url = \"{}\"", server.url("/api/%2e%2e/x")), "error "),
        (format!("url = \"{}\"", other.url("/api")), "error not-granted"),
        (format!("method = \"POST\", url = \"{}\"", server.url("/api")), "error not-granted"),
        (format!("url = \"{}\"", server.url("/api").replace("127.0.0.1", "localhost")), "error not-granted"),
        (format!("url = \"http://user@{}/api\"", server.address()), "error "),
        ("url = \"file:///etc/passwd\"".to_owned(), "error "),
        ("url = \"not a url\"".to_owned(), "error bad-request"),
    ] {
        let (done, text) = fetch(&grant, &config, "");
        assert!(text.starts_with(code), "{config}: `{text}` is not `{code}`: {}", done.all());
    }
    assert_eq!((server.hits(), other.hits()), (1, 0));
}

#[test]
fn redirects_are_answers() {
    let target = Server::new(Answer::ok("secret"));
    let server = Server::new(Answer::Redirect(target.url("/")));
    let (_, text) = fetch(&format!("\"GET {}\"", server.url("/")), &format!("url = \"{}\"", server.url("/")), "");
    assert!(text.starts_with("302 0"), "{text}");
    assert_eq!(target.hits(), 0);
}

#[test]
fn exchanges_are_counted() {
    let server = Server::new(Answer::Counter);
    let (url, grant) = (server.url("/"), format!("\"GET {}\"", server.url("/")));
    let (done, text) = fetch(&grant, &format!("url = \"{url}\", times = 5"), "limits.effects = 5");
    assert_eq!(text.lines().count(), 5, "{}", done.code(0).all());
    let (done, text) = fetch(&grant, &format!("url = \"{url}\", times = 6"), "limits.effects = 5");
    assert!(done.exit == Some(1) || text.contains("error limit"), "{}", done.all());
    assert!(server.hits() <= 11);
    let (done, text) = fetch(&grant, &format!("url = \"{url}\", times = 40, parallel = 8"), "");
    assert_eq!(text.lines().filter(|line| line.starts_with("200")).count(), 40, "{}", done.all());
}

#[test]
fn bodies_are_capped() {
    let server = Server::new(Answer::ok(&"x".repeat(3 << 20)));
    let (url, grant) = (server.url("/"), format!("\"GET {}\"", server.url("/")));
    let (_, text) = fetch(&grant, &format!("url = \"{url}\""), "");
    assert!(text.starts_with(&format!("200 {}", 1 << 20)), "{text}");
    let (_, text) = fetch(&grant, &format!("url = \"{url}\", max_body = 10"), "");
    assert!(text.starts_with("200 10 xxxxxxxxxx"), "{text}");
    let (done, text) = fetch(&grant, &format!("url = \"{url}\", save = true"), "");
    assert!(text.starts_with("200 0"), "{text}: {}", done.all());
    assert_eq!(done.node("a")["receipt"]["outputs"]["saved"]["size"], 3 << 20, "{}", done.all());
}

#[test]
fn an_endless_body_that_is_saved_ends_at_a_limit() {
    let server = Server::new(Answer::Endless);
    let (url, grant) = (server.url("/"), format!("\"GET {}\"", server.url("/")));
    let (done, text) =
        fetch(&grant, &format!("url = \"{url}\", save = true, timeout_ms = 2000"), "limits.output = \"8MiB\"");
    let refused = text.starts_with("error ") || done.exit == Some(1);
    assert!(refused, "{text}: {}", done.all());
}

#[test]
fn an_ungranted_import_is_told_before_anything_runs() {
    let project = Project::with_pipeline(
        "plugins.fetch.path = \"fetch.wasm\"\n[[stage]]\nid = \"a\"\nplugin = \"fetch\"\nconfig.url = \"http://127.0.0.1:1/\"\n",
    );
    project.guest("fetch");
    project.run::<&str>([]).code(2).says("lockgate::missing-grant").says("grants.http");
    assert!(project.runs().is_empty());
    project.assert_usable();
}
