use std::fs;

use vm_memory::Bytes;

use super::*;

fn config(size: u64, hugepages: HugepageSize) -> MemoryConfig {
    MemoryConfig { size, hugepages }
}

fn pool(kib: u64, total: u64, free: u64, reserved: u64) -> tempfile::TempDir {
    let sys = tempfile::tempdir().unwrap();
    let dir = sys.path().join(format!("kernel/mm/hugepages/hugepages-{kib}kB"));
    fs::create_dir_all(&dir).unwrap();
    for (name, value) in [
        ("nr_hugepages", total),
        ("free_hugepages", free),
        ("resv_hugepages", reserved),
    ] {
        fs::write(dir.join(name), format!("{value}\n")).unwrap();
    }
    sys
}

#[test]
fn pool_too_small_says_wanted_and_available() {
    let sys = pool(2048, 100, 64, 10);
    let error = check(sys.path(), &config(128 << 20, HugepageSize::TwoMiB)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "memory.hugepages: 64 pages of 2MiB are wanted; 54 are free of 100 in the pool"
    );
    check(sys.path(), &config(108 << 20, HugepageSize::TwoMiB)).unwrap();
    check(sys.path(), &config(1 << 40, HugepageSize::None)).unwrap();
}

#[test]
fn missing_pool_is_an_empty_one() {
    let sys = pool(2048, 100, 100, 0);
    let error = check(sys.path(), &config(1 << 30, HugepageSize::OneGiB)).unwrap_err();
    assert_eq!((error.wanted, error.available, error.total), (1, 0, 0));
}

#[test]
fn cleared_memory_is_zero() {
    let layout = Layout::new(32 << 20, 40).unwrap();
    let ram = Ram::map(&layout, &config(32 << 20, HugepageSize::None)).unwrap();
    let address = GuestAddress(0x12_3456);
    ram.guest().write_obj(0xdead_beefu32, address).unwrap();
    ram.clear().unwrap();
    assert_eq!(ram.guest().read_obj::<u32>(address).unwrap(), 0);
}
