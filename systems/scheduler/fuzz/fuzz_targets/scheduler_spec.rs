//! A job as strangers send it: refused with a sentence, or a command that can be said.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scheduler::spec::{Spec, WORDS_MAX};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(spec) = Spec::read(bytes) {
        let command = spec.command("0123456789abcdef", 1, "/");
        let words = command.args.iter().map(|arg| arg.len()).sum::<usize>();
        assert!(!command.program.contains('\0') && words <= WORDS_MAX + 1024);
        assert!(command.args.iter().all(|arg| !arg.contains('\0')));
    }
});
