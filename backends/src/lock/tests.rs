use super::*;

#[test]
fn a_lock_that_is_let_go_of_is_taken_and_one_that_is_held_is_told() {
    let mut asked = 0;
    let taken = patiently(
        || {
            asked += 1;
            if asked < 3 { Err("held") } else { Ok(asked) }
        },
        |why| *why == "held",
    );
    assert_eq!(taken, Ok(3));
    assert_eq!(patiently(|| Err::<(), _>("held"), |why| *why == "held"), Err("held"));
    let mut asked = 0;
    let refused = patiently(
        || {
            asked += 1;
            Err::<(), _>("no such file")
        },
        |why| *why == "held",
    );
    assert_eq!((refused, asked), (Err("no such file"), 1));
}
