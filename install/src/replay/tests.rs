use super::*;
use crate::esp::Update;
use crate::perform::{Installation, install};
use crate::plan::{Plan, Sizes};
use crate::slot::Slot;
use crate::storage::Storage;
use crate::torture::Grub;
use crate::uki;

const SIZE: u64 = 96 << 20;
const SIZES: Sizes = Sizes {
    config: 36 << 20,
    esp: 37 << 20,
    cluster: 512,
};

fn image(number: u8) -> (Vec<u8>, Update) {
    let mut content = vec![number; 20_000];
    let headers = uki::example(u32::from(number));
    content[..headers.len()].copy_from_slice(&headers);
    let update = Update {
        version: format!("0.{number}.0"),
        size: 20_000,
        digest: inspect::digest(&content),
        options: "console=tty0".to_owned(),
    };
    (content, update)
}

fn installed(disk: &Disk) {
    let (content, image) = image(1);
    let grub = Grub::new();
    let what = Installation {
        loader: &[1; 3000],
        bios: grub.loader(),
        image: &image,
        config: "hostname = \"recorded\"\n",
        mirror: None,
        chunk: 4096,
    };
    let plan = Plan::fresh(SIZE, SIZES, 1);
    install(disk, &plan, &what, &mut content.as_slice(), &mut |_| {}).unwrap();
}

fn staged(disk: &Disk) {
    let (content, update) = image(2);
    let esp = inspect::open(disk).unwrap().with_chunk(4096);
    let slot = esp.stage(Some(Slot::A), &update, &mut content.as_slice(), &mut |_| {});
    assert_eq!(slot.unwrap(), Slot::B);
}

#[test]
fn an_installation_and_an_update_can_be_cut_anywhere() {
    let blank = Disk::new(SIZE);
    let disk = blank.fresh();
    installed(&disk);
    let report = check(&blank, &disk.log(), Cuts::All, &mut Chance::new(1)).unwrap();
    assert_eq!(report.cuts, report.operations);
    assert!(report.disks > report.cuts, "{report}");

    let before = disk.settled();
    let disk = before.fresh();
    staged(&disk);
    check(&before, &disk.log(), Cuts::All, &mut Chance::new(1)).unwrap();
    let some = check(&before, &disk.log(), Cuts::Sample(10), &mut Chance::new(1)).unwrap();
    assert!((5..=10).contains(&some.cuts), "{some}");
}

#[test]
fn what_harms_the_confirmed_slot_is_noticed() {
    let before = Disk::new(SIZE);
    installed(&before);
    let before = before.settled();
    let disk = before.fresh();
    staged(&disk);
    let mut log = disk.log();
    let at = {
        let content = image(1).0;
        let mut sector = [0; 512];
        let mut places = (0..SIZE).step_by(512);
        places.find(|at| {
            before.read_at(*at, &mut sector).unwrap();
            sector == content[..512]
        })
    };
    let harm = Operation::Write {
        offset: at.unwrap(),
        bytes: [0xee; 512].as_slice().into(),
    };
    log.insert(1, harm);
    let error = check(&before, &log, Cuts::All, &mut Chance::new(1)).unwrap_err();
    assert!(matches!(error, Failure::Cut { .. }), "{error}");
}
