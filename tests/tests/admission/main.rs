//! Who may connect, publish and subscribe: the same conversations with a genuine `nats-server` 2.15, if there is one (on PATH or named
//! by `NATS_SERVER`), and with ours, over the same configuration files. Every byte that each client gets must be the same.
#![allow(clippy::print_stdout, reason = "that nothing was compared must be seen")]

mod cases;
mod client;
mod operators;
mod sharing;
mod world;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use weir_tests::genuine::genuine;
use weir_tests::peer::Peer;
use weir_tests::server::program;

use cases::{CASES, Case, REFUSED};
use client::Client;
use world::World;

/// What the clients of a case get, in the order of its lines.
fn play(program: &Path, case: &Case) -> Result<String> {
    let world = World::new()?;
    let peer = Peer::start(program, &world.fill(case.configuration))?;
    let mut clients: Vec<(char, Client)> = Vec::new();
    for line in case.script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, rest) = line.split_at(1);
        let name = name.chars().next().context("no client")?;
        if let Some(connect) = rest.strip_prefix(' ') {
            clients.retain(|(other, _)| *other != name);
            clients.push((name, Client::connect(&peer.address("nats")?, &world.fill(connect))?));
            continue;
        }
        if rest == "!" {
            let waits = clients.iter_mut().find(|(other, _)| *other == name);
            waits.with_context(|| format!("nobody is {name}"))?.1.wait_for_end()?;
            continue;
        }
        if rest == "?" {
            let waits = clients.iter_mut().find(|(other, _)| *other == name);
            waits.with_context(|| format!("nobody is {name}"))?.1.hear()?;
            continue;
        }
        let operation = rest.strip_prefix("> ").with_context(|| format!("not a line: {line}"))?;
        let (_, client) = clients
            .iter_mut()
            .find(|(other, _)| *other == name)
            .with_context(|| format!("nobody is {name}"))?;
        client.say(operation)?;
    }
    let mut told = String::new();
    for (name, client) in &mut clients {
        client.settle()?;
        writeln!(told, "{name}:\n{}", client.got())?;
    }
    Ok(told)
}

/// The end of a run with `-t`.
fn accepts(program: &Path, configuration: &str) -> Result<bool> {
    Ok(verdict(program, configuration)?.is_none())
}

/// What `-t` finds wrong, without the place; `None` if nothing is.
fn verdict(program: &Path, configuration: &str) -> Result<Option<String>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("server.conf");
    fs::write(&file, World::new()?.fill(configuration))?;
    let output = Command::new(program).arg("-t").arg("-c").arg(&file).output()?;
    if output.status.success() {
        return Ok(None);
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let first = told.lines().next().unwrap_or_default();
    let place = format!("{}:", file.display());
    let behind = first.split_once(&place).map_or(first, |(_, behind)| behind);
    Ok(Some(
        behind
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == ':' || c == ' ')
            .to_owned(),
    ))
}

#[test]
fn what_can_not_be_shared_is_refused_in_the_same_words() -> Result<()> {
    let theirs = match genuine() {
        Ok(theirs) => theirs,
        Err(why) => {
            println!("nothing was compared: {why}");
            return Ok(());
        }
    };
    let mut wrong = Vec::new();
    for configuration in sharing::REFUSED {
        let (told, ours) = (verdict(&theirs, configuration)?, verdict(&program(), configuration)?);
        if told.is_none() || told != ours {
            wrong.push(format!("{configuration}\n  genuine: {told:?}\n  ours:    {ours:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn the_same_may_the_same() -> Result<()> {
    let theirs = match genuine() {
        Ok(theirs) => theirs,
        Err(why) => {
            println!("nothing was compared: {why}");
            return Ok(());
        }
    };
    let only = std::env::var("WEIR_CASE").ok();
    let mut wrong = Vec::new();
    for case in CASES.iter().chain(sharing::CASES).chain(operators::CASES) {
        if only.as_ref().is_some_and(|only| only != case.name) {
            continue;
        }
        let shown = |told: Result<String>| told.unwrap_or_else(|error| format!("{error:#}\n"));
        let (told, ours) = (shown(play(&theirs, case)), shown(play(&program(), case)));
        if only.is_some() {
            println!("{told}");
        }
        if told != ours {
            wrong.push(format!("{}\n--- genuine ---\n{told}--- ours ---\n{ours}", case.name));
        }
    }
    for configuration in operators::NOT_STARTED {
        for (whose, program) in [("genuine", &theirs), ("ours", &program())] {
            if Peer::start(program, &World::new()?.fill(configuration)).is_ok() {
                wrong.push(format!("{whose} starts with {configuration}"));
            }
        }
    }
    for configuration in REFUSED.iter().chain(operators::REFUSED) {
        for (whose, program) in [("genuine", &theirs), ("ours", &program())] {
            if accepts(program, configuration)? {
                wrong.push(format!("{whose} accepts {configuration}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}
