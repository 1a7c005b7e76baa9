//! Traces: what a collector gets, what servers are told, and that a collector which is away, slow or broken changes nothing.

use std::process::Command;
use std::time::{Duration, Instant};

use lockgate_tests::otlp::{Export, json_spans};
use lockgate_tests::server::closed_port;
use lockgate_tests::{Answer, Done, Project, Server, project};
use rustix::process::Signal;
use serde_json::json;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn traceparent() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

/// A node that succeeds, one that is skipped, and a health check of this URL.
fn probing(url: &str, more: &str) -> Project {
    Project::with_pipeline(&format!(
        "[[stage]]\nid = \"first\"\nplugin = \"std:noop\"\n\
         [[stage]]\nid = \"never\"\nplugin = \"std:noop\"\nwhen = \"first.status == 'failed'\"\nafter = [\"first\"]\n\
         [[health-check]]\nid = \"up\"\nplugin = \"std:http-probe\"\ngrants.http = [\"GET {url}\"]\nconfig.url = \"{url}\"\n{more}"
    ))
}

/// A run of two pure nodes: its digest is the same every time.
fn pure() -> Project {
    Project::with_pipeline(
        "[[stage]]\nid = \"one\"\nplugin = \"std:noop\"\n[[stage]]\nid = \"two\"\nplugin = \"std:noop\"\nafter = [\"one\"]\n",
    )
}

fn command(project: &Project, variables: &[(&str, &str)]) -> Command {
    let mut command = project.command(["run", "pipeline.toml", "--format", "json"]);
    command.envs(variables.iter().copied());
    command
}

fn run(project: &Project, variables: &[(&str, &str)]) -> Done {
    project::finish(command(project, variables))
}

/// Everything that a collector got, as one.
fn collected(collector: &Server) -> Export {
    let mut all = Export::default();
    for seen in collector.all_seen() {
        assert_eq!(seen.line, "POST /v1/traces HTTP/1.1");
        assert_eq!(seen.header("content-type"), ["application/x-protobuf"]);
        let export = Export::read(&seen.body);
        all.resource = export.resource;
        all.spans.extend(export.spans);
    }
    all
}

#[test]
fn a_run_is_a_trace() {
    let (collector, service) = (Server::new(Answer::ok("")), Server::new(Answer::ok("fine")));
    let project = probing(&service.url("/health"), "");
    let done = run(
        &project,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url("/")),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
            ("TRACEPARENT", &traceparent()),
        ],
    );
    let done = done.code(0).says(&format!("trace {TRACE}")).keeps_quiet_about("warning");
    let seen = collector.next_seen();
    assert_eq!(seen.line, "POST /v1/traces HTTP/1.1");
    assert_eq!((seen.header("content-type"), seen.header("x-key")), (vec!["application/x-protobuf"], vec!["a b"]));
    let mut export = Export::read(&seen.body);
    export.spans.extend(collected(&collector).spans);
    assert_eq!(export.resource["service.name"], "lockgate");
    assert_eq!(export.resource["deployment.environment.name"], "test");
    assert_eq!(export.resource["cicd.pipeline.run.id"], done.events[0]["run"]);

    let root = export.span("RUN test");
    assert_eq!((root.parent.as_str(), root.kind, &root.error), (PARENT, 2, &None));
    assert_eq!(root.attributes["cicd.pipeline.result"], "success");
    assert_eq!(root.attributes["lockgate.run.digest"], done.digest());
    assert_eq!(root.events[0].0, "lockgate.node.skipped");
    assert_eq!(root.events[0].1["cicd.pipeline.task.name"], "never");
    let mut nodes: Vec<_> = export.children(root).iter().map(|span| span.name.as_str()).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["first", "up"]);

    let up = export.span("up");
    assert_eq!(up.attributes["cicd.pipeline.task.run.result"], "success");
    assert_eq!(up.attributes["lockgate.verdict"], "healthy");
    let [attempt] = export.children(up)[..] else { panic!("attempts of {up:#?}") };
    assert_eq!(attempt.name, "attempt 1");
    let fuel = &done.node("up")["receipt"]["fuel"];
    assert!(fuel.is_u64());
    assert_eq!(&attempt.attributes["lockgate.fuel.used"], fuel);
    let [effect] = export.children(attempt)[..] else { panic!("effects of {attempt:#?}") };
    assert_eq!((effect.name.as_str(), effect.kind), ("GET", 3));
    assert_eq!(effect.attributes["url.full"], service.url("/health"));
    assert_eq!(effect.attributes["http.response.status_code"], 200);
    assert_eq!(effect.attributes["server.port"], service.address().port());

    assert_eq!(export.spans.len(), 6, "{:#?}", export.spans);
    for span in &export.spans {
        assert_eq!(span.trace, TRACE);
        assert!(root.start <= span.start && span.start <= span.end && span.end <= root.end, "{span:#?}");
    }
    // The service is told of the span that asks it, and only of that.
    assert_eq!(service.next_seen().header("traceparent"), [format!("00-{TRACE}-{}-01", effect.id)]);
    // Every line of the log says which trace it belongs to.
    assert!(done.events.iter().all(|event| event["trace_id"] == TRACE), "{}", done.all());
    project.assert_usable();
}

#[test]
fn without_variables_nothing_is_traced_or_said() {
    let service = Server::new(Answer::ok("fine"));
    let done = run(&probing(&service.url("/"), ""), &[]).code(0).keeps_quiet_about("trace");
    assert!(done.events.iter().all(|event| event.get("trace_id").is_none()), "{}", done.all());
    assert!(service.next_seen().header("traceparent").is_empty());
}

#[test]
fn without_a_collector_the_trace_is_passed_on() {
    for more in [&[][..], &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), ("OTEL_SDK_DISABLED", "true")]] {
        let service = Server::new(Answer::ok("fine"));
        let parent = traceparent();
        let variables = [&[("TRACEPARENT", parent.as_str())], more].concat();
        let done = run(&probing(&service.url("/"), ""), &variables).code(0).keeps_quiet_about("warning");
        assert_eq!(service.next_seen().header("traceparent"), [parent]);
        assert!(done.events.iter().all(|event| event["trace_id"] == TRACE), "{}", done.all());
    }
}

#[test]
fn a_trace_that_nobody_keeps_is_not_sent_but_passed_on() {
    let (collector, service) = (Server::new(Answer::ok("")), Server::new(Answer::ok("fine")));
    let parent = traceparent().replace("-01", "-00");
    let endpoint = collector.url("/");
    run(&probing(&service.url("/"), ""), &[("TRACEPARENT", &parent), ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)])
        .code(0);
    assert_eq!(service.next_seen().header("traceparent"), [parent]);
    assert_eq!(collector.hits(), 0);
}

#[test]
fn what_a_plugin_says_of_its_trace_is_left_alone() {
    let (collector, service) = (Server::new(Answer::ok("")), Server::new(Answer::ok("fine")));
    let own = traceparent();
    let project = probing(&service.url("/"), &format!("config.headers.traceparent = \"{own}\"\n"));
    run(&project, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url("/"))]).code(0);
    assert_eq!(service.next_seen().header("traceparent"), [own]);
}

#[test]
fn a_trace_is_no_part_of_the_recorded_request() {
    let collector = Server::new(Answer::ok(""));
    let service = Server::new(Answer::ok("fine"));
    let project = probing(&service.url("/"), "");
    let request = |done: &Done| {
        let intended = done.events("effect-intended").next().expect("an effect");
        (intended["request"].clone(), intended["summary"].clone())
    };
    let plain = run(&project, &[]).code(0);
    let traced = run(&project, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url("/"))]).code(0);
    assert_eq!(request(&plain), request(&traced));
    assert_eq!(plain.node("up")["receipt"]["key"], traced.node("up")["receipt"]["key"]);
    let journal = project.lockgate(["show", "last", "--format", "json"]).code(0).stdout;
    assert!(!journal.contains("traceparent"), "{journal}");
}

#[test]
fn attempts_and_looks_are_spans() {
    let collector = Server::new(Answer::ok(""));
    let service = Server::script([Answer::status(500), Answer::status(500), Answer::ok("fine")]);
    let more = "config.expect = 200\npoll = { every = \"10ms\", for = \"60s\", unhealthy = 10 }\n";
    let project = probing(&service.url("/"), more);
    run(&project, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url("/"))]).code(0);
    let export = collected(&collector);
    let attempt = export.children(export.span("up"))[0];
    let looks: Vec<_> = export
        .children(attempt)
        .iter()
        .map(|look| (look.name.as_str(), &look.attributes["lockgate.verdict"]))
        .collect();
    assert_eq!(looks.len(), 3, "{looks:?}");
    assert_eq!(looks[2], ("look 3", &"healthy".into()));
    for look in export.children(attempt) {
        let [effect] = export.children(look)[..] else { panic!("effects of {look:#?}") };
        assert!(look.start <= effect.start && effect.end <= look.end, "{look:#?} {effect:#?}");
    }
    assert_eq!(export.children(export.span("look 1"))[0].error.as_deref(), Some(""));

    let failing = format!(
        "[[health-check]]\nid = \"up\"\nplugin = \"std:http-probe\"\ngrants.http = [\"GET http://{0}/\"]\n\
         config = {{ url = \"http://{0}/\" }}\nretry = {{ attempts = 2, backoff = \"1ms\", on = [\"verdict\"] }}\n",
        closed_port()
    );
    let project = Project::with_pipeline(&failing);
    run(&project, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url("/"))]).code(1);
    let export = collected(&collector);
    let up = export.span("up");
    let attempts: Vec<_> = export.children(up).iter().map(|span| (span.name.as_str(), span.error.is_some())).collect();
    assert_eq!(attempts, [("attempt 1", true), ("attempt 2", true)]);
    assert_eq!((up.attributes["error.type"].as_str(), up.error.is_some()), (Some("verdict"), true));
    assert_eq!(export.span("RUN test").attributes["cicd.pipeline.result"], "failure");
    assert!(export.span("RUN test").error.as_ref().is_some_and(|error| error.contains("`up`")));
}

#[test]
fn a_cached_node_says_so() {
    let collector = Server::new(Answer::ok(""));
    let project = pure();
    let cached = || {
        run(&project, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url(""))]).code(0);
        let export = collected(&collector);
        let node = |id: &str| export.span(id).attributes["lockgate.node.cached"].clone();
        [node("one"), node("two"), export.span("RUN test").attributes["lockgate.run.nodes.cached"].clone()]
    };
    // The second node has the first one's key.
    assert_eq!(json!(cached()), json!([false, true, 1]));
    assert_eq!(json!(cached()), json!([true, true, 2]));
}

#[test]
fn a_collector_that_is_broken_changes_nothing() {
    let project = pure();
    let expected = run(&project, &[]).code(0).digest();
    let closed = format!("http://{}", closed_port());
    let broken = [
        (Answer::Never, "waited long enough"),
        (Answer::Drips, "waited long enough"),
        (Answer::Endless, "no collector"),
        (Answer::EndlessHead, "message head is too large"),
        (Answer::Closes, "connection closed"),
        (Answer::Breaks(100), "no collector"),
        (Answer::Garbage, "invalid HTTP"),
        (Answer::Redirect(closed.clone()), "answered 302"),
        (Answer::ok("<html>hello</html>"), "no collector"),
        (Answer::status(401), "answered 401"),
        (Answer::status(503), "answered 503"),
        // `ExportTraceServiceResponse` with all spans refused.
        (Answer::ok("\n\u{b}\u{8}\u{5}\u{12}\u{7}too old"), "refused them: too old"),
    ];
    let broken = broken.map(|(answer, said)| (Some(Server::new(answer)), said));
    for (server, said) in broken.into_iter().chain([(None, "refused")]) {
        let endpoint = server.as_ref().map_or(closed.clone(), |server| server.url(""));
        // Nothing but the hold bounds the end: no request would time out for a minute.
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "1000"),
        ];
        let start = Instant::now();
        let done =
            run(&project, &variables).code(0).says("warning:").says("5 of 5 spans were not delivered").says(said);
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}: {}", start.elapsed(), done.all());
        assert_eq!(done.digest(), expected);
        assert_eq!(done.stderr.matches("warning:").count(), 1, "{}", done.all());
    }
}

#[test]
fn a_collector_that_comes_back_gets_everything() {
    let collector = Server::script([Answer::status(503), Answer::status(429), Answer::ok("")]);
    let project = pure();
    run(&project, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url(""))]).code(0).keeps_quiet_about("warning");
    let seen = collector.all_seen();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|request| request.body == seen[0].body));
    assert_eq!(Export::read(&seen[2].body).spans.len(), 5);
}

#[test]
fn what_is_not_spoken_is_told_and_changes_nothing() {
    let collector = Server::new(Answer::ok(""));
    let endpoint = collector.url("");
    let on = ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str());
    let done = run(&pure(), &[on, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).code(0);
    done.says("warning: no traces are sent").says("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf");
    run(&pure(), &[("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost")]).code(0).says("OTEL_EXPORTER_OTLP_ENDPOINT");
    run(&pure(), &[("TRACEPARENT", "00-nonsense")]).code(0).says("TRACEPARENT");
    assert_eq!(collector.hits(), 0);
}

#[test]
fn json_says_the_same() {
    let collector = Server::new(Answer::ok("{}"));
    let endpoint = collector.url("/mine");
    let variables =
        [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")];
    let done = run(&pure(), &variables).code(0).keeps_quiet_about("warning");
    let seen = collector.next_seen();
    assert_eq!((seen.line.as_str(), seen.header("content-type")), ("POST /mine HTTP/1.1", vec!["application/json"]));
    let spans = json_spans(&seen.body);
    let [trace, root, parent, name] = spans.last().unwrap();
    assert_eq!((parent.as_str(), name.as_str()), ("", "RUN test"));
    assert_eq!(done.events[0]["trace_id"], **trace);
    let nodes: Vec<_> = spans.iter().filter(|span| span[2] == *root).map(|span| span[3].as_str()).collect();
    assert_eq!(nodes, ["one", "two"]);
}

#[test]
fn an_interrupted_run_is_a_trace_with_an_end() {
    let (collector, service) = (Server::new(Answer::ok("")), Server::new(Answer::Never));
    let project = probing(&service.url("/"), "config.timeout_ms = 10000\n");
    let running = project::Running::start(command(&project, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url(""))]));
    service.next_request();
    running.signal(Signal::INT);
    running.finish().code(130);
    let export = collected(&collector);
    let root = export.span("RUN test");
    assert_eq!(root.attributes["cicd.pipeline.result"], "cancellation");
    assert_eq!(root.error.as_deref(), Some("it was interrupted"));
    for name in ["up", "GET"] {
        assert!(export.span(name).error.is_some(), "{:#?}", export.span(name));
    }
}

#[test]
fn many_nodes_arrive_whole() {
    let collector = Server::new(Answer::ok(""));
    let nodes: String = (0..2_000).map(|n| format!("[[stage]]\nid = \"n{n}\"\nplugin = \"std:noop\"\n")).collect();
    let project = Project::with_pipeline(&nodes);
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url("")), ("OTEL_BSP_EXPORT_TIMEOUT", "60000".to_owned())];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    run(&project, &variables).code(0).keeps_quiet_about("warning");
    let export = collected(&collector);
    let ids: std::collections::HashSet<_> = export.spans.iter().map(|span| &span.id).collect();
    assert_eq!((export.spans.len(), ids.len()), (4_001, 4_001));
}
