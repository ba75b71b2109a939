//! A node that is only pretended, to look at the console without a machine:
//!
//! ```text
//! cargo run -p axion-console --example fake_node -- /tmp/node &
//! cargo run -p axion-console -- --root /tmp/node
//! ```
//!
//! A second argument `degraded`, `booting`, `locked` or `idle` chooses how the node is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod sample;
mod serve;

use std::path::PathBuf;
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(arguments.next().expect("give a directory to make the node in"));
    let state = arguments.next();
    let node = match state.as_deref() {
        Some("degraded") => sample::degraded(),
        Some("booting") => sample::booting(),
        Some("idle") => sample::idle(),
        Some("locked") => sample::locked(),
        _ => sample::ready(),
    };
    let talkative = state.as_deref() != Some("idle");
    let (fake, mut calls) = serve::FakeNode::start(&root, node).await;
    println!("a pretended node is below {}", root.display());
    loop {
        tokio::select! {
            Some(call) = calls.recv() => println!("called: {call}"),
            () = tokio::time::sleep(Duration::from_secs(3)), if talkative => fake.log_one_more_line(),
            _ = tokio::signal::ctrl_c() => break,
        }
    }
}
