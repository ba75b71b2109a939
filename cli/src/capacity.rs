//! `axctl capacity`: what the node has for VMs, and who has it.

use crate::error::Error;
use crate::node::NodeArgs;
use crate::output::Output;
use crate::render;

pub async fn run(node: &NodeArgs, output: &Output) -> Result<(), Error> {
    let capacity = node.client()?.capacity().await?;
    output.show(&capacity, |style| render::capacity::show(&capacity, style))
}
