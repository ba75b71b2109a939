use dhcproto::v4::{DhcpOption, MessageType};

use super::*;
use crate::fixture::{ipxe, message, secure, web};

fn file_for(class: &str, architecture: u16, more: &[DhcpOption], uefi: UefiLoader) -> Option<BootFile> {
    let message = message(MessageType::Discover, class, architecture, more);
    file(&Client::of(&message)?, uefi, &web())
}

#[test]
fn every_stage_of_every_firmware_gets_its_file() {
    let url = |name: &str| Some(format!("http://10.0.0.1:8069/{name}"));
    let own = |name: &str| Some(name.to_owned());
    let (able, old) = (ipxe(&[IPXE_HTTP, IPXE_BZIMAGE]), ipxe(&[IPXE_BZIMAGE]));
    let efi = ipxe(&[33, IPXE_HTTP, IPXE_EFI]);
    let pxe = "PXEClient:Arch:00000:UNDI:002001";
    let table = [
        (pxe, 0, &[][..], UefiLoader::Best, own(BIOS_LOADER)),
        (pxe, 7, &[], UefiLoader::Best, own(UEFI_LOADER)),
        (pxe, 9, &[], UefiLoader::Ipxe, own(UEFI_LOADER)),
        (pxe, 7, &[], UefiLoader::Uki, own(UKI)),
        (pxe, 0, &able, UefiLoader::Best, url(SCRIPT)),
        (pxe, 7, &efi, UefiLoader::Best, url(SCRIPT)),
        // A network card's own iPXE without HTTP loads ours.
        (pxe, 0, &old, UefiLoader::Best, own(BIOS_LOADER)),
        (
            "HTTPClient:Arch:00016:UNDI:003001",
            16,
            &[],
            UefiLoader::Best,
            url(UKI),
        ),
        (
            "HTTPClient:Arch:00016:UNDI:003001",
            16,
            &[],
            UefiLoader::Ipxe,
            url(UEFI_LOADER),
        ),
        (pxe, 11, &[], UefiLoader::Best, None),
        ("", 0, &[], UefiLoader::Best, None),
        ("systemd", 0, &[], UefiLoader::Best, None),
    ];
    for (class, architecture, more, uefi, wanted) in table {
        let file = file_for(class, architecture, more, uefi);
        assert_eq!(
            file.map(|file| file.name),
            wanted,
            "{class} {architecture} {more:?} {uefi:?}"
        );
    }
}

#[test]
fn an_interface_that_is_not_ethernet_is_nobody() {
    let mut message = message(MessageType::Discover, "PXEClient", 0, &[]);
    message.set_chaddr(&[1; 16]);
    assert_eq!(Client::of(&message), None);
}

#[test]
fn encapsulated_options_that_end_too_early_end() {
    assert!(sub_option(&[1, 1, 0, 19, 1, 1], 19));
    assert!(!sub_option(&[1, 200, 0, 19, 1, 1], 19));
    assert!(!sub_option(&[19], 19));
}

#[test]
fn over_https_only_an_ipxe_with_https_gets_the_script() {
    let file = |architecture: u16, more: &[DhcpOption], bios: bool| {
        let message = message(MessageType::Discover, "PXEClient", architecture, more);
        let client = Client::of(&message).unwrap();
        file(&client, UefiLoader::Ipxe, &secure(bios)).map(|file| file.name)
    };
    let (http, https) = (
        ipxe(&[IPXE_HTTP, IPXE_EFI]),
        ipxe(&[IPXE_HTTP, IPXE_HTTPS, IPXE_EFI]),
    );
    let script = Some("https://boot.example.org:8069/boot.ipxe".to_owned());
    assert_eq!(file(7, &https, false), script);
    assert_eq!(file(7, &http, false).as_deref(), Some(UEFI_LOADER));
    // The BIOS loader among the media has no HTTPS; one of the operator's may.
    assert_eq!(file(0, &[], false), None);
    assert_eq!(file(0, &http, false), None);
    assert_eq!(file(0, &[], true).as_deref(), Some(BIOS_LOADER));
    assert_eq!(file(0, &https, false), script);
}
