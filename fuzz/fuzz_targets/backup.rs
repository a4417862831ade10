#![no_main]

use std::cell::RefCell;

use weir_fuzz::server::Harness;

thread_local! {
    static HARNESS: RefCell<Harness> = RefCell::new(Harness::start());
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    HARNESS.with_borrow_mut(|harness| weir_fuzz::server::backup::backup(harness, data));
});
