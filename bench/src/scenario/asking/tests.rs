use super::*;

fn answer(window: &mut Window, subject: &str) -> Result<u64> {
    let msg = Msg {
        subject: subject.as_bytes(),
        sid: 1,
        reply: b"",
        header: b"",
        payload: b"",
    };
    window.answer(&msg, 3, 5)
}

#[test]
fn a_place_asks_anew_once_it_was_answered() {
    let mut window = Window::new(2).unwrap();
    let (first, second) = (window.ask(0, 1).unwrap(), window.ask(1, 1).unwrap());
    assert_eq!(window.ask(2, 1), None);
    assert_eq!(answer(&mut window, &format!("in.{second}")).unwrap(), 1);
    assert_eq!(window.ask(2, 1), Some(second));
    assert_eq!(answer(&mut window, &format!("in.{second}")).unwrap(), 2);
    assert_eq!(answer(&mut window, &format!("in.{first}")).unwrap(), 0);
    assert_eq!(window.latency.len(), 3);
}

#[test]
fn an_answer_to_nothing_is_an_error() {
    let mut window = Window::new(2).unwrap();
    let place = window.ask(0, 1).unwrap();
    assert!(answer(&mut window, &format!("in.{}", 1 - place)).is_err());
    assert!(answer(&mut window, "in.2").is_err());
    assert!(answer(&mut window, "in.x").is_err());
    answer(&mut window, &format!("in.{place}")).unwrap();
    assert!(answer(&mut window, &format!("in.{place}")).is_err());
}
