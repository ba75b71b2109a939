use axion_core::cmdline::CommandLine;
use axion_core::profile::{Action, Plan, PlannedAction};

use super::{Given, ModuleError, Modules, kvm_module};

fn modules() -> Modules {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("usr/lib/modules/6.12-axion");
    std::fs::create_dir_all(&directory).unwrap();
    let dependencies = "kernel/virt/lib/irqbypass.ko:\n\
        kernel/arch/x86/kvm/kvm.ko: kernel/virt/lib/irqbypass.ko\n\
        kernel/arch/x86/kvm/kvm-amd.ko: kernel/arch/x86/kvm/kvm.ko kernel/virt/lib/irqbypass.ko\n";
    std::fs::write(directory.join("modules.dep"), dependencies).unwrap();
    std::fs::write(directory.join("modules.builtin"), "kernel/drivers/net/tun.ko\n").unwrap();
    Modules::read(root.path(), "6.12-axion").unwrap()
}

#[test]
fn what_a_module_needs_comes_before_it() {
    let modules = modules();
    let files = [
        "kernel/virt/lib/irqbypass.ko",
        "kernel/arch/x86/kvm/kvm.ko",
        "kernel/arch/x86/kvm/kvm-amd.ko",
    ];
    assert_eq!(modules.files("kvm_amd").unwrap(), files);
    assert_eq!(modules.files("kvm-amd").unwrap(), files);
    assert_eq!(modules.files("irqbypass").unwrap(), files[..1]);
}

#[test]
fn a_built_in_module_needs_no_file_and_an_unknown_one_is_named() {
    assert!(modules().files("tun").unwrap().is_empty());
    assert!(matches!(modules().files("zfs"), Err(ModuleError::Unknown(name)) if name == "zfs"));
}

#[test]
fn parameters_come_from_who_loads_then_from_the_plan_and_then_from_the_command_line() {
    let line = CommandLine::parse("quiet kvm-amd.nested=0 kvm.halt_poll_ns=1 kvm_amd.avic nested=1");
    let own = [("kvm_amd", "nested=1".to_owned()), ("kvm", "report=1".to_owned())];
    let given = Given {
        own: &own,
        plan: None,
        cmdline: &line,
    };
    assert_eq!(given.parameters("kvm_amd"), "nested=1 nested=0 avic");
    assert_eq!(given.parameters("kvm"), "report=1 halt_poll_ns=1");
    assert_eq!(given.parameters("irqbypass"), "");
    let action = Action::ModuleParameter {
        module: "kvm-amd".to_owned(),
        name: "pause_filter_count".to_owned(),
        value: "0".to_owned(),
        live: false,
    };
    let plan = Plan {
        actions: vec![PlannedAction {
            key: action.key(),
            text: action.to_string(),
            why: String::new(),
            action,
        }],
        ..Plan::default()
    };
    let given = Given {
        plan: Some(&plan),
        ..given
    };
    assert_eq!(
        given.parameters("kvm_amd"),
        "nested=1 pause_filter_count=0 nested=0 avic"
    );
    assert_eq!(given.parameters("kvm"), "report=1 halt_poll_ns=1");
}

#[test]
fn the_cpu_says_which_kvm_it_takes() {
    assert_eq!(
        kvm_module("processor\t: 0\nflags\t\t: fpu svm npt\n"),
        Some("kvm_amd")
    );
    assert_eq!(kvm_module("flags\t\t: fpu vmx\n"), Some("kvm_intel"));
    assert_eq!(kvm_module("flags\t\t: fpu svm_lock\nvmx flags : x\n"), None);
}
