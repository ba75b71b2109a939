//! `axctl vm run`: from a name to a guest that runs.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use axion_api::client::{Client, Precondition};
use axion_api::vm::{BootSource, HugepageSize, ImageRef, RestartPolicy, VmSpec};
use axion_core::quantity::Span;
use clap::{Args, ValueEnum};

use super::console;
use super::devices::Devices;
use super::place::{Place, Size};
use super::wait::{self, Goal};
use crate::error::Error;
use crate::image;
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  axctl vm run hello --console
      the guest that the node carries
  axctl vm run build --cpus 4 --memory 8GiB --hugepages 2MiB --kernel ./vmlinux
      a kernel from here; it is uploaded unless the node has it
  axctl vm run solver --class dedicated --cpus 8 --memory 16GiB --page-size 1GiB
      isolated cores and 1 GiB pages of one NUMA node; refused where none has them
  axctl vm run web --disk volume=data --net lan --user-data ./web.yaml
      a disk and a network of the node's, and what cloud-init is to do";

/// Create a VM, start it and wait until it runs
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Run {
    /// Name: 1 to 40 of a-z, 0-9 and `-`, starting with a letter
    name: String,
    #[command(flatten)]
    place: Place,
    /// Memory, a multiple of 2 MiB (or of a hugepage), at least 32 MiB
    #[arg(long, default_value = "128MiB", value_name = "SIZE")]
    memory: Size,
    /// Most memory that it may have while it runs, by `axctl vm resize`; `--memory` and no more when absent
    #[arg(long, value_name = "SIZE")]
    memory_max: Option<Size>,
    /// What backs the memory
    #[arg(long, visible_alias = "page-size", value_enum, default_value_t = Hugepages::None)]
    hugepages: Hugepages,
    /// Guest kernel: a file here, `builtin`, or the `sha256:` of an uploaded image
    #[arg(long, default_value = "builtin", value_name = "IMAGE")]
    kernel: Image,
    /// Initial RAM disk: a file here, `builtin`, `none`, or the `sha256:` of an uploaded image
    #[arg(long, default_value = "builtin", value_name = "IMAGE")]
    initrd: Image,
    /// Appended to the kernel arguments
    #[arg(
        long,
        default_value = "",
        value_name = "ARGUMENTS",
        allow_hyphen_values = true
    )]
    cmdline: String,
    #[command(flatten)]
    devices: Devices,
    /// What follows when the guest ends by itself
    #[arg(long, value_enum, default_value_t = Restart::Never)]
    restart: Restart,
    /// Attach to its console when it runs
    #[arg(long)]
    console: bool,
    /// Give up waiting after this long; the VM stays
    #[arg(long, default_value = "2min", value_name = "TIME")]
    timeout: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Hugepages {
    /// Ordinary pages
    None,
    /// 2 MiB hugetlb pages
    #[value(name = "2MiB", alias = "2M")]
    TwoMiB,
    /// 1 GiB hugetlb pages
    #[value(name = "1GiB", alias = "1G")]
    OneGiB,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Restart {
    /// It stays stopped
    Never,
    /// It is started again when its VMM failed, not when the guest powered off
    OnFailure,
}

/// Where a guest's kernel or initial RAM disk comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// What the node knows by that name.
    Known(String),
    /// A file here.
    File(PathBuf),
}

impl FromStr for Image {
    type Err = Infallible;

    /// A file whose name is one of the words is meant by `./builtin`.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let known = matches!(text, "builtin" | "none") || text.starts_with("sha256:");
        Ok(if known {
            Self::Known(text.to_owned())
        } else {
            Self::File(text.into())
        })
    }
}

pub async fn run(run: Run, client: &Client, output: &Output) -> Result<(), Error> {
    let boot = BootSource {
        kernel: upload(&run.kernel, client, output).await?,
        initrd: upload(&run.initrd, client, output).await?,
        cmdline: run.cmdline,
    };
    let spec = VmSpec {
        memory: run.memory.0,
        memory_max: run.memory_max.map(|max| max.0),
        hugepages: match run.hugepages {
            Hugepages::None => HugepageSize::None,
            Hugepages::TwoMiB => HugepageSize::TwoMiB,
            Hugepages::OneGiB => HugepageSize::OneGiB,
        },
        boot,
        restart: match run.restart {
            Restart::Never => RestartPolicy::Never,
            Restart::OnFailure => RestartPolicy::OnFailure,
        },
        disks: run.devices.disks(client, output).await?,
        nets: run.devices.nets(),
        console: run.devices.console(),
        vsock: run.devices.vsock(),
        balloon: run.devices.balloon(),
        cloud_init: run.devices.cloud_init()?,
        ..run.place.spec()
    };
    let created = match client.put_vm(&run.name, &spec, Precondition::Absent).await {
        Err(error) if error.status() == Some(412) => return Err(Error::Exists(run.name)),
        result => result?,
    };
    let started = match client.start_vm(&run.name).await {
        // The node has said so; of a connection that broke nobody knows what it did.
        Err(source) if source.status().is_some() => {
            let name = run.name;
            return Err(Error::NotStarted { name, source });
        }
        result => result?,
    };
    let vm = wait::until(client, Goal::Running, &created, started, run.timeout.0, output).await?;
    if run.console {
        return console::attach(client, &run.name, console::Input::of_this_terminal(), output).await;
    }
    output.show(&vm, |_| format!("{} is {}.\n", vm.name, vm.status.state))?;
    output.note(format_args!("Next: axctl vm console {}", vm.name));
    Ok(())
}

async fn upload(image: &Image, client: &Client, output: &Output) -> Result<ImageRef, Error> {
    match image {
        Image::Known(name) => Ok(ImageRef(name.clone())),
        Image::File(file) => Ok(ImageRef(image::ensure(client, file, output).await?.digest)),
    }
}
