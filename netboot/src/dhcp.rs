//! What a DHCP message is answered (RFC 2131; PXE 2.1 for the boot options). Pure: the clock is an argument.
//!
//! ```text
//!             proxy                                  full
//! 67          DISCOVER of a boot client -> OFFER     DISCOVER -> OFFER, REQUEST -> ACK or NAK, INFORM -> ACK,
//!             without an address                     DECLINE, RELEASE
//! 4011        REQUEST of a boot client -> ACK with the boot file, in both
//! ```
//!
//! The addresses to give are those of one network. What a relay passes on from another one is left to that network's server; as proxy
//! DHCP, which gives none, it is answered.

mod leases;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable};

use crate::boot::{self, BootFile, Client, Stage, UefiLoader};
use crate::event::Event;
use crate::web::Web;

pub use leases::Leases;

/// Port of DHCP servers.
pub const SERVER: u16 = 67;
/// Port of DHCP clients.
pub const CLIENT: u16 = 68;
/// Port of PXE boot servers.
pub const BOOT_SERVER: u16 = 4011;
/// Seconds that an address is lent for.
const LEASE: u32 = 3600;
/// Bytes of the smallest message: BOOTP's, which old network cards insist on.
const SMALLEST: usize = 300;
/// Bytes of the longest boot file that fits into its field, which a zero ends. A longer one, the URL of a long host name, is in option 67
/// alone.
const FIELD: usize = 127;
/// PXE vendor options: "take the boot file, look for no other server" (PXE 2.1 table 2-1, option 6 bit 3), and their end.
const TAKE_IT: [u8; 4] = [6, 1, 8, 255];

/// How this server answers.
#[derive(Debug)]
pub struct Responder {
    /// Its address, which is the boot server's too.
    pub address: Ipv4Addr,
    /// Its HTTP server.
    pub web: Web,
    /// What UEFI machines load.
    pub uefi: UefiLoader,
    /// Addresses to give, and what else is said of their network; `None`: another server gives them.
    pub leases: Option<(Leases, Network)>,
}

/// What machines are told of the network that they get an address in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its mask.
    pub mask: Ipv4Addr,
    /// The way to other networks.
    pub router: Option<Ipv4Addr>,
    /// Name servers, the best first.
    pub dns: Vec<Ipv4Addr>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The message; `None`: there is only something to tell.
    pub message: Option<Message>,
    /// Where it goes; `None`: back to where the question came from.
    pub to: Option<SocketAddrV4>,
    /// What to tell the operator.
    pub event: Option<Event>,
}

impl Answer {
    /// Its bytes; `None` where there is no message.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = self.message.as_ref()?.to_vec().ok()?;
        bytes.resize(bytes.len().max(SMALLEST), 0);
        Some(bytes)
    }
}

/// Reads a client's message; `None` for anything else.
pub fn parse(bytes: &[u8]) -> Option<Message> {
    let message = Message::decode(&mut Decoder::new(bytes)).ok()?;
    (message.opcode() == Opcode::BootRequest).then_some(message)
}

impl Responder {
    /// Answers what came in on port 67.
    pub fn dhcp(&mut self, request: &Message, now: Instant) -> Option<Answer> {
        let client = Client::of(request)?;
        if self.is_foreign(request) {
            return None;
        }
        match (request.opts().msg_type()?, self.leases.is_some()) {
            (MessageType::Discover, false) => self.offer_file(request, &client),
            (MessageType::Discover, true) => self.offer_address(request, &client, now),
            (MessageType::Request, true) => self.confirm(request, &client, now),
            (MessageType::Inform, true) => {
                let mut message = self.reply(request, &client, MessageType::Ack);
                message.set_ciaddr(request.ciaddr());
                Some(answer(request, message, None))
            }
            (MessageType::Decline, true) => {
                let (leases, _) = self.leases.as_mut()?;
                leases.decline(client.mac, requested(request)?, now);
                None
            }
            (MessageType::Release, true) => {
                let (leases, _) = self.leases.as_mut()?;
                leases.release(client.mac, request.ciaddr());
                None
            }
            _ => None,
        }
    }

    /// Whether it comes from a network of which there are no addresses to give.
    fn is_foreign(&self, request: &Message) -> bool {
        let relay = request.giaddr();
        let outside = |lent: &Network| relay & lent.mask != self.address & lent.mask;
        !relay.is_unspecified() && self.leases.as_ref().is_some_and(|(_, lent)| outside(lent))
    }

    /// Answers what came in on port 4011, where UEFI asks for the boot file once more.
    pub fn boot_server(&self, request: &Message) -> Option<Answer> {
        let client = Client::of(request)?;
        let asked = matches!(
            request.opts().msg_type()?,
            MessageType::Request | MessageType::Inform | MessageType::Discover
        );
        let file = self.file(&client).filter(|_| asked)?;
        let mut message = self.reply(request, &client, MessageType::Ack);
        message.set_ciaddr(request.ciaddr());
        Some(Answer {
            message: Some(message),
            to: None,
            event: Some(Event::boots(&client, None, file.name)),
        })
    }

    fn file(&self, client: &Client) -> Option<BootFile> {
        boot::file(client, self.uefi, &self.web)
    }

    fn offer_file(&self, request: &Message, client: &Client) -> Option<Answer> {
        if client.stage == Stage::System {
            return None;
        }
        let Some(file) = self.file(client) else {
            return Some(Answer {
                message: None,
                to: None,
                event: Some(Event::unfit(client, self.web.is_secure())),
            });
        };
        let message = self.reply(request, client, MessageType::Offer);
        let event = file
            .at_once
            .then(|| Event::boots(client, None, file.name.clone()));
        Some(answer(request, message, event))
    }

    fn offer_address(&mut self, request: &Message, client: &Client, now: Instant) -> Option<Answer> {
        let (leases, _) = self.leases.as_mut()?;
        let address = leases.offer(client.mac, requested(request), now)?;
        let mut message = self.reply(request, client, MessageType::Offer);
        message.set_yiaddr(address);
        Some(answer(request, message, None))
    }

    fn confirm(&mut self, request: &Message, client: &Client, now: Instant) -> Option<Answer> {
        let (leases, _) = self.leases.as_mut()?;
        let wanted = requested(request).unwrap_or(request.ciaddr());
        match request.opts().get(OptionCode::ServerIdentifier) {
            // It has chosen another server, and there is one then.
            Some(DhcpOption::ServerIdentifier(server)) if *server != self.address => {
                leases.release(client.mac, wanted);
                return Some(Answer {
                    message: None,
                    to: None,
                    event: Some(Event::rival(client, *server)),
                });
            }
            _ => {}
        }
        if !leases.confirm(client.mac, wanted, now) {
            let mut message = self.bare_reply(request, MessageType::Nak);
            message.set_flags(Flags::default().set_broadcast());
            let mut answer = answer(request, message, None);
            if request.giaddr().is_unspecified() {
                answer.to = Some(SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT));
            }
            return Some(answer);
        }
        let mut message = self.reply(request, client, MessageType::Ack);
        message.set_yiaddr(wanted).set_ciaddr(request.ciaddr());
        let event = match self.file(client) {
            Some(file) => Event::boots(client, Some(wanted), file.name),
            None => Event::address(client, wanted),
        };
        Some(answer(request, message, Some(event)))
    }

    /// An answer with the network's facts and the boot file, where the client boots.
    fn reply(&self, request: &Message, client: &Client, kind: MessageType) -> Message {
        let mut message = self.bare_reply(request, kind);
        if let Some((_, network)) = &self.leases {
            let options = message.opts_mut();
            options.insert(DhcpOption::SubnetMask(network.mask));
            if let Some(router) = network.router {
                options.insert(DhcpOption::Router(vec![router]));
            }
            if !network.dns.is_empty() {
                options.insert(DhcpOption::DomainNameServer(network.dns.clone()));
            }
            if !matches!(request.opts().msg_type(), Some(MessageType::Inform)) {
                options.insert(DhcpOption::AddressLeaseTime(LEASE));
            }
        }
        if client.stage == Stage::System {
            return message;
        }
        let Some(file) = self.file(client) else {
            return message;
        };
        message
            .set_siaddr(self.address)
            .set_sname_str(self.address.to_string());
        let fits = file.name.len() <= FIELD;
        if fits {
            message.set_fname_str(&file.name);
        }
        let options = message.opts_mut();
        options.insert(DhcpOption::ClassIdentifier(file.class.as_bytes().to_vec()));
        if client.stage != Stage::Http && file.at_once {
            options.insert(DhcpOption::VendorExtensions(TAKE_IT.to_vec()));
        }
        if client.stage == Stage::Http || !fits {
            options.insert(DhcpOption::BootfileName(file.name.into_bytes()));
        }
        message
    }

    fn bare_reply(&self, request: &Message, kind: MessageType) -> Message {
        let mut message = Message::default();
        message
            .set_opcode(Opcode::BootReply)
            .set_htype(request.htype())
            .set_chaddr(request.chaddr())
            .set_xid(request.xid())
            .set_flags(request.flags())
            .set_giaddr(request.giaddr());
        let options = message.opts_mut();
        options.insert(DhcpOption::MessageType(kind));
        options.insert(DhcpOption::ServerIdentifier(self.address));
        for code in [
            OptionCode::ClientMachineIdentifier,
            OptionCode::RelayAgentInformation,
        ] {
            if let Some(option) = request.opts().get(code) {
                options.insert(option.clone());
            }
        }
        message
    }
}

/// The address that a client asks for.
fn requested(request: &Message) -> Option<Ipv4Addr> {
    match request.opts().get(OptionCode::RequestedIpAddress) {
        Some(DhcpOption::RequestedIpAddress(address)) => Some(*address),
        _ => None,
    }
}

/// An answer on its way (RFC 2131 §4.1): by the relay that the question came by, to the address that the client has, else to
/// all, since a client without an address cannot be reached otherwise from an ordinary socket.
fn answer(request: &Message, message: Message, event: Option<Event>) -> Answer {
    let (relay, client) = (request.giaddr(), request.ciaddr());
    let to = if !relay.is_unspecified() {
        SocketAddrV4::new(relay, SERVER)
    } else if !client.is_unspecified() {
        SocketAddrV4::new(client, CLIENT)
    } else {
        SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT)
    };
    Answer {
        message: Some(message),
        to: Some(to),
        event,
    }
}

#[cfg(test)]
mod tests;
