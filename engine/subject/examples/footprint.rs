//! What a subject costs in memory and how long things take, for the tree and the subscription list.
//!
//! `cargo run --release -p weir-subject --example footprint [subjects]`. The bytes are what the allocator was asked
//! for, with 16 bytes per allocation added for its own accounting and rounding.

#![allow(clippy::print_stdout, reason = "this is its purpose")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use weir_subject::{SubjectTree, Sublist};

static IN_USE: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call is handed on to the system allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size() + 16, Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size() + 16, Relaxed);
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// As large as what a stream keeps per subject: count, first and last sequence.
type Value = [u64; 3];

fn scrambled(n: usize) -> u64 {
    (n as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn nanos(since: Instant, operations: usize) -> f64 {
    since.elapsed().as_nanos() as f64 / operations.max(1) as f64
}

fn tree(name: &str, subjects: &[String]) {
    let before = IN_USE.load(Relaxed);
    let start = Instant::now();
    let mut tree: SubjectTree<Value> = SubjectTree::new();
    for subject in subjects {
        tree.insert(subject.as_bytes(), [1, 2, 3]);
    }
    let insert = nanos(start, subjects.len());
    let bytes = (IN_USE.load(Relaxed) - before) as f64 / tree.len() as f64 - size_of::<Value>() as f64;

    let start = Instant::now();
    for at in 0..subjects.len() {
        let subject = &subjects[scrambled(at) as usize % subjects.len()];
        black_box(tree.get(subject.as_bytes()));
    }
    let get = nanos(start, subjects.len());
    let start = Instant::now();
    let mut seen = 0;
    let _: ControlFlow<()> = tree.for_each_match(b">", |subject, _| {
        seen += subject.len();
        ControlFlow::Continue(())
    });
    black_box(seen);
    let walk = nanos(start, subjects.len());
    println!(
        "tree {name:<28} {bytes:>6.1} bytes/subject beside the value (subject itself {}), insert {insert:.0} ns, get {get:.0} ns, walk {walk:.0} ns",
        subjects[0].len()
    );
}

fn sublist(subjects: &[String]) {
    let before = IN_USE.load(Relaxed);
    let start = Instant::now();
    let mut list: Sublist<u64> = Sublist::new();
    for (value, subject) in subjects.iter().enumerate() {
        if list.insert(subject.as_bytes(), value as u64).is_err() {
            println!("refused: {subject}");
        }
    }
    for wide in [&b">"[..], b"*.users.>", b"$KV.*.1.*"] {
        black_box(list.insert(wide, 0).ok());
    }
    let insert = nanos(start, subjects.len());
    let bytes = (IN_USE.load(Relaxed) - before) as f64 / list.len() as f64;
    let start = Instant::now();
    let mut found = 0u64;
    for at in 0..subjects.len() {
        let subject = &subjects[scrambled(at) as usize % subjects.len()];
        list.matches(subject.as_bytes(), &mut |value| found = found.wrapping_add(*value));
    }
    black_box(found);
    let random = nanos(start, subjects.len());
    let start = Instant::now();
    for _ in 0..subjects.len() {
        list.matches(black_box(subjects[7].as_bytes()), &mut |value| {
            found = found.wrapping_add(*value)
        });
    }
    black_box(found);
    let same = nanos(start, subjects.len());
    println!(
        "sublist                           {bytes:>6.1} bytes/subscription, insert {insert:.0} ns, match {random:.0} ns (random), {same:.0} ns (one)"
    );
}

fn main() {
    let count = std::env::args()
        .nth(1)
        .and_then(|count| count.parse().ok())
        .unwrap_or(1_000_000usize);
    let subjects = |make: &dyn Fn(usize) -> String| (0..count).map(make).collect::<Vec<String>>();
    tree("$KV.users.<1..n>", &subjects(&|n| format!("$KV.users.{n}")));
    tree(
        "$KV.users.<random number>",
        &subjects(&|n| format!("$KV.users.{}", scrambled(n) % 10_000_000_000)),
    );
    tree(
        "$KV.users.<random hex, 32>",
        &subjects(&|n| format!("$KV.users.{:016x}{:016x}", scrambled(n), scrambled(n * 7))),
    );
    tree(
        "orders.<1000>.item.<n>",
        &subjects(&|n| format!("orders.{}.item.{}", n % 1000, n / 1000)),
    );
    sublist(&subjects(&|n| format!("$KV.users.{n}.x")));
}
