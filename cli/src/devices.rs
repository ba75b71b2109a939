//! `axctl devices`: PCI functions of the node.

use clap::Args;

use crate::error::Error;
use crate::node::NodeArgs;
use crate::output::Output;
use crate::render;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  axctl devices\n  axctl devices 0000:41:00.0")]
pub struct Devices {
    /// All about the function at this address
    address: Option<String>,
}

pub async fn run(arguments: Devices, node: &NodeArgs, output: &Output) -> Result<(), Error> {
    let devices = node.client()?.devices().await?;
    let Some(address) = arguments.address else {
        return output.show(&devices, |style| render::device::list(&devices, style));
    };
    let device = devices.iter().find(|device| device.function.address == address);
    let device = device.ok_or(Error::NoDevice(address))?;
    output.show(device, |style| render::device::show(device, style))
}
