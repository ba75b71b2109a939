//! The installer's questions: disk, network, node, confirmation. Pure; init checks every answer and says what is wrong with it.

use axion_api::install::{Answer, Answers, Call, Offer, OfferedDisk, Summary};
use axion_core::config::{Addressing, Field, PoolChoice, ProfileMode, StateAnswer, Unanswered};
use crossterm::event::KeyCode;

/// Longest text of a field.
const LONGEST: usize = 60;

/// A page of questions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Which disk.
    #[default]
    Disk,
    /// How the node is reached.
    Network,
    /// Name and boot profile.
    Node,
    /// What is going to happen.
    Confirm,
}

impl Step {
    /// Every page, in order.
    pub const ALL: [Self; 4] = [Self::Disk, Self::Network, Self::Node, Self::Confirm];

    /// The page that asks for `field`.
    fn of(field: Field) -> Self {
        match field {
            Field::Machine | Field::Disk | Field::Mirror | Field::Pool => Self::Disk,
            Field::Addressing | Field::Interface | Field::Address | Field::Gateway | Field::Dns => {
                Self::Network
            }
            Field::Hostname | Field::Profile | Field::State => Self::Node,
            Field::Token => Self::Confirm,
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Disk => Self::Network,
            Self::Network => Self::Node,
            Self::Node | Self::Confirm => Self::Confirm,
        }
    }

    fn back(self) -> Option<Self> {
        match self {
            Self::Disk => None,
            Self::Network => Some(Self::Disk),
            Self::Node => Some(Self::Network),
            Self::Confirm => Some(Self::Node),
        }
    }
}

/// What a key leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing outside.
    Stay,
    /// The installer is left.
    Leave,
    /// Init is asked.
    Ask(Call),
}

/// The questions, and what was answered so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wizard {
    /// What can be chosen; `None`: init was asked.
    pub offer: Option<Offer>,
    /// What was answered.
    pub answers: Answers,
    /// The page.
    pub step: Step,
    /// Disk or field that has the keys.
    pub cursor: usize,
    /// What is wrong with answers.
    pub refused: Vec<Unanswered>,
    /// Why init could not answer.
    pub failure: Option<String>,
    /// Init was asked and has not answered.
    pub waiting: bool,
    /// What is going to happen.
    pub summary: Option<Summary>,
    /// The word, as far as it was typed.
    pub typed: String,
}

impl Wizard {
    /// Before anything is known: init is to be asked for an offer.
    pub fn new() -> Self {
        Self {
            waiting: true,
            ..Self::default()
        }
    }

    /// Fields of the page.
    pub fn fields(&self) -> &'static [Field] {
        match (self.step, self.answers.node.network.addressing) {
            (Step::Disk | Step::Confirm, _) => &[],
            (Step::Network, Addressing::Config) => &[Field::Addressing],
            (Step::Network, Addressing::Dhcp) => &[Field::Addressing, Field::Interface],
            (Step::Network, Addressing::Static) => &[
                Field::Addressing,
                Field::Interface,
                Field::Address,
                Field::Gateway,
                Field::Dns,
            ],
            (Step::Node, _) => &[Field::Hostname, Field::Profile, Field::State],
        }
    }

    /// Disks.
    pub fn disks(&self) -> &[OfferedDisk] {
        self.offer.as_ref().map_or(&[], |offer| &offer.disks)
    }

    /// The disk that the cursor is on.
    pub fn disk(&self) -> Option<&OfferedDisk> {
        self.disks().get(self.cursor)
    }

    /// Takes in what init has answered.
    pub fn answered(&mut self, answer: Result<Answer, String>) {
        self.waiting = false;
        self.failure = None;
        match answer {
            Ok(Answer::Offer(offer)) => self.offered(offer),
            Ok(Answer::Summary(summary)) => {
                self.refused.clear();
                self.summary = Some(summary);
                self.turn_to(self.step.next());
            }
            Ok(Answer::Refused(refused)) => self.take_refusals(refused),
            // How far it is comes with the next look at the node.
            Ok(Answer::Begun | Answer::Status(_)) => {}
            Ok(Answer::Failed(why)) | Err(why) => self.failure = Some(why),
        }
    }

    fn offered(&mut self, offer: Offer) {
        self.answers.node = offer.node.clone();
        self.cursor = offer
            .disks
            .iter()
            .position(|disk| disk.unfit.is_none())
            .unwrap_or(0);
        self.offer = Some(offer);
    }

    /// What was not asked yet may be wrong; the first page that was, and has something wrong, is shown.
    fn take_refusals(&mut self, refused: Vec<Unanswered>) {
        let asked = |wrong: &Unanswered| Step::of(wrong.field) <= self.step;
        self.refused = refused.into_iter().filter(asked).collect();
        let first = self.refused.iter().min_by_key(|wrong| Step::of(wrong.field));
        match first.map(|wrong| wrong.field) {
            None => self.turn_to(self.step.next()),
            Some(field) => {
                let step = Step::of(field);
                if step != self.step {
                    self.turn_to(step);
                }
                self.typed.clear();
                if let Some(at) = self.fields().iter().position(|f| *f == field) {
                    self.cursor = at;
                }
            }
        }
    }

    fn turn_to(&mut self, step: Step) {
        self.step = step;
        self.typed.clear();
        let chosen = || self.disks().iter().position(|disk| disk.id == self.answers.disk);
        self.cursor = match step {
            Step::Disk => chosen().unwrap_or(0),
            _ => 0,
        };
    }

    /// What a key does.
    pub fn key(&mut self, code: KeyCode) -> Outcome {
        match code {
            KeyCode::Esc => self.back(),
            // What was asked is answered first.
            _ if self.waiting || self.offer.is_none() => Outcome::Stay,
            KeyCode::Enter => self.enter(),
            KeyCode::Up | KeyCode::BackTab => self.move_by(false),
            KeyCode::Down | KeyCode::Tab => self.move_by(true),
            KeyCode::Left => self.change(false),
            KeyCode::Right => self.change(true),
            KeyCode::Char('m') if self.step == Step::Disk => self.turn_mirror(),
            KeyCode::Char(' ') if self.text().is_none() => self.change(true),
            KeyCode::Char(c) => self.edit(|text| {
                if text.len() + c.len_utf8() <= LONGEST {
                    text.push(c);
                }
            }),
            KeyCode::Backspace => self.edit(|text| {
                text.pop();
            }),
            _ => Outcome::Stay,
        }
    }

    /// Whether a second disk could hold the same.
    pub fn offers_mirror(&self) -> bool {
        self.disks().iter().filter(|disk| disk.unfit.is_none()).count() > 1
    }

    /// Makes the disk under the cursor the second one, or takes that back.
    fn turn_mirror(&mut self) -> Outcome {
        let fit = self.disk().filter(|disk| disk.unfit.is_none());
        if let Some(id) = fit.map(|disk| disk.id.clone()).filter(|_| self.offers_mirror()) {
            self.refused.clear();
            self.answers.mirror = if self.answers.mirror == id {
                String::new()
            } else {
                id
            };
        }
        Outcome::Stay
    }

    fn back(&mut self) -> Outcome {
        self.refused.clear();
        self.failure = None;
        match self.step.back().filter(|_| self.offer.is_some()) {
            None => Outcome::Leave,
            Some(step) => {
                self.waiting = false;
                self.turn_to(step);
                Outcome::Stay
            }
        }
    }

    fn enter(&mut self) -> Outcome {
        let call = match self.step {
            Step::Disk => {
                let fit = |disk: &&OfferedDisk| disk.unfit.is_none() && disk.id != self.answers.mirror;
                let Some(disk) = self.disk().filter(fit) else {
                    return Outcome::Stay;
                };
                self.answers.disk = disk.id.clone();
                Call::Plan(self.answers.clone())
            }
            Step::Network | Step::Node => Call::Plan(self.answers.clone()),
            Step::Confirm if self.typed.is_empty() => return Outcome::Stay,
            Step::Confirm => Call::Perform(
                Box::new(self.answers.clone()),
                self.typed.trim().to_ascii_lowercase(),
            ),
        };
        self.waiting = true;
        Outcome::Ask(call)
    }

    fn move_by(&mut self, down: bool) -> Outcome {
        let count = match self.step {
            Step::Disk => self.disks().len(),
            _ => self.fields().len(),
        };
        let last = count.saturating_sub(1);
        self.cursor = if down {
            (self.cursor + 1).min(last)
        } else {
            self.cursor.saturating_sub(1)
        };
        if self.step == Step::Disk {
            // What was said of one disk's pool is not said of another's.
            self.answers.pool = PoolChoice::Keep;
            self.refused.clear();
        }
        Outcome::Stay
    }

    /// The text that keys go into.
    fn text(&mut self) -> Option<&mut String> {
        if self.step == Step::Confirm {
            return Some(&mut self.typed);
        }
        let field = self.fields().get(self.cursor)?;
        let node = &mut self.answers.node;
        match field {
            Field::Address => Some(&mut node.network.address),
            Field::Gateway => Some(&mut node.network.gateway),
            Field::Dns => Some(&mut node.network.dns),
            Field::Hostname => Some(&mut node.hostname),
            _ => None,
        }
    }

    fn edit(&mut self, change: impl FnOnce(&mut String)) -> Outcome {
        if let Some(text) = self.text() {
            change(text);
        }
        Outcome::Stay
    }

    /// Turns a choice on or back.
    fn change(&mut self, on: bool) -> Outcome {
        if self.step == Step::Disk {
            if self.disk().is_some_and(|disk| disk.has_pool) {
                self.answers.pool = match self.answers.pool {
                    PoolChoice::Keep => PoolChoice::Destroy,
                    PoolChoice::Destroy => PoolChoice::Keep,
                };
            }
            return Outcome::Stay;
        }
        let field = self.fields().get(self.cursor).copied();
        let Some(offer) = &self.offer else {
            return Outcome::Stay;
        };
        let node = &mut self.answers.node;
        match field {
            Some(Field::Addressing) => {
                let mut ways = vec![Addressing::Dhcp, Addressing::Static];
                if offer.config_has_interfaces {
                    ways.insert(0, Addressing::Config);
                }
                node.network.addressing = turned(&ways, &node.network.addressing, on);
                let first = offer.interfaces.iter().max_by_key(|interface| interface.link);
                if node.network.addressing == Addressing::Static
                    && node.network.interface.is_empty()
                    && let Some(first) = first
                {
                    node.network.interface = first.mac.clone();
                }
            }
            Some(Field::Interface) => {
                let any = (node.network.addressing == Addressing::Dhcp).then(String::new);
                let macs = offer.interfaces.iter().map(|interface| interface.mac.clone());
                let all: Vec<String> = any.into_iter().chain(macs).collect();
                node.network.interface = turned(&all, &node.network.interface, on);
            }
            Some(Field::Profile) => {
                let modes = [ProfileMode::Off, ProfileMode::Balanced, ProfileMode::Hpc];
                node.profile = turned(&modes, &node.profile, on);
            }
            Some(Field::State) => {
                let ways = if offer.config_has_pools {
                    [StateAnswer::Config, StateAnswer::Disk]
                } else {
                    [StateAnswer::Disk, StateAnswer::Memory]
                };
                node.state = turned(&ways, &node.state, on);
            }
            _ => {}
        }
        Outcome::Stay
    }
}

/// The one behind `now`, or the one before it, around the end.
fn turned<T: Clone + PartialEq>(all: &[T], now: &T, on: bool) -> T {
    let at = all.iter().position(|one| one == now).unwrap_or(0);
    let by = if on { 1 } else { all.len().saturating_sub(1) };
    all.iter().cycle().nth(at + by).unwrap_or(now).clone()
}

#[cfg(test)]
mod tests;
