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

/// Splits a physical function. Drivers refuse another number while there are some, so those go first.
pub(super) fn virtual_functions(node: &Files<'_>, address: &str, wanted: u32) -> Result<(), ActionError> {
    let file = format!("/sys/bus/pci/devices/{address}/sriov_numvfs");
    match node.number(&file) {
        Some(vfs) if vfs == u64::from(wanted) => return Ok(()),
        Some(0) | None => {}
        Some(_) => node.set(&file, "0")?,
    }
    node.set(&file, &wanted.to_string())
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

/// Takes a function from its driver and gives it to vfio-pci (Documentation/driver-api/driver-model/binding.rst; the
/// override keeps every other driver away).
pub(super) fn vfio(node: &Files<'_>, address: &str) -> Result<(), ActionError> {
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
