#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fga_sync::fuzzing::tuple_page(data));
