//! Pages, scrolling, dialogs: what a key does. Pure; what has to be done outside is returned as a [`Command`].

pub mod install;
mod log;
pub mod trouble;

use axion_api::host::PowerAction;
use axion_api::init::LogEntry;
use axion_api::install::{Answer, Call, Progress};
use axion_core::config::Secret;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::node::{Lock, Snapshot};
use crate::source::Request;
use crate::view;
use install::{Outcome, Wizard};
pub use log::{Log, LogPage};
use trouble::{Step, Trouble};

/// What is shown below the header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Page {
    /// How to reach the node, how it is, the end of the log.
    #[default]
    Summary,
    /// Boot phases and their times.
    Boot,
    /// Services and VMs.
    Services,
    /// Pools and their devices.
    Storage,
    /// The whole log.
    Log,
    /// The boot profile, item by item.
    Profile,
}

impl Page {
    /// Every page, in the order of its key.
    pub const ALL: [Self; 6] = [
        Self::Summary,
        Self::Boot,
        Self::Services,
        Self::Storage,
        Self::Log,
        Self::Profile,
    ];

    /// Its name on the screen.
    pub fn title(self) -> &'static str {
        match self {
            Self::Summary => "Summary",
            Self::Boot => "Boot",
            Self::Services => "Services & VMs",
            Self::Storage => "Storage",
            Self::Log => "Log",
            Self::Profile => "Profile",
        }
    }
}

/// A question over the page. It has the keys until it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dialog {
    /// What is to be installed on which disk?
    Install(Box<Wizard>),
    /// How far an installation is, and what follows it.
    Installing,
    /// Stop the node? The answer is typed out, so that neither a slip nor noise on a serial line stops it.
    Power {
        /// What was asked for.
        action: PowerAction,
        /// Typed so far.
        typed: String,
    },
    /// Has the token been noted?
    Token,
    /// Has the recovery passphrase been noted?
    Recovery,
    /// Which of the things that are locked?
    Locks {
        /// The one that is chosen.
        chosen: usize,
    },
    /// What unlocks it?
    Unlock {
        /// What is to be unlocked.
        lock: Lock,
        /// Typed so far.
        typed: Secret,
        /// A new passphrase that was typed once; it is typed twice.
        first: Option<Secret>,
    },
    /// What helps a node in trouble?
    Trouble(Trouble),
}

/// Longest passphrase, bytes.
const LONGEST_PASSPHRASE: usize = 512;

/// The word to type for `action`.
pub fn confirmation(action: PowerAction) -> &'static str {
    match action {
        PowerAction::Reboot => "reboot",
        PowerAction::PowerOff => "power off",
    }
}

/// What has to be done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Measure the terminal anew and paint everything.
    Repaint,
    /// Ask the node for something.
    Ask(Request),
}

/// The state of the screen.
#[derive(Debug, Clone)]
pub struct App {
    /// Name of the line that this console is on.
    pub line: String,
    /// The node at the last look.
    pub snapshot: Snapshot,
    /// The node's log.
    pub log: Log,
    /// The page shown.
    pub page: Page,
    /// First line shown of the pages that are longer than the screen; of the boot profile, the item that is chosen.
    pub scroll: usize,
    /// The question asked, if any.
    pub dialog: Option<Dialog>,
    /// What became of the last request.
    pub notice: Option<String>,
    /// Columns and rows.
    pub size: (u16, u16),
    /// The installer has been shown to whoever asked for it.
    greeted: bool,
    /// What is to be asked of the node without a key.
    wish: Option<Request>,
}

impl App {
    /// The state before anything is known.
    pub fn new(line: String) -> Self {
        Self {
            line,
            snapshot: Snapshot::default(),
            log: Log::default(),
            page: Page::default(),
            scroll: 0,
            dialog: None,
            notice: None,
            size: (80, 24),
            greeted: false,
            wish: None,
        }
    }

    /// What is to be asked of the node without a key.
    pub fn take_wish(&mut self) -> Option<Request> {
        self.wish.take()
    }

    /// Takes in a look at the node; whether anything changed.
    pub fn look(&mut self, snapshot: Snapshot) -> bool {
        let changed = snapshot != self.snapshot;
        self.snapshot = snapshot;
        if self.dialog == Some(Dialog::Token) && self.snapshot.local.first_token.is_none() {
            // Somebody confirmed it on another console.
            self.dialog = None;
        }
        let locks = self.snapshot.locks();
        let is_unlocked = match &self.dialog {
            Some(Dialog::Unlock { lock, .. }) => !locks.contains(lock),
            Some(Dialog::Locks { .. }) => locks.is_empty(),
            _ => false,
        };
        let is_noted = self.dialog == Some(Dialog::Recovery) && self.snapshot.recovery.is_none();
        if is_unlocked || is_noted {
            self.dialog = None;
        }
        self.look_at_installation();
        changed
    }

    /// An installation is shown on every console; the questions come by themselves where the node was started for them.
    fn look_at_installation(&mut self) {
        let install = &self.snapshot.install;
        let free = matches!(self.dialog, None | Some(Dialog::Install(_)));
        if install.progress.is_none() && self.dialog == Some(Dialog::Installing) {
            self.dialog = None;
        } else if install.progress.is_some() && free {
            self.dialog = Some(Dialog::Installing);
            self.greeted = true;
        } else if install.asked && !self.greeted && self.dialog.is_none() && self.snapshot.is_ready() {
            self.greeted = true;
            self.wish = Some(self.ask_installer());
        }
    }

    /// Begins with the questions.
    fn ask_installer(&mut self) -> Request {
        self.dialog = Some(Dialog::Install(Box::new(Wizard::new())));
        Request::Install(Call::Offer)
    }

    /// Takes in what init says to the installer.
    pub fn installer(&mut self, answer: Result<Answer, String>) -> bool {
        if let Some(Dialog::Install(wizard)) = &mut self.dialog {
            wizard.answered(answer);
        }
        true
    }

    fn wizard_key(&mut self, mut wizard: Box<Wizard>, code: KeyCode) -> Option<Command> {
        let outcome = wizard.key(code);
        if outcome != Outcome::Leave {
            self.dialog = Some(Dialog::Install(wizard));
        }
        match outcome {
            Outcome::Ask(call) => Some(Command::Ask(Request::Install(call))),
            Outcome::Stay | Outcome::Leave => None,
        }
    }

    /// Nothing stops an installation; its end waits for somebody.
    fn installing_key(&mut self, code: KeyCode) -> Option<Command> {
        self.dialog = Some(Dialog::Installing);
        let ask = match (&self.snapshot.install.progress, code) {
            (Some(Progress::Done(_)), KeyCode::Enter) => Request::Power(PowerAction::Reboot),
            (Some(Progress::Done(_) | Progress::Failed(_)), KeyCode::Esc)
            | (Some(Progress::Failed(_)), KeyCode::Enter) => Request::Install(Call::Dismiss),
            _ => return None,
        };
        Some(Command::Ask(ask))
    }

    /// Takes in new log lines; whether any can be seen.
    pub fn log(&mut self, entries: Vec<LogEntry>) -> bool {
        self.log.extend(entries);
        matches!(self.page, Page::Summary | Page::Log)
    }

    /// Takes in what became of a request.
    pub fn answer(&mut self, text: String) -> bool {
        self.notice = Some(text);
        true
    }

    /// Takes in a question, unless another one is open.
    pub fn ask(&mut self, question: Trouble) -> bool {
        self.notice = None;
        self.dialog.get_or_insert(Dialog::Trouble(question));
        true
    }

    /// What a key does.
    pub fn key(&mut self, key: KeyEvent) -> Option<Command> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && key.code == KeyCode::Char('l') {
            return Some(Command::Repaint);
        }
        if control || key.modifiers.contains(KeyModifiers::ALT) {
            return None;
        }
        match self.dialog.take() {
            Some(dialog) => self.answer_key(dialog, key.code),
            None if key.code == KeyCode::Char('i') && self.snapshot.install.offered => {
                Some(Command::Ask(self.ask_installer()))
            }
            None => {
                self.notice = None;
                let ask = self.profile_key(key.code);
                if ask.is_none() {
                    self.page_key(key.code);
                }
                ask.map(Command::Ask)
            }
        }
    }

    fn page_key(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char('1') | KeyCode::F(1) => self.show(Page::Summary),
            KeyCode::Char('2') | KeyCode::F(2) => self.show(Page::Boot),
            KeyCode::Char('3') | KeyCode::F(3) => self.show(Page::Services),
            KeyCode::Char('4') | KeyCode::F(4) => self.show(Page::Storage),
            KeyCode::Char('5') | KeyCode::F(5) => self.show(Page::Log),
            KeyCode::Char('6') | KeyCode::F(6) => self.show(Page::Profile),
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(Page::ALL.len() - 1),
            KeyCode::Char('r') => self.ask_power(PowerAction::Reboot),
            KeyCode::Char('p') => self.ask_power(PowerAction::PowerOff),
            KeyCode::Char('n') if self.snapshot.local.first_token.is_some() => {
                self.dialog = Some(Dialog::Token)
            }
            KeyCode::Char('n') if self.snapshot.recovery.is_some() => self.dialog = Some(Dialog::Recovery),
            KeyCode::Char('u') => self.ask_passphrase(),
            KeyCode::Char('t') => self.dialog = Some(Dialog::Trouble(Trouble::Menu)),
            KeyCode::Char('s') if self.page == Page::Log => self.log.next_filter(),
            _ => self.scroll_key(code),
        }
    }

    /// What only the page of the boot profile has a key for.
    fn profile_key(&mut self, code: KeyCode) -> Option<Request> {
        let ask = match code {
            _ if self.page != Page::Profile => return None,
            KeyCode::Char('c') => Request::CheckProfile,
            KeyCode::Char('a') => Request::ApplyProfile,
            _ => return None,
        };
        self.notice = Some("Asking the node; this may take some seconds.".to_owned());
        Some(ask)
    }

    /// The item of the boot profile that is chosen; the last one where there are fewer by now.
    pub fn chosen_item(&self) -> usize {
        let items = self
            .snapshot
            .profile
            .as_ref()
            .map_or(0, |profile| profile.items.len());
        self.scroll.min(items.saturating_sub(1))
    }

    fn show(&mut self, page: Page) {
        self.page = page;
        self.scroll = 0;
    }

    fn turn(&mut self, by: usize) {
        let here = Page::ALL
            .iter()
            .position(|page| *page == self.page)
            .unwrap_or_default();
        if let Some(page) = Page::ALL.iter().cycle().nth(here + by) {
            self.show(*page);
        }
    }

    fn ask_power(&mut self, action: PowerAction) {
        self.dialog = Some(Dialog::Power {
            action,
            typed: String::new(),
        });
    }

    /// Asks for what unlocks the only thing that is locked, or else which one is meant.
    fn ask_passphrase(&mut self) {
        let mut locks = self.snapshot.locks();
        self.dialog = match (locks.pop(), locks.is_empty()) {
            (None, _) => None,
            (Some(lock), true) => Some(Self::passphrase_of(lock)),
            (Some(_), false) => Some(Dialog::Locks { chosen: 0 }),
        };
    }

    fn passphrase_of(lock: Lock) -> Dialog {
        Dialog::Unlock {
            lock,
            typed: Secret::from(String::new()),
            first: None,
        }
    }

    fn locks_key(&mut self, chosen: usize, code: KeyCode) {
        let locks = self.snapshot.locks();
        let last = locks.len().saturating_sub(1);
        self.dialog = match (code, locks.into_iter().nth(chosen.min(last))) {
            (KeyCode::Enter, Some(lock)) => Some(Self::passphrase_of(lock)),
            (KeyCode::Up, _) => Some(Dialog::Locks {
                chosen: chosen.min(last).saturating_sub(1),
            }),
            (KeyCode::Down, _) => Some(Dialog::Locks {
                chosen: (chosen + 1).min(last),
            }),
            _ => Some(Dialog::Locks { chosen }),
        };
    }

    fn passphrase_key(
        &mut self,
        lock: Lock,
        typed: Secret,
        first: Option<Secret>,
        code: KeyCode,
    ) -> Option<Command> {
        let is_new = lock == Lock::State { is_new: true };
        let ask = |typed, first| {
            let lock = lock.clone();
            Some(Dialog::Unlock { lock, typed, first })
        };
        let empty = || Secret::from(String::new());
        let text = typed.expose();
        match code {
            KeyCode::Char(c) if text.len() + c.len_utf8() <= LONGEST_PASSPHRASE => {
                self.dialog = ask(format!("{text}{c}").into(), first);
            }
            KeyCode::Backspace => {
                let kept = text.char_indices().next_back().map_or(0, |(at, _)| at);
                let kept = text.get(..kept).unwrap_or_default().to_owned();
                self.dialog = ask(kept.into(), first);
            }
            KeyCode::Enter if !text.is_empty() => match (is_new, first) {
                (true, None) => self.dialog = ask(empty(), Some(typed)),
                (true, Some(first)) if first != typed => {
                    self.notice = Some("These were not the same. Nothing was done.".to_owned());
                }
                _ => {
                    self.notice = Some("Asking the node; this may take some seconds.".to_owned());
                    return Some(Command::Ask(match lock {
                        Lock::State { .. } => Request::Unlock(typed),
                        Lock::Dataset(name) => Request::LoadKey(name, typed),
                    }));
                }
            },
            _ => self.dialog = ask(typed, first),
        }
        None
    }

    fn scroll_key(&mut self, code: KeyCode) {
        if self.page == Page::Log {
            return self.scroll_log(code);
        }
        let screenful = usize::from(view::body_height(self.size.1)).max(2) - 1;
        let (back, by) = match code {
            KeyCode::Up => (true, 1),
            KeyCode::Down => (false, 1),
            KeyCode::PageUp => (true, screenful),
            KeyCode::PageDown => (false, screenful),
            KeyCode::Home => (true, usize::MAX),
            KeyCode::End => (false, usize::MAX),
            _ => return,
        };
        self.scroll = if back {
            self.scroll.saturating_sub(by)
        } else {
            self.scroll.saturating_add(by).min(view::last_scroll(self))
        };
    }

    /// A line that is longer than the screen is wide takes more rows than one, so it is lines that are counted here.
    fn scroll_log(&mut self, code: KeyCode) {
        let width = self.size.0;
        let page = LogPage {
            room: view::log_room(self.size.1),
            rows: &|entry| view::log_rows(entry, width),
        };
        match code {
            KeyCode::Up => self.log.back(log::Step::Line, &page),
            KeyCode::Down => self.log.forward(log::Step::Line, &page),
            KeyCode::PageUp => self.log.back(log::Step::Page, &page),
            KeyCode::PageDown => self.log.forward(log::Step::Page, &page),
            KeyCode::Home => self.log.back(log::Step::End, &page),
            KeyCode::End => self.log.forward(log::Step::End, &page),
            _ => {}
        }
    }

    fn answer_key(&mut self, dialog: Dialog, code: KeyCode) -> Option<Command> {
        match (dialog, code) {
            (Dialog::Install(wizard), code) => self.wizard_key(wizard, code),
            (Dialog::Installing, code) => self.installing_key(code),
            (_, KeyCode::Esc) => None,
            (Dialog::Trouble(question), code) => match question.key(code) {
                Step::Close => None,
                Step::Next(question) => {
                    self.dialog = Some(Dialog::Trouble(question));
                    None
                }
                Step::Ask(ask) => {
                    self.notice = Some("Asking the node; this may take some seconds.".to_owned());
                    Some(Command::Ask(Request::Trouble(ask, self.line.clone())))
                }
            },
            (Dialog::Token, KeyCode::Char('y' | 'Y')) => Some(Command::Ask(Request::ForgetToken)),
            (Dialog::Recovery, KeyCode::Char('y' | 'Y')) => Some(Command::Ask(Request::ForgetRecovery)),
            (Dialog::Token | Dialog::Recovery, _) => None,
            (Dialog::Locks { chosen }, code) => {
                self.locks_key(chosen, code);
                None
            }
            (Dialog::Unlock { lock, typed, first }, code) => self.passphrase_key(lock, typed, first, code),
            (Dialog::Power { action, typed }, KeyCode::Enter) if typed == confirmation(action) => {
                Some(Command::Ask(Request::Power(action)))
            }
            (Dialog::Power { action, mut typed }, code) => {
                match code {
                    KeyCode::Char(c) if typed.len() < confirmation(action).len() => {
                        typed.push(c.to_ascii_lowercase())
                    }
                    KeyCode::Backspace => {
                        typed.pop();
                    }
                    KeyCode::Enter => typed.clear(),
                    _ => {}
                }
                self.dialog = Some(Dialog::Power { action, typed });
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
