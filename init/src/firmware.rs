//! Firmware that drivers ask for and the image does not have: told by the kernel's log, kept for whoever asks.

use std::sync::Arc;

use axion_api::recovery::{MissingFirmware, NoticeKind};

use crate::node::Node;
use crate::sync::lock;

/// Lines that wait; one that is lost is a driver that is not told of.
const WAITING: usize = 256;
/// Every line that the log's ring has.
const ALL: usize = usize::MAX;
/// Files that are remembered: one broken driver may ask again and again.
const MOST: usize = 64;

/// What a line of the kernel says about firmware that is not there (drivers/base/firmware_loader/main.c):
/// `r8169 0000:03:00.0: Direct firmware load for rtl_nic/rtl8168g-2.fw failed with error -2` (ENOENT).
fn missing(line: &str) -> Option<MissingFirmware> {
    let (device, rest) = line.split_once(": Direct firmware load for ")?;
    let (file, error) = rest.split_once(" failed with error ")?;
    (error.trim() == "-2").then(|| MissingFirmware {
        device: device.to_owned(),
        file: file.to_owned(),
    })
}

/// Watches the log from the node's start on, for as long as it is up.
pub async fn watch(node: Arc<Node>) {
    // In this order: a line may be seen twice, and none is lost in between.
    let mut lines = node.log.subscribe(WAITING);
    let earlier = node.log.after(0, ALL);
    for entry in earlier {
        note(&node, &entry.source, &entry.message);
    }
    while let Some(entry) = lines.recv().await {
        note(&node, &entry.source, &entry.message);
    }
}

fn note(node: &Node, source: &str, message: &str) {
    let Some(found) = Some(message).filter(|_| source == "kernel").and_then(missing) else {
        return;
    };
    {
        let mut status = lock(&node.status);
        if status.missing_firmware.contains(&found) || status.missing_firmware.len() >= MOST {
            return;
        }
        status.missing_firmware.push(found.clone());
    }
    let text = format!(
        "{} asked for the firmware {}, which this image does not have",
        found.device, found.file
    );
    node.log.warning(&text);
    node.notice(NoticeKind::Firmware, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_are_not_there_are_missing() {
        let line = "r8169 0000:03:00.0: Direct firmware load for rtl_nic/rtl8168g-2.fw failed with error -2";
        assert_eq!(
            missing(line),
            Some(MissingFirmware {
                device: "r8169 0000:03:00.0".to_owned(),
                file: "rtl_nic/rtl8168g-2.fw".to_owned(),
            })
        );
        assert_eq!(missing(&line.replace("-2", "-22")), None);
        assert_eq!(missing("r8169 0000:03:00.0 eth0: Link is Up"), None);
    }

    #[tokio::test]
    async fn each_file_is_told_once() {
        let (node, _wishes, _guard) = crate::node::for_tests().await;
        let mut signals = node.signals.subscribe();
        let line = "ice 0000:41:00.0: Direct firmware load for intel/ice/ddp/ice.pkg failed with error -2";
        note(&node, "kernel", line);
        note(&node, "kernel", line);
        note(&node, "agent", &line.replace("ice.pkg", "other.pkg"));
        assert_eq!(lock(&node.status).missing_firmware.len(), 1);
        let told = std::iter::from_fn(|| signals.try_recv().ok());
        assert_eq!(told.count(), 1);
    }
}
