use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::output::Format;

/// A computer with one USB stick, a file.
fn computer(bytes: u64) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let device = root.path().join("sys/devices/usb1/1-1");
    let disk = device.join("host6/block/sdb");
    std::fs::create_dir_all(disk.join("queue")).unwrap();
    let files = [
        (device.join("idVendor"), "0781".to_owned()),
        (device.join("serial"), "AX-1".to_owned()),
        (disk.join("size"), (bytes / 512).to_string()),
    ];
    for (path, text) in files {
        std::fs::write(path, text).unwrap();
    }
    symlink("../..", disk.join("device")).unwrap();
    for class in ["sys/block", "sys/class/block"] {
        std::fs::create_dir_all(root.path().join(class)).unwrap();
        symlink(&disk, root.path().join(class).join("sdb")).unwrap();
    }
    std::fs::create_dir(root.path().join("dev")).unwrap();
    std::fs::write(
        root.path().join("dev/sdb"),
        vec![0xff; usize::try_from(bytes).unwrap()],
    )
    .unwrap();
    root
}

fn wish(image: PathBuf) -> Write {
    Write {
        image,
        disk: Some("AX-1".to_owned()),
        config: None,
        key: None,
        allow_fixed: false,
        yes: true,
    }
}

#[test]
fn a_stick_is_written_read_back_and_nothing_is_asked_when_its_id_is_given() {
    let root = computer(8 << 20);
    let image = root.path().join("axion.img");
    let content: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    std::fs::write(&image, &content).unwrap();
    perform(&wish(image), root.path(), &Output::new(Format::Json)).unwrap();
    let disk = std::fs::read(root.path().join("dev/sdb")).unwrap();
    assert_eq!(disk.len(), 8 << 20);
    assert!(disk.starts_with(&content));
}

#[test]
fn whoever_may_not_write_is_told_before_a_question_is_asked() {
    // Root may.
    if nix::unistd::geteuid().is_root() {
        return;
    }
    let root = computer(8 << 20);
    let image = root.path().join("axion.img");
    std::fs::write(&image, vec![7; 1 << 20]).unwrap();
    let device = root.path().join("dev/sdb");
    std::fs::set_permissions(&device, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
    for yes in [false, true] {
        let wish = Write {
            yes,
            ..wish(image.clone())
        };
        let error = perform(&wish, root.path(), &Output::new(Format::Table)).unwrap_err();
        assert!(
            error.to_string().contains("run this command with sudo"),
            "{error}"
        );
    }
}

#[test]
fn nothing_is_written_before_all_is_known_to_be_right() {
    let root = computer(1 << 20);
    let image = root.path().join("axion.img");
    std::fs::write(&image, vec![7; 2 << 20]).unwrap();
    let output = Output::new(Format::Table);
    let refuse = |wish: &Write| perform(wish, root.path(), &output).unwrap_err().to_string();

    let error = refuse(&wish(image.clone()));
    assert!(error.contains("it has 1.00 MiB, the medium 2.00 MiB"), "{error}");
    std::fs::write(&image, vec![7; 1 << 20]).unwrap();
    let by_name = Write {
        disk: Some("sdb".to_owned()),
        ..wish(image.clone())
    };
    assert!(refuse(&by_name).contains("--disk AX-1"));
    let unnamed = Write {
        disk: None,
        ..wish(image.clone())
    };
    assert!(refuse(&unnamed).contains("to which disk?"));
    let config = root.path().join("axion.toml");
    std::fs::write(&config, "hostnam = \"x\"\n").unwrap();
    let broken = Write {
        config: Some(config.clone()),
        ..wish(image.clone())
    };
    assert!(refuse(&broken).contains("hostnam"));
    std::fs::write(&config, "hostname = \"x\"\n").unwrap();
    assert!(refuse(&broken).contains("no volume AXION-CFG"));
    std::fs::write(
        root.path().join("SHA256SUMS"),
        format!("{}  axion.img\n", "0".repeat(64)),
    )
    .unwrap();
    assert!(refuse(&wish(image.clone())).contains("SHA256SUMS"));
    std::fs::remove_file(root.path().join("SHA256SUMS")).unwrap();
    let ask = Write {
        yes: false,
        ..wish(image)
    };
    if !terminal::is_attended() {
        assert!(refuse(&ask).contains("--yes"));
    }
    let disk = std::fs::read(root.path().join("dev/sdb")).unwrap();
    assert!(disk.iter().all(|byte| *byte == 0xff));
}
