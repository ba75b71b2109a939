use std::io::Write;
use std::os::fd::AsFd;

use axion_api::recovery::CrashSummary;
use axion_install::fat::{Format, Volume};
use axion_install::inspect::digest;
use axion_install::recording::Disk;
use axion_install::slot::{ENTRIES, IMAGES, Name};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::*;

fn esp(disk: &Disk) -> Esp<&Disk> {
    let format = Format {
        label: *b"AXION-EFI  ",
        id: 1,
        cluster: 512,
    };
    let mut volume = Volume::format(disk, &format).unwrap();
    for directory in ["EFI", IMAGES, "loader", ENTRIES] {
        volume.make_directory(directory).unwrap();
    }
    volume.finish().unwrap();
    let esp = Esp::new(volume);
    let name = Name::confirmed(Slot::A);
    esp.write_slot(name, 1, &update("0.1.0"), &mut &b"image"[..], &mut |_| {})
        .unwrap();
    esp
}

fn update(version: &str) -> Update {
    Update {
        version: version.to_owned(),
        size: 5,
        digest: digest(b"image"),
        options: "console=tty0".to_owned(),
    }
}

#[test]
fn the_slots_are_told_as_the_loader_sees_them() {
    let disk = Disk::new(40 << 20);
    let esp = esp(&disk);
    let told = |running| describe(&esp, running, vec!["K".to_owned()]).unwrap();
    let first = told(Slot::A);
    assert_eq!((first.running.as_str(), first.next.as_deref()), ("a", Some("a")));
    assert_eq!(first.slots.len(), 1);
    assert_eq!(first.trusted_keys, ["K"]);

    esp.stage(Some(Slot::A), &update("0.2.0"), &mut &b"image"[..], &mut |_| {})
        .unwrap();
    let state = |status: &UpdateStatus| {
        let b = status.slot("b").unwrap();
        (b.state, b.tries_left)
    };
    let staged = told(Slot::A);
    assert_eq!(staged.next.as_deref(), Some("b"));
    assert_eq!(state(&staged), (SlotState::Staged, Some(3)));
    assert_eq!(staged.slot("b").unwrap().arguments, "console=tty0 axion.slot=b");
    esp.count_start().unwrap();
    let trying = told(Slot::B);
    assert_eq!(state(&trying), (SlotState::Trying, Some(2)));
    assert_eq!(trying.slot("b").unwrap().failure, None);

    esp.set_note(Slot::B, Note::Verdict, "agent: not ready").unwrap();
    esp.set_note(Slot::B, Note::Log, "init: ready\n").unwrap();
    esp.give_up(Slot::B).unwrap();
    let failed = told(Slot::A);
    assert_eq!(failed.next.as_deref(), Some("a"));
    assert_eq!(state(&failed), (SlotState::Failed, Some(0)));
    let failure = failed.slot("b").unwrap().failure.clone().unwrap();
    assert_eq!(
        (failure.why.as_str(), failure.log.as_str()),
        ("agent: not ready", "init: ready\n")
    );
}

#[test]
fn a_slot_that_left_no_word_has_the_crash_that_came_after_it() {
    let crash = Crash {
        summary: CrashSummary {
            unix_s: 100,
            reason: "Panic".to_owned(),
            headline: "no init".to_owned(),
            backend: "efi_pstore".to_owned(),
        },
        log: "last line".to_owned(),
    };
    let failure = silent(Some(99), Some(crash.clone()));
    assert_eq!(failure.why, "its kernel ended (Panic): no init");
    assert_eq!(failure.log, "last line");
    for (since, crash) in [
        (Some(101), Some(crash.clone())),
        (None, Some(crash)),
        (Some(1), None),
    ] {
        assert_eq!(silent(since, crash).why, SILENT);
    }
}

#[test]
fn a_file_that_may_change_is_not_taken() {
    let memory = memfd_create("update", MFdFlags::MFD_ALLOW_SEALING).unwrap();
    let mut file = File::from(memory);
    file.write_all(b"image").unwrap();
    let take = |file: &File| sealed(file.as_fd().try_clone_to_owned().unwrap());
    assert!(matches!(take(&file), Err(SlotError::NotSealed)));
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    assert_eq!(take(&file).unwrap().stream_position().unwrap(), 0);
    assert!(matches!(
        take(&tempfile::tempfile().unwrap()),
        Err(SlotError::NotSealed)
    ));
}

#[tokio::test]
async fn a_node_that_is_not_installed_says_so() {
    let (node, _wishes, _guard) = crate::node::for_tests().await;
    let calls = [
        serve(&node, r#"{"call":"status"}"#).await,
        serve(&node, r#"{"call":"roll-back"}"#).await,
        stage(&node, tempfile::tempfile().unwrap().into(), r#"{"signature":""}"#).await,
    ];
    for answer in calls {
        let Answer::Problem(problem) = serde_json::from_str(&answer).unwrap() else {
            panic!("{answer}");
        };
        assert_eq!(problem.status, 409);
        assert!(
            problem.detail.contains("not started from an installed disk"),
            "{problem}"
        );
    }
    let nonsense: Answer = serde_json::from_str(&serve(&node, "{}").await).unwrap();
    assert!(matches!(nonsense, Answer::Problem(problem) if problem.status == 400));
}
