//! The layers as `docs/ARCHITECTURE.md` draws them, checked: who may depend
//! on whom, also among the modules of the broker, and what the engine never touches.

#![allow(clippy::expect_used, reason = "a test says what is wrong by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Which crates of the workspace each one may depend on, in any kind of
/// dependency. `weir-tests` may see all of them, and nobody may see it.
const ALLOWED: &[(&str, &[&str])] = &[
    ("weir-duration", &[]),
    ("weir-headers", &[]),
    ("weir-subject", &[]),
    ("weir-jwt", &[]),
    ("weir-wire", &["weir-headers"]),
    ("weir-conf", &["weir-duration", "weir-jwt", "weir-subject"]),
    ("weir-engine", &["weir-duration", "weir-headers", "weir-subject"]),
    ("weir-backup", &["weir-engine", "weir-headers", "weir-subject"]),
    ("weir-backends", &["weir-engine"]),
    (
        "weir-compaction",
        &[
            "weir-backends",
            "weir-backup",
            "weir-duration",
            "weir-engine",
            "weir-subject",
        ],
    ),
    (
        "weir-broker",
        &[
            "weir-backends",
            "weir-backup",
            "weir-conf",
            "weir-duration",
            "weir-engine",
            "weir-jwt",
            "weir-subject",
            "weir-wire",
        ],
    ),
    ("weir-bench", &["weir-backends", "weir-engine", "weir-wire"]),
];

/// The broker's modules, each behind those it may use. What stands here as `conf` is the crate of options.
const FLOORS: &[(&str, &[&str])] = &[
    ("conf", &[]),
    ("version", &[]),
    ("limits", &[]),
    ("error", &[]),
    ("http", &[]),
    ("logging", &["conf", "error"]),
    ("context", &["conf", "error", "limits"]),
    ("ocsp", &["conf", "context", "http", "limits"]),
    ("permissions", &["conf", "limits"]),
    ("link", &["conf", "context", "limits", "permissions"]),
    ("interest", &["conf", "error", "limits", "link", "permissions"]),
    ("routing", &["conf", "interest", "limits", "link", "permissions"]),
    (
        "trust",
        &[
            "conf",
            "context",
            "error",
            "http",
            "interest",
            "link",
            "permissions",
            "routing",
        ],
    ),
    (
        "session",
        &[
            "conf",
            "context",
            "error",
            "interest",
            "limits",
            "link",
            "ocsp",
            "permissions",
            "routing",
            "trust",
            "version",
        ],
    ),
    (
        "jetstream",
        &["error", "interest", "limits", "link", "routing", "version"],
    ),
    (
        "report",
        &[
            "conf",
            "context",
            "interest",
            "jetstream",
            "limits",
            "link",
            "session",
            "version",
        ],
    ),
    (
        "system",
        &[
            "conf", "context", "error", "interest", "limits", "link", "report", "routing", "session", "trust",
            "version",
        ],
    ),
    (
        "server",
        &[
            "conf",
            "context",
            "error",
            "interest",
            "jetstream",
            "limits",
            "link",
            "report",
            "routing",
            "ocsp",
            "session",
            "trust",
        ],
    ),
    (
        "tenants",
        &[
            "conf",
            "error",
            "interest",
            "jetstream",
            "server",
            "session",
            "system",
            "trust",
        ],
    ),
    ("monitor", &["conf", "context", "error", "limits", "report", "version"]),
    ("start", &["conf", "error", "monitor", "server", "system", "version"]),
    ("control", &["error"]),
    ("notify", &[]),
    ("signals", &["conf", "context", "error", "logging", "notify", "server"]),
];

/// What must not be anywhere under the engine: sockets, runtimes, stores.
const NOT_UNDER_THE_ENGINE: &[&str] = &[
    "async-io",
    "hyper",
    "librocksdb-sys",
    "memmap2",
    "mio",
    "nix",
    "rocksdb",
    "rustix",
    "rustls",
    "smol",
    "socket2",
    "tokio",
];

/// What only one crate may depend on, so that only one module knows it.
const OWNED: &[(&str, &str)] = &[
    ("librocksdb-sys", "weir-backends"),
    ("memmap2", "weir-backends"),
    ("rocksdb", "weir-backends"),
];

/// What engine sources never say: time and chance are arguments there.
const NOT_IN_THE_ENGINE: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "UNIX_EPOCH.elapsed",
    "Zoned::now",
    "fastrand::",
    "getrandom::",
    "rand::",
    "std::fs",
    "std::net",
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The output of a cargo command that only looks.
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(workspace())
        .output()
        .expect("cargo runs");
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {problem}");
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

/// Name and declared dependencies, of every kind, of each workspace crate.
fn declared() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("metadata is JSON");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            (
                text(&package["name"]),
                dependencies.iter().map(|d| text(&d["name"])).collect(),
            )
        })
        .collect()
}

/// The names of all crates that a build of `package` takes in.
fn crates_under(package: &str, edges: &str, more: &[&str]) -> BTreeSet<String> {
    let mut arguments = vec![
        "tree",
        "--package",
        package,
        "--edges",
        edges,
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    arguments.extend_from_slice(more);
    let names: BTreeSet<String> = cargo(&arguments)
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect();
    assert!(
        names.contains(package),
        "cargo tree did not list {package} itself: {names:?}"
    );
    names
}

#[test]
fn no_crate_depends_on_a_layer_above_it() {
    let declared = declared();
    let ours: BTreeSet<&str> = declared.keys().map(String::as_str).collect();
    let mut wrong = Vec::new();
    for (package, dependencies) in &declared {
        if package == "weir-tests" {
            continue;
        }
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| name == package) else {
            wrong.push(format!("{package} has no place in the layers: give it one in ALLOWED"));
            continue;
        };
        for dependency in dependencies {
            // A crate's tests may ask for a feature of the crate itself.
            let own_crate = ours.contains(dependency.as_str()) && dependency != package;
            if own_crate && !allowed.contains(&dependency.as_str()) {
                wrong.push(format!("{package} -> {dependency}"));
            }
        }
    }
    assert!(wrong.is_empty(), "edges that the layers do not allow: {wrong:#?}");
    for (name, _) in ALLOWED {
        assert!(ours.contains(name), "{name} is gone: take it out of ALLOWED");
    }
}

#[test]
fn the_allowed_layers_have_no_cycle() {
    for order in [ALLOWED, FLOORS] {
        // Each stands after those it may depend on, so the list is an order.
        let mut below = BTreeSet::new();
        for (name, allowed) in order {
            for dependency in *allowed {
                assert!(
                    below.contains(dependency),
                    "{name} may not depend on {dependency} above it"
                );
            }
            below.insert(name);
        }
    }
}

/// What source code names of its own crate: the first word behind each `crate::`, and `super` where that leads out of the
/// floor, from a module that is so deep in it (1: the floor itself).
fn named(source: &str, depth: usize) -> BTreeSet<String> {
    let code: String = source
        .lines()
        .filter_map(|line| line.split("//").next())
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut found = BTreeSet::new();
    for (at, path) in code.match_indices("crate::") {
        if !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            found.extend(first_words(&code[at + path.len()..]));
        }
    }
    let mut rest = code.as_str();
    while let Some(at) = rest.find("super::") {
        let chain = &rest[at..];
        rest = chain.trim_start_matches("super::");
        if (chain.len() - rest.len()) / "super::".len() >= depth {
            found.insert("super".to_owned());
        }
    }
    found
}

/// The word that a path begins with; of a group in braces, those of all its paths.
fn first_words(path: &str) -> Vec<String> {
    let word = |text: &str| {
        text.trim_start()
            .chars()
            .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
            .collect::<String>()
    };
    let Some(group) = path.strip_prefix('{') else {
        return vec![word(path)];
    };
    let (mut deep, mut words, mut start) = (0, vec![word(group)], None);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => deep += 1,
            '}' if deep == 0 => break,
            '}' => deep -= 1,
            ',' if deep == 0 => start = Some(at + 1),
            _ => {}
        }
        if let Some(next) = start.take() {
            words.push(word(&group[next..]));
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn the_scan_of_paths_sees_groups_and_ways_out() {
    let names = |source: &str, depth| named(source, depth).into_iter().collect::<Vec<_>>();
    assert_eq!(names("use crate::link::Link; // crate::server", 1), ["link"]);
    assert_eq!(
        names("use crate::{link::{self, Link},\n server, Courier};", 1),
        ["Courier", "link", "server"]
    );
    assert_eq!(
        names("pub(in crate::session) x: crate::context::Home", 1),
        ["context", "session"]
    );
    assert!(names("use super::super::a; use super::b;", 3).is_empty());
    assert_eq!(names("use super::super::a; use super::b;", 2), ["super"]);
    assert!(names("my_crate::x();", 1).is_empty());
}

#[test]
fn no_module_of_the_broker_uses_a_floor_above_it() {
    let root = workspace().join("broker/src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::from(["conf".to_owned()]);
    for file in files {
        let relative = file
            .strip_prefix(&root)
            .expect("a file of the broker")
            .with_extension("");
        let mut path: Vec<_> = relative
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        path.retain(|part| part != "mod");
        let shown = relative.display();
        // These see everything: the crate's root and the program.
        if ["lib", "main"].contains(&path[0].as_str()) {
            continue;
        }
        let Some((floor, allowed)) = FLOORS.iter().find(|(floor, _)| *floor == path[0]) else {
            wrong.push(format!("{shown} stands on no floor: give it one in FLOORS"));
            continue;
        };
        seen.insert(path[0].clone());
        let source = fs::read_to_string(&file).expect("a readable source");
        for name in named(&source, path.len()) {
            if name != *floor && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{shown} -> {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "paths that the floors do not allow: {wrong:#?}");
    let gone: Vec<_> = FLOORS.iter().filter(|(floor, _)| !seen.contains(*floor)).collect();
    assert!(gone.is_empty(), "these are gone, take them out of FLOORS: {gone:?}");
}

#[test]
fn the_engine_has_no_sockets_no_runtime_and_no_store_under_it() {
    for package in ["weir-backup", "weir-engine", "weir-subject"] {
        let under = crates_under(package, "normal,build", &[]);
        let wrong: Vec<_> = NOT_UNDER_THE_ENGINE
            .iter()
            .filter(|name| under.contains(**name))
            .collect();
        assert!(wrong.is_empty(), "{package} pulls in {wrong:?}");
    }
}

#[test]
fn each_storage_library_is_known_to_one_crate() {
    let declared = declared();
    for (library, owner) in OWNED {
        let users: Vec<_> = declared
            .iter()
            .filter(|(_, dependencies)| dependencies.contains(*library))
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(users, [*owner], "who depends on {library}");
    }
}

#[test]
fn benching_the_engine_never_compiles_rocksdb() {
    let edges = "normal,build,dev";
    let plain = crates_under("weir-bench", edges, &[]);
    assert!(plain.contains("weir-engine"));
    assert!(!plain.contains("rocksdb"), "weir-bench compiles RocksDB by default");
    // The other way round, so that this test is known to see RocksDB at all.
    let with = crates_under("weir-bench", edges, &["--features", "rocksdb"]);
    assert!(
        with.contains("rocksdb"),
        "the rocksdb feature of weir-bench has no effect"
    );
}

/// All `.rs` files under `directory`.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a readable directory") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Lines that say what no source of the engine may say, and what they say. Comments do not count, nor what follows the
/// `#[cfg(test)]` of a module that stands in the same file.
fn forbidden(source: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    let mut lines = source.lines().enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        let is_beside = |next: &str| next.starts_with("mod ") && next.ends_with(';');
        if line.trim() == "#[cfg(test)]" && !lines.peek().is_some_and(|(_, next)| is_beside(next.trim())) {
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        found.extend(
            NOT_IN_THE_ENGINE
                .iter()
                .filter(|word| says(code, word))
                .map(|word| (at + 1, *word)),
        );
    }
    found
}

/// Whether code says a word, and not only as the end of another one.
fn says(code: &str, word: &str) -> bool {
    let is_begun = |at: usize| !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
    code.match_indices(word).any(|(at, _)| is_begun(at))
}

#[test]
fn the_scan_of_sources_sees_calls_and_passes_over_comments_and_tests() {
    assert_eq!(forbidden("let t = std::time::Instant::now();"), [(1, "Instant::now")]);
    assert_eq!(
        forbidden("a();\nlet n = rand::random(); // Instant::now"),
        [(2, "rand::")]
    );
    assert_eq!(forbidden("/// Never calls Instant::now.\nfn f(now: u64) {}"), []);
    assert_eq!(forbidden("fn f() {}\n#[cfg(test)]\nmod tests { Instant::now() }"), []);
    assert_eq!(
        forbidden("#[cfg(test)]\nmod tests;\nfn f() { Instant::now() }"),
        [(3, "Instant::now")]
    );
    assert_eq!(forbidden("let e = Errand::new();"), []);
}

#[test]
fn the_engine_reads_no_clock_no_file_and_throws_no_dice() {
    let mut wrong = Vec::new();
    for crate_directory in [
        "engine",
        "engine/backup",
        "engine/duration",
        "engine/headers",
        "engine/subject",
    ] {
        let mut files = Vec::new();
        sources(&workspace().join(crate_directory).join("src"), &mut files);
        assert!(!files.is_empty(), "no sources in {crate_directory}");
        for file in files {
            // Relative, since the path of the checkout may hold such a name too.
            let relative = file.strip_prefix(workspace()).unwrap_or(&file);
            let is_test = relative.components().any(|part| {
                let name = part.as_os_str().to_str().unwrap_or_default();
                ["conformance", "conformance.rs", "tests", "tests.rs"].contains(&name)
            });
            if is_test {
                continue;
            }
            let source = fs::read_to_string(&file).expect("a readable source");
            for (line, word) in forbidden(&source) {
                wrong.push(format!("{}:{line}: {word}", relative.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "the engine is told the time and given its chances: {wrong:#?}"
    );
}
