use super::*;
use crate::spec::{DiskContent, Iommu};

fn wiring() -> Wiring {
    Wiring {
        kernel: "/image/vmlinuz".into(),
        initramfs: "/image/initramfs.cpio".into(),
        firmware: "/usr/share/OVMF".into(),
        nvram: "/tmp/nvram.fd".into(),
        console: "/tmp/c".into(),
        log: "/tmp/l".into(),
        qmp: "/tmp/q".into(),
        tpm: None,
        disks: vec!["/tmp/a,b.img".into()],
        port: Some(18443),
    }
}

fn line(spec: &Spec) -> String {
    let argv = arguments(spec, Accelerator::Tcg, &wiring());
    argv.iter()
        .map(|arg| arg.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn kvm_only_with_hardware_behind_it() {
    let cpuinfo =
        |flags: &str| format!("processor\t: 0\nflags\t\t: fpu {flags} sse2\nbugs\t\t: svm_not_a_flag\n");
    assert_eq!(Accelerator::of_cpuinfo(&cpuinfo("vmx")), Accelerator::Kvm);
    assert_eq!(Accelerator::of_cpuinfo(&cpuinfo("svm")), Accelerator::Kvm);
    assert_eq!(Accelerator::of_cpuinfo(&cpuinfo("svm_lock")), Accelerator::Tcg);
    assert_eq!(Accelerator::of_cpuinfo(""), Accelerator::Tcg);
}

#[test]
fn the_plain_machine() {
    let line = line(&Spec::new("m"));
    for part in [
        "-nodefaults -no-user-config -name m -M q35 -accel tcg,thread=multi -cpu EPYC,+svm,+npt",
        "-smp 2,sockets=1,cores=2,threads=1 -m 2048M",
        "-kernel /image/vmlinuz -initrd /image/initramfs.cpio -append console=ttyS1 axion.log=ttyS1 no_timer_check",
        "-chardev socket,id=ttyS0,path=/tmp/c",
        "-serial chardev:ttyS0 -serial chardev:ttyS1",
        "hostfwd=tcp:127.0.0.1:18443-:8443 -device virtio-net-pci,netdev=net0,romfile=",
        "-display none -vga none",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(
        !line.contains("-no-reboot") && !line.contains("-numa") && !line.contains("iommu"),
        "{line}"
    );
}

#[test]
fn secure_boot_takes_firmware_that_keeps_its_variables_to_itself() {
    let line = line(&Spec::new("m").secure_boot("/tmp/keys.fd").boot_from_disks());
    for part in [
        "-M q35,smm=on ",
        "-global driver=cfi.pflash01,property=secure,value=on",
        "readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

#[test]
fn a_tpm_is_behind_its_socket() {
    let wiring = Wiring {
        tpm: Some("/tmp/tpm".into()),
        ..wiring()
    };
    let argv = arguments(&Spec::new("m").tpm("/state"), Accelerator::Tcg, &wiring);
    let line: Vec<_> = argv.iter().map(|arg| arg.to_string_lossy()).collect();
    let part = "-chardev socket,id=tpm,path=/tmp/tpm -tpmdev emulator,id=tpm0,chardev=tpm -device tpm-crb,tpmdev=tpm0";
    assert!(line.join(" ").contains(part), "{line:?}");
}

#[test]
fn the_big_machine() {
    let spec = Spec::new("m")
        .cpus(4, 2)
        .numa_node(0, 1, 1024)
        .numa_node(2, 3, 2048)
        .iommu(Iommu::Intel)
        .watchdog(WatchdogDevice::I6300esb)
        .display(Display::Text)
        .uuid("6f1c7a6e-3c0d-4f4e-9a51-1d2f3a4b5c6d")
        .serial("AX 17/3")
        .disk(DiskBus::Nvme, DiskContent::Blank { mib: 64 })
        .exit_on_reboot();
    let line = line(&spec);
    for part in [
        "-M q35,kernel-irqchip=split",
        "-smp 4,sockets=2,cores=2,threads=1 -m 3072M",
        "-object memory-backend-ram,id=mem1,size=2048M -numa node,nodeid=1,cpus=2-3,memdev=mem1",
        "-device intel-iommu,intremap=on",
        "-vga cirrus",
        "-device i6300esb -action watchdog=reset",
        "-uuid 6f1c7a6e-3c0d-4f4e-9a51-1d2f3a4b5c6d -smbios type=1,serial=AX 17/3",
        "file=/tmp/a,,b.img -device nvme,drive=disk0,serial=axion-0",
        "-no-reboot",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

#[test]
fn a_recorded_disk_has_its_log_beside_it() {
    let recorded = DiskContent::Recorded {
        disk: "/d/a.img".into(),
        log: "/d/a,b.writes".into(),
    };
    let line = line(&Spec::new("m").disk(DiskBus::Nvme, recorded));
    for part in [
        "if=none,id=disk0,driver=blklogwrites,log-sector-size=512,",
        "log.filename=/d/a,,b.writes -device nvme,drive=disk0",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

#[test]
fn no_network_means_no_nic() {
    let line = line(&Spec::new("m").network(Network::None));
    assert!(!line.contains("netdev"), "{line}");
}

#[test]
fn a_medium_is_started_by_firmware_and_not_written_to() {
    let line = |firmware, drive| line(&Spec::new("m").boot_from(firmware, drive, "/media/a,b.img"));
    for (drive, parts) in [
        (
            Drive::CdRom,
            [
                "media=cdrom,readonly=on,file=/media/a,,b.img",
                "-device ide-cd,drive=medium,bootindex=0",
            ],
        ),
        (
            Drive::UsbStick,
            [
                "snapshot=on,file=/media/a,,b.img",
                "-device qemu-xhci,id=xhci -device usb-storage,bus=xhci.0,drive=medium,removable=on,bootindex=0",
            ],
        ),
        (
            Drive::Nvme,
            [
                "snapshot=on",
                "-device nvme,drive=medium,serial=axion-medium,bootindex=0",
            ],
        ),
        (
            Drive::Virtio,
            [
                "snapshot=on",
                "-device virtio-blk-pci,drive=medium,serial=axion-medium,bootindex=0",
            ],
        ),
    ] {
        let bios = line(Firmware::Bios, drive);
        for part in parts {
            assert!(bios.contains(part), "{part} is not in {bios}");
        }
        for foreign in ["-kernel", "-initrd", "-append", "pflash"] {
            assert!(!bios.contains(foreign), "{foreign} is in {bios}");
        }
        let uefi = line(Firmware::Uefi, drive);
        for part in [
            "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
            "if=pflash,unit=1,format=raw,file=/tmp/nvram.fd",
        ] {
            assert!(uefi.contains(part), "{part} is not in {uefi}");
        }
    }
}

#[test]
fn the_network_serves_the_script_and_the_card_is_first_in_the_boot_order() {
    let line = line(&Spec::new("m").boot_from_network("/tftp,root"));
    for part in [
        "-netdev user,id=net0,hostfwd=tcp:127.0.0.1:18443-:8443,bootfile=axion.ipxe,tftp=/tftp,,root",
        "-device virtio-net-pci,netdev=net0,bootindex=0",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(!line.contains("-kernel") && !line.contains("romfile"), "{line}");
}

#[test]
fn a_card_on_a_tap_boots_by_the_firmware_s_own_means() {
    let tap = Network::Tap {
        name: "axtap0",
        address: std::net::Ipv4Addr::new(10, 77, 0, 50),
    };
    let spec = |firmware, by| line(&Spec::new("m").network(tap).boot_from_card(firmware, by));
    let bios = spec(Firmware::Bios, NetworkBoot::Pxe);
    assert!(
        bios.contains("-netdev tap,id=net0,ifname=axtap0,script=no,downscript=no"),
        "{bios}"
    );
    assert!(
        bios.contains("bootindex=0") && !bios.contains("romfile") && !bios.contains("pflash"),
        "{bios}"
    );
    let uefi = spec(Firmware::Uefi, NetworkBoot::Pxe);
    assert!(
        uefi.contains("bootindex=0,romfile=") && uefi.contains("pflash"),
        "{uefi}"
    );
    assert!(!uefi.contains("IPv4PXESupport"), "{uefi}");
    let http = spec(Firmware::Uefi, NetworkBoot::Http);
    assert!(
        http.contains("-fw_cfg name=opt/org.tianocore/IPv4PXESupport,string=n"),
        "{http}"
    );
    for line in [bios, uefi, http] {
        assert!(!line.contains("-kernel") && !line.contains("hostfwd"), "{line}");
    }
}
