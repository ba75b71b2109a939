//! Functions of network interfaces, and devices that are kept for VMs.

use std::collections::BTreeMap;

use axion_core::profile::{Action, FunctionSettings, Plan, VirtualFunction};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{
    LinkAttribute, LinkExtentMask, LinkMessage, LinkVfInfo, VfInfo, VfInfoMac, VfInfoTrust, VfInfoVlan,
};
use rtnetlink::{Handle, LinkUnspec};

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
    let failed = |source| ActionError::Functions {
        interface: interface.clone(),
        source,
    };
    let (connection, handle, _) = rtnetlink::new_connection().map_err(ActionError::Netlink)?;
    let connection = tokio::spawn(connection);
    let done = async {
        let link = link(&handle, interface).await.map_err(failed)?;
        let link = link.ok_or_else(|| ActionError::NoInterface(interface.clone()))?;
        let functions = functions(action, &settings(&link));
        if functions.is_empty() {
            return Ok(());
        }
        let message = LinkUnspec::new_with_index(link.header.index)
            .append_extra_attribute(LinkAttribute::VfInfoList(functions))
            .build();
        handle.link().set(message).execute().await.map_err(failed)
    }
    .await;
    connection.abort();
    done
}

/// What the virtual functions of the plan have. An interface that does not answer is left out.
///
/// # Errors
/// There is no rtnetlink.
pub async fn read_functions(plan: &Plan) -> Result<FunctionSettings, ActionError> {
    let mut interfaces = Vec::new();
    for planned in &plan.actions {
        if let Action::VirtualFunctions { interface, .. } = &planned.action {
            interfaces.push(interface);
        }
    }
    let mut found = FunctionSettings::new();
    if interfaces.is_empty() {
        return Ok(found);
    }
    let (connection, handle, _) = rtnetlink::new_connection().map_err(ActionError::Netlink)?;
    let connection = tokio::spawn(connection);
    for interface in interfaces {
        if let Ok(Some(link)) = link(&handle, interface).await {
            found.insert(interface.clone(), settings(&link));
        }
    }
    connection.abort();
    Ok(found)
}

/// An interface with what its virtual functions have, which the kernel tells only when asked for.
async fn link(handle: &Handle, interface: &str) -> Result<Option<LinkMessage>, rtnetlink::Error> {
    let asked = handle
        .link()
        .get()
        .match_name(interface.to_owned())
        .set_filter_mask(AddressFamily::Unspec, vec![LinkExtentMask::Vf]);
    asked.execute().try_next().await
}

/// What the virtual functions of a link have, by number.
pub(super) fn settings(link: &LinkMessage) -> BTreeMap<u32, VirtualFunction> {
    let lists = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::VfInfoList(list) => Some(list),
        _ => None,
    });
    let mut found: BTreeMap<u32, VirtualFunction> = BTreeMap::new();
    for info in lists.flatten().flat_map(|LinkVfInfo(infos)| infos) {
        match info {
            VfInfo::Mac(VfInfoMac { vf_id, mac, .. }) => {
                let [a, b, c, d, e, f, ..] = mac;
                let mac = [a, b, c, d, e, f].map(|byte| format!("{byte:02x}")).join(":");
                found.entry(*vf_id).or_default().mac = Some(mac);
            }
            VfInfo::Vlan(vlan) => found.entry(vlan.vf_id).or_default().vlan = Some(vlan.vlan_id),
            VfInfo::Trust(trust) => found.entry(trust.vf_id).or_default().trusted = Some(trust.enabled),
            _ => {}
        }
    }
    found
}

/// What each virtual function is given, in order, where it has something else now: a driver need not know of what nobody asks of
/// it. Empty where nothing is to be done.
pub(super) fn functions(action: &Action, now: &BTreeMap<u32, VirtualFunction>) -> Vec<LinkVfInfo> {
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
        let is = now.get(&vf).cloned().unwrap_or_default();
        let wanted = vlan.map(u32::from);
        let stray = is.vlan.filter(|id| *id != 0).map(|_| 0);
        info.extend(
            wanted
                .or(stray)
                .map(|id| VfInfo::Vlan(VfInfoVlan::new(vf, id, 0))),
        );
        let change = *trust || is.trusted == Some(true);
        info.extend(change.then(|| VfInfo::Trust(VfInfoTrust::new(vf, *trust))));
        LinkVfInfo(info)
    };
    (0..*vfs)
        .map(one)
        .filter(|LinkVfInfo(info)| !info.is_empty())
        .collect()
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
