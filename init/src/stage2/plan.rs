//! The boot as data: phases in order, the tasks of a phase at the same time.

use super::run::{PhasePlan, TaskPlan};
use super::{netboot, pools, profile, tasks};

/// The boot stops without it.
const fn essential(name: &'static str, next_step: &'static str, run: super::run::Run) -> TaskPlan {
    TaskPlan {
        name,
        essential: Some(next_step),
        run,
    }
}

/// The boot goes on without it, degraded.
const fn best_effort(name: &'static str, run: super::run::Run) -> TaskPlan {
    TaskPlan {
        name,
        essential: None,
        run,
    }
}

const KERNEL_MISFIT: &str = "boot the kernel that belongs to this image";

/// Every phase of stage 2.
pub const PHASES: &[PhasePlan] = &[
    PhasePlan {
        name: "file-systems",
        tasks: &[
            essential("mount-file-systems", KERNEL_MISFIT, |node| {
                Box::pin(tasks::mount_file_systems(node))
            }),
            best_effort("begin-kvm", |node| Box::pin(tasks::begin_loading_kvm(node))),
            best_effort("mount-kernel-views", |node| {
                Box::pin(tasks::mount_kernel_views(node))
            }),
        ],
    },
    PhasePlan {
        name: "config",
        tasks: &[
            essential(
                "resolve-config",
                "free memory: /run cannot be written to",
                |node| Box::pin(tasks::resolve_config(node)),
            ),
            essential("cgroups", KERNEL_MISFIT, |node| {
                Box::pin(tasks::prepare_cgroups(node))
            }),
        ],
    },
    PhasePlan {
        name: "machine",
        tasks: &[
            essential("identity", "free memory: /run cannot be written to", |node| {
                Box::pin(tasks::identify(node))
            }),
            essential("control", "free memory: /run cannot be written to", |node| {
                Box::pin(tasks::serve_control(node))
            }),
            best_effort("kernel-settings", |node| {
                Box::pin(tasks::apply_kernel_settings(node))
            }),
            best_effort("watchdog", |node| Box::pin(tasks::arm_watchdog(node))),
            best_effort("log-line", |node| Box::pin(tasks::start_log_line(node))),
        ],
    },
    PhasePlan {
        name: "profile",
        tasks: &[
            best_effort("profile", |node| Box::pin(profile::declare(node))),
            best_effort("begin-measuring", |node| Box::pin(tasks::begin_measuring(node))),
            best_effort("profile-kernel", |node| Box::pin(profile::set_kernel(node))),
            best_effort("profile-memory", |node| Box::pin(profile::reserve_memory(node))),
            best_effort("profile-cpus", |node| Box::pin(profile::divide_cpus(node))),
        ],
    },
    PhasePlan {
        name: "devices",
        tasks: &[
            best_effort("profile-devices", |node| Box::pin(profile::prepare_devices(node))),
            // Behind the profile, which writes to debugfs.
            best_effort("secure-boot", |node| Box::pin(tasks::keep_secure_boot(node))),
        ],
    },
    PhasePlan {
        name: "storage",
        tasks: &[best_effort("pools", |node| Box::pin(pools::start_pools(node)))],
    },
    PhasePlan {
        name: "state",
        tasks: &[essential(
            "state",
            "free memory: /var cannot be written to",
            |node| Box::pin(tasks::prepare_state(node)),
        )],
    },
    PhasePlan {
        name: "network",
        tasks: &[
            best_effort("links", |node| Box::pin(tasks::start_network(node))),
            best_effort("clock", |node| Box::pin(tasks::start_clock(node))),
            best_effort("log-forwarding", |node| Box::pin(tasks::start_forwarding(node))),
        ],
    },
    PhasePlan {
        name: "services",
        tasks: &[
            best_effort("agent", |node| Box::pin(tasks::start_agent(node))),
            best_effort("consoles", |node| Box::pin(tasks::start_consoles(node))),
            best_effort("boot-server", |node| Box::pin(netboot::begin(node))),
            best_effort("kvm", |node| Box::pin(tasks::finish_loading_kvm(node))),
            best_effort("attestation", |node| Box::pin(profile::attest_plan(node))),
        ],
    },
];
