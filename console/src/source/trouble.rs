//! What is asked of the node for somebody in front of it who has a problem.

use std::io::Write;
use std::time::Duration;

use axion_api::host::PowerAction;
use axion_api::recovery::{Answer, Call, ResetRequest, ResetScope, Stick};
use axion_api::update::{self, UpdateStatus};
use tokio::time::timeout;

use super::{Link, Update, plain};
use crate::app::trouble::{Ask, Trouble};

/// A node in trouble takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

impl Link {
    /// Asks, and says what became of it, or what is to be asked next.
    pub(super) async fn trouble(&mut self, ask: Ask, line: &str) -> Update {
        match ask {
            Ask::Sticks => self.sticks().await,
            Ask::Save(stick) => Update::Answer(match self.save(&stick).await {
                Ok(name) => format!("Written to {}: {name}. It may be unplugged.", stick.device),
                Err(why) => format!("No support bundle: {why}."),
            }),
            Ask::Slots => Update::Trouble(Box::new(match self.update(update::Call::Status).await {
                Ok(status) => Trouble::Slots {
                    status,
                    typed: String::new(),
                },
                Err(why) => Trouble::NoSlots(why),
            })),
            Ask::RollBack(slot) => Update::Answer(match self.roll_back(&slot).await {
                Ok(said) => said,
                Err(why) => format!("Not rolled back: {why}."),
            }),
            Ask::Plan(scope) => self.plan_reset(scope).await,
            Ask::Reset(scope, confirm) => {
                let request = ResetRequest {
                    scope,
                    pools: false,
                    confirm,
                };
                Update::Answer(match self.recovery(&Call::Reset { request }).await {
                    Ok(_) => "Ordered: the node restarts, and forgets on its way up.".to_owned(),
                    Err(why) => format!("Nothing is forgotten: {why}."),
                })
            }
            Ask::Shell => Update::Answer(match self.shell(line).await {
                Ok(_) => "The shell takes this line.".to_owned(),
                Err(why) => format!("No shell: {why}."),
            }),
        }
    }

    async fn sticks(&mut self) -> Update {
        match self.recovery(&Call::Sticks).await {
            Ok(Answer::Sticks(sticks)) if sticks.is_empty() => Update::Answer(
                "There is no USB stick with a FAT file system; plug one in and try again.".to_owned(),
            ),
            Ok(Answer::Sticks(sticks)) => Update::Trouble(Box::new(Trouble::Sticks(sticks))),
            Ok(_) => Update::Answer("Init answered something else than was asked.".to_owned()),
            Err(why) => Update::Answer(format!("Sticks cannot be looked for: {why}.")),
        }
    }

    async fn plan_reset(&mut self, scope: ResetScope) -> Update {
        let call = Call::PlanReset { scope, pools: false };
        match self.recovery(&call).await {
            Ok(Answer::ResetPlan(plan)) => Update::Trouble(Box::new(Trouble::Reset {
                plan: *plan,
                typed: String::new(),
            })),
            Ok(_) => Update::Answer("Init answered something else than was asked.".to_owned()),
            Err(why) => Update::Answer(format!("There is nothing to reset: {why}.")),
        }
    }

    /// Fetches a bundle of the agent and gives it to init, which may open disks; the name of the file.
    async fn save(&mut self, stick: &Stick) -> Result<String, String> {
        let agent = self.agent.clone().with_timeout(PATIENCE);
        let bundle = agent.support_bundle().await.map_err(|error| error.to_string())?;
        let name = format!("{}.tar", bundle.name);
        let (reader, mut writer) = std::io::pipe().map_err(|error| error.to_string())?;
        let archive = bundle.archive;
        // Init may go away while it reads; then there is nobody to tell.
        std::thread::spawn(move || drop(writer.write_all(&archive)));
        let content = std::os::fd::OwnedFd::from(reader);
        let saved = async {
            let init = self.init().await?;
            init.save_to_stick(&stick.device, &name, content.into()).await
        };
        let saved = timeout(PATIENCE, saved).await.map_err(late)?;
        read(&saved.map_err(|error| plain(&error))?)?;
        Ok(name)
    }

    async fn shell(&mut self, line: &str) -> Result<Answer, String> {
        let asked = async { self.init().await?.open_rescue_shell(line).await };
        let answer = timeout(PATIENCE, asked).await.map_err(late)?;
        read(&answer.map_err(|error| plain(&error))?)
    }

    /// Makes `slot` the next one and restarts. Done twice, a rollback would be taken back, so it is done where it still leads
    /// there.
    async fn roll_back(&mut self, slot: &str) -> Result<String, String> {
        let now = self.update(update::Call::Status).await?;
        if now.way_back().is_none_or(|back| back.slot != slot) {
            return Err("the slots are others than shown by now; look at them again".to_owned());
        }
        self.update(update::Call::RollBack).await?;
        let restart = self.stop_node(PowerAction::Reboot).await;
        Ok(format!("Slot {slot} starts next. {restart}"))
    }

    /// What init says of the slots; its refusal is the error.
    async fn update(&mut self, call: update::Call) -> Result<Box<UpdateStatus>, String> {
        let text = serde_json::to_string(&call).map_err(|error| error.to_string())?;
        let asked = async { self.init().await?.update(&text).await };
        let answer = timeout(PATIENCE, asked).await.map_err(late)?;
        match serde_json::from_str(&answer.map_err(|error| plain(&error))?) {
            Ok(update::Answer::Status(status)) => Ok(status),
            Ok(update::Answer::Problem(problem)) => Err(problem.detail),
            Ok(update::Answer::Plan(_)) | Err(_) => {
                Err("init answered something else than was asked".to_owned())
            }
        }
    }

    async fn recovery(&mut self, call: &Call) -> Result<Answer, String> {
        let text = serde_json::to_string(call).map_err(|error| error.to_string())?;
        let asked = async { self.init().await?.recovery(&text).await };
        let answer = timeout(PATIENCE, asked).await.map_err(late)?;
        read(&answer.map_err(|error| plain(&error))?)
    }
}

fn late(_: tokio::time::error::Elapsed) -> String {
    format!("init does not answer within {} s", PATIENCE.as_secs())
}

/// What an answer says; a refusal is the error.
fn read(answer: &str) -> Result<Answer, String> {
    match serde_json::from_str(answer) {
        Ok(Answer::Problem(problem)) => Err(problem.detail),
        Ok(answer) => Ok(answer),
        Err(_) => Err("init answered something else than was asked".to_owned()),
    }
}
