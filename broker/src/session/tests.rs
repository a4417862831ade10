use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream as StdTcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::sync::oneshot;
use weir_wire::Connect;

use super::auth::{Answer, Guest, Ticket, Verdict, Visitor};
use super::*;
use crate::conf::Options;
use crate::link::Credential;
use crate::permissions::Rules;

/// Far longer than anything takes, on a machine that is at other things as well; and so long the server waits for its client.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks the test, which takes its time.
struct Slow(Sender<(Connect, oneshot::Sender<Verdict>)>);

impl Door for Slow {
    fn is_locked(&self) -> bool {
        true
    }

    fn ask(&self, visitor: &Visitor<'_>) -> Answer {
        let (verdict, ticket) = Ticket::new();
        self.0.send((visitor.connect.clone(), verdict)).unwrap();
        Answer::Later(ticket)
    }
}

/// One session, whose client the test is, and what its door is asked.
struct Fixture {
    hall: Arc<Hall>,
    asked: Receiver<(Connect, oneshot::Sender<Verdict>)>,
    client: BufReader<StdTcpStream>,
}

impl Fixture {
    fn new() -> Self {
        let (ask, asked) = channel();
        let mut options = Options::default();
        options.auth.timeout = PATIENCE;
        let context = Context::new(options).unwrap();
        let hall = Arc::new(Hall {
            context,
            accounts: Arc::default(),
            sessions: Connections::new(1, 1),
            gone: Gone::default(),
            witness: OnceLock::new(),
            trust: None,
            narrator: OnceLock::new(),
            peers: Default::default(),
            door: Box::new(Slow(ask)),
            websocket_door: None,
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = StdTcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let (stream, peer) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let home = hall.context.homes.quietest().unwrap();
        let served = Arc::clone(&hall);
        home.adopt(stream, move |stream, home| {
            Session::run(served, home, Arrival::Plain(stream), None, peer)
        });
        let mut fixture = Self {
            hall,
            asked,
            client: BufReader::new(client),
        };
        assert!(fixture.line().starts_with("INFO {"));
        fixture
    }

    fn send(&mut self, text: &str) {
        self.client.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.client.read_line(&mut line).unwrap();
        line
    }

    /// What the door is asked next, and where the verdict goes.
    fn asked(&self) -> (Connect, oneshot::Sender<Verdict>) {
        self.asked.recv_timeout(PATIENCE).unwrap()
    }

    fn welcome(&self, user: &str, account: &str) -> Verdict {
        Verdict::Welcome(Guest::new(user.to_owned(), self.hall.accounts.open(account), None))
    }

    fn session(&self) -> Arc<Session> {
        self.hall.sessions.all().remove(0)
    }
}

#[test]
fn what_comes_behind_connect_is_worked_off_once_it_is_accepted() {
    let mut fixture = Fixture::new();
    fixture.send("CONNECT {\"verbose\":false,\"user\":\"ann\"}\r\nSUB a 1\r\nPUB a 2\r\nhi\r\nPING\r\n");
    let (connect, verdict) = fixture.asked();
    assert_eq!(connect.user, "ann");
    assert!(verdict.send(fixture.welcome("ann", "A")).is_ok());
    for line in ["MSG a 1 2\r\n", "hi\r\n", "PONG\r\n"] {
        assert_eq!(fixture.line(), line);
    }
    let (a, global) = (fixture.hall.accounts.open("A"), &fixture.hall.accounts.global);
    let count = |account: &crate::interest::Account| account.subscription_counts().0;
    assert_eq!(
        (count(&a), count(global)),
        (1, 0),
        "the guest is in the account of the verdict"
    );
    let who = fixture.session().snapshot().who;
    assert_eq!((who.user.as_str(), who.account.as_str()), ("ann", "A"));
}

#[test]
fn nothing_that_comes_behind_connect_is_worked_off_if_it_is_refused() {
    let mut fixture = Fixture::new();
    fixture.send("CONNECT {\"verbose\":false}\r\nSUB a 1\r\nPUB a 2\r\nhi\r\nPING\r\n");
    let (_, verdict) = fixture.asked();
    assert!(verdict.send(Verdict::Refused).is_ok());
    let mut all = String::new();
    // The socket may be reset, for there is something in it that nobody reads.
    let _ = fixture.client.read_to_string(&mut all);
    assert_eq!(all, "-ERR 'Authorization Violation'\r\n");
}

/// What was allowed by the options of before is no word about those of now.
#[test]
fn a_reload_meanwhile_has_the_door_asked_once_more() {
    let mut fixture = Fixture::new();
    fixture.send("CONNECT {\"verbose\":false,\"user\":\"ann\"}\r\nPING\r\n");
    let (_, verdict) = fixture.asked();
    fixture.hall.context.live.set(Options::default());
    assert!(verdict.send(fixture.welcome("ann", "A")).is_ok());
    let (connect, verdict) = fixture.asked();
    assert_eq!(connect.user, "ann");
    assert!(verdict.send(Verdict::Refused).is_ok());
    assert_eq!(fixture.line(), "-ERR 'Authorization Violation'\r\n");
}

#[test]
fn no_more_is_kept_behind_connect_than_a_control_line() {
    const PINGS: usize = 20_000;
    let mut fixture = Fixture::new();
    let max = fixture.hall.context.live.read().max_control_line;
    // So long that it takes several reads.
    let name = "x".repeat(max - 100);
    let connect = format!("CONNECT {{\"verbose\":false,\"protocol\":0,\"name\":\"{name}\"}}\r\n");
    fixture.send(&(connect + &"PING\r\n".repeat(PINGS)));
    let (_, verdict) = fixture.asked();
    let kept = fixture.session().conversation.lock().intake.buf.len();
    assert!(kept <= max, "{kept} bytes");
    assert!(verdict.send(fixture.welcome("", "A")).is_ok());
    for _ in 0..PINGS {
        assert_eq!(fixture.line(), "PONG\r\n");
    }
}

#[test]
fn whoever_is_closed_while_it_waits_is_gone() {
    let mut fixture = Fixture::new();
    fixture.send("CONNECT {}\r\n");
    let (_, mut verdict) = fixture.asked();
    let (hall, session) = (Arc::clone(&fixture.hall), fixture.session());
    // The task has this for as long as it works: now it sleeps.
    drop(session.conversation.lock());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let closed = async {
        let gone = hall.sessions.one_less();
        session.close(CloseReason::ServerShutdown);
        gone.await;
        assert_eq!(hall.sessions.count(), 0);
        drop(session);
        // The door may stop looking.
        verdict.closed().await;
    };
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, closed).await })
        .unwrap();
    assert_eq!(
        fixture.hall.sessions.closed()[0].stop.unwrap().1,
        CloseReason::ServerShutdown
    );
}

/// What a user may do, and its token, may be many thousand times what pages tell of it.
#[test]
fn of_a_connection_that_ended_no_more_is_kept_than_pages_tell() {
    let tag = "x".repeat(1024);
    for (token, bearer, told) in [
        ("t".repeat(4096), false, "t".repeat(4096)),
        ("t".repeat(4097), false, String::new()),
        ("t".to_owned(), true, String::new()),
    ] {
        let mut fixture = Fixture::new();
        fixture.send("CONNECT {\"verbose\":false,\"protocol\":0,\"name\":\"N\"}\r\nPING\r\n");
        let (_, verdict) = fixture.asked();
        let mut guest = Guest::new(
            "ann".into(),
            fixture.hall.accounts.open("A"),
            Some(Rules::publishing(&["a"], &[])),
        );
        guest.credential = Some(Arc::new(Credential {
            key: "U".into(),
            name: "Ann".into(),
            tags: vec![tag.clone(); 5],
            signer: Some("S".into()),
            token,
            bearer,
            ..Credential::default()
        }));
        assert!(verdict.send(Verdict::Welcome(guest)).is_ok());
        assert_eq!(fixture.line(), "PONG\r\n");
        assert!(fixture.session().snapshot().who.rules.is_some());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let (hall, session) = (Arc::clone(&fixture.hall), fixture.session());
        let closed = async {
            let gone = hall.sessions.one_less();
            session.close(CloseReason::ServerShutdown);
            gone.await;
        };
        runtime
            .block_on(async { tokio::time::timeout(PATIENCE, closed).await })
            .unwrap();
        let who = &hall.sessions.closed()[0].who;
        assert!(who.rules.is_none());
        assert_eq!(
            (who.name.as_str(), who.user.as_str(), who.account.as_str()),
            ("N", "ann", "A")
        );
        let kept = who.credential.as_ref().unwrap();
        assert_eq!(kept.token, told);
        assert_eq!((kept.name.as_str(), kept.signer.as_deref()), ("Ann", Some("S")));
        assert_eq!(kept.tags, vec![tag.clone(); 3]);
    }
}

#[test]
fn a_second_connect_starts_over_and_waits_as_well() {
    let mut fixture = Fixture::new();
    fixture.send("CONNECT {\"verbose\":false,\"protocol\":0}\r\nSUB a 1\r\nPING\r\n");
    let (_, verdict) = fixture.asked();
    assert!(verdict.send(fixture.welcome("ann", "A")).is_ok());
    assert_eq!(fixture.line(), "PONG\r\n");
    fixture.send("CONNECT {\"user\":\"ben\"}\r\nPUB a 2\r\nhi\r\nPING\r\n");
    let (_, verdict) = fixture.asked();
    assert_eq!(fixture.session().snapshot().subscriptions, 0);
    assert!(verdict.send(fixture.welcome("ben", "B")).is_ok());
    assert_eq!(fixture.line(), "PONG\r\n");
    assert_eq!(fixture.session().snapshot().who.user, "ben");
}
