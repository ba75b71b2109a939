//! What the firmware calls the machine.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::read;

/// Names in the firmware's tables (SMBIOS 3.7 §7.2, §7.3); empty where there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Platform {
    /// Who made it.
    pub vendor: String,
    /// Which product it is.
    pub product: String,
    /// Which board is in it.
    pub board: String,
}

impl Platform {
    /// Reads `/sys/class/dmi/id` below `root`.
    pub fn read(root: &Path) -> Self {
        let name = |file: &str| read::text(root.join("sys/class/dmi/id").join(file)).unwrap_or_default();
        Self {
            vendor: name("sys_vendor"),
            product: name("product_name"),
            board: name("board_name"),
        }
    }
}
