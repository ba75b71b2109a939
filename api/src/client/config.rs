//! The machine config that a node keeps.

use http::Method;

use super::request::Call;
use super::{Client, Error};
use crate::config::{ConfigApplied, ConfigDocument};
use crate::profile::CONFIG_MEDIA_TYPE;

/// # Errors
/// Every call: see [`Error`].
impl Client {
    /// `GET /v1/config`: the document, or the one before it.
    pub async fn kept_config(&self, previous: bool) -> Result<ConfigDocument, Error> {
        let query = if previous { "?previous=true" } else { "" };
        self.get(&format!("/v1/config{query}")).await
    }

    /// `PUT /v1/config`: another document, or only what would become of it.
    pub async fn apply_config(&self, document: &str, dry_run: bool) -> Result<ConfigApplied, Error> {
        let query = if dry_run { "?dry_run=true" } else { "" };
        let call = Call::new(Method::PUT, format!("/v1/config{query}"));
        self.json(call.body(CONFIG_MEDIA_TYPE, document.to_owned())).await
    }
}
