use super::*;
use crate::fat::join;
use crate::plan::{BIOS_START, Sizes};
use crate::recording::Disk;
use crate::slot::Slot;
use crate::torture::Grub;
use crate::uki;

const SIZES: Sizes = Sizes {
    config: 36 << 20,
    esp: 37 << 20,
    cluster: 512,
};

fn update(content: &[u8]) -> Update {
    Update {
        version: "0.1.0".to_owned(),
        size: u64::try_from(content.len()).unwrap(),
        digest: inspect::digest(content),
        options: "console=tty0".to_owned(),
    }
}

/// What looks like a UKI, and no two numbers give the same one.
fn image(number: u8) -> Vec<u8> {
    let mut content = uki::example(1);
    content.resize(9000, number);
    content
}

fn put_on(disk: &Disk, plan: &Plan, image: &Update, mut content: &[u8]) -> Result<Inspection, InstallError> {
    let grub = Grub::new();
    let what = Installation {
        loader: b"loader",
        bios: grub.loader(),
        image,
        config: "hostname = \"x\"\n",
        mirror: None,
        chunk: 4096,
    };
    install(disk, plan, &what, &mut content, &mut |_| {})
}

#[test]
fn an_installation_starts_slot_a_with_its_arguments_and_its_config() {
    let disk = Disk::new(96 << 20);
    let plan = Plan::fresh(96 << 20, SIZES, 1);
    let found = put_on(&disk, &plan, &update(&image(9)), &image(9)).unwrap();
    let named = found.starts().unwrap();
    assert_eq!(named.name, Name::confirmed(Slot::A));
    assert_eq!(named.entry.options, "console=tty0 axion.slot=a");
    assert_eq!(found.bios.as_ref().unwrap().starts(), Some(named));
    let config = &plan.partitions[0];
    let volume = Volume::open(Part::new(&disk, config.start, config.length)).unwrap();
    assert_eq!(volume.read(CONFIG, 100).unwrap().unwrap(), b"hostname = \"x\"\n");
    let esp = inspect::open(&disk).unwrap();
    assert_eq!(
        esp.volume().read(&join(IMAGES, "a.efi"), 9000).unwrap().unwrap(),
        image(9)
    );
}

#[test]
fn an_image_that_is_not_what_was_announced_leaves_a_disk_that_starts_nothing() {
    let disk = Disk::new(96 << 20);
    let plan = Plan::fresh(96 << 20, SIZES, 1);
    let wrong = put_on(&disk, &plan, &update(&image(9)), &image(8));
    assert!(matches!(wrong, Err(InstallError::Esp(EspError::Digest { .. }))));
    assert!(inspect::inspect(&disk).is_err());
    // An image that does not fit.
    let mut long = update(&[]);
    long.size = 1 << 30;
    assert!(put_on(&disk, &plan, &long, &[]).is_err());
}

#[test]
fn installing_again_keeps_the_pool() {
    let disk = Disk::new(96 << 20);
    let plan = Plan::fresh(96 << 20, SIZES, 1);
    put_on(&disk, &plan, &update(&image(1)), &image(1)).unwrap();
    let pool = plan.partitions[2].start;
    disk.write_at(pool, b"pool").unwrap();
    let again = Plan {
        keep: true,
        ..plan.clone()
    };
    // Boot code of another system's.
    disk.write_at(0, &[0x33; bios::BOOT_CODE]).unwrap();
    put_on(&disk, &again, &update(&image(2)), &image(2)).unwrap();
    let mut there = [0; 4];
    disk.read_at(pool, &mut there).unwrap();
    assert_eq!(&there, b"pool");
    put_on(&disk, &plan, &update(&image(2)), &image(2)).unwrap();
    disk.read_at(pool, &mut there).unwrap();
    assert_eq!(there, [0; 4]);
}

#[test]
fn a_bios_never_finds_half_of_a_loader() {
    let mut disk = Disk::new(96 << 20);
    let plan = Plan::fresh(96 << 20, SIZES, 1);
    put_on(&disk, &plan, &update(&image(1)), &image(1)).unwrap();
    let mut chance = crate::torture::Chance::new(1);
    for keep in [false, true] {
        disk = disk.settled();
        if keep {
            // A loader of another version is there.
            let mut core = [0; 512];
            disk.read_at(BIOS_START + 512, &mut core).unwrap();
            core.fill(0x48);
            disk.write_at(BIOS_START + 512, &core).unwrap();
        }
        let old = bios::find_loader(&disk);
        let plan = Plan { keep, ..plan.clone() };
        let again = disk.fresh();
        put_on(&again, &plan, &update(&image(2)), &image(2)).unwrap();
        let new = bios::find_loader(&again);
        assert_eq!((new, new == old), (Some(Grub::new().loader().digest()), !keep));
        let log = again.log();
        for count in 1..=log.len() {
            for _ in 0..8 {
                let left = disk
                    .cut_behind(&log, count, |versions| chance.below(versions))
                    .unwrap();
                let found = bios::find_loader(&left);
                assert!(
                    found.is_none() || found == old || found == new,
                    "keep {keep}, behind operation {count} of {}",
                    log.len()
                );
            }
        }
    }
}
