use super::*;

const WORK: [Work; 10] = [
    Work::Read(Path::Cached),
    Work::Read(Path::Direct),
    Work::Write(Path::Cached),
    Work::Write(Path::Direct),
    Work::Flush,
    Work::Discard,
    Work::Punch,
    Work::Zero,
    Work::Fill,
    Work::Sync,
];

#[test]
fn whatever_needs_room_waits_for_it() {
    for work in WORK {
        let waits = !matches!(work, Work::Read(_) | Work::Discard);
        for errno in [libc::ENOSPC, libc::EDQUOT] {
            let expected = if waits {
                Outcome::Wait
            } else {
                Outcome::Fail(errno)
            };
            assert_eq!(outcome(work, -errno, 512), expected, "{work:?}");
        }
        assert_eq!(
            outcome(work, -libc::EIO, 512),
            Outcome::Fail(libc::EIO),
            "{work:?}"
        );
        assert_eq!(outcome(work, -libc::EINTR, 512), Outcome::Again(work), "{work:?}");
    }
}

#[test]
fn results_end_requests_or_leave_a_part() {
    for (work, result, expected) in [
        (Work::Flush, 0, Outcome::End(Status::Ok)),
        (Work::Sync, 0, Outcome::End(Status::Ok)),
        (Work::Read(Path::Direct), 512, Outcome::Part(512)),
        (Work::Read(Path::Direct), 4096, Outcome::Part(1024)),
        (Work::Read(Path::Cached), 0, Outcome::End(Status::IoError)),
        (
            Work::Read(Path::Direct),
            -libc::EINVAL,
            Outcome::Again(Work::Read(Path::Cached)),
        ),
        (
            Work::Read(Path::Cached),
            -libc::EINVAL,
            Outcome::Fail(libc::EINVAL),
        ),
        (
            Work::Write(Path::Direct),
            -libc::EINVAL,
            Outcome::Again(Work::Write(Path::Cached)),
        ),
        (Work::Discard, -libc::EOPNOTSUPP, Outcome::End(Status::Ok)),
        (Work::Punch, -libc::EOPNOTSUPP, Outcome::Again(Work::Fill)),
        (Work::Zero, -libc::EOPNOTSUPP, Outcome::Again(Work::Fill)),
        (Work::Fill, 1024, Outcome::Part(1024)),
        (Work::Punch, 0, Outcome::End(Status::Ok)),
    ] {
        assert_eq!(outcome(work, result, 1024), expected, "{work:?} {result}");
    }
}
