//! Updates on their way through the agent: from a request's body, or from where a URL leads, to PID 1, which checks and writes
//! them.
//!
//! The agent has no right to the disk and is not trusted with it. It gathers an image in a memory file, seals that against
//! changes and hands it over; one image at a time.

mod fetch;
mod memory;

use std::fmt::Display;
use std::time::Duration;

use axion_api::problem::{Kind, Problem};
use axion_api::update::{
    Answer, Call, LARGEST_SIGNATURE, MirrorPlan, MirrorRequest, StageRequest, Staging, UpdateStatus,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::SemaphorePermit;

use self::memory::Memory;
use crate::app::App;
use crate::init::InitError;

/// How long init may take to look at the slots: a slow disk.
const LOOK: Duration = Duration::from_secs(60);
/// How long it may take to check and to write an image: a stick that writes 1 MiB/s.
const WRITE: Duration = Duration::from_secs(600);

const DISAGREE: &str = "init and the agent do not understand each other";

fn internal(what: &str, error: &dyn Display) -> Problem {
    Problem::new(Kind::Internal, format!("{what}: {error}"))
}

/// What init answered; its refusal is the error.
fn answered(answer: &str) -> Result<Answer, Problem> {
    match serde_json::from_str(answer) {
        Ok(Answer::Problem(problem)) => Err(problem),
        Ok(answer) => Ok(answer),
        Err(error) => Err(internal(DISAGREE, &error)),
    }
}

/// The slots, which init answered with.
fn told(answer: &str) -> Result<UpdateStatus, Problem> {
    match answered(answer)? {
        Answer::Status(status) => Ok(*status),
        Answer::Plan(_) | Answer::Problem(_) => Err(internal(DISAGREE, &"it told of something else")),
    }
}

fn late(limit: Duration) -> Problem {
    let detail = format!("init did not finish within {} s; it may go on", limit.as_secs());
    Problem::new(Kind::Unavailable, detail)
}

/// Asks init about the slots, or for a change of what is started.
pub async fn ask(app: &App, call: &Call) -> Result<UpdateStatus, Problem> {
    told(&within(app, call, LOOK).await?)
}

async fn within(app: &App, call: &Call, limit: Duration) -> Result<String, Problem> {
    let text = serde_json::to_string(call).map_err(|e| internal("cannot ask init", &e))?;
    let proxy = app.init.proxy()?;
    let answer = tokio::time::timeout(limit, proxy.update(&text)).await;
    Ok(answer.map_err(|_| late(limit))?.map_err(InitError::from)?)
}

/// What would become of a disk that is to be the other system disk.
pub async fn plan_mirror(app: &App, request: MirrorRequest) -> Result<MirrorPlan, Problem> {
    match answered(&within(app, &Call::PlanMirror(request), WRITE).await?)? {
        Answer::Plan(plan) => Ok(plan),
        Answer::Status(_) | Answer::Problem(_) => Err(internal(DISAGREE, &"it told of something else")),
    }
}

/// Has init lay the disk out and fill it.
pub async fn add_mirror(app: &App, request: MirrorRequest) -> Result<UpdateStatus, Problem> {
    told(&within(app, &Call::AddMirror(request), WRITE).await?)
}

/// Has init check and write an image.
async fn hand_over(app: &App, image: Memory, staging: &Staging) -> Result<UpdateStatus, Problem> {
    let text = serde_json::to_string(staging).map_err(|e| internal("cannot ask init", &e))?;
    let image = image.seal().map_err(|e| internal("cannot seal the image", &e))?;
    let proxy = app.init.proxy()?;
    let answer = tokio::time::timeout(WRITE, proxy.stage_update(image.into(), &text)).await;
    told(&answer.map_err(|_| late(WRITE))?.map_err(InitError::from)?)
}

/// Whether an image would be taken at all, before anybody waits for it to arrive; held while it is dealt with.
async fn begin(app: &App) -> Result<SemaphorePermit<'_>, Problem> {
    let turn = app.staging.try_acquire().map_err(|_| {
        let detail = "another update is being staged; wait until it is written";
        Problem::new(Kind::Conflict, detail)
    })?;
    let status = ask(app, &Call::Status).await?;
    if status.trusted_keys.is_empty() {
        // Init knows best how to say that nobody is trusted, and looks at nothing else then.
        let image = Memory::new().map_err(|e| internal("no memory for the image", &e))?;
        hand_over(app, image, &Staging::default()).await?;
    }
    Ok(turn)
}

/// The signature in a header.
fn signature(header: Option<&str>) -> Result<String, Problem> {
    let header = header.ok_or_else(|| {
        let detail = "an upload needs the header `Axion-Signature`: the content of the image's .minisig file in Base64";
        Problem::new(Kind::Malformed, detail)
    })?;
    let bytes = STANDARD.decode(header.trim()).ok();
    let text = bytes
        .filter(|bytes| bytes.len() <= LARGEST_SIGNATURE)
        .and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| {
        Problem::new(
            Kind::Malformed,
            "the header `Axion-Signature` is no text in Base64",
        )
    })
}

/// Stages a body.
pub async fn upload<E: Display>(
    app: &App,
    header: Option<&str>,
    allow_downgrade: bool,
    body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
) -> Result<UpdateStatus, Problem> {
    let staging = Staging {
        signature: signature(header)?,
        allow_downgrade,
    };
    let _turn = begin(app).await?;
    let image = memory::gather(body).await?;
    hand_over(app, image, &staging).await
}

/// Stages what is at a URL.
pub async fn fetch(app: &App, request: &StageRequest) -> Result<UpdateStatus, Problem> {
    let url = fetch::Url::parse(&request.url).map_err(|error| Problem::from(error).at("/url"))?;
    let _turn = begin(app).await?;
    let signature = fetch::text(&url.signature(), LARGEST_SIGNATURE).await?;
    let staging = Staging {
        signature,
        allow_downgrade: request.allow_downgrade,
    };
    let mut body = fetch::get(&url).await?;
    let image = memory::gather(&mut body).await?;
    hand_over(app, image, &staging).await
}

#[cfg(test)]
mod tests;
