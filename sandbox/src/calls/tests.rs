use std::io::ErrorKind;
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;
use crate::{capabilities, files};

#[test]
fn constants_are_the_kernels() {
    assert_eq!(i64::from(THREAD), i64::from(libc::CLONE_THREAD | libc::CLONE_VM));
    assert_eq!(i64::from(EXECUTABLE), i64::from(libc::PROT_EXEC));
    assert_eq!(i64::from(SET_NAME), i64::from(libc::PR_SET_NAME));
    assert_eq!(u64::from(SET_NONBLOCKING), libc::FIONBIO);
}

#[test]
fn an_argument_that_no_call_has_is_refused() {
    let rules: &[Rule] = &[Rule::If(libc::SYS_read, 6, EXACT, 0)];
    assert!(filter([rules], Action::Allow, MISSING).is_err());
}

#[test]
fn a_thread_keeps_what_its_rules_leave() {
    let kept = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    for dir in [&kept, &other] {
        std::fs::write(dir.path().join("file"), "x").unwrap();
    }
    let read = |dir: &tempfile::TempDir| std::fs::read(dir.path().join("file")).map_err(|e| e.kind());
    let missing: &[Rule] = &[
        Rule::Any(libc::SYS_uname),
        Rule::If(libc::SYS_kill, 1, EXACT, libc::SIGUSR2.unsigned_abs()),
    ];
    let program = filter([missing], MISSING, Action::Allow).unwrap();
    let restricted = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            capabilities::drop_all().unwrap();
            let status = files::restrict([(kept.path(), files::READ)]).unwrap();
            apply_filter(&program).unwrap();
            assert_eq!(read(&kept), Ok(b"x".to_vec()));
            if status != files::RulesetStatus::NotEnforced {
                let denied = Err(ErrorKind::PermissionDenied);
                assert_eq!(read(&other), denied);
                assert_eq!(
                    std::fs::write(kept.path().join("new"), "").map_err(|e| e.kind()),
                    denied.map(drop)
                );
            }
            assert_eq!(nix::sys::utsname::uname().err(), Some(Errno::ENOSYS));
            assert_eq!(kill(Pid::this(), Signal::SIGUSR2), Err(Errno::ENOSYS));
            assert_eq!(kill(Pid::this(), None), Ok(()));
        });
        thread.join()
    });
    restricted.unwrap();
}
