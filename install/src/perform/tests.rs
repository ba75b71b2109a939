use super::*;
use crate::fat::join;
use crate::plan::Sizes;
use crate::recording::Disk;
use crate::slot::Slot;

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

fn put_on(disk: &Disk, plan: &Plan, image: &Update, mut content: &[u8]) -> Result<Inspection, InstallError> {
    let what = Installation {
        loader: b"loader",
        image,
        config: "hostname = \"x\"\n",
        chunk: 4096,
    };
    install(disk, plan, &what, &mut content, &mut |_| {})
}

#[test]
fn an_installation_starts_slot_a_with_its_arguments_and_its_config() {
    let disk = Disk::new(96 << 20);
    let plan = Plan::fresh(96 << 20, SIZES, 1);
    let found = put_on(&disk, &plan, &update(&[9; 9000]), &[9; 9000]).unwrap();
    let named = found.starts().unwrap();
    assert_eq!(named.name, Name::confirmed(Slot::A));
    assert_eq!(named.entry.options, "console=tty0 axion.slot=a");
    let config = &plan.partitions[0];
    let volume = Volume::open(Part::new(&disk, config.start, config.length)).unwrap();
    assert_eq!(volume.read(CONFIG, 100).unwrap().unwrap(), b"hostname = \"x\"\n");
    let esp = inspect::open(&disk).unwrap();
    assert_eq!(
        esp.volume().read(&join(IMAGES, "a.efi"), 9000).unwrap().unwrap(),
        [9; 9000]
    );
}

#[test]
fn an_image_that_is_not_what_was_announced_leaves_a_disk_that_starts_nothing() {
    let disk = Disk::new(96 << 20);
    let plan = Plan::fresh(96 << 20, SIZES, 1);
    let wrong = put_on(&disk, &plan, &update(&[9; 9000]), &[8; 9000]);
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
    put_on(&disk, &plan, &update(b"one"), b"one").unwrap();
    let pool = plan.partitions[2].start;
    disk.write_at(pool, b"pool").unwrap();
    let again = Plan {
        keep: true,
        ..plan.clone()
    };
    put_on(&disk, &again, &update(b"two"), b"two").unwrap();
    let mut there = [0; 4];
    disk.read_at(pool, &mut there).unwrap();
    assert_eq!(&there, b"pool");
    put_on(&disk, &plan, &update(b"two"), b"two").unwrap();
    disk.read_at(pool, &mut there).unwrap();
    assert_eq!(there, [0; 4]);
}
