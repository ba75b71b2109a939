//! Support bundles and factory resets.

use axion_api::recovery::{Manifest, Part, PartState, ResetPlan, ResetScope};

use super::{SCREEN, assert_screen};
use crate::render::{host, support};

#[test]
fn what_is_in_a_bundle() {
    let part = |file: &str, state, bytes, why: Option<&str>| Part {
        file: file.to_owned(),
        what: "what the node is".to_owned(),
        state,
        bytes,
        hidden: 1,
        why: why.map(str::to_owned),
    };
    let manifest = Manifest {
        format: 1,
        created_unix_s: 1_795_435_200,
        version: "0.1.0".to_owned(),
        hostname: "rack7".to_owned(),
        machine_id: String::new(),
        boot_id: String::new(),
        parts: vec![
            part("host.json", PartState::Whole, 1234, None),
            part(
                "log.txt",
                PartState::Cut,
                4_194_304,
                Some("the first 8 bytes are left out"),
            ),
            part(
                "slots.json",
                PartState::Missing,
                0,
                Some("the node was not started from an installed disk"),
            ),
        ],
    };
    assert_screen(
        &support::manifest(&manifest, &SCREEN),
        "
Node     rack7
Version  0.1.0
Made     2026-11-23T12:00:00.000Z
Hidden   3 values that may be secret

PART        STATE      BYTES  WHAT
host.json   whole       1234  what the node is
log.txt     cut      4194304  the first 8 bytes are left out
slots.json  missing        0  the node was not started from an installed disk
",
    );
}

#[test]
fn what_a_reset_would_do() {
    let plan = ResetPlan {
        scope: ResetScope::State,
        pools: false,
        hostname: "rack7".to_owned(),
        lost: vec![
            "the node's state on the pool `tank`: VMs, networks, images, the certificate, the first token, the audit log"
                .to_owned(),
            "the disk `web` of VMs, 20.0 GiB".to_owned(),
        ],
        kept: vec!["the pool `tank`".to_owned()],
    };
    assert_screen(
        &host::reset(&plan, &SCREEN),
        "
Lost
  the node's state on the pool `tank`: VMs, networks, images, the certificate,
    the first token, the audit log
  the disk `web` of VMs, 20.0 GiB
Kept
  the pool `tank`
",
    );
}
