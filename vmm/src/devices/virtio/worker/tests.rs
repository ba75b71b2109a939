use std::sync::atomic::AtomicU32;

use super::testing::unrestricted;
use super::*;

fn worker() -> Worker {
    Worker::new("test", &unrestricted()).unwrap()
}

/// Lets `worker` work until told otherwise; it counts its rests.
fn begin(worker: &Worker, rests: &Arc<AtomicU32>) {
    let rests = rests.clone();
    let job = move |orders: &Orders| loop {
        match orders.current() {
            Order::Run => thread::yield_now(),
            Order::Pause => {
                rests.fetch_add(1, Ordering::SeqCst);
                orders.rest();
            }
            Order::Stop => return,
        }
    };
    worker.begin(job).unwrap();
}

#[test]
fn pause_returns_when_it_rests() {
    let rests = Arc::new(AtomicU32::new(0));
    let worker = worker();
    begin(&worker, &rests);
    for count in 1..20 {
        worker.pause();
        worker.wait_until_quiet();
        assert_eq!(rests.load(Ordering::SeqCst), count);
        worker.resume();
        while worker.orders.state().doing == Doing::Rest {
            thread::yield_now();
        }
    }
    worker.pause();
    drop(worker);
}

#[test]
fn one_thread_does_job_after_job() {
    let rests = Arc::new(AtomicU32::new(0));
    let worker = worker();
    for paused in [false, true, false] {
        begin(&worker, &rests);
        if paused {
            worker.pause();
            worker.wait_until_quiet();
            // It may not have woken yet when it is stopped, and has not stopped then.
            worker.resume();
        }
        worker.stop();
        worker.wait_until_quiet();
        assert_eq!(worker.orders.current(), Order::Stop);
    }
    assert_eq!(rests.load(Ordering::SeqCst), 1);
    // What is idle is not disturbed by a pause of its machine.
    worker.pause();
    worker.wait_until_quiet();
    worker.resume();
    begin(&worker, &rests);
}

#[test]
fn a_job_that_ends_early_is_quiet() {
    let worker = worker();
    worker.begin(|_| {}).unwrap();
    worker.pause();
    worker.wait_until_quiet();
    worker.resume();
    worker.stop();
    worker.wait_until_quiet();
    worker.begin(|_| {}).unwrap();
}

#[test]
fn a_thread_that_is_gone_is_quiet_and_takes_no_job() {
    let worker = worker();
    worker.begin(|_| panic!("for the test")).unwrap();
    worker.wait_until_quiet();
    worker.pause();
    worker.wait_until_quiet();
    while !worker.orders.state().over {
        thread::yield_now();
    }
    assert!(worker.begin(|_| {}).is_err());
}

#[test]
fn a_thread_that_cannot_be_restricted_is_none() {
    let restrict: Restrict = Arc::new(|| {
        Err(SandboxError::Call {
            what: "restrict itself",
            source: io::Error::from_raw_os_error(1),
        })
    });
    let error = Worker::new("test", &restrict).err().unwrap();
    assert!(matches!(error, WorkerError::Sandbox(_)), "{error}");
    assert!(Team::new(["a".into(), "b".into()].into_iter(), &restrict).is_err());
}
