//! File systems and zvols: what `zfs list` says of them, making, changing and destroying them.

use std::collections::BTreeMap;

use axion_api::storage::{Dataset, DatasetKind, DatasetSpec, Key, KeyState, Pool, Use};
use axion_core::config::Compression;
use axion_core::quantity::ByteSize;
use serde_json::Value;

use crate::error::StorageError;
use crate::json::{member, members, number, property, text};
use crate::storage::Storage;
use crate::{names, tune, zvol};

const PROPERTIES: &str = "name,used,available,referenced,compressratio,compression,recordsize,volblocksize,volsize,quota,\
                          reservation,mountpoint,mounted,origin,encryption,keystatus,receive_resume_token,creation,atime,xattr";
/// Block sizes of zvols, bytes.
const VOLUME_BLOCKS: std::ops::RangeInclusive<u64> = 4096..=128 << 10;
/// Largest blocks of file systems, bytes.
const RECORDS: std::ops::RangeInclusive<u64> = 512..=16 << 20;

/// Reads what `zfs list` wrote; `devices` are zvols and their nodes.
pub(crate) fn parse(list: &Value, devices: &BTreeMap<String, String>) -> Vec<Dataset> {
    let read = |(name, value): (&String, &Value)| {
        let of = |name: &str| property(value, name);
        let size = |name: &str| number(of(name)).unwrap_or_default();
        // Zero stands for none.
        let limit = |name: &str| number(of(name)).filter(|bytes| *bytes != 0);
        let kind = match member(value, "type").as_str()? {
            "FILESYSTEM" => DatasetKind::Filesystem,
            "VOLUME" => DatasetKind::Volume,
            _ => return None,
        };
        let is_mounted = of("mounted").as_str() == Some("yes");
        Some(Dataset {
            name: name.clone(),
            kind,
            used: size("used"),
            available: size("available"),
            referenced: size("referenced"),
            compress_ratio: ratio(of("compressratio")),
            compression: text(of("compression")).unwrap_or_default(),
            block_size: limit("volblocksize")
                .or_else(|| limit("recordsize"))
                .unwrap_or_default(),
            atime: match of("atime").as_str() {
                Some("on") => Some(true),
                Some("off") => Some(false),
                _ => None,
            },
            xattr: text(of("xattr")),
            volume_size: limit("volsize"),
            device: devices.get(name).map(|node| format!("/dev/{node}")),
            quota: limit("quota"),
            reservation: limit("reservation"),
            mounted_at: text(of("mountpoint")).filter(|_| is_mounted),
            origin: text(of("origin")),
            encryption: text(of("encryption")).filter(|how| how != "off"),
            key: match of("keystatus").as_str() {
                Some("available") => Some(KeyState::Available),
                Some("unavailable") => Some(KeyState::Unavailable),
                _ => None,
            },
            resume_token: text(of("receive_resume_token")),
            created_unix_s: size("creation"),
            system: names::is_system(name),
        })
    };
    members(member(list, "datasets")).filter_map(read).collect()
}

/// `1.53`, however it is written.
fn ratio(value: &Value) -> String {
    let text = text(value).unwrap_or_else(|| "1.00".to_owned());
    text.trim_end_matches('x').to_owned()
}

/// Refuses what belongs to the node itself.
pub(crate) fn not_system(name: &str) -> Result<(), StorageError> {
    if names::is_system(name) {
        let detail = format!("`{name}` is the node's own; it is shown and not changed here");
        return Err(StorageError::Conflict(detail));
    }
    Ok(())
}

/// Refuses what belongs to the node itself, but for volumes of VMs, whose snapshots are anybody's.
pub(crate) fn not_state(name: &str) -> Result<(), StorageError> {
    if names::is_volume(name) {
        return Ok(());
    }
    not_system(name)
}

/// Checks what can be said of a spec without the pool.
fn check(spec: &DatasetSpec) -> Result<(), StorageError> {
    if let Some(ByteSize(block)) = spec.block_size {
        let (allowed, of) = match spec.size {
            Some(_) => (VOLUME_BLOCKS, "a zvol"),
            None => (RECORDS, "a file system"),
        };
        if !block.is_power_of_two() || !allowed.contains(&block) {
            let (least, most) = (ByteSize(*allowed.start()), ByteSize(*allowed.end()));
            let detail = format!(
                "{}; allowed are powers of two from {least} to {most} for {of}",
                ByteSize(block)
            );
            return Err(StorageError::at("/block_size", detail));
        }
    }
    if spec.size.is_some_and(|size| size.0 == 0) {
        return Err(StorageError::at("/size", "a zvol has a size"));
    }
    if spec.size.is_some() && spec.quota.is_some() {
        let detail = "a zvol takes no more than its size; `quota` is for file systems";
        return Err(StorageError::at("/quota", detail));
    }
    if spec.size.is_none() && spec.sparse {
        return Err(StorageError::at(
            "/sparse",
            "a file system is always sparse; `sparse` is for zvols",
        ));
    }
    let key = spec
        .encryption
        .as_ref()
        .map(|encryption| check_key(&encryption.key));
    key.transpose().map(drop)
}

pub(crate) fn check_key(key: &Key) -> Result<(), StorageError> {
    match key {
        Key::Passphrase(words) if !(8..=512).contains(&words.len()) || words.contains(['\n', '\0']) => {
            let detail = "a passphrase has 8 to 512 bytes, without line breaks";
            Err(StorageError::at("/encryption/key/passphrase", detail))
        }
        Key::Hex(digits) if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Err(StorageError::at("/encryption/key/hex", "a key is 64 hex digits"))
        }
        Key::Passphrase(_) | Key::Hex(_) => Ok(()),
    }
}

pub(crate) fn secret(key: &Key) -> (String, &'static str) {
    match key {
        Key::Passphrase(words) => (words.clone(), "passphrase"),
        Key::Hex(digits) => (digits.clone(), "hex"),
    }
}

/// What a dataset is for, where its spec does not say.
fn used_for(spec: &DatasetSpec) -> Use {
    let usual = if spec.size.is_some() {
        Use::Vm
    } else {
        Use::General
    };
    spec.r#use.unwrap_or(usual)
}

/// Arguments of `zfs create`; of its pool: whether it has raidz, and its `ashift`.
fn creation(name: &str, spec: &DatasetSpec, raidz: bool, ashift: u8) -> Result<Vec<String>, StorageError> {
    let for_use = used_for(spec);
    let mut arguments = vec!["create".to_owned()];
    let mut set = |property: &str, value: String| {
        arguments.extend(["-o".to_owned(), format!("{property}={value}")]);
    };
    set(
        "compression",
        tune::compression(spec.compression.unwrap_or_default(), for_use).to_owned(),
    );
    if let Some(bias) = tune::log_bias(for_use) {
        set("logbias", bias.to_owned());
    }
    if let Some(ByteSize(bytes)) = spec.reservation {
        set("reservation", bytes.to_string());
    }
    if let Some(encryption) = &spec.encryption {
        set("encryption", "aes-256-gcm".to_owned());
        set("keyformat", secret(&encryption.key).1.to_owned());
        set("keylocation", "prompt".to_owned());
    }
    if let Some(ByteSize(size)) = spec.size {
        let block = spec
            .block_size
            .map_or_else(|| tune::volume_block_size(for_use, raidz, ashift), |b| b.0);
        if !size.is_multiple_of(block) {
            let detail = format!(
                "{}; allowed are multiples of the block size, {}",
                ByteSize(size),
                ByteSize(block)
            );
            return Err(StorageError::at("/size", detail));
        }
        set("volblocksize", block.to_string());
        if spec.sparse {
            arguments.push("-s".to_owned());
        }
        arguments.extend(["-V".to_owned(), size.to_string()]);
    } else {
        let record = spec
            .block_size
            .map_or_else(|| tune::record_size(for_use), |b| b.0);
        set("recordsize", record.to_string());
        if let Some(ByteSize(bytes)) = spec.quota {
            set("quota", bytes.to_string());
        }
    }
    arguments.push(name.to_owned());
    Ok(arguments)
}

/// Properties that bring a dataset which is there to a spec.
fn changes(there: &Dataset, spec: &DatasetSpec) -> Result<Vec<String>, StorageError> {
    let conflict = |detail: String| Err(StorageError::Conflict(detail));
    let name = &there.name;
    match (there.volume_size, spec.size) {
        (Some(_), None) => return conflict(format!("`{name}` is a zvol; give its size")),
        (None, Some(_)) => {
            return conflict(format!(
                "`{name}` is a file system, which has no size; use `quota`"
            ));
        }
        (Some(has), Some(ByteSize(wanted))) if wanted < has => {
            let (has, wanted) = (ByteSize(has), ByteSize(wanted));
            return conflict(format!(
                "`{name}` has {has}; making it {wanted} would cut off what is behind"
            ));
        }
        (Some(has), Some(ByteSize(wanted)))
            if !wanted.is_multiple_of(there.block_size.max(1)) && wanted != has =>
        {
            let block = ByteSize(there.block_size);
            let detail = format!(
                "{}; allowed are multiples of the block size, {block}",
                ByteSize(wanted)
            );
            return Err(StorageError::at("/size", detail));
        }
        _ => {}
    }
    if spec.encryption.is_some() && there.encryption.is_none() {
        return conflict(format!(
            "`{name}` is not encrypted, and only a new dataset can be"
        ));
    }
    let mut changes = Vec::new();
    let mut set = |property: &str, value: String| changes.push(format!("{property}={value}"));
    if let Some(ByteSize(wanted)) = spec.size.filter(|size| Some(size.0) != there.volume_size) {
        set("volsize", wanted.to_string());
    }
    if let Some(ByteSize(block)) = spec.block_size.filter(|block| block.0 != there.block_size) {
        if there.kind == DatasetKind::Volume {
            let has = ByteSize(there.block_size);
            return conflict(format!("`{name}` has blocks of {has}, which a zvol keeps"));
        }
        set("recordsize", block.to_string());
    }
    if let Some(wanted) = spec.compression.filter(|wanted| *wanted != Compression::Auto) {
        let wanted = tune::compression(wanted, used_for(spec));
        if wanted != there.compression {
            set("compression", wanted.to_owned());
        }
    }
    let limit = |bytes: Option<u64>| bytes.map_or_else(|| "none".to_owned(), |bytes| bytes.to_string());
    let quota = spec.quota.map(|quota| quota.0);
    if there.kind == DatasetKind::Filesystem && quota != there.quota {
        set("quota", limit(quota));
    }
    let reservation = spec.reservation.map(|reservation| reservation.0);
    if reservation != there.reservation {
        set("reservation", limit(reservation));
    }
    Ok(changes)
}

impl Storage {
    /// File systems and zvols: all, or one and what is below it.
    ///
    /// # Errors
    /// ZFS is not there, or there is no such dataset.
    pub fn datasets(&self, under: Option<&str>) -> Result<Vec<Dataset>, StorageError> {
        self.present()?;
        let mut arguments = vec![
            "list",
            "-j",
            "--json-int",
            "-p",
            "-t",
            "filesystem,volume",
            "-o",
            PROPERTIES,
        ];
        if let Some(name) = under {
            names::dataset(name)?;
            arguments.extend(["-r", name]);
        }
        let devices = zvol::nodes(&self.root.dev(), &self.root.sys());
        Ok(parse(&self.tools.zfs(arguments).json()?, &devices))
    }

    /// One file system or zvol.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn dataset(&self, name: &str) -> Result<Dataset, StorageError> {
        let missing = || StorageError::NotFound(format!("there is no dataset `{name}`"));
        self.present()?;
        names::dataset(name)?;
        let arguments = [
            "list",
            "-j",
            "--json-int",
            "-p",
            "-t",
            "filesystem,volume",
            "-o",
            PROPERTIES,
            name,
        ];
        let devices = zvol::nodes(&self.root.dev(), &self.root.sys());
        let found = parse(&self.tools.zfs(arguments).json()?, &devices);
        found
            .into_iter()
            .find(|dataset| dataset.name == name)
            .ok_or_else(missing)
    }

    pub(crate) fn find(&self, name: &str) -> Result<Option<Dataset>, StorageError> {
        match self.dataset(name) {
            Ok(dataset) => Ok(Some(dataset)),
            Err(error) => match axion_api::problem::Problem::from(error) {
                problem if problem.status == axion_api::problem::Kind::NotFound.status() => Ok(None),
                problem => Err(StorageError::Conflict(problem.detail)),
            },
        }
    }

    /// Makes or changes a dataset. Answers it and whether it is new.
    ///
    /// # Errors
    /// The spec is not allowed, the pool is full, or it is there as something else.
    pub fn put_dataset(&self, name: &str, spec: &DatasetSpec) -> Result<(Dataset, bool), StorageError> {
        names::dataset(name)?;
        not_system(name)?;
        check(spec)?;
        let pool = self.pool(names::pool_of(name))?;
        match self.find(name)? {
            Some(there) => Ok((self.change(&there, spec)?, false)),
            None => Ok((self.create(&pool, name, spec)?, true)),
        }
    }

    /// Brings a dataset that is there to a spec.
    pub(crate) fn change(&self, there: &Dataset, spec: &DatasetSpec) -> Result<Dataset, StorageError> {
        let changes = changes(there, spec)?;
        if !changes.is_empty() {
            let mut arguments = vec!["set".to_owned()];
            arguments.extend(changes);
            arguments.push(there.name.clone());
            self.tools.zfs(arguments).done()?;
        }
        self.dataset(&there.name)
    }

    /// Makes a dataset.
    pub(crate) fn create(
        &self,
        pool: &Pool,
        name: &str,
        spec: &DatasetSpec,
    ) -> Result<Dataset, StorageError> {
        check(spec)?;
        let raidz = pool.vdevs.iter().any(|vdev| vdev.kind.starts_with("raidz"));
        let arguments = creation(name, spec, raidz, pool.ashift.unwrap_or(12))?;
        let mut run = self.tools.zfs(arguments);
        if let Some(encryption) = &spec.encryption {
            run = run.secret(secret(&encryption.key).0);
        }
        run.done()?;
        if spec.size.is_some() {
            self.show(name)?;
        }
        self.dataset(name)
    }

    /// Waits for the device of a zvol that was made.
    pub(crate) fn show(&self, name: &str) -> Result<(), StorageError> {
        if zvol::wait(&self.root.dev(), &self.root.sys(), name).is_none() {
            let detail = format!("the zvol `{name}` was made, and the kernel shows no device for it");
            return Err(StorageError::Conflict(detail));
        }
        self.link_zvols();
        Ok(())
    }

    /// Destroys a dataset and its snapshots, with everything below it where `recursive` says so.
    ///
    /// # Errors
    /// It is in use, or something is below it.
    pub fn destroy_dataset(&self, name: &str, recursive: bool) -> Result<(), StorageError> {
        let dataset = self.dataset(name)?;
        not_system(name)?;
        if !name.contains('/') {
            let detail = format!("`{name}` is a whole pool; destroy the pool instead");
            return Err(StorageError::Conflict(detail));
        }
        let arguments = if recursive {
            vec!["destroy", "-r", name]
        } else {
            vec!["destroy", name]
        };
        self.tools.zfs(arguments).done()?;
        if recursive || dataset.kind == DatasetKind::Volume {
            self.link_zvols();
        }
        Ok(())
    }

    /// Loads the key of a dataset and mounts what it unlocks.
    ///
    /// # Errors
    /// It is not encrypted, or the key is wrong.
    pub fn load_key(&self, name: &str, key: &Key) -> Result<(), StorageError> {
        check_key(key)?;
        let dataset = self.encrypted(name)?;
        not_system(name)?;
        if dataset.key == Some(KeyState::Unavailable) {
            self.tools
                .zfs(["load-key", "-L", "prompt", name])
                .secret(secret(key).0)
                .done()?;
        }
        // What cannot be mounted is seen as such in the list; the key is loaded.
        let _ = self.mount_all();
        Ok(())
    }

    /// Unmounts a dataset and what is below it, and forgets its key.
    ///
    /// # Errors
    /// It is in use.
    pub fn unload_key(&self, name: &str) -> Result<(), StorageError> {
        let dataset = self.encrypted(name)?;
        not_system(name)?;
        if dataset.key == Some(KeyState::Unavailable) {
            return Ok(());
        }
        if dataset.mounted_at.is_some() {
            self.tools.zfs(["unmount", name]).done()?;
        }
        Ok(self.tools.zfs(["unload-key", "-r", name]).done()?)
    }

    fn encrypted(&self, name: &str) -> Result<Dataset, StorageError> {
        let dataset = self.dataset(name)?;
        if dataset.encryption.is_none() {
            return Err(StorageError::Conflict(format!("`{name}` is not encrypted")));
        }
        Ok(dataset)
    }
}

#[cfg(test)]
mod tests;
