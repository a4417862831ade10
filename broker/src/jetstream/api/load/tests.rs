use super::*;

fn load(changing: u64, asking: u64) -> ApiLoad {
    ApiLoad::new(&options::JetStream {
        request_queue_limit: Some(changing),
        info_queue_limit: Some(asking),
        ..options::JetStream::default()
    })
}

#[test]
fn each_kind_of_request_has_its_own_limit() {
    let load = load(1, 2);
    let changing = load.enter(b"$JS.API.STREAM.CREATE.A", 9, 1).unwrap();
    assert!(load.enter(b"$JS.API.CONSUMER.DELETE.A.B", 9, 2).is_none());
    let _asking = load.enter(b"$JS.API.STREAM.INFO.A", 9, 1).unwrap();
    let _another = load.enter(b"$JS.API.CONSUMER.LIST.A", 9, 2).unwrap();
    assert!(load.enter(b"$JS.API.INFO", 9, 3).is_none());
    assert!(load.enter_direct(9, 1).is_some());
    drop(changing);
    assert!(load.enter(b"$JS.API.STREAM.PURGE.A", 9, 2).is_some());
}

#[test]
fn one_connection_leaves_room_for_another() {
    let load = load(10, 10);
    let ask = |connection| load.enter(b"$JS.API.INFO", 0, connection);
    let mut waiting: Vec<_> = (0..5).map(|_| ask(1).unwrap()).collect();
    assert!(ask(1).is_none());
    waiting.extend((0..5).map(|_| ask(2).unwrap()));
    assert!(ask(3).is_none());
    waiting.clear();
    assert!(load.counts.lock().connections.is_empty() && ask(3).is_some());
}

#[test]
fn bytes_are_bounded_as_well() {
    let load = load(100, 100);
    let large = (BYTES_MAX / 4) as usize;
    let create = |connection| load.enter(b"$JS.API.STREAM.CREATE.A", large, connection);
    let mut waiting = vec![create(1).unwrap(), create(1).unwrap()];
    assert!(create(1).is_none());
    waiting.extend([create(2).unwrap(), create(3).unwrap()]);
    assert!(create(4).is_none());
    waiting.clear();
    assert_eq!(load.counts.lock().all.bytes, 0);
}

#[tokio::test]
async fn heavy_answers_of_one_connection_come_one_by_one() {
    let load = load(10, 10);
    let ask = |connection| load.enter(b"$JS.API.INFO", 0, connection).unwrap();
    let (first, second, other) = (ask(1), ask(1), ask(2));
    let turn = first.turn().await;
    assert!(second.turn.try_acquire().is_err());
    assert!(other.turn.try_acquire().is_ok());
    drop(turn);
    assert!(second.turn.try_acquire().is_ok());
}
