//! The small system of the face's tests as a process of its own, for clients that people have: it says where it
//! listens, in one line, and serves until SIGTERM. Given the word `patient` it has a face's own bounds, not those that
//! transcripts reach without waiting long.
#![allow(dead_code, clippy::disallowed_methods, reason = "the files are the tests', which use more of them")]

#[path = "../tests/face/real.rs"]
mod real;
#[path = "../tests/face/stand.rs"]
mod stand;

fn main() {
    real::serve(stand::limits_of(std::env::args().nth(1).as_deref()))
}
