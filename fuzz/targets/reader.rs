//! Any bytes as a capture file: frames come out, or one message that says where it broke.
#![no_main]

use capture::file::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(mut reader) = Reader::from_bytes("fuzz", data.to_vec()) else { return };
    let mut last = 0;
    while let Ok(Some(frame)) = reader.next_frame() {
        assert!(frame.number > last, "packet numbers grow");
        last = frame.number;
    }
});
