use super::*;

/// As many calls as would take every thread for short work, one of which has the turn for as long as its disk hangs.
#[test]
fn a_call_that_hangs_keeps_neither_the_others_nor_their_threads_for_long() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (disk_works, hangs) = std::sync::mpsc::channel::<()>();
        let hanging = tokio::spawn(alone(move |_turn| {
            let _ = hangs.recv();
            Ok::<_, SlotError>(())
        }));
        while TURN.try_lock().is_ok() {
            tokio::task::yield_now().await;
        }
        let waiting: Vec<_> = (0..8)
            .map(|_| tokio::spawn(alone(|_| Ok::<_, SlotError>(()))))
            .collect();
        tokio::task::yield_now().await;
        let other = tokio::task::spawn_blocking(|| "a volume is opened");
        assert_eq!(other.await.unwrap(), "a volume is opened");
        let short = Duration::from_millis(30);
        assert!(matches!(Turn::take(short).await, Err(SlotError::Busy)));
        assert!(matches!(Turn::wait(short), Err(SlotError::Busy)));
        let problem = Problem::from(SlotError::Busy);
        assert!(problem.detail.contains("its mirror"), "{}", problem.detail);
        disk_works.send(()).unwrap();
        hanging.await.unwrap().unwrap();
        for call in waiting {
            call.await.unwrap().unwrap();
        }
    });
}
