use super::*;

#[test]
fn the_bar_shows_each_percent_once() {
    let mut bar = Bar::new(1000);
    assert_eq!(bar.show(Progress::Step("writing")).unwrap(), "writing\n");
    assert_eq!(bar.show(Progress::Bytes(5)), None);
    let shown = bar.show(Progress::Bytes(495)).unwrap();
    assert_eq!(shown, format!("\r  [{}{}]  50 %", "#".repeat(20), ".".repeat(20)));
    assert!(bar.show(Progress::Bytes(500)).unwrap().ends_with("100 %\n"));
}
