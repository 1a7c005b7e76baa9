//! Sends one request by `wasi:http` and prints the answer: `fetch METHOD AUTHORITY PATH [BODY]`.

use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, Method, OutgoingBody, OutgoingRequest, Scheme};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let headers = Fields::new();
    headers.append("x-probe", b"yes").expect("a header");
    assert!(headers.append("host", b"elsewhere.test").is_err(), "the engine's own");
    let request = OutgoingRequest::new(headers);
    let method = if args[1] == "GET" { Method::Get } else { Method::Other(args[1].clone()) };
    request.set_method(&method).expect("a method");
    request.set_scheme(Some(&Scheme::Http)).expect("a scheme");
    request.set_authority(Some(&args[2])).expect("an authority");
    request.set_path_with_query(Some(&args[3])).expect("a path");
    let body = request.body().expect("a body");
    let answer = handle(request, None).expect("a request that is taken");
    if let Some(text) = args.get(4) {
        let stream = body.write().expect("a stream");
        stream.blocking_write_and_flush(text.as_bytes()).expect("a body that is taken");
    }
    OutgoingBody::finish(body, None).expect("a whole body");
    answer.subscribe().block();
    match answer.get().expect("it is there").expect("it is taken once") {
        Err(code) => {
            eprintln!("no answer: {code:?}");
            std::process::exit(1);
        }
        Ok(response) => {
            println!("{}", response.status());
            let body = response.consume().expect("a body");
            let stream = body.stream().expect("a stream");
            while let Ok(bytes) = stream.blocking_read(1 << 16) {
                print!("{}", String::from_utf8_lossy(&bytes));
            }
        }
    }
}
