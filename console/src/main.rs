//! The TUI of a node, one process on each of its console lines.
//!
//! ```text
//! init (D-Bus), agent (local REST), /proc, /run/axion --> source --Update--> app --> view --> terminal
//!                                                            ^                 |
//!                                                            +----Request------+   <-- keys
//! ```
//!
//! | module       | what it is about                                                            |
//! |--------------|-----------------------------------------------------------------------------|
//! | [`source`]   | asks the node how it is, carries out what the operator confirmed (effects)   |
//! | [`node`]     | what is known of the node, and what that means for an operator (pure)        |
//! | [`app`]      | pages, scrolling, dialogs: what a key does (pure)                            |
//! | [`view`]     | what the screen shows (pure)                                                 |
//! | [`terminal`] | the line itself: its size, raw mode, what it can show                        |
//!
//! Neither keys nor looks wait for a request that takes long. Nothing runs between two looks at the node: once a second while
//! someone is at the keyboard or the node boots, else every five seconds; and only cells that changed are written.

mod app;
mod node;
mod source;
mod terminal;
mod view;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use crossterm::event::{Event, EventStream, KeyEventKind};
use futures_util::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};

use app::{App, Command};
use source::{Request, Source, Update};
use terminal::Screen;

/// The console of an Axion node, on the terminal given as standard input and output.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Name of the line, `tty1` or `ttyS0`
    line: Option<String>,
    /// Neither colours nor characters outside ASCII
    #[arg(long)]
    plain: bool,
    /// Look at the node whose files are below this directory
    #[arg(long, default_value = "/", value_name = "DIRECTORY")]
    root: PathBuf,
}

/// Why the console ended.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The terminal cannot be read or written.
    #[error("terminal")]
    Terminal(#[from] std::io::Error),
    /// The asynchronous runtime does not start.
    #[error("cannot start")]
    Start(#[source] std::io::Error),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Start);
    match runtime.and_then(|runtime| runtime.block_on(run(arguments))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// The chain of causes, once, for init's log.
#[allow(clippy::print_stderr)]
fn report(error: &Error) {
    let causes = std::iter::successors(std::error::Error::source(error), |e| e.source());
    let text: String = causes.map(|cause| format!(": {cause}")).collect();
    eprintln!("{error}{text}");
}

async fn run(arguments: Arguments) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut screen = Screen::open(arguments.line.as_deref(), arguments.plain)?;
    let (request, requests) = mpsc::channel(16);
    let (update, mut updates) = mpsc::channel(16);
    let pressed = Arc::new(Notify::new());
    tokio::spawn(Source::new(&arguments.root).run(requests, pressed.clone(), update));

    let mut app = App::new(arguments.line.unwrap_or_default());
    let mut keys = EventStream::new();
    loop {
        let changed = tokio::select! {
            _ = terminate.recv() => break,
            Some(update) = updates.recv() => apply(&mut app, update),
            event = keys.next() => match event {
                // The line was hung up.
                None => break,
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => {
                    pressed.notify_one();
                    match app.key(key) {
                        Some(Command::Repaint) => {
                            // The reply to the size query must not be read by the stream of keys.
                            drop(keys);
                            screen.repaint()?;
                            keys = EventStream::new();
                        }
                        Some(Command::Ask(ask)) => hand_over(&request, ask, &mut app),
                        None => {}
                    }
                    true
                }
                Some(Ok(Event::Resize(..))) => true,
                Some(Ok(_)) => false,
            },
        };
        if let Some(ask) = app.take_wish() {
            hand_over(&request, ask, &mut app);
        }
        if changed {
            screen.draw(&mut app)?;
        }
    }
    screen.close();
    Ok(())
}

/// Has the source carry out a request; the screen never waits for it.
fn hand_over(requests: &mpsc::Sender<Request>, request: Request, app: &mut App) {
    if requests.try_send(request).is_err() {
        app.answer("The console is busy with asking the node; try again in a moment.".to_owned());
    }
}

/// Takes in what is new; whether there is something to draw.
fn apply(app: &mut App, update: Update) -> bool {
    match update {
        Update::Look(snapshot) => app.look(*snapshot),
        Update::Log(entries) => app.log(entries),
        Update::Answer(text) => app.answer(text),
        Update::Trouble(question) => app.ask(*question),
        Update::Installer(answer) => app.installer(answer),
    }
}
