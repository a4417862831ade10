//! Those whom nobody knows cost little, and are told nothing: classes S2 and S12 of nats-server's advisories (`docs/security.md`).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use weir_tests::kept::{Kept, PATIENCE, POLL};

/// Connections that begin something and do not go on.
const STRANGERS: usize = 2000;

/// What each of them may cost, with its socket's share of the process: an unfinished control line, and the connection itself.
const EACH: u64 = 16 * 1024;

/// Passwords and the like, each of which is nowhere else.
const SECRETS: [&str; 5] = ["hush-password", "hush-token", "hush-wrong", "hush-cookie", "hush-jwt"];

/// Bytes of memory that the process holds.
fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .context("no VmRSS")?;
    Ok(kib.trim().parse::<u64>()? * 1024)
}

/// Where it listens, from the line in its log.
fn address(server: &Kept, behind: &str) -> Result<String> {
    let log = server.log()?;
    let rest = log
        .split(behind)
        .nth(1)
        .with_context(|| format!("no {behind} in {log}"))?;
    Ok(rest.lines().next().unwrap_or_default().trim().to_owned())
}

fn connect(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// All that comes before the end.
fn to_end(mut stream: TcpStream) -> Result<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Bytes of memory that each of very many strangers costs who stay as they began, while somebody who says `hello` is served.
fn cost_of_each(
    server: &Kept,
    clients: &str,
    hello: &[u8],
    mut begin: impl FnMut() -> Result<TcpStream>,
) -> Result<u64> {
    // The first ones pay for what all share.
    let mut strangers: Vec<TcpStream> = (0..100).map(|_| begin()).collect::<Result<_>>()?;
    let before = resident(server.pid())?;
    for _ in 0..STRANGERS {
        strangers.push(begin()?);
    }
    // Whoever comes after them is served, and by then they have been read.
    let mut known = connect(clients)?;
    known.write_all(hello)?;
    let mut heard = Vec::new();
    while !heard.ends_with(b"PONG\r\n") {
        let mut chunk = [0; 4096];
        let read = known.read(&mut chunk)?;
        ensure!(read > 0, "closed behind {}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&chunk[..read]);
    }
    Ok(resident(server.pid())?.saturating_sub(before) / STRANGERS as u64)
}

#[test]
fn those_who_begin_and_do_not_go_on_cost_little() -> Result<()> {
    let server = Kept::start(
        "authorization { user: a, password: p, timeout: 60 }\nwebsocket { listen: \"127.0.0.1:-1\", no_tls: true }\nhttp: \"127.0.0.1:-1\"",
    )?;
    let clients = address(&server, "Listening for client connections on ")?;
    let websockets = address(&server, "Listening for websocket clients on ws://")?;
    let line = format!("CONNECT {{\"user\":\"{}", "x".repeat(4000));
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "x".repeat(3000));
    let mut number = 0;
    let begin = || {
        number += 1;
        let (to, begin) = match number % 4 {
            0 => (&websockets, &request),
            _ => (&clients, &line),
        };
        let mut stranger = connect(to)?;
        stranger.write_all(begin.as_bytes())?;
        Ok(stranger)
    };
    let hello = b"CONNECT {\"user\":\"a\",\"pass\":\"p\",\"verbose\":false}\r\nPING\r\n";
    let each = cost_of_each(&server, &clients, hello, begin)?;
    ensure!(each < EACH, "{STRANGERS} strangers cost {each} bytes each");
    Ok(())
}

/// Files of a certificate in this folder.
fn certificate(folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let key = rcgen::KeyPair::generate()?;
    let signed = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
    let write = |name: &str, of: &str, der: &[u8]| -> Result<PathBuf> {
        let text = BASE64_STANDARD.encode(der);
        let path = folder.join(name);
        fs::write(&path, format!("-----BEGIN {of}-----\n{text}\n-----END {of}-----\n"))?;
        Ok(path)
    };
    Ok((
        write("server.pem", "CERTIFICATE", signed.der())?,
        write("server.key", "PRIVATE KEY", &key.serialize_der())?,
    ))
}

#[test]
fn those_who_begin_a_handshake_and_do_not_go_on_cost_little() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (certificate, key) = certificate(folder.path())?;
    let server = Kept::start(&format!(
        "tls {{ cert_file: {certificate:?}, key_file: {key:?}, timeout: 600 }}\nallow_non_tls: true\nhttp: \"127.0.0.1:-1\""
    ))?;
    let clients = address(&server, "Listening for client connections on ")?;
    // A greeting of 2,000 bytes, of which the last ones do not come.
    let mut begin = vec![0x16, 3, 1, 0x07, 0xd0, 1, 0, 0x07, 0xcc, 3, 3];
    begin.resize(1900, 7);
    let begin = || {
        let mut stranger = connect(&clients)?;
        stranger.write_all(&begin)?;
        Ok(stranger)
    };
    let each = cost_of_each(&server, &clients, b"CONNECT {\"verbose\":false}\r\nPING\r\n", begin)?;
    ensure!(each < EACH, "{STRANGERS} half handshakes cost {each} bytes each");
    Ok(())
}

#[test]
fn secrets_are_told_nowhere() -> Result<()> {
    let server = Kept::start(
        "debug: true\ntrace: true\nlogtime: true\nhttp: \"127.0.0.1:-1\"
         websocket { listen: \"127.0.0.1:-1\", no_tls: true, token_cookie: c }
         accounts { A { users: [{user: a, password: hush-password}] }, SYS { users: [{user: s, password: hush-token}] } }
         system_account: SYS",
    )?;
    let clients = address(&server, "Listening for client connections on ")?;
    let websockets = address(&server, "Listening for websocket clients on ws://")?;
    let mut told = String::new();
    for connect_line in [
        "{\"user\":\"a\",\"pass\":\"hush-wrong\"}",
        "{\"auth_token\":\"hush-wrong\"}",
        "{\"jwt\":\"hush-jwt\",\"sig\":\"hush-wrong\"}",
        "{\"user\":\"a\" \"pass\":\"hush-password\"}",
        "{\"user\":\"a\",\"pass\":\"hush-password\"",
        "{\"user\":7,\"pass\":\"hush-password\"}",
    ] {
        let mut stranger = connect(&clients)?;
        stranger.write_all(format!("CONNECT {connect_line}\r\nPING\r\n").as_bytes())?;
        stranger.shutdown(std::net::Shutdown::Write)?;
        told += &to_end(stranger)?;
    }
    let mut browser = connect(&websockets)?;
    browser.write_all(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: x\r\nCookie: c=hush-cookie\r\n\r\n",
    )?;
    browser.shutdown(std::net::Shutdown::Write)?;
    told += &to_end(browser)?;
    // Those who are in: all pages and reports while they are there.
    let mut known = connect(&clients)?;
    known.write_all(b"CONNECT {\"user\":\"a\",\"pass\":\"hush-password\",\"verbose\":false}\r\nSUB x 1\r\nPING\r\n")?;
    let mut keeper = connect(&clients)?;
    keeper.write_all(
        b"CONNECT {\"user\":\"s\",\"pass\":\"hush-token\",\"verbose\":false}\r\nSUB r.* 1\r\nSUB $SYS.> 2\r\n",
    )?;
    for report in [
        "VARZ", "CONNZ", "SUBSZ", "ACCOUNTZ", "JSZ", "STATSZ", "HEALTHZ", "PROFILEZ", "EXPVARZ", "IDZ",
    ] {
        keeper.write_all(format!("PUB $SYS.REQ.SERVER.PING.{report} r.{report} 40\r\n{{\"auth\":true,\"subscriptions\":true,\"x\":1}}\r\n").as_bytes())?;
    }
    keeper.write_all(b"PUB $SYS.REQ.USER.INFO r.user 0\r\n\r\nPING\r\n")?;
    let monitor = address(&server, "Starting http monitor on ")?;
    let listed = get(&monitor, "/")?;
    let mut pages: Vec<&str> = listed
        .split("href=")
        .skip(1)
        .filter_map(|rest| rest.split(['"', '\'', '>', ' ']).find(|part| !part.is_empty()))
        .collect();
    pages.extend([
        "/connz?auth=1&subs=detail&state=all",
        "/subsz?subs=1",
        "/accountz?acc=A",
        "/jsz?accounts=1&streams=1&config=1",
        "/metrics",
        "/debug/vars",
    ]);
    ensure!(pages.len() > 10, "{listed}");
    for page in pages {
        let page = page.trim_start_matches('.');
        told += &get(&monitor, &format!("/{}", page.trim_start_matches('/')))?;
    }
    // The answers have come when all that were asked for are there.
    keeper.set_nonblocking(true)?;
    let (mut heard, end) = (Vec::new(), Instant::now() + PATIENCE);
    while !String::from_utf8_lossy(&heard).contains("r.IDZ 1") {
        ensure!(
            Instant::now() < end,
            "no answers in {}",
            String::from_utf8_lossy(&heard)
        );
        let mut chunk = [0; 65536];
        match keeper.read(&mut chunk) {
            Ok(read) => heard.extend_from_slice(&chunk[..read]),
            Err(_) => std::thread::sleep(POLL),
        }
    }
    told += &String::from_utf8_lossy(&heard);
    ensure!(
        told.contains("\"user\":\"a\"") || told.contains("authorized_user"),
        "nothing was told of users: {told}"
    );
    drop((known, keeper));
    server.signal("term")?;
    server.hears("STOPPING=1")?;
    let log = server.log()?;
    ensure!(log.contains("CONNECT"), "the log does not trace: {log}");
    for secret in SECRETS {
        ensure!(!told.contains(secret), "{secret} is told to those who ask");
        ensure!(
            !log.contains(secret),
            "{secret} is in the log:\n{}",
            lines_with(&log, secret)
        );
    }
    // Nor is it among the arguments, or in the environment of a child: the file is where it is.
    let arguments = fs::read_to_string(format!("/proc/{}/cmdline", server.pid())).unwrap_or_default();
    ensure!(!SECRETS.iter().any(|secret| arguments.contains(secret)));
    Ok(())
}

fn lines_with(log: &str, secret: &str) -> String {
    log.lines()
        .filter(|line| line.contains(secret))
        .collect::<Vec<_>>()
        .join("\n")
}

fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    to_end(stream)
}
