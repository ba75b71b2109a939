//! Booting other machines over the network.

use http::Method;

use super::request::{self, Call, segment};
use super::{Client, Error};
use crate::netboot::{Netboot, NetbootConfig};
use crate::profile::CONFIG_MEDIA_TYPE;

impl Client {
    /// `GET /v1/netboot`: the node's boot server, and what machines did.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn netboot(&self) -> Result<Netboot, Error> {
        self.get("/v1/netboot").await
    }

    /// `GET /v1/netboot/configs`: machine configs that are kept for machines.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn netboot_configs(&self) -> Result<Vec<NetbootConfig>, Error> {
        self.get("/v1/netboot/configs").await
    }

    /// `GET /v1/netboot/configs/{name}`: the document.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn netboot_config(&self, name: &str) -> Result<String, Error> {
        let body = request::bytes(self, Call::new(Method::GET, path(name))).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// `PUT /v1/netboot/configs/{name}`: keeps a document for a machine.
    ///
    /// # Errors
    /// See [`Error`]; a document with a mistake is a 422 [`Error::Problem`].
    pub async fn put_netboot_config(&self, name: &str, document: &str) -> Result<NetbootConfig, Error> {
        let call = Call::new(Method::PUT, path(name));
        self.json(call.body(CONFIG_MEDIA_TYPE, document.to_owned())).await
    }

    /// `DELETE /v1/netboot/configs/{name}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete_netboot_config(&self, name: &str) -> Result<(), Error> {
        self.done(Call::new(Method::DELETE, path(name))).await
    }
}

fn path(name: &str) -> String {
    format!("/v1/netboot/configs/{}", segment(name))
}
