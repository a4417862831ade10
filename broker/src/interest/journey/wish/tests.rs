use super::*;

fn block(lines: &[&str]) -> Vec<u8> {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("NATS/1.0\r\n{lines}\r\n").into_bytes()
}

fn read(lines: &[&str]) -> Option<Wish> {
    let block = block(lines);
    let wish = Wish::read(&block);
    assert!(wish.is_none() || is_wished(&block), "{lines:?}");
    wish
}

#[test]
fn headers_that_ask_for_nothing_are_seen_at_once() {
    for lines in [
        &["A: 1", "Nats-Msg-Id: 7"][..],
        &[
            "nats-trace-des: x",
            "Nats-Trace-Destination: x",
            "Nats-Trace-Only: true",
        ],
        &["X-traceparent: x", "trace: x"],
        &["A: Nats-Trace-Dest: x"],
        &["N", "t", "Nats"],
        &[],
    ] {
        assert!(!is_wished(&block(lines)), "{lines:?}");
        assert!(read(lines).is_none());
    }
    for broken in [&b""[..], b"\n", b"NATS/1.0\r\nNats-Trace-Dest", b"\nN\nNats-\nt"] {
        assert!(!is_wished(broken) && Wish::read(broken).is_none());
    }
}

#[test]
fn a_destination_is_named() {
    let wish = read(&["A: 1", "Nats-Trace-Dest:  to.me \t", "A:2", "Accept-Encoding: br, GZip"]).unwrap();
    assert_eq!(wish.to.as_deref(), Some("to.me"));
    assert_eq!((wish.only, wish.encoding), (false, Encoding::Gzip));
    assert_eq!(wish.headers["A"], ["1", "2"]);
    assert_eq!(wish.headers["Nats-Trace-Dest"], ["to.me"]);
    assert!(read(&["Nats-Trace-Dest: "]).is_none(), "an empty value is none");
    assert!(read(&["Nats-Trace-Dest: trace disabled", "traceparent: 00-1-2-01"]).is_none());
    assert!(read(&["nats-trace-dest: x"]).is_none(), "the name is written so");
    for only in ["1", "TRUE", "on"] {
        assert!(
            read(&["Nats-Trace-Dest: x", &format!("Nats-Trace-Only: {only}")])
                .unwrap()
                .only
        );
    }
    for not in ["0", "yes", ""] {
        assert!(
            !read(&["Nats-Trace-Dest: x", &format!("Nats-Trace-Only: {not}")])
                .unwrap()
                .only
        );
    }
    let old = read(&["Nats-Trace-Dest: x", "Nats-Trace-Origin-Account: A"]).unwrap();
    assert_eq!(old.origin.as_deref(), Some("A"));
    assert!(
        Wish::read(b"NATS/1.0 503\r\nNats-Trace-Dest: x\r\n\r\n").is_none(),
        "a status is not a client's"
    );
}

#[test]
fn a_trace_of_others_is_followed_where_it_is_sampled() {
    for (value, sampled) in [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
        ("a-b-c-03", true),
        ("00-1-2-00", false),
        ("00-1-2-1", false),
        ("00-1-2-01-x", false),
        ("00-1-01", false),
        // Eight bits with a sign, as Go reads them there.
        ("00-1-2-ff", false),
        ("00-1-2-zz", false),
    ] {
        for name in ["traceparent", "TraceParent"] {
            let wish = read(&[&format!("{name}: {value}"), "Nats-Trace-Only: true"]);
            assert_eq!(wish.is_some(), sampled, "{value}");
            assert!(wish.is_none_or(|wish| wish.to.is_none() && !wish.only));
        }
    }
}
