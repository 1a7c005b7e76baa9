//! Opens a connection, which nobody grants by WASI; with `quiet` it only could.

fn main() {
    if std::env::args().nth(1).as_deref() == Some("quiet") {
        println!("quiet");
        return;
    }
    println!("{:?}", std::net::TcpStream::connect("127.0.0.1:1").map(drop));
}
