//! Functions of network interfaces, and devices that are kept for VMs.

use axion_core::profile::Action;
use futures_util::TryStreamExt;
use rtnetlink::LinkUnspec;
use rtnetlink::packet_route::link::{
    LinkAttribute, LinkMessage, LinkVfInfo, VfInfo, VfInfoMac, VfInfoTrust, VfInfoVlan,
};

use super::{ActionError, Files};

/// Driver that keeps a function for VMs.
const VFIO: &str = "vfio-pci";

/// Splits a physical function. Drivers refuse another number while there are some, so those go first. Functions for VMs are
/// offered to no driver of the host.
pub(super) fn virtual_functions(
    node: &Files<'_>,
    address: &str,
    wanted: u32,
    for_vms: bool,
) -> Result<(), ActionError> {
    let device = format!("/sys/bus/pci/devices/{address}");
    let file = format!("{device}/sriov_numvfs");
    if for_vms {
        node.set(&format!("{device}/sriov_drivers_autoprobe"), "0")?;
    }
    match node.number(&file) {
        Some(vfs) if vfs == u64::from(wanted) => {}
        Some(0) | None => node.set(&file, &wanted.to_string())?,
        Some(_) => {
            node.set(&file, "0")?;
            node.set(&file, &wanted.to_string())?;
        }
    }
    if !for_vms {
        return Ok(());
    }
    let functions = (0..wanted).filter_map(|vf| node.link_name(&format!("{device}/virtfn{vf}")));
    let results: Vec<_> = functions.map(|function| vfio(node, &function)).collect();
    results.into_iter().collect()
}

/// Gives virtual functions that exist what their rule says, before anyone has one.
///
/// # Errors
/// The interface is gone, or its driver refuses.
pub async fn name_functions(action: &Action) -> Result<(), ActionError> {
    let Action::VirtualFunctions { interface, .. } = action else {
        return Ok(());
    };
    let functions = functions(action);
    if functions.is_empty() {
        return Ok(());
    }
    let failed = |source| ActionError::Functions {
        interface: interface.clone(),
        source,
    };
    let (connection, handle, _) = rtnetlink::new_connection().map_err(ActionError::Netlink)?;
    let connection = tokio::spawn(connection);
    let found: Option<LinkMessage> = handle
        .link()
        .get()
        .match_name(interface.clone())
        .execute()
        .try_next()
        .await
        .map_err(failed)?;
    let index = found
        .map(|link| link.header.index)
        .ok_or_else(|| ActionError::NoInterface(interface.clone()))?;
    let message = LinkUnspec::new_with_index(index)
        .append_extra_attribute(LinkAttribute::VfInfoList(functions))
        .build();
    let done = handle.link().set(message).execute().await.map_err(failed);
    connection.abort();
    done
}

/// What each virtual function is given, in order; empty where the rule leaves all to the driver.
pub(super) fn functions(action: &Action) -> Vec<LinkVfInfo> {
    let Action::VirtualFunctions {
        vfs,
        macs,
        vlan,
        trust,
        ..
    } = action
    else {
        return Vec::new();
    };
    let one = |vf: u32| {
        let mac = usize::try_from(vf).ok().and_then(|vf| macs.get(vf));
        let mut info = Vec::new();
        info.extend(mac.map(|mac| VfInfo::Mac(VfInfoMac::new(vf, &bytes(mac)))));
        info.extend(vlan.map(|vlan| VfInfo::Vlan(VfInfoVlan::new(vf, u32::from(vlan), 0))));
        info.extend(trust.then(|| VfInfo::Trust(VfInfoTrust::new(vf, true))));
        LinkVfInfo(info)
    };
    if macs.is_empty() && vlan.is_none() && !trust {
        return Vec::new();
    }
    (0..*vfs).map(one).collect()
}

/// `02:00:00:00:00:01` as bytes.
fn bytes(mac: &str) -> Vec<u8> {
    mac.split(':')
        .filter_map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect()
}

/// Takes a function from its driver and gives it to vfio-pci. What a group has goes together: where one function of it cannot be
/// given, those that were go back to their drivers.
pub(super) fn vfio(node: &Files<'_>, address: &str) -> Result<(), ActionError> {
    let done = bind(node, address);
    if done.is_err() {
        give_back_group(node, address);
    }
    done
}

/// Binds a function to vfio-pci (Documentation/driver-api/driver-model/binding.rst); the override keeps every other driver away.
fn bind(node: &Files<'_>, address: &str) -> Result<(), ActionError> {
    let device = format!("/sys/bus/pci/devices/{address}");
    let driver = || node.link_name(&format!("{device}/driver"));
    if driver().as_deref() == Some(VFIO) {
        return Ok(());
    }
    if !node.exists(&format!("{device}/iommu_group")) {
        return Err(ActionError::NoGroup(address.to_owned()));
    }
    node.set(&format!("{device}/driver_override"), VFIO)?;
    if driver().is_some() {
        node.set(&format!("{device}/driver/unbind"), address)?;
    }
    node.set("/sys/bus/pci/drivers_probe", address)?;
    match driver() {
        Some(driver) if driver == VFIO => Ok(()),
        other => Err(ActionError::Driver {
            address: address.to_owned(),
            driver: other.unwrap_or_else(|| "no driver".to_owned()),
        }),
    }
}

/// Gives every function of the group that `address` is in, and that is meant for VMs, back to the drivers of the host.
pub(super) fn give_back_group(node: &Files<'_>, address: &str) {
    for function in group(node, address) {
        give_back(node, &function);
    }
}

/// The functions of the group that `address` is in, itself among them.
fn group(node: &Files<'_>, address: &str) -> Vec<String> {
    let directory = format!("/sys/bus/pci/devices/{address}/iommu_group/devices");
    let entries = std::fs::read_dir(node.path(&directory))
        .into_iter()
        .flatten()
        .flatten();
    let mut group: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|function| function != address)
        .collect();
    group.push(address.to_owned());
    group
}

/// Takes a function's override away and offers it to the drivers of the host. That the device has none again is all that can
/// go wrong, and what failed before is what counts.
fn give_back(node: &Files<'_>, address: &str) {
    let device = format!("/sys/bus/pci/devices/{address}");
    if node.text(&format!("{device}/driver_override")).as_deref() != Some(VFIO) {
        return;
    }
    // A line that is empty clears it.
    let _ = node.set(&format!("{device}/driver_override"), "");
    if node.link_name(&format!("{device}/driver")).as_deref() == Some(VFIO) {
        let _ = node.set(&format!("{device}/driver/unbind"), address);
    }
    let _ = node.set("/sys/bus/pci/drivers_probe", address);
}
