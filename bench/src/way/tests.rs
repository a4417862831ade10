use super::*;

fn addr() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4222))
}

#[test]
fn a_url_says_how_to_come_in() {
    let plain = Entrance::plain(addr());
    for text in ["127.0.0.1:4222", "nats://127.0.0.1:4222"] {
        assert_eq!(text.parse::<Entrance>().unwrap(), plain, "{text}");
    }
    let tls = "tls://127.0.0.1:4222".parse::<Entrance>().unwrap();
    assert!(tls.tls && !tls.websocket);
    let websocket = "ws://ada:a:b@c@127.0.0.1:4222".parse::<Entrance>().unwrap();
    assert!(websocket.websocket && !websocket.tls);
    let both = "wss://127.0.0.1:8443".parse::<Entrance>().unwrap();
    assert!(both.websocket && both.tls);
    let login = websocket.login.unwrap();
    assert_eq!((&*login.user, &*login.password), ("ada", "a:b@c"));
    for bad in ["127.0.0.1", "http://127.0.0.1:4222", "ada@127.0.0.1:4222", "ws://"] {
        assert!(bad.parse::<Entrance>().is_err(), "{bad}");
    }
}

#[test]
fn every_way_but_the_plain_one_has_a_file() {
    for way in Way::value_variants() {
        assert_eq!(way.conf().is_none(), *way == Way::Plain, "{way:?}");
        assert_eq!(Way::from_str(way.name(), false), Ok(*way));
    }
    assert_eq!(Way::Permissions.entrance(addr()).login.unwrap().user, "load");
}
