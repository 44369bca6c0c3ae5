#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fga_sync::fuzzing::source_url(data));
