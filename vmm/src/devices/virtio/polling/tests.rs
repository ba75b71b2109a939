use super::*;

#[test]
fn it_grows_with_short_sleeps_and_is_given_up_by_a_long_one() {
    let mut window = Window::default();
    assert!(!window.is_open());
    let mut seen = Vec::new();
    for _ in 0..6 {
        window.slept(Duration::from_micros(50));
        seen.push(window.0.as_micros());
    }
    assert_eq!(seen, [10, 20, 40, 80, 160, 200]);
    window.slept(Duration::from_millis(1));
    assert!(!window.is_open());
}

#[test]
fn looking_ends_with_what_is_found_or_with_the_moment() {
    let mut window = Window::default();
    assert!(!window.look(|| panic!("a window that is closed is not looked through")));
    window.slept(Duration::ZERO);
    let mut looks = 0;
    assert!(window.look(|| {
        looks += 1;
        looks == 40
    }));
    let begin = Instant::now();
    assert!(!window.look(|| false));
    assert!(begin.elapsed() >= FIRST);
}
