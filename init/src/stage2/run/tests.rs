use axion_api::init::Outcome;

use super::{PhasePlan, TaskPlan, all};
use crate::node::for_tests;
use crate::sync::lock;

const fn task(name: &'static str, essential: bool, run: super::Run) -> TaskPlan {
    TaskPlan {
        name,
        essential: if essential { Some("do this") } else { None },
        run,
    }
}

fn leak<const N: usize>(tasks: [TaskPlan; N]) -> &'static [TaskPlan] {
    Box::leak(Box::new(tasks))
}

#[tokio::test]
async fn best_effort_degrades_and_the_boot_goes_on() {
    let (node, _wishes, _guard) = for_tests().await;
    let phases = [
        PhasePlan {
            name: "one",
            tasks: leak([
                task("good", true, |_| Box::pin(async { Ok(()) })),
                task("bad", false, |_| Box::pin(async { Err("no such thing".into()) })),
                task("panics", false, |_| Box::pin(async { panic!("boom") })),
            ]),
        },
        PhasePlan {
            name: "two",
            tasks: &[],
        },
    ];
    all(&phases, &node).await.unwrap();
    let boot = lock(&node.boot).clone();
    assert_eq!(
        boot.phases.iter().map(|p| p.outcome).collect::<Vec<_>>(),
        [Outcome::Degraded, Outcome::Ok]
    );
    let errors: Vec<_> = boot.phases[0].tasks.iter().map(|t| t.error.clone()).collect();
    assert_eq!(errors[..2], [None, Some("no such thing".to_owned())]);
    assert!(errors[2].as_ref().unwrap().starts_with("internal error"));
}

#[tokio::test]
async fn an_essential_task_stops_the_boot_with_its_next_step() {
    let (node, _wishes, _guard) = for_tests().await;
    let phases = [
        PhasePlan {
            name: "one",
            tasks: leak([task("bad", true, |_| Box::pin(async { Err("no disk".into()) }))]),
        },
        PhasePlan {
            name: "two",
            tasks: &[],
        },
    ];
    let failure = all(&phases, &node).await.unwrap_err();
    assert_eq!(
        (failure.cause.as_str(), failure.next_step.as_str()),
        ("no disk", "do this")
    );
    assert!(failure.task.contains("bad"));
    assert_eq!(lock(&node.boot).phases.len(), 1);
}

#[tokio::test]
async fn tasks_of_a_phase_run_at_the_same_time() {
    let wait: super::Run = |_| {
        Box::pin(async {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            Ok(())
        })
    };
    let (node, _wishes, _guard) = for_tests().await;
    let tasks = leak([task("a", true, wait), task("b", true, wait)]);
    all(&[PhasePlan { name: "one", tasks }], &node).await.unwrap();
    let took = lock(&node.boot).phases[0].duration_us;
    assert!((100_000..190_000).contains(&took), "{took}");
}
