//! Processors: identity, place, caches, isolation.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{NumaNode, read};

/// Processor model, from `/proc/cpuinfo`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CpuModel {
    /// `AuthenticAMD`, `GenuineIntel`, …
    pub vendor: String,
    /// Marketing name.
    pub name: String,
    /// `vmx` or `svm` where the CPU can run guests.
    pub virtualization: Option<String>,
    /// Whether it has pages of 1 GiB (`pdpe1gb`).
    #[serde(default)]
    pub gigabyte_pages: bool,
    /// Simultaneous multithreading.
    #[serde(default)]
    pub smt: SmtState,
    /// Whether each CPU can be told how long leaving an idle state may take (`power/pm_qos_resume_latency_us`, a kernel with
    /// CONFIG_PM).
    #[serde(default)]
    pub idle_limits: bool,
    /// Driver that sets frequencies (`intel_pstate`, `acpi-cpufreq`); `None` where none does, as in most VMs.
    #[serde(default)]
    pub frequency_driver: Option<String>,
    /// Governors that it can be set to.
    #[serde(default)]
    pub governors: Vec<String>,
    /// Whether a guest can halt it by large executable pages (`vulnerabilities/itlb_multihit`); `None` where the kernel does not
    /// say.
    #[serde(default)]
    pub itlb_multihit: Option<bool>,
}

/// Simultaneous multithreading (`/sys/devices/system/cpu/smt/control`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SmtState {
    /// Every thread may be online.
    On,
    /// One thread of each core; it can be switched on.
    Off,
    /// One thread of each core, until the next boot.
    ForcedOff,
    /// The processor has none, or the firmware switched it off.
    #[default]
    Unsupported,
}

/// One logical CPU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Cpu {
    /// Linux number.
    pub id: u32,
    /// Whether it takes work.
    pub online: bool,
    /// Physical package.
    pub socket: u32,
    /// Core within the socket.
    pub core: u32,
    /// NUMA node.
    pub node: u32,
    /// CPUs of the same core, itself included.
    pub siblings: CpuSet,
    /// CPUs that share the last-level cache, itself included.
    pub llc: CpuSet,
    /// Kept free of the scheduler's balancing (`/sys/devices/system/cpu/isolated`).
    pub isolated: bool,
}

impl CpuModel {
    /// Reads `/proc/cpuinfo` below `root`: the first CPU stands for all.
    pub(super) fn read(root: &Path) -> Self {
        let text = read::text(root.join("proc/cpuinfo")).unwrap_or_default();
        let cpus = root.join("sys/devices/system/cpu");
        let frequency = cpus.join("cpu0/cpufreq");
        let field = |name: &str| {
            let of_name = |line: &str| {
                let (key, value) = line.split_once(':')?;
                (key.trim() == name).then(|| value.trim().to_owned())
            };
            text.lines().find_map(of_name).unwrap_or_default()
        };
        let flags = field("flags");
        let can_run_guests = flags
            .split_whitespace()
            .find(|flag| matches!(*flag, "vmx" | "svm"));
        Self {
            vendor: field("vendor_id"),
            name: field("model name"),
            virtualization: can_run_guests.map(str::to_owned),
            gigabyte_pages: flags.split_whitespace().any(|flag| flag == "pdpe1gb"),
            idle_limits: cpus.join("cpu0/power/pm_qos_resume_latency_us").exists(),
            smt: match read::text(cpus.join("smt/control")).as_deref() {
                Some("on") => SmtState::On,
                Some("off") => SmtState::Off,
                Some("forceoff") => SmtState::ForcedOff,
                _ => SmtState::Unsupported,
            },
            frequency_driver: read::text(frequency.join("scaling_driver")),
            governors: read::text(frequency.join("scaling_available_governors"))
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            itlb_multihit: read::text(cpus.join("vulnerabilities/itlb_multihit"))
                .map(|state| state != "Not affected"),
        }
    }
}

impl Cpu {
    /// Reads every CPU below `/sys/devices/system/cpu`.
    pub(super) fn read_all(root: &Path, nodes: &[NumaNode]) -> Vec<Self> {
        let directory = root.join("sys/devices/system/cpu");
        let set = |name: &str| read::value::<CpuSet>(directory.join(name)).unwrap_or_default();
        let (online, isolated) = (set("online"), set("isolated"));
        let cpu = |(id, path): (u32, std::path::PathBuf)| {
            let place = path.join("topology");
            // A file that is missing (an offline CPU has none) leaves the CPU by itself.
            let alone = || CpuSet::from_iter([id]);
            Self {
                id,
                online: online.contains(id),
                socket: read::value(place.join("physical_package_id")).unwrap_or_default(),
                core: read::value(place.join("core_id")).unwrap_or_default(),
                node: nodes
                    .iter()
                    .find(|n| n.cpus.contains(id))
                    .map(|n| n.id)
                    .unwrap_or_default(),
                siblings: read::value(place.join("thread_siblings_list")).unwrap_or_else(alone),
                llc: last_level_cache(&path).unwrap_or_else(alone),
                isolated: isolated.contains(id),
            }
        };
        read::numbered(&directory, "cpu").into_iter().map(cpu).collect()
    }
}

fn last_level_cache(cpu: &Path) -> Option<CpuSet> {
    read::numbered(cpu.join("cache"), "index")
        .into_iter()
        .filter_map(|(_, index)| Some((read::value::<u32>(index.join("level"))?, index)))
        .max_by_key(|(level, _)| *level)
        .and_then(|(_, index)| read::value(index.join("shared_cpu_list")))
}

/// A set of CPUs, written as the kernel does: `0-3,8`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuSet(BTreeSet<u32>);

/// Text that is no CPU list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a CPU list; allowed are numbers and ranges, as in `0-3,8`")]
pub struct CpuSetError(pub String);

impl CpuSet {
    /// Whether `cpu` is in the set.
    pub fn contains(&self, cpu: u32) -> bool {
        self.0.contains(&cpu)
    }

    /// The CPUs in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lowest number.
    pub fn first(&self) -> Option<u32> {
        self.0.first().copied()
    }

    /// The CPUs of either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).copied().collect())
    }

    /// The CPUs of both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).copied().collect())
    }

    /// The CPUs that `other` lacks.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).copied().collect())
    }

    /// Whether `other` has them all.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// The kernel's other way to write a set: hex digits in groups of 32 CPUs, the highest first (`ff,00000003`).
    pub fn mask(&self) -> String {
        let groups = self.0.last().map_or(0, |last| last / 32);
        let bits = |group: u32| {
            let range = self.0.range(group * 32..(group + 1) * 32);
            range.fold(0u32, |bits, cpu| bits | 1 << (cpu % 32))
        };
        let rest = (0..groups).rev().map(|group| format!(",{:08x}", bits(group)));
        format!("{:x}{}", bits(groups), rest.collect::<String>())
    }

    /// Reads a mask as [`CpuSet::mask`] writes it; `None` for anything else.
    pub fn from_mask(text: &str) -> Option<Self> {
        let mut cpus = BTreeSet::new();
        for (group, digits) in (0u32..).zip(text.trim().rsplit(',')) {
            let bits = u32::from_str_radix(digits, 16).ok()?;
            let base = group.checked_mul(32)?;
            cpus.extend((0..32).filter(|bit| bits & (1 << bit) != 0).map(|bit| base + bit));
        }
        Some(Self(cpus))
    }
}

impl FromIterator<u32> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        Self(cpus.into_iter().collect())
    }
}

impl FromStr for CpuSet {
    type Err = CpuSetError;

    fn from_str(text: &str) -> Result<Self, CpuSetError> {
        let bad = || CpuSetError(text.to_owned());
        let number = |t: &str| t.parse::<u32>().ok().filter(|n| *n < 1 << 16).ok_or_else(bad);
        let mut cpus = BTreeSet::new();
        for part in text.trim().split(',').filter(|p| !p.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return Err(bad());
            }
            cpus.extend(first..=last);
        }
        Ok(Self(cpus))
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.0.iter().copied().peekable();
        let mut separator = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while cpus.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            write!(f, "{separator}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl Serialize for CpuSet {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CpuSet {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl utoipa::PartialSchema for CpuSet {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        <String as utoipa::PartialSchema>::schema()
    }
}
#[cfg(feature = "schema")]
impl utoipa::ToSchema for CpuSet {}
