//! Network namespaces for tests that make links for real.

use std::net::IpAddr;

use futures_util::TryStreamExt;
use nix::sched::{CloneFlags, unshare};
use rtnetlink::{Handle, LinkUnspec, LinkVeth};

/// Runs `test` on a thread in a network namespace of its own; not at all without the right to one.
pub fn in_a_namespace(test: impl AsyncFnOnce(Handle) + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            eprintln!("not run: a network namespace cannot be had: {error}");
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let (connection, handle, _) = rtnetlink::new_connection().unwrap();
            tokio::spawn(connection);
            test(handle).await;
        });
    });
    thread.join().unwrap();
}

/// Index of an interface.
pub async fn index(handle: &Handle, name: &str) -> Option<u32> {
    let found = handle.link().get().match_name(name).execute().try_next().await;
    Some(found.ok()??.header.index)
}

/// Makes an interface that stands for hardware, with a carrier: one end of a cable.
pub async fn port(handle: &Handle, name: &str, address: Option<[u8; 4]>) {
    let peer = format!("{name}p");
    let made = handle.link().add(LinkVeth::new(name, &peer).build());
    made.execute().await.unwrap();
    for end in [name, &peer] {
        let up = LinkUnspec::new_with_name(end).up().build();
        handle.link().set(up).execute().await.unwrap();
    }
    if let Some(address) = address {
        let index = index(handle, name).await.unwrap();
        let add = handle.address().add(index, IpAddr::from(address), 24);
        add.execute().await.unwrap();
    }
}

/// IPv4 addresses of an interface, with their prefix length.
pub async fn addresses(handle: &Handle, name: &str) -> Vec<String> {
    use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
    let index = index(handle, name).await.unwrap();
    let messages: Vec<AddressMessage> = handle
        .address()
        .get()
        .set_link_index_filter(index)
        .execute()
        .try_collect()
        .await
        .unwrap();
    let text = |message: &AddressMessage| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(ip) if ip.is_ipv4() => {
                Some(format!("{ip}/{}", message.header.prefix_len))
            }
            _ => None,
        })
    };
    messages.iter().filter_map(text).collect()
}
