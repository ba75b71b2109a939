use std::cell::RefCell;

use axion_install::fat::Format;

use super::*;

fn volume(device: &str, text: &str) -> (Source, String) {
    (Source::Volume(device.to_owned()), text.to_owned())
}

fn inline() -> (Source, String) {
    let source = Source::CommandLine("inline".to_owned());
    (source, "hostname = \"a\"\n".to_owned())
}

fn own() -> Source {
    Source::Volume("/dev/nvme0n1p1".to_owned())
}

#[test]
fn a_config_is_kept_where_it_was_found() {
    assert_eq!(Place::of(Some(Slot::A), &[]), Ok(Place::Installed));
    assert_eq!(
        Place::of(Some(Slot::A), &[volume("/dev/sda1", "")]),
        Ok(Place::Installed)
    );
    assert_eq!(
        Place::of(None, &[inline(), volume("/dev/sda1", "")]),
        Ok(Place::Volume("/dev/sda1".to_owned()))
    );
    let refused = |documents: &[(Source, String)]| {
        let problem = Place::of(None, documents).unwrap_err();
        assert_eq!(problem.status, 409);
        problem.detail
    };
    assert!(refused(&[]).contains("nothing but defaults"));
    assert!(refused(&[inline()]).contains("axion.config= on the kernel command line (inline)"));
    let several = refused(&[volume("/dev/sda1", ""), volume("/dev/sdb1", "")]);
    assert!(several.contains("/dev/sda1, /dev/sdb1"), "{several}");
}

#[test]
fn everything_that_is_wrong_is_told_before_anything_is_written() {
    let none = BTreeSet::new();
    let problem = whole(
        "[network]\ndsn = []\n[boot]\non_failure = \"x\"\n",
        &own(),
        Some(&none),
        [].iter(),
    )
    .unwrap_err();
    assert_eq!(problem.status, 422);
    let lines: Vec<&str> = problem.detail.lines().collect();
    assert_eq!(lines.len(), 2, "{problem}");
    assert!(
        lines[0].starts_with("the document line 2: unknown field `network.dsn`"),
        "{problem}"
    );
    let long = "#".repeat(LONGEST + 1);
    assert_eq!(
        whole(&long, &own(), Some(&none), [].iter()).unwrap_err().status,
        413
    );
}

#[test]
fn a_secret_does_not_come_to_lie_beside_what_it_protects() {
    let state = "[storage.encryption]\nkey = \"config\"\nsecret = \"correct horse\"\n";
    let other = "[storage.encryption.secrets]\n\"tank/a\" = \"correct horse\"\n";
    for text in [state, other] {
        let problem = whole(text, &own(), Some(&BTreeSet::new()), [].iter()).unwrap_err();
        assert!(problem.detail.contains("beside what it protects") && !problem.detail.contains("horse"));
        whole(text, &own(), None, [].iter()).unwrap();
        // One that lies there already can stay; no other one comes with it.
        whole(text, &own(), Some(&secrets_of(Some(text))), [].iter()).unwrap();
    }
    let more = format!("{other}\"tank/b\" = \"correct horse\"\n");
    let problem = whole(&more, &own(), Some(&secrets_of(Some(other))), [].iter()).unwrap_err();
    assert!(
        problem
            .detail
            .starts_with("`storage.encryption.secrets.\"tank/b\"`"),
        "{problem}"
    );
}

#[test]
fn the_other_sources_count_as_at_the_start() {
    let by_hand = (
        Source::CommandLine("inline".to_owned()),
        "[profile]\nmode = \"off\"\n".to_owned(),
    );
    let merged = whole(
        "[profile]\nmode = \"hpc\"\n",
        &own(),
        Some(&BTreeSet::new()),
        [by_hand].iter(),
    )
    .unwrap();
    assert_eq!(merged.profile.mode, axion_core::config::ProfileMode::Off);
}

/// A volume in memory.
#[derive(Default)]
struct Kept(RefCell<[Option<Vec<u8>>; 2]>);

impl Keeps for Kept {
    fn read(&self) -> Result<Option<Vec<u8>>, FatError> {
        let [current, _] = self.0.borrow().clone();
        Ok(current)
    }
    fn read_previous(&self) -> Result<Option<Vec<u8>>, FatError> {
        let [_, previous] = self.0.borrow().clone();
        Ok(previous)
    }
    fn replace(&self, text: &str) -> Result<bool, FatError> {
        let current = self.read()?;
        *self.0.borrow_mut() = [Some(text.as_bytes().to_vec()), current];
        Ok(true)
    }
}

#[test]
fn what_is_in_force_is_what_the_node_has_started_with() {
    let kept = Kept::default();
    let on = On {
        name: "axion.toml".to_owned(),
        disk: "nvme0n1",
        volume: &kept,
    };
    let documents = [volume("/dev/sda1", "x = 1"), volume("/dev/nvme0n1p1", "a = 1")];
    assert!(is_in_force(&on, &documents, Some("a = 1")));
    assert!(!is_in_force(&on, &documents, Some("x = 1")));
    assert!(!is_in_force(&on, &documents, None));
    assert!(is_in_force(&on, &documents[..1], None));
    assert!(on.volume.replace("b").unwrap() && on.volume.read_previous().unwrap().is_none());
}

#[test]
fn a_stick_that_has_taken_the_name_of_the_one_before_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let stick = |name: &str, label: &[u8; 11], id: u32| {
        let path = directory.path().join(name);
        let file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        file.set_len(40 << 20).unwrap();
        let format = Format {
            label: *label,
            id,
            cluster: 512,
        };
        let disk = Disk::new(file.try_clone().unwrap(), 512).unwrap();
        Volume::format(disk, &format).unwrap().finish().unwrap();
        file
    };
    let own = stick("own", b"AXION-CFG  ", 7);
    let known = volume::serial(&own);
    assert_eq!(known, Some(7));
    is_the_same("/dev/sda1", &own, known).unwrap();
    for other in [
        stick("photos", b"PHOTOS     ", 7),
        stick("another", b"AXION-CFG  ", 8),
    ] {
        let problem = is_the_same("/dev/sda1", &other, known).unwrap_err();
        assert_eq!(problem.status, 409);
        assert!(
            problem.detail.starts_with("/dev/sda1 is not"),
            "{}",
            problem.detail
        );
    }
    // Where nothing was remembered, nothing is known to be the same.
    assert!(is_the_same("/dev/sda1", &own, None).is_err());
}
