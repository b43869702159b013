//! Functions: every core knows all of them, because there are few and each is called often. The core that the ring
//! gives a function's id to keeps it in its log.

use crate::uuid::Uuid;
use machine::Blob;
use std::collections::BTreeMap;

/// A function.
#[derive(Clone, Debug)]
pub struct Function {
    /// What its author calls it.
    pub name: Box<str>,
    /// The pickled callable.
    pub code: Blob,
    /// The protocol of its pickle, where it is one.
    pub protocol: Option<u8>,
    /// How long it ran lately, in microseconds, on workers of this core; none before the first time.
    pub ran_us: Option<u64>,
    /// Calls accepted on this core.
    pub calls: u64,
}

impl Function {
    /// One that was never called.
    #[must_use]
    pub fn new(name: &str, code: Blob) -> Self {
        let protocol = crate::pickle::walk(&code).ok().map(|seen| seen.protocol);
        Self { name: name.into(), code, protocol, ran_us: None, calls: 0 }
    }
}

/// All functions, as one core knows them.
#[derive(Debug, Default)]
pub struct Functions {
    known: BTreeMap<Uuid, Function>,
    bytes: usize,
}

impl Functions {
    /// A function is there.
    pub fn add(&mut self, id: Uuid, function: Function) {
        self.bytes += function.code.len();
        if let Some(before) = self.known.insert(id, function) {
            self.bytes -= before.code.len();
        }
    }

    /// The function of that id.
    #[must_use]
    pub fn get(&self, id: Uuid) -> Option<&Function> {
        self.known.get(&id)
    }

    /// A call was accepted. Whether the function is known.
    pub fn call(&mut self, id: Uuid) -> bool {
        let Some(function) = self.known.get_mut(&id) else { return false };
        function.calls += 1;
        true
    }

    /// A call ran so long: the mean of the last few is moved.
    pub fn ran(&mut self, id: Uuid, micros: u64) {
        if let Some(function) = self.known.get_mut(&id) {
            let mean = function.ran_us.map_or(micros, |mean| mean - mean / 8 + micros / 8);
            // One long call after many short ones is believed at once: others must not wait behind the next.
            function.ran_us = Some(if micros > mean * 16 { micros } else { mean });
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Bytes of their code.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All, by id.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, &Function)> {
        self.known.iter().map(|(id, function)| (*id, function))
    }
}
