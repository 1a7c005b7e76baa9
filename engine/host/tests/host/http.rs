//! `http` against small servers on the loopback: grants, caps, records, and servers that misbehave.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use lockgate_model::effect;
use lockgate_model::grant::HttpGrant;
use lockgate_model::outcome::{Completion, FailureKind};
use lockgate_model::task::Task;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::guest::{Guest, RET, ret};
use crate::world::{Lab, fails, port};

/// A server on a free port that answers each connection with the same bytes.
struct Server {
    port: u16,
    /// What was asked, head and body.
    asked: Arc<Mutex<Vec<String>>>,
    /// The most connections at once.
    most: Arc<AtomicUsize>,
}

#[derive(Clone)]
enum Answers {
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// These bytes, then the connection stays open in silence.
    Silence(Vec<u8>),
    /// These bytes, then the letter x for ever.
    Forever(Vec<u8>),
    /// These bytes once so many connections are open.
    Together(usize, Vec<u8>),
}

impl Server {
    async fn new(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, asked: Arc::default(), most: Arc::default() };
        let (asked, most, barrier) = (server.asked.clone(), server.most.clone(), Arc::new(tokio::sync::Notify::new()));
        let open = Arc::new(AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answers, asked, most, open, barrier) =
                    (answers.clone(), asked.clone(), most.clone(), open.clone(), barrier.clone());
                tokio::spawn(async move {
                    let now = open.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    let request = read_request(&mut stream).await;
                    asked.lock().unwrap().push(request);
                    match answers {
                        Answers::Bytes(bytes) => drop(stream.write_all(&bytes).await),
                        Answers::Silence(bytes) => {
                            drop(stream.write_all(&bytes).await);
                            std::future::pending::<()>().await;
                        }
                        Answers::Forever(bytes) => {
                            drop(stream.write_all(&bytes).await);
                            while stream.write_all(&[b'x'; 10_000]).await.is_ok() {}
                        }
                        Answers::Together(count, bytes) => {
                            let waiting = barrier.notified();
                            if now % count == 0 {
                                barrier.notify_waiters();
                            } else {
                                waiting.await;
                            }
                            drop(stream.write_all(&bytes).await);
                        }
                    }
                    drop(stream.shutdown().await);
                });
            }
        });
        server
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/path?q=1", self.port)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn read_request(stream: &mut tokio::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.lines().next())
                .map_or(0, |n| n.parse().unwrap());
            if body.len() >= length {
                return String::from_utf8(bytes).unwrap();
            }
        }
        let read = stream.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        bytes.extend_from_slice(&buffer[..read]);
    }
}

fn answer(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nX-One: 1\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A request as the guest makes it.
#[derive(Default)]
struct Ask<'a> {
    method: &'a str,
    url: String,
    header: Option<(&'a str, &'a str)>,
    body: Option<&'a str>,
    body_input: Option<&'a str>,
    save_as: Option<&'a str>,
    timeout: Option<u32>,
    max_body: Option<u32>,
}

impl Ask<'_> {
    fn words(&self, guest: &mut Guest) -> Vec<u32> {
        let mut words = Vec::new();
        words.extend(guest.bytes(if self.method.is_empty() { "GET" } else { self.method }.as_bytes()));
        words.extend(guest.bytes(self.url.as_bytes()));
        let header =
            self.header.map(|(name, value)| [guest.bytes(name.as_bytes()), guest.bytes(value.as_bytes())].concat());
        words.extend([header.as_ref().map_or(0, |header| guest.words(header)), u32::from(header.is_some())]);
        for text in [self.body, self.body_input, self.save_as] {
            let at = text.map(|text| guest.bytes(text.as_bytes())).unwrap_or_default();
            words.extend([u32::from(text.is_some()), at[0], at[1]]);
        }
        words.extend([u32::from(self.timeout.is_some()), self.timeout.unwrap_or(0), 0]);
        words.extend([u32::from(self.max_body.is_some()), 0, self.max_body.unwrap_or(0), 0]);
        // 60: the timeout's flag, 64 its value, 68 padding; 72: the cap's flag, 80 its value.
        words
    }
}

/// A stage that sends one request, logs the status as a letter and the body, or fails with the error's code.
fn sender(ask: &Ask) -> Guest {
    let mut guest = Guest::stage().import(&["send", "log"]).pages(40);
    guest = guest.says(|says| (says.open_inputs, says.open_outputs) = (Some("any"), Some("any")));
    let words = ask.words(&mut guest);
    let request = guest.words(&words);
    let at = |offset: u32| format!("(i32.load (i32.const {}))", RET + offset);
    let cut = guest.text("cut");
    let body = format!(
        "(call $send (i32.const {request}) {ret})
         (if (i32.load8_u (i32.const {RET})) (then (return (call $say {} {}))))
         (if (i32.load8_u (i32.const {truncated})) (then (call $log (i32.const 0) (i32.const 0) {cut})))
         (if (i32.ne (i32.load16_u (i32.const {status})) (i32.const 200)) (then (unreachable)))
         (call $log (i32.const 0) (i32.const 0) {} {})
         (call $ok)",
        at(8),
        at(12),
        at(20),
        at(24),
        ret = ret(),
        truncated = RET + 28,
        status = RET + 8,
    );
    guest.body(body)
}

fn granted(ports: &[u16]) -> impl FnOnce(&mut Task) + use<> {
    let grant = |method: &str, port: &u16| HttpGrant::parse(&format!("{method} http://127.0.0.1:{port}/path")).unwrap();
    let grants = ports.iter().flat_map(|port| [grant("GET", port), grant("POST", port)]).collect();
    move |task| task.grants.http = grants
}

async fn send(lab: &Lab, server: &Server, ask: Ask<'_>) -> Completion {
    lab.run(sender(&ask), granted(&[server.port])).await
}

#[tokio::test]
async fn an_exchange_is_recorded_before_and_after() {
    let lab = Lab::new();
    let server = Server::new(Answers::Bytes(answer("hello"))).await;
    let ask =
        Ask { method: "POST", url: server.url(), header: Some(("X-Two", "2")), body: Some("what"), ..Ask::default() };
    let done = send(&lab, &server, ask).await;
    assert_eq!(done.failure, None);
    assert_eq!(lab.text(done.log), "info hello\n");
    let asked = server.asked().remove(0);
    assert!(asked.starts_with("POST /path?q=1 HTTP/1.1\r\n") && asked.ends_with("\r\n\r\nwhat"), "{asked}");
    for part in
        [&*format!("host: 127.0.0.1:{}\r\n", server.port), "connection: close", "x-two: 2", "user-agent: lockgate/"]
    {
        assert!(asked.to_lowercase().contains(part), "{part} in {asked}");
    }
    let lines = lab.effects.lines.lock().unwrap().clone();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], format!("intent 0 http POST {}", server.url()));
    let records = effect::decode(&lab.text(done.effects)).unwrap();
    assert_eq!((records.len(), records[0].sequence, &*records[0].kind), (1, 0, "http"));
    let answer = &records[0].answer;
    assert_eq!(answer["status"], 200);
    assert_eq!(answer["body"]["text"], "hello");
    assert_eq!(answer["headers"][0], serde_json::json!(["x-one", { "text": "1" }]));
    assert!(answer["timings"]["total-us"].as_u64() >= answer["timings"]["first-byte-us"].as_u64());
    assert_eq!(lines[1], format!("outcome 0 {answer}"));
}

#[tokio::test]
async fn what_is_not_granted_is_refused_unseen() {
    let lab = Lab::new();
    let server = Server::new(Answers::Bytes(answer("hello"))).await;
    let base = format!("http://127.0.0.1:{}", server.port);
    for (method, url, code) in [
        ("GET", format!("{base}/other"), "not-granted"),
        ("GET", format!("{base}/path/../other"), "not-granted"),
        ("DELETE", server.url(), "not-granted"),
        ("GET", server.url().replace("127.0.0.1", "localhost"), "not-granted"),
        ("GET", server.url().replace("http:", "https:"), "not-granted"),
        ("GET", server.url().replace("127.0.0.1", "u:p@127.0.0.1"), "bad-request"),
        ("GET", "nonsense".into(), "bad-request"),
    ] {
        let done = send(&lab, &server, Ask { method, url, ..Ask::default() }).await;
        fails(&done, FailureKind::Error, code);
        assert_eq!(done.effects, None, "it is no exchange");
    }
    let done = send(&lab, &server, Ask { url: server.url(), header: Some(("Host", "x")), ..Ask::default() }).await;
    fails(&done, FailureKind::Error, "bad-request");
    assert_eq!(server.asked(), [""; 0]);
    assert!(lab.effects.lines.lock().unwrap().is_empty());
}

#[tokio::test]
async fn redirects_are_answers() {
    let lab = Lab::new();
    let server = Server::new(Answers::Bytes(
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec(),
    ))
    .await;
    let done = send(&lab, &server, Ask { url: server.url(), ..Ask::default() }).await;
    // The guest of these tests takes anything but 200 as a reason to trap.
    fails(&done, FailureKind::Trap, "unreachable");
    assert_eq!(effect::decode(&lab.text(done.effects)).unwrap()[0].answer["status"], 302);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn servers_that_misbehave() {
    let lab = Lab::new();
    let code = async |answers: Answers, timeout: Option<u32>| {
        let server = Server::new(answers).await;
        let done = send(&lab, &server, Ask { url: server.url(), timeout, ..Ask::default() }).await;
        assert_eq!(effect::decode(&lab.text(done.effects)).unwrap().len(), 1, "its failure is an answer too");
        done.failure.map(|failure| failure.message).unwrap_or_else(|| lab.text(done.log))
    };
    assert_eq!(
        code(Answers::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort".to_vec()), None).await,
        "protocol"
    );
    assert_eq!(code(Answers::Bytes(b"nonsense".to_vec()), None).await, "protocol");
    assert_eq!(code(Answers::Bytes(Vec::new()), None).await, "protocol");
    assert_eq!(code(Answers::Silence(Vec::new()), Some(20)).await, "timeout");
    assert_eq!(
        code(Answers::Silence(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nsh".to_vec()), Some(20)).await,
        "timeout"
    );
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(200));
    assert_eq!(code(Answers::Bytes(many.into_bytes()), None).await, "protocol");

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let ask = Ask { url: format!("http://127.0.0.1:{free}/path"), ..Ask::default() };
    fails(&lab.run(sender(&ask), granted(&[free])).await, FailureKind::Error, "connect");
}

#[tokio::test]
async fn bodies_are_cut_at_their_cap() {
    let lab = Lab::new();
    let server = Server::new(Answers::Forever(b"HTTP/1.1 200 OK\r\n\r\n".to_vec())).await;
    let done = send(&lab, &server, Ask { url: server.url(), max_body: Some(5), ..Ask::default() }).await;
    assert_eq!(lab.text(done.log), "info cut\ninfo xxxxx\n");
    // Without a cap of its own: 1 MiB. A body that large is a blob in the record.
    let done = send(&lab, &server, Ask { url: server.url(), ..Ask::default() }).await;
    assert_eq!(done.failure, None);
    let record = effect::decode(&lab.text(done.effects)).unwrap().remove(0).answer;
    assert_eq!((&record["body"]["size"], &record["truncated"]), (&(1 << 20).into(), &true.into()));
    let blob = record["body"]["blob"].as_str().unwrap().parse().unwrap();
    assert_eq!(lab.store.get(blob).len(), 1 << 20);
}

#[tokio::test]
async fn bodies_come_from_inputs_and_go_to_outputs() {
    let lab = Lab::new();
    let server = Server::new(Answers::Bytes(answer("saved"))).await;
    let ask = Ask { method: "POST", url: server.url(), body_input: Some("in"), save_as: Some("out"), ..Ask::default() };
    let input = lab.store.blob("y".repeat(200_000).as_bytes());
    let grant = granted(&[server.port]);
    let done = lab
        .run(sender(&ask), |task| {
            grant(task);
            task.inputs.insert(port("in"), input);
        })
        .await;
    assert_eq!(done.failure, None);
    assert_eq!(done.outputs[&port("out")], lab.store.blob(b"saved"));
    let asked = server.asked().remove(0);
    assert!(asked.contains("content-length: 200000") && asked.ends_with("yyy"));

    let ask = Ask { url: server.url(), body_input: Some("none"), ..Ask::default() };
    fails(&send(&lab, &server, ask).await, FailureKind::Error, "body");
    let large = Server::new(Answers::Forever(b"HTTP/1.1 200 OK\r\n\r\n".to_vec())).await;
    let ask = Ask { url: large.url(), save_as: Some("out"), ..Ask::default() };
    let grant = granted(&[large.port]);
    let done = lab
        .run(sender(&ask), |task| {
            grant(task);
            task.limits.output = lockgate_model::units::Bytes(100_000);
        })
        .await;
    fails(&done, FailureKind::Limit, "raise `limits.output`");
}

/// A stage that sends the same request so many times at once.
fn senders(server: &Server, count: u32, parallel: u32) -> Guest {
    senders_of(&Ask { url: server.url(), ..Ask::default() }, count, parallel)
}

fn senders_of(ask: &Ask, count: u32, parallel: u32) -> Guest {
    let mut guest = Guest::stage().import(&["send-all"]).pages(4);
    let one = ask.words(&mut guest);
    let all: Vec<u32> = (0..count).flat_map(|_| one.clone()).collect();
    let at = guest.words(&all);
    // Each answer must be a good one: 56 bytes, the first of them 0.
    guest.body(format!(
        "(call $send-all (i32.const {at}) (i32.const {count}) (i32.const {parallel}) {ret})
         (local.set $a (i32.load (i32.const {RET})))
         (if (i32.ne (i32.load (i32.const {len})) (i32.const {count})) (then (unreachable)))
         (loop $l
            (if (i32.load8_u (local.get $a)) (then (unreachable)))
            (local.set $a (i32.add (local.get $a) (i32.const 56)))
            (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {count}))))
         (call $ok)",
        ret = ret(),
        len = RET + 4
    ))
}

#[tokio::test]
async fn several_at_once_are_bounded_and_recorded_in_order() {
    let lab = Lab::new();
    // It answers only when three are there: so three are sent at once.
    let server = Server::new(Answers::Together(3, answer("x"))).await;
    let done = lab.run(senders(&server, 9, 3), granted(&[server.port])).await;
    assert_eq!(done.failure, None);
    let records = effect::decode(&lab.text(done.effects)).unwrap();
    assert_eq!(records.iter().map(|record| record.sequence).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
    let lines = lab.effects.lines.lock().unwrap().clone();
    let intents: Vec<_> =
        lines.iter().filter(|line| line.starts_with("intent")).map(|line| line[7..8].to_owned()).collect();
    assert_eq!(intents.concat(), "012345678");

    let server = Server::new(Answers::Bytes(answer("x"))).await;
    let grant = granted(&[server.port]);
    let done = lab
        .run(senders(&server, 5, 2), |task| {
            grant(task);
            task.limits.effects = 4;
        })
        .await;
    fails(&done, FailureKind::Limit, "more than 4 effects; raise `limits.effects`");
    assert_eq!(server.asked().len(), 0, "none of them is sent then");
}

#[tokio::test]
async fn answers_of_one_call_are_bounded_together() {
    let lab = Lab::new();
    let server = Server::new(Answers::Forever(b"HTTP/1.1 200 OK\r\n\r\n".to_vec())).await;
    let ask = Ask { url: server.url(), max_body: Some(u32::MAX), ..Ask::default() };
    let done = lab.run(senders_of(&ask, 5, 5), granted(&[server.port])).await;
    fails(&done, FailureKind::Limit, "one `send-all` answers are larger than 64 MiB");
}

/// The effects of a call.
fn records(lab: &Lab, done: &Completion) -> Vec<effect::EffectRecord> {
    effect::decode(&lab.text(done.effects)).unwrap()
}

#[tokio::test]
async fn a_record_answers_as_the_server_did() {
    // Text, bytes that are none, a body that is a blob of its own, an error, and one that went into an output.
    let binary = b"HTTP/1.1 200 OK\r\nX-Odd: \xff\r\ncontent-length: 3\r\n\r\n\xff\x00a".to_vec();
    let large = answer(&"large ".repeat(20_000));
    for (bytes, save_as) in [
        (answer("hello"), None),
        (binary, None),
        (large, None),
        (b"nonsense".to_vec(), None),
        (answer("kept"), Some("out")),
        (b"nonsense".to_vec(), Some("out")),
    ] {
        let mut lab = Lab::new();
        let server = Server::new(Answers::Bytes(bytes)).await;
        let ask = || Ask { method: "POST", url: server.url(), body: Some("b"), save_as, ..Ask::default() };
        let first = send(&lab, &server, ask()).await;
        let records = records(&lab, &first);
        lab.recorded(records);
        let again = send(&lab, &server, ask()).await;
        assert_eq!(again, first, "outputs, log, effects and fuel");
        assert_eq!(server.asked().len(), 1, "the second call left the server alone");
        assert!(lab.effects.lines.lock().unwrap().is_empty(), "nothing new was recorded");
    }
}

#[tokio::test]
async fn a_record_of_a_part_is_answered_and_the_rest_issued() {
    let mut lab = Lab::new();
    let server = Server::new(Answers::Bytes(answer("x"))).await;
    let first = lab.run(senders(&server, 9, 3), granted(&[server.port])).await;
    let all = records(&lab, &first);
    lab.recorded(all.iter().filter(|record| ![2, 7, 8].contains(&record.sequence)).cloned());
    let again = lab.run(senders(&server, 9, 3), granted(&[server.port])).await;
    assert_eq!((again.failure.clone(), again.fuel), (None, first.fuel));
    assert_eq!(server.asked().len(), 9 + 3);
    let lines = lab.effects.lines.lock().unwrap().clone();
    let intents: Vec<_> =
        lines.iter().filter(|line| line.starts_with("intent")).map(|line| line[7..8].to_owned()).collect();
    assert_eq!(intents.concat(), "278");
    let records = records(&lab, &again);
    assert_eq!(records.iter().map(|record| record.sequence).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
    assert_eq!(records[6], all[6]);
}

#[tokio::test]
async fn another_request_than_the_recorded_one_ends_the_call() {
    let mut lab = Lab::new();
    let server = Server::new(Answers::Bytes(answer("x"))).await;
    let first = send(&lab, &server, Ask { url: server.url(), ..Ask::default() }).await;
    let record = records(&lab, &first).remove(0);
    lab.recorded([record.clone()]);
    let done = send(&lab, &server, Ask { url: server.url() + "&r=2", ..Ask::default() }).await;
    fails(
        &done,
        FailureKind::NotReproducible,
        &format!("effect 0 with the record: recorded is `http GET {} (", server.url()),
    );
    fails(&done, FailureKind::NotReproducible, "&r=2 (");
    let done = send(&lab, &server, Ask { url: server.url(), header: Some(("a", "b")), ..Ask::default() }).await;
    fails(&done, FailureKind::NotReproducible, "effect 0 with the record");
    assert_eq!(server.asked().len(), 1);

    // Records may come from elsewhere: what no engine writes is told, and nothing is made of it.
    for (pointer, wrong) in [
        ("/body", serde_json::json!({ "hex": "zz" })),
        ("/body", serde_json::json!({ "blob": lockgate_model::Digest::of(b"none"), "size": 4 })),
        ("/body", serde_json::json!({ "output": "out", "blob": lab.store.put(b"x"), "size": 1 })),
        ("/status", serde_json::json!(70_000)),
        ("/timings", serde_json::json!({})),
    ] {
        let mut record = record.clone();
        *record.answer.pointer_mut(pointer).unwrap() = wrong;
        lab.recorded([record]);
        let done = send(&lab, &server, Ask { url: server.url(), ..Ask::default() }).await;
        fails(&done, FailureKind::Infrastructure, "the recorded answer of effect 0");
    }
}

#[tokio::test]
async fn what_changes_something_carries_an_idempotency_key() {
    let lab = Lab::new();
    let server = Server::new(Answers::Bytes(answer("x"))).await;
    let head = async |method, header: Option<(&'static str, &'static str)>, first_sequence| {
        let grant = granted(&[server.port]);
        let ask = Ask { method, url: server.url(), header, ..Ask::default() };
        let done = lab
            .run(sender(&ask), |task| {
                grant(task);
                task.attempt = 3;
                task.first_sequence = first_sequence;
            })
            .await;
        assert_eq!(done.failure, None);
        let request = records(&lab, &done)[0].request;
        (server.asked().pop().unwrap().to_lowercase(), request)
    };
    let (sent, plain) = head("POST", None, 7).await;
    assert!(sent.contains("idempotency-key: \"r1/n/3/7\"\r\n"), "{sent}");
    let (_, other) = head("POST", None, 8).await;
    assert_eq!(plain, other, "the key is not part of the request");
    let (sent, _) = head("POST", Some(("Idempotency-Key", "mine")), 0).await;
    assert_eq!(sent.matches("idempotency-key: ").count(), 1, "{sent}");
    assert!(sent.contains("idempotency-key: mine\r\n"), "{sent}");
    let (sent, _) = head("GET", None, 0).await;
    assert!(!sent.contains("idempotency-key"), "{sent}");
    let (sent, placed) = head("POST", Some(("x-key", "<{{lockgate:idempotency-key}}>")), 2).await;
    assert!(sent.contains("x-key: <r1/n/3/2>\r\n"), "{sent}");
    let (_, other) = head("POST", Some(("x-key", "<{{lockgate:idempotency-key}}>")), 3).await;
    assert_eq!(placed, other, "the request is recorded with the placeholder");
}
