use std::time::Duration;

use super::*;
use crate::fixture::{MAC, SERVER, ipxe, message, web};

const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
const PXE: &str = "PXEClient:Arch:00007:UNDI:003016";

fn responder(range: Option<&str>) -> Responder {
    Responder {
        address: SERVER,
        web: web(),
        uefi: UefiLoader::Best,
        leases: range.map(|range| (Leases::new(range.parse().unwrap(), vec![SERVER]), network())),
    }
}

fn network() -> Network {
    Network {
        mask: MASK,
        router: None,
        dns: Vec::new(),
    }
}

#[test]
fn a_machine_is_told_of_the_router_and_name_servers_that_there_are() {
    let (router, dns) = (Ipv4Addr::new(10, 0, 0, 254), vec![Ipv4Addr::new(10, 9, 0, 53)]);
    let mut responder = responder(Some("10.0.0.100-10.0.0.101"));
    let discover = message(MessageType::Discover, PXE, 0, &[]);
    let without = sent(&responder.dhcp(&discover, Instant::now()).unwrap());
    assert!(
        !without.opts().contains(OptionCode::Router)
            && !without.opts().contains(OptionCode::DomainNameServer)
    );
    responder.leases.as_mut().unwrap().1 = Network {
        router: Some(router),
        dns: dns.clone(),
        ..network()
    };
    let offer = sent(&responder.dhcp(&discover, Instant::now()).unwrap());
    let option = |code| offer.opts().get(code);
    assert_eq!(
        option(OptionCode::Router),
        Some(&DhcpOption::Router(vec![router]))
    );
    assert_eq!(
        option(OptionCode::DomainNameServer),
        Some(&DhcpOption::DomainNameServer(dns))
    );
}

/// What arrives at the other end.
fn sent(answer: &Answer) -> Message {
    let bytes = answer.bytes().unwrap();
    assert!(bytes.len() >= SMALLEST);
    Message::decode(&mut Decoder::new(&bytes)).unwrap()
}

fn kind(message: &Message) -> MessageType {
    message.opts().msg_type().unwrap()
}

fn file(message: &Message) -> &str {
    message.fname_str().unwrap().unwrap().trim_end_matches('\0')
}

#[test]
fn a_proxy_gives_a_bios_its_file_and_no_address() {
    let id = DhcpOption::ClientMachineIdentifier(vec![7; 17]);
    let request = message(MessageType::Discover, PXE, 0, std::slice::from_ref(&id));
    let answer = responder(None).dhcp(&request, Instant::now()).unwrap();
    let reply = sent(&answer);
    assert_eq!(kind(&reply), MessageType::Offer);
    assert_eq!(reply.xid(), 0x1234);
    assert_eq!(reply.chaddr(), MAC.0);
    assert_eq!((reply.yiaddr(), reply.siaddr()), (Ipv4Addr::UNSPECIFIED, SERVER));
    assert_eq!(file(&reply), boot::BIOS_LOADER);
    let options = reply.opts();
    assert_eq!(options.get(OptionCode::ClientMachineIdentifier), Some(&id));
    assert_eq!(
        options.get(OptionCode::ClassIdentifier),
        Some(&DhcpOption::ClassIdentifier(b"PXEClient".to_vec()))
    );
    assert_eq!(
        options.get(OptionCode::VendorExtensions),
        Some(&DhcpOption::VendorExtensions(TAKE_IT.to_vec()))
    );
    assert!(!options.contains(OptionCode::SubnetMask));
    assert!(!options.contains(OptionCode::AddressLeaseTime));
    assert_eq!(answer.to, Some("255.255.255.255:68".parse().unwrap()));
    assert_eq!(
        answer.event.unwrap().to_string(),
        "52:54:00:12:34:56  -                BIOS       boots undionly.kpxe"
    );
}

#[test]
fn uefi_asks_a_proxy_once_more_and_is_told_there() {
    let mut responder = responder(None);
    let discover = message(MessageType::Discover, PXE, 7, &[]);
    let offer = responder.dhcp(&discover, Instant::now()).unwrap();
    assert_eq!(offer.event, None);
    assert!(!sent(&offer).opts().contains(OptionCode::VendorExtensions));
    let mut request = message(MessageType::Request, PXE, 7, &[]);
    request.set_ciaddr(FIRST);
    let answer = responder.boot_server(&request).unwrap();
    let reply = sent(&answer);
    assert_eq!(kind(&reply), MessageType::Ack);
    assert_eq!(file(&reply), boot::UEFI_LOADER);
    assert_eq!(answer.to, None);
    assert!(answer.event.is_some());
}

#[test]
fn ipxe_gets_the_script_and_uefi_http_the_uki() {
    let mut responder = responder(None);
    let ipxe = message(MessageType::Discover, PXE, 0, &ipxe(&[19, 24]));
    let reply = sent(&responder.dhcp(&ipxe, Instant::now()).unwrap());
    assert_eq!(file(&reply), "http://10.0.0.1:8069/boot.ipxe");
    let http = message(MessageType::Discover, "HTTPClient:Arch:00016", 16, &[]);
    let reply = sent(&responder.dhcp(&http, Instant::now()).unwrap());
    assert_eq!(file(&reply), "http://10.0.0.1:8069/axion.efi");
    let options = reply.opts();
    assert_eq!(
        options.get(OptionCode::ClassIdentifier),
        Some(&DhcpOption::ClassIdentifier(b"HTTPClient".to_vec()))
    );
    assert!(options.contains(OptionCode::BootfileName));
}

#[test]
fn a_proxy_leaves_everything_else_to_the_site() {
    let mut responder = responder(None);
    let now = Instant::now();
    for kind in [
        MessageType::Request,
        MessageType::Inform,
        MessageType::Release,
        MessageType::Decline,
    ] {
        let request = message(kind, PXE, 0, &[]);
        assert!(responder.dhcp(&request, now).is_none(), "{kind:?}");
    }
    let system = message(MessageType::Discover, "", 0, &[]);
    assert!(responder.dhcp(&system, now).is_none());
    let arm = message(MessageType::Discover, PXE, 11, &[]);
    let answer = responder.dhcp(&arm, now).unwrap();
    assert_eq!(answer.bytes(), None);
    assert!(
        answer
            .event
            .unwrap()
            .to_string()
            .ends_with("refused: nothing to boot for type-11")
    );
}

#[test]
fn the_only_server_lends_addresses_and_tells_what_to_boot() {
    let mut responder = responder(Some("10.0.0.100-10.0.0.100"));
    let now = Instant::now();
    let discover = message(MessageType::Discover, PXE, 0, &[]);
    let offer = sent(&responder.dhcp(&discover, now).unwrap());
    assert_eq!((kind(&offer), offer.yiaddr()), (MessageType::Offer, FIRST));
    assert_eq!(file(&offer), boot::BIOS_LOADER);
    assert_eq!(
        offer.opts().get(OptionCode::SubnetMask),
        Some(&DhcpOption::SubnetMask(MASK))
    );
    let wish = [
        DhcpOption::RequestedIpAddress(FIRST),
        DhcpOption::ServerIdentifier(SERVER),
    ];
    let answer = responder
        .dhcp(&message(MessageType::Request, PXE, 0, &wish), now)
        .unwrap();
    let ack = sent(&answer);
    assert_eq!((kind(&ack), ack.yiaddr()), (MessageType::Ack, FIRST));
    assert_eq!(
        ack.opts().get(OptionCode::AddressLeaseTime),
        Some(&DhcpOption::AddressLeaseTime(LEASE))
    );
    assert!(answer.event.unwrap().to_string().contains("10.0.0.100"));

    // The system that it boots gets the same address, and nothing to boot.
    let ack = sent(
        &responder
            .dhcp(&message(MessageType::Request, "", 0, &wish), now)
            .unwrap(),
    );
    assert_eq!((kind(&ack), ack.yiaddr()), (MessageType::Ack, FIRST));
    assert_eq!(ack.fname(), None);

    // Another machine finds the range used up, and is refused what it asks for.
    let mut other = message(MessageType::Discover, PXE, 0, &[]);
    other.set_chaddr(&[2, 0, 0, 0, 0, 9]);
    assert!(responder.dhcp(&other, now).is_none());
    let mut other = message(MessageType::Request, PXE, 0, &wish);
    other.set_chaddr(&[2, 0, 0, 0, 0, 9]);
    let answer = responder.dhcp(&other, now).unwrap();
    assert_eq!(kind(&sent(&answer)), MessageType::Nak);
    assert_eq!(answer.to, Some("255.255.255.255:68".parse().unwrap()));
    // Once the lease is over, it may have it.
    let later = now + Duration::from_secs(u64::from(LEASE) + 1);
    assert_eq!(
        kind(&sent(&responder.dhcp(&other, later).unwrap())),
        MessageType::Ack
    );
}

#[test]
fn a_machine_that_chooses_another_server_is_let_go() {
    let mut responder = responder(Some("10.0.0.100-10.0.0.100"));
    let now = Instant::now();
    assert!(
        responder
            .dhcp(&message(MessageType::Discover, PXE, 0, &[]), now)
            .is_some()
    );
    let wish = [
        DhcpOption::RequestedIpAddress(FIRST),
        DhcpOption::ServerIdentifier(Ipv4Addr::new(10, 0, 0, 254)),
    ];
    let answer = responder
        .dhcp(&message(MessageType::Request, PXE, 0, &wish), now)
        .unwrap();
    assert_eq!(answer.bytes(), None);
    assert!(
        answer
            .event
            .unwrap()
            .to_string()
            .ends_with("another DHCP server that is on this network, 10.0.0.254")
    );
    let mut other = message(MessageType::Discover, PXE, 0, &[]);
    other.set_chaddr(&[2, 0, 0, 0, 0, 9]);
    assert!(responder.dhcp(&other, now).is_some());
}

#[test]
fn a_lease_is_renewed_where_the_machine_is_and_a_relay_gets_its_answer_back() {
    let mut responder = responder(Some("10.0.0.100-10.0.0.199"));
    let mut renew = message(MessageType::Request, "", 0, &[]);
    renew.set_ciaddr(FIRST);
    let answer = responder.dhcp(&renew, Instant::now()).unwrap();
    assert_eq!(answer.to, Some(SocketAddrV4::new(FIRST, CLIENT)));
    let mut relayed = message(MessageType::Discover, PXE, 0, &[]);
    let relay = Ipv4Addr::new(10, 0, 0, 9);
    relayed.set_giaddr(relay);
    let answer = responder.dhcp(&relayed, Instant::now()).unwrap();
    assert_eq!(answer.to, Some(SocketAddrV4::new(relay, SERVER_PORT)));
    assert_eq!(sent(&answer).giaddr(), relay);
}

#[test]
fn another_network_is_given_no_address_of_this_one() {
    let relay = Ipv4Addr::new(10, 9, 0, 1);
    for kind in [MessageType::Discover, MessageType::Request, MessageType::Inform] {
        let wish = [DhcpOption::RequestedIpAddress(Ipv4Addr::new(10, 9, 0, 50))];
        let mut relayed = message(kind, PXE, 0, &wish);
        relayed.set_giaddr(relay);
        let mut responder = responder(Some("10.0.0.100-10.0.0.199"));
        assert!(responder.dhcp(&relayed, Instant::now()).is_none(), "{kind:?}");
    }
    // What it boots may come from here, beside its own server.
    let mut relayed = message(MessageType::Discover, PXE, 0, &[]);
    relayed.set_giaddr(relay);
    let answer = responder(None).dhcp(&relayed, Instant::now()).unwrap();
    assert_eq!(answer.to, Some(SocketAddrV4::new(relay, SERVER_PORT)));
}

const SERVER_PORT: u16 = super::SERVER;

#[test]
fn what_is_no_question_of_a_client_is_not_read() {
    assert!(parse(&[]).is_none());
    assert!(parse(&[1; 100]).is_none());
    let mut reply = message(MessageType::Offer, PXE, 0, &[]);
    reply.set_opcode(Opcode::BootReply);
    assert!(parse(&reply.to_vec().unwrap()).is_none());
    // A hardware address longer than its field.
    let mut bytes = message(MessageType::Discover, PXE, 0, &[]).to_vec().unwrap();
    bytes[2] = 255;
    let request = parse(&bytes).unwrap();
    assert!(responder(None).dhcp(&request, Instant::now()).is_none());
}

/// Host names have up to 253 characters, the field of the boot file 128 bytes.
#[test]
fn a_long_host_name_is_told_by_an_option() {
    for (labels, in_field) in [(1, true), (3, false), (4, false)] {
        let host = format!(
            "{}example.org",
            "a-label-of-some-length-in-a-host-name-of-the-site.".repeat(labels)
        );
        let mut responder = Responder {
            web: Web::secure(&host, 8069, "0a".repeat(32), true),
            ..responder(None)
        };
        let ipxe = message(MessageType::Discover, PXE, 7, &ipxe(&[19, 20, 36]));
        let reply = sent(&responder.dhcp(&ipxe, Instant::now()).unwrap());
        let url = format!("https://{host}:8069/boot.ipxe");
        let option = DhcpOption::BootfileName(url.clone().into_bytes());
        assert_eq!(
            reply.opts().get(OptionCode::BootfileName) == Some(&option),
            !in_field
        );
        assert_eq!(reply.fname().is_some() && file(&reply) == url, in_field, "{host}");
    }
}
