//! The lines to init and the agent, and what the operator asks for over them.
//!
//! A request may take minutes, so each is carried out in a task of its own, by a clone of the [`Link`] that the looks are made
//! with: the looks go on meanwhile.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axion_api::client::{self, Client};
use axion_api::host::PowerAction;
use axion_api::init::{self, InitProxy};
use axion_api::install;
use axion_api::keys::{Answer, Call, UnlockRequest};
use axion_api::storage::Key;
use axion_core::config::{Secret, is_hex_key};
use axion_core::paths;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{PATIENCE, Request, Update, below, plain};
use crate::node::{Profile, Proved};

/// Deriving a key from a passphrase and sealing it takes so long at most.
const UNLOCKED: Duration = Duration::from_secs(60);
/// Putting the boot profile in force takes so long at most.
const APPLIED: Duration = Duration::from_secs(150);
/// Looking at every disk takes so long at most.
const CHECKED: Duration = Duration::from_secs(60);

/// The lines to the node's parts.
#[derive(Clone)]
pub struct Link {
    pub(super) root: PathBuf,
    pub(super) init: Option<InitProxy<'static>>,
    pub(super) agent: Client,
    /// Held while init plans an installation: its answers come in the order of the questions.
    installer: Arc<Mutex<()>>,
}

/// What came of a request.
pub struct Outcome {
    /// What the screen is told.
    pub update: Update,
    /// What is known better now than before.
    pub learnt: Learnt,
}

/// What a request has changed of what looks find.
pub enum Learnt {
    /// Nothing that the next look does not see by itself.
    Nothing,
    /// The boot profile is another one.
    ProfileChanged,
    /// The boot profile as it is.
    Profile(Box<Profile>),
    /// Pools and datasets are other ones.
    PoolsChanged,
}

impl From<Update> for Outcome {
    fn from(update: Update) -> Self {
        Self {
            update,
            learnt: Learnt::Nothing,
        }
    }
}

impl Link {
    /// Lines to the node whose files are below `root`. Nothing is opened yet.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            init: None,
            agent: Client::unix(below(root, paths::AGENT_SOCKET)).with_timeout(PATIENCE),
            installer: Arc::default(),
        }
    }

    /// Carries a request out.
    pub async fn carry_out(mut self, request: Request) -> Outcome {
        let said = match request {
            Request::Power(action) => self.stop_node(action).await,
            Request::ForgetToken => self.forget_token(),
            Request::ForgetRecovery => self.forget_recovery().await,
            Request::Unlock(key) => self.unlock(&key).await,
            Request::LoadKey(dataset, key) => {
                let said = self.load_key(&dataset, &key).await;
                return Outcome {
                    update: Update::Answer(said),
                    // Whatever came of it.
                    learnt: Learnt::PoolsChanged,
                };
            }
            Request::CheckProfile => return self.check_profile().await,
            Request::ApplyProfile => return self.apply_profile().await,
            Request::Trouble(ask, line) => return self.trouble(ask, &line).await.into(),
            Request::Install(call) => {
                let installer = self.installer.clone();
                let _turn = installer.lock().await;
                return Update::Installer(self.install(&call).await).into();
            }
        };
        Update::Answer(said).into()
    }

    /// Init's methods.
    pub(super) async fn init(&mut self) -> Result<InitProxy<'static>, init::Error> {
        if let Some(init) = &self.init {
            return Ok(init.clone());
        }
        let socket = below(&self.root, paths::INIT_SOCKET);
        let init = init::connect(&socket.to_string_lossy()).await?;
        self.init = Some(init.clone());
        Ok(init)
    }

    /// The boot profile as it is.
    pub(super) async fn profile(&self) -> Result<Profile, client::Error> {
        let profile = self.agent.profile().await?;
        let proof = self.agent.proof().await.ok().and_then(|proofs| proofs.last);
        Ok(Profile {
            proof: proof.as_ref().and_then(Proved::of),
            ..profile.into()
        })
    }

    /// Compares the node with its boot profile, and says in words what came of it.
    async fn check_profile(&self) -> Outcome {
        match self.profile().await {
            Ok(profile) => {
                let said = match profile.trouble() {
                    None => "Checked: every item is as planned.".to_owned(),
                    Some(trouble) => format!("Checked: {trouble}."),
                };
                Outcome {
                    update: Update::Answer(said),
                    learnt: Learnt::Profile(Box::new(profile)),
                }
            }
            Err(error) => Update::Answer(format!("Not checked: {error}.")).into(),
        }
    }

    /// Puts the boot profile in force again, and says in words what came of it.
    async fn apply_profile(&self) -> Outcome {
        let patient = self.agent.clone().with_timeout(APPLIED);
        let applied = match patient.apply_profile().await {
            Ok(applied) => applied,
            Err(error) => return Update::Answer(format!("Nothing was put in force: {error}.")).into(),
        };
        let done = match applied.done.as_slice() {
            [] => "Nothing was to be done".to_owned(),
            keys => format!("In force again: {}", keys.join(", ")),
        };
        let said = match applied.left.as_slice() {
            [] => format!("{done}."),
            [left, ..] => format!("{done}. {} left: {}.", left.key, left.reason),
        };
        Outcome {
            update: Update::Answer(said),
            learnt: Learnt::ProfileChanged,
        }
    }

    /// Stops the node and says in words what became of it.
    pub(super) async fn stop_node(&mut self, action: PowerAction) -> String {
        match timeout(PATIENCE, self.power(action)).await {
            Ok(Ok(())) if action == PowerAction::Reboot => {
                "Rebooting: everything is being stopped in order.".to_owned()
            }
            Ok(Ok(())) => "Powering off: everything is being stopped in order.".to_owned(),
            Ok(Err(error)) => format!("Init did not do it: {}. Nothing was stopped.", plain(&error)),
            // It may be too busy with stopping things to say so.
            Err(_) => format!(
                "Init did not confirm within {} s; it may have begun.",
                PATIENCE.as_secs()
            ),
        }
    }

    async fn power(&mut self, action: PowerAction) -> Result<(), init::Error> {
        let init = self.init().await?;
        match action {
            PowerAction::Reboot => init.reboot().await,
            PowerAction::PowerOff => init.power_off().await,
        }
    }

    fn forget_token(&self) -> String {
        match std::fs::remove_file(below(&self.root, paths::FIRST_TOKEN)) {
            Ok(()) => "The token is no longer shown.".to_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => "The token was gone already.".to_owned(),
            Err(error) => format!(
                "The token could not be removed from {}: {error}",
                paths::FIRST_TOKEN
            ),
        }
    }

    /// Has init answer a call about keys; its refusal, or why it does not answer, is the error.
    pub(super) async fn keys(&mut self, call: &Call) -> Result<Answer, String> {
        let text = serde_json::to_string(call).map_err(|error| error.to_string())?;
        let asked = async { self.init().await?.keys(&text).await };
        let answer = timeout(UNLOCKED, asked).await;
        let late = |_| format!("init does not answer within {} s", UNLOCKED.as_secs());
        let answer = answer.map_err(late)?.map_err(|error| plain(&error))?;
        match serde_json::from_str(&answer) {
            Ok(Answer::Problem(problem)) => Err(problem.detail),
            Ok(answer) => Ok(answer),
            Err(_) => Err("init answered something else than was asked".to_owned()),
        }
    }

    /// Has init answer a call about an installation.
    pub(super) async fn install(&mut self, call: &install::Call) -> Result<install::Answer, String> {
        let text = serde_json::to_string(call).map_err(|error| error.to_string())?;
        let asked = async { self.init().await?.install(&text).await };
        let late = |_| format!("init does not answer within {} s", CHECKED.as_secs());
        let answer = timeout(CHECKED, asked).await.map_err(late)?;
        let answer = answer.map_err(|error| plain(&error))?;
        serde_json::from_str(&answer).map_err(|_| "init answered something else than was asked".to_owned())
    }

    async fn forget_recovery(&mut self) -> String {
        match self.keys(&Call::Recovery { forget: true }).await {
            Ok(_) => "The recovery passphrase is no longer shown.".to_owned(),
            Err(why) => format!("The recovery passphrase could not be forgotten: {why}"),
        }
    }

    /// Loads the key of a dataset, and says in words what became of it.
    async fn load_key(&self, dataset: &str, typed: &Secret) -> String {
        let patient = self.agent.clone().with_timeout(UNLOCKED);
        match patient.load_key(dataset, key_of(typed)).await {
            Ok(()) => format!("The dataset {dataset} is unlocked."),
            Err(client::Error::Problem(problem)) => format!("Not unlocked: {}.", problem.detail),
            Err(error) => format!("Not unlocked: {error}."),
        }
    }

    /// Unlocks the node's state, and says in words what became of it.
    pub(super) async fn unlock(&mut self, typed: &Secret) -> String {
        let request = UnlockRequest {
            key: key_of(typed),
            seal: true,
        };
        match self.keys(&Call::Unlock { request }).await {
            Ok(_) => "The state is unlocked; the agent starts again with it.".to_owned(),
            Err(why) => format!("Not unlocked: {why}."),
        }
    }
}

/// What was typed, as the key that it looks like.
fn key_of(typed: &Secret) -> Key {
    let text = typed.expose().to_owned();
    if is_hex_key(&text) {
        Key::Hex(text)
    } else {
        Key::Passphrase(text)
    }
}
