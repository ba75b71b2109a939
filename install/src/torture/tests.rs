use super::*;

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
        plan: Plan::fresh(
            96 << 20,
            Sizes {
                config: 36 << 20,
                esp: 37 << 20,
                cluster: 512,
            },
            1,
        ),
        chance: Chance(1),
        report: Report::default(),
    };
    let disk = Disk::new(96 << 20);
    torture.perform(&disk, Step::Install).unwrap();
    disk.write_at(torture.pool_at(), &POOL).unwrap();
    let good = disk.settled();
    torture.perform(&disk, Step::Stage(1, Slot::A)).unwrap();
    let allowed = torture.allowed(&good, &disk, Step::Stage(1, Slot::A)).unwrap();
    check(&disk, &allowed, torture.pool_at()).unwrap();
    // One byte of the image, of the pool, of the table's header and of its backup's.
    let (content, _) = torture.image(1);
    let image_at = find(&disk, content.get(..512).unwrap());
    for harm in [
        vec![image_at + 100],
        vec![torture.pool_at()],
        vec![520, (96 << 20) - 500],
    ] {
        let harmed = disk.fresh();
        for at in harm {
            harmed.write_at(at, &[0xee]).unwrap();
        }
        assert!(check(&harmed, &allowed, torture.pool_at()).is_err());
    }
}

/// Where a sector with that content is.
fn find(disk: &Disk, content: &[u8]) -> u64 {
    let mut sector = [0; 512];
    let mut places = (0..disk.size()).step_by(512);
    places
        .find(|at| {
            disk.read_at(*at, &mut sector).unwrap();
            sector == content
        })
        .unwrap()
}
