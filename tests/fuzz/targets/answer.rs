#![no_main]
#![allow(dead_code, reason = "the other parsers are targets of their own")]

#[path = "../parsers.rs"]
mod parsers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = parsers::answer(bytes);
});
