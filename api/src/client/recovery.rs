//! A node in trouble: its support bundle, and its factory reset.

use bytes::Bytes;
use http::Method;

use super::request::{self, Call};
use super::{Client, Error};
use crate::recovery::{MANIFEST, Manifest, ResetPlan, ResetRequest, ResetScope, archive};

/// A support bundle as it came.
#[derive(Debug, Clone)]
pub struct SupportBundle {
    /// What its file should be called, without an ending.
    pub name: String,
    /// What is in it.
    pub manifest: Manifest,
    /// The tar archive.
    pub archive: Bytes,
}

impl Client {
    /// `GET /v1/reset`: what a factory reset would do; nothing is changed.
    ///
    /// # Errors
    /// See [`Error`]; a 409 where there is nothing to reset.
    pub async fn plan_reset(&self, scope: ResetScope, pools: bool) -> Result<ResetPlan, Error> {
        let scope = match scope {
            ResetScope::Config => "config",
            ResetScope::State => "state",
            ResetScope::All => "all",
        };
        self.get(format!("/v1/reset?scope={scope}&pools={pools}")).await
    }

    /// `POST /v1/reset`: orders a factory reset, which the node restarts for.
    ///
    /// # Errors
    /// See [`Error`]; a 422 where the host name is another one.
    pub async fn reset(&self, request: &ResetRequest) -> Result<(), Error> {
        self.done(Call::new(Method::POST, "/v1/reset").json(request))
            .await
    }

    /// `DELETE /v1/reset`: withdraws a factory reset that is not done.
    ///
    /// # Errors
    /// See [`Error`]; a 404 where none waits.
    pub async fn cancel_reset(&self) -> Result<(), Error> {
        self.done(Call::new(Method::DELETE, "/v1/reset")).await
    }

    /// `GET /v1/support/bundle`: all that helps to understand the node, secrets left out. A node in trouble takes its time; see
    /// [`Client::with_timeout`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn support_bundle(&self) -> Result<SupportBundle, Error> {
        let call = Call::new(Method::GET, "/v1/support/bundle");
        let named = call.name();
        let archive = request::bytes(self, call).await?;
        let not_one = || Error::Protocol {
            call: named.clone(),
            detail: format!("the answer is no archive that begins with {MANIFEST}"),
        };
        let (name, manifest) = {
            let (file, text) = archive::files(&archive).next().ok_or_else(not_one)?;
            let (name, file) = file.split_once('/').ok_or_else(not_one)?;
            let usable = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if file != MANIFEST || !name.chars().all(usable) {
                return Err(not_one());
            }
            (name.to_owned(), request::parse(&named, text)?)
        };
        Ok(SupportBundle {
            name,
            manifest,
            archive,
        })
    }
}
