//! From a host's name to a connection. Which addresses are permitted is decided on what is connected to: the name is resolved once,
//! and each address is checked before it is tried.

use std::net::IpAddr;

use tokio::net::TcpStream;

/// Why there is no connection, for the guest.
#[derive(Debug)]
pub(crate) struct NoConnection {
    /// `resolve`, `connect` or `not-granted`.
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// Connects to the first permitted address that answers. The host is as in URLs: IPv6 in brackets.
pub(crate) async fn connect(
    host: &str,
    port: u16,
    reaches: impl Fn(IpAddr) -> bool,
) -> Result<TcpStream, NoConnection> {
    let refuse = |code, message: String| NoConnection { code, message };
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((name, port)).await.map_err(|error| refuse("resolve", error.to_string()))?;
    let mut last = refuse("resolve", "the host has no address".to_owned());
    for address in found {
        if !reaches(address.ip()) {
            let message = format!(
                "`{host}` has the address {}, which is not a public one; name its network in the grant: `networks = [\"{0}\"]`",
                address.ip().to_canonical()
            );
            last = refuse("not-granted", message);
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Requests are written at once: waiting for more would only falsify the timings.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = refuse("connect", error.to_string()),
        }
    }
    Err(last)
}
