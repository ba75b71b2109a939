use std::sync::atomic::AtomicU32;

use super::*;

/// Works until told otherwise; counts its rests.
fn spawn(rests: Arc<AtomicU32>) -> Worker {
    Worker::spawn("test".into(), move |orders| {
        loop {
            match orders.current() {
                Order::Run => thread::yield_now(),
                Order::Pause => {
                    rests.fetch_add(1, Ordering::SeqCst);
                    orders.rest();
                }
                Order::Stop => return,
            }
        }
    })
    .unwrap()
}

#[test]
fn pause_returns_when_it_rests() {
    let rests = Arc::new(AtomicU32::new(0));
    let worker = spawn(rests.clone());
    for count in 1..20 {
        worker.pause();
        worker.wait_until_quiet();
        assert_eq!(rests.load(Ordering::SeqCst), count);
        worker.resume();
        while worker.orders.state().quiet {
            thread::yield_now();
        }
    }
    worker.pause();
    drop(worker);
}

#[test]
fn a_thread_that_is_gone_is_quiet() {
    let worker = Worker::spawn("test".into(), |_| {}).unwrap();
    worker.pause();
    worker.wait_until_quiet();
    worker.resume();
}
