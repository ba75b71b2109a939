//! What changed on a node, as server-sent events (`GET /v1/events`).

use axion_core::profile::{Item, ItemState};
use serde::{Deserialize, Serialize};

use crate::init::{Phase, UnitStatus};
use crate::netboot::NetbootStep;
use crate::recovery::NoticeKind;
use crate::storage::PoolEvent;
use crate::vm::Vm;

/// One event. The SSE `event:` field is the value of `kind`, `id:` is `sequence`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Event {
    /// Grows by one with each event since the agent started.
    pub sequence: u64,
    /// Microseconds since 1970 by the node's clock.
    pub unix_us: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", content = "data", rename_all = "kebab-case")]
pub enum What {
    /// A VM was created, changed, or changed state. Its `spec.cloud_init` is left out.
    Vm(Box<Vm>),
    /// A VM was deleted.
    VmDeleted {
        /// Its name.
        name: String,
    },
    /// A unit of init changed state.
    Unit(UnitStatus),
    /// A boot phase ended.
    Phase(Phase),
    /// The node left its boot profile, or returned to it.
    Profile {
        /// The worst state of any item.
        state: ItemState,
        /// Every item that is not as planned; none: all are.
        items: Vec<Item>,
    },
    /// Something to know: a crash that was found, firmware that is missing.
    Notice {
        /// About what.
        about: NoticeKind,
        /// For people.
        text: String,
    },
    /// Something happened to a pool.
    Pool(PoolEvent),
    /// A machine that boots from this node did something; how far its files are is in `GET /v1/netboot` alone.
    Netboot(NetbootStep),
    /// Events were lost because the reader was too slow; read the state anew.
    Lost {
        /// How many.
        count: u64,
    },
}
