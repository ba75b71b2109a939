use std::sync::mpsc::SyncSender;

use super::*;

const SOON: Duration = Duration::from_millis(20);

fn next(machine: &Receiver<Event>) -> (Request, SyncSender<Answer>) {
    match machine.try_recv() {
        Ok(Event::Request(request, reply)) => (request, reply),
        _ => panic!("no request"),
    }
}

/// The machine thread is kept by a pause, because a disk's storage does not answer.
#[test]
fn nobody_waits_for_a_machine_that_is_kept() {
    let (events, machine) = mpsc::channel();
    let requests = Requests::new(events);
    let ask = |request| requests.ask_within(SOON, request);
    assert_eq!(ask(Request::Pause), Err(RequestError::Late(Request::Pause)));
    assert_eq!(ask(Request::Resume), Err(RequestError::Busy(Request::Resume)));
    assert_eq!(ask(Request::Stop), Err(RequestError::Late(Request::Stop)));
    assert_eq!(ask(Request::Reset), Err(RequestError::Busy(Request::Reset)));
    // It goes on: with the pause, and then it stops. Nothing else was asked of it.
    let (first, reply) = next(&machine);
    assert_eq!(first, Request::Pause);
    reply.send(Ok(())).unwrap();
    assert_eq!(next(&machine).0, Request::Stop);
    assert!(machine.try_recv().is_err());
    // It listens again.
    let text = ask(Request::Resume).unwrap_err().to_string();
    assert!(text.contains("resume is done once it goes on"), "{text}");
}

#[test]
fn an_answer_in_time_is_passed_on() {
    let (events, machine) = mpsc::channel();
    let requests = Requests::new(events);
    let refusal = gone(Request::Pause);
    let answering = std::thread::spawn(move || {
        for answer in [Ok(()), Err(refusal)] {
            let Ok(Event::Request(_, reply)) = machine.recv() else {
                panic!("no request")
            };
            reply.send(answer).unwrap();
        }
    });
    assert_eq!(requests.ask(Request::Pause), Ok(()));
    assert_eq!(requests.ask(Request::Pause), Err(refusal.into()));
    answering.join().unwrap();
    assert_eq!(requests.ask(Request::Pause), Err(refusal.into()), "it has ended");
}
