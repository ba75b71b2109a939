use axion_core::config::check;
use object::pe::{
    IMAGE_DOS_SIGNATURE, IMAGE_NT_OPTIONAL_HDR64_MAGIC, IMAGE_NT_SIGNATURE, IMAGE_SIZEOF_SECTION_HEADER,
    ImageDosHeader, ImageFileHeader, ImageNtHeaders64, ImageOptionalHeader64,
};
use object::{LittleEndian as LE, pod};

use super::*;

/// A PE32+ program with an empty section table that has room for `sections`.
pub(super) fn program(sections: usize) -> Vec<u8> {
    let mut bytes = vec![0; 0x1000];
    let (dos, _) = pod::from_bytes_mut::<ImageDosHeader>(&mut bytes).unwrap();
    dos.e_magic.set(LE, IMAGE_DOS_SIGNATURE);
    dos.e_lfanew.set(LE, 0x80);
    let (nt, _) = pod::from_bytes_mut::<ImageNtHeaders64>(&mut bytes[0x80..]).unwrap();
    nt.signature.set(LE, IMAGE_NT_SIGNATURE);
    nt.file_header
        .size_of_optional_header
        .set(LE, u16::try_from(size_of::<ImageOptionalHeader64>()).unwrap());
    let optional = &mut nt.optional_header;
    optional.magic.set(LE, IMAGE_NT_OPTIONAL_HDR64_MAGIC);
    optional.section_alignment.set(LE, 0x1000);
    optional.file_alignment.set(LE, 0x200);
    optional.size_of_image.set(LE, 0x2000);
    let headers = 0x84 + size_of::<ImageFileHeader>() + size_of::<ImageOptionalHeader64>();
    let room = headers + sections * IMAGE_SIZEOF_SECTION_HEADER;
    optional.size_of_headers.set(LE, u32::try_from(room).unwrap());
    bytes
}

/// A bzImage with an EFI stub, as far as its headers go.
pub(super) fn kernel() -> Vec<u8> {
    let mut kernel = program(0);
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel[0x20e..0x210].copy_from_slice(&0x400_u16.to_le_bytes());
    kernel[0x600..0x606].copy_from_slice(b"6.12.1");
    kernel.resize(0x1100, 0x90);
    kernel
}

#[test]
fn the_config_template_says_nothing_and_every_line_of_it_may_be_said() {
    let template = read_text("axion.toml").unwrap();
    assert!(
        template
            .lines()
            .all(|line| line.is_empty() || line.starts_with('#'))
    );
    let config = check(&template, "axion.toml").unwrap();
    assert_eq!(config, axion_core::config::MachineConfig::default());
    // A comment has a space behind its sign, a line of TOML has none.
    let said: String = template
        .lines()
        .filter_map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')))
        .map(|line| format!("{line}\n"))
        .collect();
    let config = check(&said, "axion.toml").unwrap();
    assert_eq!(config.console.log.as_deref(), Some("ttyS1"));
}

#[test]
fn media_say_no_more_than_the_screen_to_the_kernel() {
    // A line that names a UART stalls a machine that has none; init looks for them itself.
    assert_eq!(read_text("cmdline").unwrap().trim(), "console=tty0");
    for file in ["grub.cfg", "axion.ipxe"] {
        assert_eq!(read_text(file).unwrap().matches("@CMDLINE@").count(), 1, "{file}");
    }
}

#[test]
fn every_loader_is_told_the_same() {
    let cmdline = "console=tty0 axion.config=http://10.0.0.1/${uuid}.toml?m=${mac}&s=${serial} x=\"a b\"";
    loader::check(cmdline).unwrap();
    // Between single quotes GRUB fills nothing in, and leaves it to init.
    let menu = menu(cmdline).unwrap();
    let line = menu
        .lines()
        .find(|line| line.trim().starts_with("linux "))
        .unwrap();
    assert_eq!(
        line.trim(),
        "linux /axion/vmlinuz 'console=tty0' 'axion.config=http://10.0.0.1/${uuid}.toml?m=${mac}&s=${serial}' 'x=a b'"
    );
    // iPXE does it itself, as init would.
    let told = "console=tty0 \
                axion.config=http://10.0.0.1/${uuid}.toml?m=${netX/mac:hexhyp}&s=${serial:uristring} x=\"a b\"";
    let kernel = format!("\nkernel vmlinuz {told} initrd=initramfs.cpio || goto failed\n");
    let plain = script(cmdline, false).unwrap();
    assert!(
        plain.contains(&kernel) && !plain.contains(loader::IPXE_CHAIN),
        "{plain}"
    );
    // A UKI forgets what it has in itself where it is told anything, and iPXE always tells it its name.
    let signed = script(cmdline, true).unwrap();
    let chain = format!("\n{}axion.efi {told} ||{kernel}", loader::IPXE_CHAIN);
    assert!(signed.contains(&chain), "{signed}");
}

#[test]
fn whoever_has_built_media_is_told_where_axctl_is_and_what_to_type() {
    let text = next(Path::new("/t/axctl"), Path::new("/t/media"));
    for line in [
        "  axctl: /t/axctl",
        "    sudo axctl media write /t/media/axion.img --disk ID",
        "    sudo axctl netboot serve /t/media",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn arguments_that_a_loader_does_not_carry_cost_no_build() {
    let options = Options {
        arguments: "axion.config=http://10.0.0.1/${hostname}.toml".to_owned(),
        ..Options::default()
    };
    let error = format!("{:#}", media(&options).unwrap_err());
    assert!(error.contains("--arguments: `${hostname}`"), "{error}");
}

#[test]
#[ignore = "fetches Debian packages and runs xorriso"]
fn the_same_image_gives_the_same_media_wherever_they_are_built() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    fs::create_dir(&image).unwrap();
    fs::write(image.join("vmlinuz"), kernel()).unwrap();
    fs::write(image.join("initramfs.cpio"), vec![7; 4 << 20]).unwrap();
    fs::write(image.join("kexec.cpio"), vec![7; 1 << 20]).unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("elsewhere/b"));
    build(&image, &a, "", &Signers::default()).unwrap();
    build(&image, &b, "", &Signers::default()).unwrap();
    let sums = |dir: &Path| fs::read_to_string(dir.join("SHA256SUMS")).unwrap();
    assert_eq!(sums(&a), sums(&b));
    assert_eq!(sums(&a).lines().count(), PRODUCTS.len());
}

#[test]
fn an_image_says_which_version_it_is() {
    let os_release = fs::read_to_string(layout::root().join("rootfs/root/etc/os-release")).unwrap();
    let version = format!("VERSION_ID={}", env!("CARGO_PKG_VERSION"));
    assert!(os_release.lines().any(|line| line == version), "{os_release}");
}
