use std::net::UdpSocket;
use std::path::Path;

use super::*;

fn state(change: impl FnOnce(&mut Logging)) -> State {
    let mut options = Logging::default();
    change(&mut options);
    State::open(&options).unwrap_or_else(|error| panic!("{error}"))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_that_is_too_large_is_set_aside_and_the_oldest_go() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log");
    // Of other programs, and of the user.
    std::fs::write(folder.path().join("log.old"), "")?;
    std::fs::write(folder.path().join("log.2006.01.02.15.04.05"), "")?;
    let mut state = state(|o| {
        o.file = Some(path.clone());
        o.size_limit = Some(1000);
        o.max_num = Some(3);
    });
    for n in 0..100 {
        state.put(Kind::Notice, &format!("{n:0100}"))?;
    }
    let found = names(folder.path());
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found.contains(&"log.old".to_owned()) && found.contains(&"log.2006.01.02.15.04.05".to_owned()));
    let newest = std::fs::read_to_string(&path)?;
    assert!(newest.contains("Rotated log, backup saved as"), "{newest}");
    assert!(newest.contains("Purged log file"), "{newest}");
    assert!(newest.len() < 1500, "{newest}");
    Ok(())
}

#[test]
fn the_time_may_be_left_out_or_that_of_greenwich() {
    let now = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    let pid = std::process::id();
    let line = |change: fn(&mut Logging)| state(change).line(Kind::Warning, &now, "text");
    assert_eq!(line(|_| {}), format!("[{pid}] 1970/01/01 00:00:00.000000 [WRN] text\n"));
    assert_eq!(line(|o| o.time = false), format!("[{pid}] [WRN] text\n"));
    assert_eq!(state(|o| o.utc = true).zone, TimeZone::UTC);
}

#[test]
fn another_machines_log_gets_lines_as_go_writes_them() -> io::Result<()> {
    let there = UdpSocket::bind("127.0.0.1:0")?;
    let address = there.local_addr()?;
    let mut state = state(|o| o.remote_syslog = Some(format!("udp://{address}")));
    let mut buffer = [0; 1000];
    for (kind, priority) in [(Kind::Error, 3), (Kind::Notice, 5), (Kind::Debug, 7), (Kind::Fatal, 2)] {
        state.put(kind, "text")?;
        let len = there.recv(&mut buffer)?;
        let line = String::from_utf8_lossy(&buffer[..len]).into_owned();
        assert!(line.starts_with(&format!("<{priority}>2")), "{line}");
        assert!(line.ends_with(&format!("[{}]: text\n", std::process::id())), "{line}");
    }
    for wrong in ["there:514", "http://there", ""] {
        assert!(Syslog::remote(wrong).is_err(), "{wrong}");
    }
    Ok(())
}

#[test]
fn a_log_changes_its_place_or_stays() -> Result<()> {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let path = |name: &str| Some(folder.path().join(name));
    let mut options = Options::default();
    options.log.file = path("one");
    let log = Log::open(&options)?;
    log.state.lock().put(Kind::Notice, "first").unwrap_or_default();
    options.log.file = path("missing/two");
    assert!(log.change(&options).is_err());
    log.state.lock().put(Kind::Notice, "second").unwrap_or_default();
    options.log.file = path("three");
    options.log.debug = true;
    log.change(&options)?;
    log.state.lock().put(Kind::Notice, "third").unwrap_or_default();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    assert!(read("one").contains("first") && read("one").contains("second"));
    assert!(read("three").contains("third") && log.debug.load(Ordering::Relaxed));
    Ok(())
}
