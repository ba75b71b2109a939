use super::*;
use crate::plan::BIOS_START;

#[test]
fn no_cut_leaves_a_disk_that_does_not_start() {
    let report = run(Effort::SAMPLE).unwrap();
    assert!(report.disks >= 1000, "{report:?}");
    assert!(report.resumed >= 20, "{report:?}");
}

#[test]
fn a_disk_that_does_not_start_is_noticed() {
    let torture = Torture {
        effort: Effort::SAMPLE,
        firmware: Firmware::Bios,
        plan: Plan::fresh(SIZE, SIZES, 1),
        grub: Grub::new(),
        chance: Chance::new(1),
        report: Report::default(),
    };
    let disk = Disk::new(SIZE);
    torture.perform(&disk, Step::Install).unwrap();
    disk.write_at(torture.pool_at(), &POOL).unwrap();
    let good = disk.settled();
    torture.perform(&disk, Step::Stage(1, Slot::A)).unwrap();
    let allowed = torture.allowed(&good, &disk, Step::Stage(1, Slot::A)).unwrap();
    let grub = torture.grub.loader().digest();
    check(&disk, &allowed, torture.pool_at(), grub).unwrap();
    // One byte of the image, of the pool, of the loaders, of the table's header and of its backup's.
    let (content, _) = torture.image(1);
    let image_at = find_all(&disk, content.get(..512).unwrap())[0];
    // The menu's, and those that it has replaced.
    let menus = find_all(&disk, b"# Made by Axion");
    for harm in [
        vec![image_at + 100],
        vec![torture.pool_at()],
        vec![3],
        vec![BIOS_START + 1100],
        menus.iter().map(|at| at + 5).collect(),
        vec![520, SIZE - 500],
    ] {
        let harmed = disk.fresh();
        for at in harm {
            harmed.write_at(at, &[0xee]).unwrap();
        }
        assert!(check(&harmed, &allowed, torture.pool_at(), grub).is_err());
    }
}

/// Where sectors that begin so are.
fn find_all(disk: &Disk, content: &[u8]) -> Vec<u64> {
    let mut sector = [0; 512];
    let places = (0..disk.size()).step_by(512);
    let found = places.filter(|at| {
        disk.read_at(*at, &mut sector).unwrap();
        sector.starts_with(content)
    });
    found.collect()
}
