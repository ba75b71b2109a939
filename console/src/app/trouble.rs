//! What helps a node in trouble: support bundle, the version before, factory reset, rescue shell. Pure.
//!
//! ```text
//! menu ─ b ─> sticks are looked for ─> which one ─> written
//!      ─ v ─> slots ─> `roll back`, typed ─> the other confirmed slot is next, reboot
//!      ─ f ─> which scope ─> what is lost ─> the host name, typed ─> ordered, reboot
//!      ─ s ─> `shell`, typed ─> the shell takes the line
//! ```

use axion_api::recovery::{ResetPlan, ResetScope, Stick};
use axion_api::update::UpdateStatus;
use crossterm::event::KeyCode;

/// A question about a node in trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// What is wanted?
    Menu,
    /// Which stick?
    Sticks(Vec<Stick>),
    /// Back to the version before? The answer is [`ROLL_BACK`].
    Slots {
        /// What is in the slots.
        status: Box<UpdateStatus>,
        /// Typed so far.
        typed: String,
    },
    /// Nothing is asked: there are no slots, and why.
    NoSlots(String),
    /// What is to be forgotten?
    Scope,
    /// Forget it? The answer is the host name.
    Reset {
        /// What is lost and what stays.
        plan: ResetPlan,
        /// Typed so far.
        typed: String,
    },
    /// A shell? The answer is [`SHELL`].
    Shell {
        /// Typed so far.
        typed: String,
    },
}

/// What to type for the version before.
pub const ROLL_BACK: &str = "roll back";
/// The word to type for a shell.
pub const SHELL: &str = "shell";
/// Sticks that have a key.
pub const MOST_STICKS: usize = 9;
/// Longest host name.
const LONGEST: usize = 63;

/// What the node is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Which sticks are there?
    Sticks,
    /// Write a support bundle to this one.
    Save(Stick),
    /// What is in the slots?
    Slots,
    /// Make this slot, the other confirmed one, the next one, and restart.
    RollBack(String),
    /// What would a reset do?
    Plan(ResetScope),
    /// Order it, by the host name.
    Reset(ResetScope, String),
    /// Put a shell in the place of this console.
    Shell,
}

/// What a key leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The next question.
    Next(Trouble),
    /// Back to the page, and this is asked of the node.
    Ask(Ask),
    /// Back to the page.
    Close,
}

impl Trouble {
    /// What `code` does.
    pub fn key(self, code: KeyCode) -> Step {
        match (self, code) {
            (_, KeyCode::Esc) => Step::Close,
            (Self::Menu, KeyCode::Char('b')) => Step::Ask(Ask::Sticks),
            (Self::Menu, KeyCode::Char('v')) => Step::Ask(Ask::Slots),
            (Self::Menu, KeyCode::Char('f')) => Step::Next(Self::Scope),
            (Self::Menu, KeyCode::Char('s')) => Step::Next(Self::Shell { typed: String::new() }),
            (Self::Sticks(sticks), KeyCode::Char(c)) => {
                let chosen = c.to_digit(10).and_then(|digit| digit.checked_sub(1));
                let chosen = chosen.and_then(|index| sticks.get(usize::try_from(index).ok()?));
                match chosen {
                    Some(stick) => Step::Ask(Ask::Save(stick.clone())),
                    None => Step::Next(Self::Sticks(sticks)),
                }
            }
            (Self::Slots { status, typed }, code) => match (status.way_back(), code) {
                (Some(back), KeyCode::Enter) if typed == ROLL_BACK => {
                    Step::Ask(Ask::RollBack(back.slot.clone()))
                }
                (Some(_), _) => Step::Next(Self::Slots {
                    status,
                    typed: after(typed, code, ROLL_BACK.len()),
                }),
                (None, _) => Step::Next(Self::Slots { status, typed }),
            },
            (Self::Scope, KeyCode::Char('c')) => Step::Ask(Ask::Plan(ResetScope::Config)),
            (Self::Scope, KeyCode::Char('s')) => Step::Ask(Ask::Plan(ResetScope::State)),
            (Self::Scope, KeyCode::Char('a')) => Step::Ask(Ask::Plan(ResetScope::All)),
            (Self::Reset { plan, typed }, KeyCode::Enter) if typed == plan.hostname => {
                Step::Ask(Ask::Reset(plan.scope, typed))
            }
            (Self::Reset { plan, typed }, code) => Step::Next(Self::Reset {
                plan,
                typed: after(typed, code, LONGEST),
            }),
            (Self::Shell { typed }, KeyCode::Enter) if typed == SHELL => Step::Ask(Ask::Shell),
            (Self::Shell { typed }, code) => Step::Next(Self::Shell {
                typed: after(typed, code, SHELL.len()),
            }),
            (question, _) => Step::Next(question),
        }
    }
}

/// What is typed after a key; Enter on a wrong answer begins anew.
fn after(mut typed: String, code: KeyCode, longest: usize) -> String {
    match code {
        KeyCode::Char(c) if typed.len() + c.len_utf8() <= longest => typed.push(c),
        KeyCode::Backspace => drop(typed.pop()),
        KeyCode::Enter => typed.clear(),
        _ => {}
    }
    typed
}

#[cfg(test)]
mod tests;
