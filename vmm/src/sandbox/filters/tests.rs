use super::*;

const ROLES: [Role; 5] = [
    Role::Control,
    Role::Machine,
    Role::Vcpu,
    Role::Device,
    Role::Sockets,
];

fn calls(role: Role) -> Vec<i64> {
    let rules = role.rules().into_iter().flatten();
    rules
        .map(|rule| match rule {
            Any(call) | If(call, ..) => *call,
        })
        .collect()
}

#[test]
fn every_filter_compiles_and_fits() {
    for role in ROLES {
        for mode in [SandboxMode::Enforce, SandboxMode::Log] {
            let program = compile(role, mode).unwrap();
            assert!((10..4096).contains(&program.len()), "{role:?}: {}", program.len());
        }
    }
    threads_only().unwrap();
}

#[test]
fn constants_are_the_kernels() {
    assert_eq!(i64::from(GET_NAME), i64::from(libc::PR_GET_NAME));
    assert_eq!(i64::from(SET_NO_NEW_PRIVS), i64::from(libc::PR_SET_NO_NEW_PRIVS));
    assert_eq!(i64::from(GET_FD_FLAGS), i64::from(libc::F_GETFD));
    assert_eq!(SET_FILTER, libc::SECCOMP_SET_MODE_FILTER);
    assert_eq!(u64::from(SET_OFFLOAD), libc::TUNSETOFFLOAD);
    assert_eq!(u64::from(SET_QUEUE), libc::TUNSETQUEUE);
    let signals = [libc::SIGUSR1, libc::SIGABRT, libc::SIGSYS].map(i64::from);
    assert_eq!(SIGNALS.map(i64::from), signals);
}

#[test]
fn no_call_is_both_free_and_restricted() {
    for role in ROLES {
        let rules: Vec<_> = role.rules().into_iter().flatten().collect();
        let free: Vec<i64> = rules
            .iter()
            .filter_map(|rule| match rule {
                Any(call) => Some(*call),
                If(..) => None,
            })
            .collect();
        for rule in &rules {
            if let If(call, ..) = rule {
                assert!(!free.contains(call), "{role:?}: {call}");
            }
        }
    }
}

#[test]
fn nobody_opens_starts_or_connects_anything() {
    for role in ROLES {
        for forbidden in [
            libc::SYS_open,
            libc::SYS_openat,
            libc::SYS_execve,
            libc::SYS_fork,
            libc::SYS_vfork,
            libc::SYS_bind,
            libc::SYS_ptrace,
            libc::SYS_process_vm_writev,
            libc::SYS_mount,
            libc::SYS_setuid,
            libc::SYS_rt_sigaction,
        ] {
            assert!(!calls(role).contains(&forbidden), "{role:?}: {forbidden}");
        }
    }
}

#[test]
fn only_the_machine_makes_rings() {
    for role in ROLES {
        let makes = calls(role).contains(&libc::SYS_io_uring_setup);
        assert_eq!(makes, role == Role::Machine, "{role:?}");
    }
}

#[test]
fn only_the_socket_device_connects_and_to_unix_sockets_only() {
    for role in ROLES {
        for call in [libc::SYS_socket, libc::SYS_connect] {
            assert_eq!(
                calls(role).contains(&call),
                role == Role::Sockets,
                "{role:?}: {call}"
            );
        }
    }
    let family = |rule: &&Rule| matches!(rule, If(libc::SYS_socket, 0, EXACT, AF_UNIX));
    assert_eq!(SOCKETS.iter().filter(family).count(), 1);
    let sockets = |rule: &&Rule| matches!(rule, Any(call) | If(call, ..) if *call == libc::SYS_socket);
    assert_eq!(SOCKETS.iter().filter(sockets).count(), 1);
    assert_eq!(i64::from(AF_UNIX), i64::from(libc::AF_UNIX));
}

#[test]
fn machine_allows_what_its_threads_do() {
    let machine = calls(Role::Machine);
    for role in [Role::Vcpu, Role::Device] {
        assert!(calls(role).iter().all(|call| machine.contains(call)), "{role:?}");
    }
}
