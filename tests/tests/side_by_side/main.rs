//! Whole configuration files, given to a genuine `nats-server` 2.15, if there is one (on PATH or named by `NATS_SERVER`), and to ours:
//! who may connect, publish, subscribe and import, and what monitoring and `$SYS` tell, must be the same, but for what
//! [`explained`] lists; and the same when one configuration becomes another by a reload.
//!
//! `WEIR_CASE=NAME` has one file compared, and tells all that both say.
#![allow(clippy::print_stdout, reason = "that nothing was compared must be seen")]

mod callout;
mod client;
mod compare;
mod explained;
mod lookup;
mod play;
mod settled;
mod sheet;
mod starts;
mod wire;
#[path = "../admission/world.rs"]
mod world;

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;

use anyhow::{Context, Result, ensure};
use weir_tests::genuine::genuine;
use weir_tests::server::program;

use compare::Comparison;
use play::{Wallet, play};
use sheet::Sheet;

/// Files that are compared at once.
const AT_ONCE: usize = 4;

/// All files of a folder beside this one.
fn sheets(folder: &str) -> Result<Vec<Sheet>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/side_by_side")
        .join(folder);
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let name = path.file_stem().context("a name")?.to_string_lossy().into_owned();
        found.push(Sheet::read(&name, &fs::read_to_string(&path)?));
    }
    found.sort_by(|a, b| b.name.cmp(&a.name));
    Ok(found)
}

/// Has both servers asked what the files of a folder ask.
fn compare(folder: &str, least: usize) -> Result<()> {
    let theirs = match genuine() {
        Ok(theirs) => theirs,
        Err(why) => {
            println!("nothing was compared: {why}");
            return Ok(());
        }
    };
    let only = std::env::var("WEIR_CASE").ok();
    let mut sheets = sheets(folder)?;
    ensure!(sheets.len() >= least, "{} files", sheets.len());
    sheets.retain(|sheet| only.as_ref().is_none_or(|only| *only == sheet.name));
    let count = sheets.len();
    let (queue, found) = (Mutex::new(sheets), Mutex::new(Comparison::default()));
    let wallet = Wallet::make()?;
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let Some(sheet) = next else { return };
                    let (there, here) = (play(&theirs, &wallet, &sheet), play(&program(), &wallet, &sheet));
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.add(&sheet.name, there, here, only.is_some());
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!(
        "{folder}: {count} files, {} questions, {} explained differences",
        found.asked,
        found.explained()
    );
    if only.is_none() {
        println!("{folder}: nothing needed these: {:?}", found.idle());
    }
    ensure!(
        found.wrong.is_empty(),
        "{} differences:\n{}",
        found.wrong.len(),
        found.wrong.join("\n")
    );
    Ok(())
}

#[test]
fn files() -> Result<()> {
    compare("files", 60)
}

#[test]
fn reloads() -> Result<()> {
    compare("reloads", 25)
}
