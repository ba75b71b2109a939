use super::*;

#[test]
fn the_command_line_asks() {
    for (line, asked) in [
        ("axion.mode=install", true),
        ("axion.mode=run", false),
        ("quiet", false),
    ] {
        assert_eq!(is_asked_for(&CommandLine::parse(line)), asked, "{line}");
    }
}

#[test]
fn arguments_of_this_boot_alone_are_not_installed() {
    let line = CommandLine::parse(
        "rootfstype=ramfs BOOT_IMAGE=/vmlinuz console=tty0 axion.mode=install axion.config=inline:eA== console=ttyS1 initrd=x \
         axion.esp=1",
    );
    let options = options(&line, "[profile]\nmode = \"off\"\n", 0xa);
    let esp = "axion.esp=00000000-0000-0000-0000-00000000000a";
    assert_eq!(options, format!("console=tty0 console=ttyS1 {esp}"));
}

#[test]
fn a_config_is_on_the_disk_of_its_partition() {
    let documents = [Document {
        source: Source::Volume("/dev/nvme0n1p1".to_owned()),
        text: String::new(),
    }];
    assert!(is_config_on("nvme0n1", &documents));
    assert!(!is_config_on("nvme1n1", &documents));
    assert!(!is_config_on("sda", &documents));
}
