use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::node::for_tests;

const MOMENT: Duration = Duration::from_secs(20);

fn started(child: std::io::Result<Child>) -> u32 {
    child.map(|child| child.id()).unwrap()
}

#[tokio::test]
async fn the_end_of_a_command_is_told_to_who_started_it() {
    let (node, _wishes, _guard) = for_tests().await;
    let commands = node.commands.clone();
    let status = tokio::task::spawn_blocking(move || {
        let pid = started(commands.spawn(Command::new("sh").args(["-c", "exit 7"])));
        let status = commands.wait(pid, Instant::now() + MOMENT).unwrap();
        // Told once.
        assert!(commands.wait(pid, Instant::now() + MOMENT).is_err());
        status
    });
    assert_eq!(status.await.unwrap().unwrap().code(), Some(7));
}

#[tokio::test]
async fn a_command_that_goes_on_is_given_up_at_its_deadline_and_killed() {
    let (node, _wishes, _guard) = for_tests().await;
    let commands = node.commands.clone();
    let work = tokio::task::spawn_blocking(move || {
        let pid = started(commands.spawn(Command::new("sleep").arg("600")));
        let soon = Instant::now() + Duration::from_millis(50);
        assert_eq!(commands.wait(pid, soon).unwrap(), None);
        commands.kill(pid);
        pid
    });
    let pid = work.await.unwrap();
    let end = Instant::now() + MOMENT;
    while std::path::Path::new(&format!("/proc/{pid}")).exists() {
        assert!(Instant::now() < end, "still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_error_and_no_command() {
    let (node, _wishes, _guard) = for_tests().await;
    let commands = node.commands.clone();
    let work = tokio::task::spawn_blocking(move || commands.spawn(&mut Command::new("/no/such/program")));
    assert!(work.await.unwrap().is_err());
}
