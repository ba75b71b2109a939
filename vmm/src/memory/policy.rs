//! Binding memory to host nodes, and asking the kernel where it is: mbind(2), get_mempolicy(2), move_pages(2).
#![allow(unsafe_code)]

use std::io;

use nix::libc::{self, c_int, c_long, c_ulong, c_void};

/// `MPOL_MF_STRICT` of mbind(2): fail where a page is elsewhere already.
const STRICT: c_int = 1;
/// `MPOL_F_ADDR` of get_mempolicy(2): the policy of an address.
const OF_ADDRESS: c_ulong = 1 << 1;
/// Words of a node mask.
const WORDS: usize = 16;
/// Bits of a node mask, plus one: the kernel takes one off (mbind(2), BUGS).
const MAX_NODE: c_ulong = WORDS as c_ulong * c_ulong::BITS as c_ulong + 1;
/// Pages that one call looks up.
const BATCH: usize = 256;

fn result(value: c_long) -> io::Result<()> {
    if value < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Binds the mapping at `address` to `node`: all pages that it gets from now on are of that node.
pub fn bind(address: *mut c_void, size: usize, node: u32) -> io::Result<()> {
    let mut mask = [0 as c_ulong; WORDS];
    let word = mask.get_mut((node / c_ulong::BITS) as usize);
    *word.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))? = 1 << (node % c_ulong::BITS);
    // SAFETY: mbind reads the mask, whose size is given, and changes no contents of the range.
    let value = unsafe {
        libc::syscall(
            libc::SYS_mbind,
            address,
            size,
            libc::MPOL_BIND,
            mask.as_ptr(),
            MAX_NODE,
            STRICT,
        )
    };
    result(value)
}

/// The node to which the mapping at `address` is bound, if it is to one.
pub fn bound(address: usize) -> Option<u32> {
    let mut mode: c_int = 0;
    let mut mask = [0 as c_ulong; WORDS];
    // SAFETY: get_mempolicy writes an int and the mask, whose size is given; the address is only looked up.
    let value = unsafe {
        libc::syscall(
            libc::SYS_get_mempolicy,
            &raw mut mode,
            mask.as_mut_ptr(),
            MAX_NODE,
            address,
            OF_ADDRESS,
        )
    };
    let nodes: Vec<u32> = (0u32..)
        .zip(mask)
        .flat_map(|(word, bits)| {
            let set = (0..c_ulong::BITS).filter(move |bit| bits & (1 << bit) != 0);
            set.map(move |bit| word * c_ulong::BITS + bit)
        })
        .collect();
    match nodes.as_slice() {
        [node] if value == 0 && mode == libc::MPOL_BIND => Some(*node),
        _ => None,
    }
}

/// The node of each page that is there; `pages` are the addresses.
pub fn locate(pages: &[usize]) -> Vec<u32> {
    let mut nodes = Vec::new();
    for batch in pages.chunks(BATCH) {
        let mut status: [c_int; BATCH] = [-1; BATCH];
        // SAFETY: move_pages reads as many addresses, and writes as many of the status, as the count says; without target
        // nodes it moves nothing.
        let value = unsafe {
            libc::syscall(
                libc::SYS_move_pages,
                0,
                batch.len(),
                batch.as_ptr(),
                std::ptr::null::<c_int>(),
                status.as_mut_ptr(),
                0,
            )
        };
        if result(value).is_ok() {
            // A negative status is an errno: no page there.
            let found = status.iter().take(batch.len());
            nodes.extend(found.filter_map(|node| u32::try_from(*node).ok()));
        }
    }
    nodes
}
