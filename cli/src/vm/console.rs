//! `axctl vm console`: a VM's console at the operator's terminal; `axctl vm vsock`: a port of its guest.
//!
//! ```text
//! keys ── Escape (Ctrl-] q leaves) ──► ConsoleStream ──► guest
//! screen ◄───────────────────────────── ConsoleStream ◄── guest
//! ```
//!
//! The terminal is raw meanwhile, and restored however this ends: [`Raw`] is dropped on the way out, and the signals that
//! end a program end the copying instead. Where standard input is no terminal there is no escape and nothing to restore:
//! input is copied to its end, and output until the node closes the console.

use std::time::Duration;

use axion_api::client::{Client, ConsoleStream};
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split, stdin};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::error::Error;
use crate::output::Output;
use crate::terminal::{self, Raw};

/// How long the node has to hear that the operator leaves.
const FAREWELL: Duration = Duration::from_millis(500);

const HELP: &str = "\r\n  Ctrl-] q  leave; the VM goes on running\r\n  Ctrl-] ]  send Ctrl-] itself\r\n  Ctrl-] ?  this help\r\n";

/// Attach to a VM's console; Ctrl-] then q leaves
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  axctl vm console hello\n  echo uptime | axctl vm console hello\n  axctl vm console hello --no-input > hello.log"
)]
pub struct Console {
    /// Name of the VM
    name: String,
    /// Only show what the guest prints
    #[arg(long)]
    no_input: bool,
}

/// What is sent to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Keys of a terminal.
    Keys,
    /// Standard input to its end.
    Copy,
    /// Nothing.
    Nothing,
}

impl Input {
    /// Keys where there is a keyboard.
    pub fn of_this_terminal() -> Self {
        if terminal::is_attended() {
            Self::Keys
        } else {
            Self::Copy
        }
    }
}

pub async fn run(arguments: &Console, client: &Client, output: &Output) -> Result<(), Error> {
    let input = if arguments.no_input {
        Input::Nothing
    } else {
        Input::of_this_terminal()
    };
    attach(client, &arguments.name, input, output).await
}

/// Connects standard input and output with a port of the guest until the guest ends it.
pub async fn connect(client: &Client, name: &str, port: u32, output: &Output) -> Result<(), Error> {
    let (reader, writer) = split(client.vsock(name, port).await?);
    tokio::select! {
        result = show(reader, output) => result,
        result = copy(writer, Input::Copy) => result,
    }
}

/// Connects this terminal with the VM's console until one side ends it.
pub async fn attach(client: &Client, name: &str, input: Input, output: &Output) -> Result<(), Error> {
    let (reader, writer) = split(client.console(name).await?);
    if input != Input::Keys {
        return tokio::select! {
            result = show(reader, output) => result,
            result = copy(writer, input) => result,
        };
    }
    output.note(format_args!(
        "Connected to {name}. Ctrl-] q leaves, Ctrl-] ? helps."
    ));
    let raw = Raw::enter()?;
    let result = tokio::select! {
        result = show(reader, output) => result.map(|()| "closed by the node"),
        result = keys(writer, output) => result.map(|()| "left"),
        result = ended() => result.map(|()| "interrupted"),
    };
    drop(raw);
    let how = result?;
    output.note(format_args!("\nConsole of {name}: {how}."));
    Ok(())
}

/// Shows what the guest prints, to the end.
async fn show(mut reader: ReadHalf<ConsoleStream>, output: &Output) -> Result<(), Error> {
    let mut buffer = vec![0; 1 << 14];
    loop {
        let count = reader
            .read(&mut buffer)
            .await
            .map_err(|source| Error::io("the console broke", source))?;
        match buffer.get(..count) {
            Some([]) | None => return Ok(()),
            Some(bytes) => output.bytes(bytes)?,
        }
    }
}

/// Sends standard input as it is, then waits for ever: it is the node that ends the console.
async fn copy(mut writer: WriteHalf<ConsoleStream>, input: Input) -> Result<(), Error> {
    if input == Input::Copy {
        let mut input = stdin();
        let mut buffer = vec![0; 1 << 12];
        loop {
            let count = input
                .read(&mut buffer)
                .await
                .map_err(|source| Error::io("cannot read standard input", source))?;
            match buffer.get(..count) {
                Some([]) | None => break,
                Some(bytes) => send(&mut writer, bytes).await?,
            }
        }
    }
    std::future::pending().await
}

/// Sends keys until the operator leaves.
async fn keys(mut writer: WriteHalf<ConsoleStream>, output: &Output) -> Result<(), Error> {
    let mut escape = Escape::default();
    let mut input = stdin();
    let mut buffer = vec![0; 1 << 10];
    loop {
        let count = input
            .read(&mut buffer)
            .await
            .map_err(|source| Error::io("cannot read the keyboard", source))?;
        let typed = match buffer.get(..count) {
            Some([]) | None => break,
            Some(bytes) => escape.feed(bytes),
        };
        if !typed.send.is_empty() {
            send(&mut writer, &typed.send).await?;
        }
        if typed.help {
            output.note(HELP);
        }
        if typed.leave {
            break;
        }
    }
    // The node is told, but leaving does not depend on its answer.
    let _ = timeout(FAREWELL, writer.shutdown()).await;
    Ok(())
}

async fn send(writer: &mut WriteHalf<ConsoleStream>, bytes: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::io("the console broke", source);
    writer.write_all(bytes).await.map_err(failed)?;
    writer.flush().await.map_err(failed)
}

/// Waits for a signal that is to end the program.
async fn ended() -> Result<(), Error> {
    let listen = |kind| signal(kind).map_err(|source| Error::io("cannot listen for signals", source));
    let (mut terminate, mut hang_up) = (listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

/// Finds the escape sequences among the keys.
#[derive(Debug, Default)]
pub struct Escape {
    /// The last key was Ctrl-].
    begun: bool,
}

/// What some keys mean.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Typed {
    /// For the guest.
    pub send: Vec<u8>,
    /// The operator wants help.
    pub help: bool,
    /// The operator wants to leave; keys behind that are dropped.
    pub leave: bool,
}

impl Escape {
    const KEY: u8 = 0x1d;

    /// Takes the next keys.
    pub fn feed(&mut self, keys: &[u8]) -> Typed {
        let mut typed = Typed::default();
        for &key in keys {
            match (std::mem::take(&mut self.begun), key) {
                (false, Self::KEY) => self.begun = true,
                (true, b'q' | b'.') => {
                    typed.leave = true;
                    break;
                }
                (true, b'?') => typed.help = true,
                (true, Self::KEY | b']') => typed.send.push(Self::KEY),
                // No escape sequence: both keys were meant.
                (true, other) => typed.send.extend([Self::KEY, other]),
                (false, other) => typed.send.push(other),
            }
        }
        typed
    }
}
