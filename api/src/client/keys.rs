//! The TPM of a node, and the keys that it keeps.

use http::Method;

use super::request::Call;
use super::{Client, Error};
use crate::keys::{HostTpm, Recovery, SealRequest, UnlockRequest};

/// # Errors
/// Every call: see [`Error`].
impl Client {
    /// `GET /v1/host/tpm`.
    pub async fn tpm(&self) -> Result<HostTpm, Error> {
        self.get("/v1/host/tpm").await
    }

    /// `POST /v1/host/tpm/seal`.
    pub async fn seal_key(&self, request: &SealRequest) -> Result<(), Error> {
        self.done(Call::new(Method::POST, "/v1/host/tpm/seal").json(request))
            .await
    }

    /// `POST /v1/host/state/unlock`: the agent is started again with the state afterwards.
    pub async fn unlock_state(&self, request: &UnlockRequest) -> Result<(), Error> {
        self.done(Call::new(Method::POST, "/v1/host/state/unlock").json(request))
            .await
    }

    /// `POST /v1/host/state/recovery`: the recovery passphrase, which the node tells until it is noted.
    pub async fn recovery(&self) -> Result<Recovery, Error> {
        self.json(Call::new(Method::POST, "/v1/host/state/recovery"))
            .await
    }

    /// `DELETE /v1/host/state/recovery`: the recovery passphrase is noted, and the node forgets it.
    pub async fn forget_recovery(&self) -> Result<(), Error> {
        self.done(Call::new(Method::DELETE, "/v1/host/state/recovery"))
            .await
    }
}
