#![no_main]

use std::cell::RefCell;

use weir_fuzz::server::handshake::Doorway;

thread_local! {
    static DOORWAY: RefCell<Doorway> = RefCell::new(Doorway::open());
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    DOORWAY.with_borrow_mut(|doorway| weir_fuzz::server::handshake::handshake(doorway, data));
});
