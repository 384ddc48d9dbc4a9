//! `make fuzz`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pixelcore_fuzz::protect(data));
