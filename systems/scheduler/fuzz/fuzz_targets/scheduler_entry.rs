//! An entry of the log as it may lie on a disk or come from another node: read, or a fault. One that is read can be
//! applied by a ledger, whatever it says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scheduler::entry::Entry;
use scheduler::ledger::Ledger;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = Entry::read(bytes) {
        assert_eq!(Entry::read(&entry.write()), Ok(entry.clone()));
        let mut ledger = Ledger::default();
        ledger.apply(1, &entry);
        ledger.apply(2, &entry);
    }
    let _ = Ledger::from_whole(1, bytes);
});
