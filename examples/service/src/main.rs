//! The `service` binary: a small HTTP service to put behind a gate. What it answers is in `behaviour`, how it is served in
//! `serve`; here are its arguments, its one line of output and its end.

mod behaviour;
mod serve;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use behaviour::{Behaviour, Faults, Rate};
use clap::Parser;

/// A small HTTP service to gate: its version, error rate, latency and contract are arguments, and nothing about it is random.
#[derive(Debug, Parser)]
#[command(name = "service", disable_version_flag = true)]
struct Arguments {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    addr: SocketAddr,
    /// The version that it says it is.
    #[arg(long, default_value = "1.0.0")]
    version: String,
    /// Share of orders answered with 500, from 0 to 1.
    #[arg(long, default_value = "0", value_name = "RATE")]
    error_rate: Rate,
    /// Milliseconds until an order is answered.
    #[arg(long, default_value_t = 0, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=60_000))]
    latency_ms: u64,
    /// Milliseconds that are added to the latency, spread evenly between 0 and this.
    #[arg(long, default_value_t = 0, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=60_000))]
    jitter_ms: u64,
    /// Share of successful orders whose answer lacks `total_cents`, from 0 to 1.
    #[arg(long, default_value = "0", value_name = "RATE")]
    contract_break: Rate,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { addr, version, error_rate, latency_ms, jitter_ms, contract_break } = Arguments::parse();
    let faults = Faults { error_rate, latency_ms, jitter_ms, contract_break };
    // Before the line is printed: whoever has read it may already send a signal.
    let end = end_signal().context("failed to listen for signals")?;
    let listener =
        tokio::net::TcpListener::bind(addr).await.with_context(|| format!("failed to listen on `{addr}`"))?;
    let bound = listener.local_addr().context("failed to read the address listened on")?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on http://{bound}")
        .and_then(|()| stdout.flush())
        .context("failed to print the address listened on")?;
    serve::serve(listener, Arc::new(Behaviour::new(version, faults)), end).await;
    Ok(())
}

/// Ends at SIGTERM or SIGINT.
#[cfg(unix)]
fn end_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Ends at ctrl-c.
#[cfg(not(unix))]
fn end_signal() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        // Without a handler there is nothing to wait for: the process is ended from outside.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
