use super::*;
use crate::fixture::{secure, web};

fn scripts(imgverify: bool) -> Scripts {
    Scripts {
        web: web(),
        cmdline: "console=tty0 quiet".to_owned(),
        imgverify,
        uki: false,
    }
}

fn line<'a>(script: &'a str, start: &str) -> &'a str {
    script.lines().find(|line| line.starts_with(start)).unwrap()
}

#[test]
fn the_first_script_asks_who_the_machine_is() {
    let script = scripts(false).first();
    assert!(script.starts_with("#!ipxe\n"));
    assert_eq!(
        line(&script, "chain"),
        "chain --replace --autofree http://10.0.0.1:8069/node.ipxe?uuid=${uuid}&serial=${serial:uristring}&mac=${netX/mac} || goto failed"
    );
}

#[test]
fn a_machines_script_names_its_config() {
    let machine = Identity::new(None, Some("AX 17"), Some("52:54:00:12:34:56"));
    let script = scripts(false).node(&machine, true);
    assert_eq!(
        line(&script, "kernel"),
        "kernel --name vmlinuz http://10.0.0.1:8069/vmlinuz console=tty0 quiet \
         axion.config=http://10.0.0.1:8069/config.toml?serial=AX-17&mac=52%3A54%3A00%3A12%3A34%3A56 initrd=initramfs.cpio || goto failed"
    );
    assert!(!scripts(false).node(&machine, false).contains("axion.config"));
    assert!(!script.contains("imgverify"));
}

#[test]
fn signatures_are_checked_before_the_boot() {
    let script = scripts(true).node(&Identity::default(), false);
    let at = |text: &str| script.find(text).unwrap();
    assert!(
        at("imgtrust --permanent || goto failed")
            < at("imgverify vmlinuz http://10.0.0.1:8069/vmlinuz.sig || goto failed")
    );
    assert!(at("imgverify initramfs.cpio ") < at("\nboot || goto failed"));
    assert!(at("\ninitrd ") < at("imgtrust"));
}

#[test]
fn of_signed_media_uefi_loads_the_program_that_firmware_checks() {
    let machine = Identity::new(None, Some("A"), None);
    let signed = |imgverify| {
        let scripts = Scripts {
            uki: true,
            ..scripts(imgverify)
        };
        scripts.node(&machine, true)
    };
    // A BIOS goes on with the next line; without Secure Boot it is told what the kernel would be.
    assert!(
        signed(false).starts_with(
            "#!ipxe\n\
             iseq ${platform} efi && chain --autofree --name BOOT_IMAGE=axion.efi http://10.0.0.1:8069/axion.efi console=tty0 quiet \
             axion.config=http://10.0.0.1:8069/config.toml?serial=A ||\n\
             kernel --name vmlinuz "
        ),
        "{}",
        signed(false)
    );
    // Who has iPXE check the kernel does not want it passed by.
    assert!(!signed(true).contains("axion.efi"));
}

#[test]
fn over_https_a_node_is_told_the_server_s_certificate() {
    let scripts = Scripts {
        web: secure(false),
        cmdline: "quiet".to_owned(),
        imgverify: false,
        uki: false,
    };
    let machine = Identity::new(None, Some("A"), None);
    let script = scripts.node(&machine, true);
    let config = format!(
        "axion.config=https://boot.example.org:8069/config.toml?serial=A#sha256={}",
        "0a".repeat(32)
    );
    assert!(script.contains(&config), "{script}");
    assert!(!script.contains("http://") && !scripts.first().contains("http://"));
}
