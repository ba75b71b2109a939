//! The directory that a unit has while it exists.

use axion_core::paths;

use super::spec::Spec;
use crate::files::{self, Access};

/// Makes the unit's directory (its user, group axion, mode 2750) and the files in it.
pub fn make(spec: &Spec) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let Some(directory) = &spec.run_directory else {
        return Ok(());
    };
    if let Some(parent) = directory.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::create_dir(directory)?;
    let made = (|| {
        let access = |mode| Access {
            uid: spec.uid,
            gid: paths::GROUP_AXION,
            mode,
        };
        for (name, contents) in &spec.files {
            files::create(&directory.join(name), contents, access(0o440))?;
        }
        files::set_access(directory, access(0o2750))
    })();
    if let Err(e) = made {
        let _ = std::fs::remove_dir_all(directory);
        return Err(e.into());
    }
    Ok(())
}
