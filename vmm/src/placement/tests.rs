use std::thread;

use super::*;

fn placement(config: vmm::Placement) -> Placement {
    Placement::new(config).unwrap()
}

/// Runs `test` in a thread of its own, whose affinity may change.
fn aside<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(test).join().unwrap())
}

fn some_cpu() -> u32 {
    affinity::get().unwrap().iter().last().unwrap()
}

#[test]
fn vcpu_gets_its_cpu_and_no_other() {
    let cpu = some_cpu();
    let placed = aside(|| {
        placement(vmm::Placement {
            vcpus: vec![cpu],
            ..Default::default()
        })
        .place_vcpu(0)
        .unwrap()
    });
    assert_eq!(placed.cpus, CpuSet::from_iter([cpu]));
    assert_eq!(placed.fifo_priority, None);
    assert_ne!(placed.thread, std::process::id());
}

#[test]
fn cpu_that_is_not_there_is_named() {
    for cpu in [1023, 5000] {
        let error = aside(|| {
            placement(vmm::Placement {
                vcpus: vec![0, cpu],
                ..Default::default()
            })
            .place_vcpu(1)
            .unwrap_err()
        });
        assert_eq!(
            error.to_string(),
            format!("placement.vcpus[1]: vCPU 1 cannot run on host CPU {cpu}")
        );
    }
}

#[test]
fn vcpus_without_a_cpu_do_not_keep_house() {
    aside(|| {
        let all = affinity::get().unwrap();
        let cpu = CpuSet::from_iter([some_cpu()]);
        let placement = placement(vmm::Placement {
            housekeeping: cpu.clone(),
            ..Default::default()
        });
        placement.keep_house().unwrap();
        assert_eq!(affinity::get().unwrap(), cpu);
        let vcpu = aside(|| placement.place_vcpu(0).unwrap());
        assert_eq!(vcpu.cpus, all);
    });
}

#[test]
fn setup_may_use_the_machines_own_cpus() {
    let placement = Placement {
        config: vmm::Placement {
            vcpus: vec![9, 8],
            ..Default::default()
        },
        inherited: "0-1".parse().unwrap(),
    };
    assert_eq!(placement.for_setup().to_string(), "0-1,8-9");
}

#[test]
fn real_time_priority_is_had_or_refused() {
    let placed = aside(|| {
        placement(vmm::Placement {
            vcpus: vec![some_cpu()],
            fifo_priority: Some(3),
            ..Default::default()
        })
        .place_vcpu(0)
    });
    match placed {
        Ok(placed) => assert_eq!(placed.fifo_priority, Some(3)),
        Err(error) => assert!(
            error.to_string().contains("fifo_priority: vCPU 0 cannot have 3"),
            "{error}"
        ),
    }
}
