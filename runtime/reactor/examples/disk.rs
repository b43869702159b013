//! What a group commit costs, by way of writing it: which file, which call, whose ring. For
//! `runtime/decisions/log.md`; nothing is asserted.
//!
//! Each way writes one group after the other at ascending offsets and waits until it is safe, as a core's log does.
//! The ways alternate within a round, since a disk's speed swings between rounds.
//!
//! `cargo run --release -p reactor --example disk -- DIRECTORY [ROUNDS]`

use glommio::io::DmaFile;
use io_uring::{IoUring, opcode, types};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

const GROUP: usize = 4096;
const FILE: usize = 32 * 1024 * 1024;
const GROUPS: usize = 400;

#[repr(C, align(4096))]
struct Block([u8; GROUP]);

#[derive(Clone, Copy)]
enum Sync {
    /// A write, then an fdatasync.
    Apart,
    /// A write that is safe when it is done (RWF_DSYNC).
    Within,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().expect("a directory"));
    let rounds: usize = arguments.next().map_or(3, |text| text.parse().expect("a number"));
    for round in 0..rounds {
        println!("round {round}, microseconds a group of 4 KiB: p50 p99");
        own(&directory, "own ring, growing, buffered, write + sync", false, false, Sync::Apart);
        own(&directory, "own ring, pre-written, buffered, write + sync", true, false, Sync::Apart);
        own(&directory, "own ring, pre-written, direct, write + sync", true, true, Sync::Apart);
        own(&directory, "own ring, pre-written, buffered, synced write", true, false, Sync::Within);
        own(&directory, "own ring, pre-written, direct, synced write", true, true, Sync::Within);
        glommios(&directory, "glommio, pre-written, direct, write + sync");
    }
}

fn prepared(path: &Path, is_written: bool) {
    let file = File::create(path).expect("a file");
    if is_written {
        let zeros = vec![0; 1 << 20];
        (0..FILE / zeros.len())
            .for_each(|at| file.write_all_at(&zeros, (at * zeros.len()) as u64).expect("room"));
    }
    file.sync_all().expect("synced");
}

fn own(directory: &Path, name: &str, is_written: bool, is_direct: bool, sync: Sync) {
    let path = directory.join("disk-example");
    prepared(&path, is_written);
    let flags = if is_direct { libc::O_DIRECT } else { 0 };
    let file = OpenOptions::new().write(true).custom_flags(flags).open(&path).expect("the file");
    let fd = types::Fd(file.as_raw_fd());
    let mut ring: IoUring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .build(8)
        .expect("io_uring");
    let block = Box::new(Block([7; GROUP]));
    let mut submit = |entry: io_uring::squeue::Entry| {
        // SAFETY: block and file outlive the completion, which is waited for.
        unsafe { ring.submission().push(&entry) }.expect("there is room");
        ring.submit_and_wait(1).expect("it is done");
        let result = ring.completion().next().expect("a completion").result();
        assert!(result >= 0, "{}", std::io::Error::from_raw_os_error(-result));
    };
    let mut took = Vec::new();
    for group in 0..GROUPS {
        let begun = Instant::now();
        let write = opcode::Write::new(fd, block.0.as_ptr(), GROUP as u32).offset((group * GROUP) as u64);
        match sync {
            Sync::Apart => {
                submit(write.build());
                submit(opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build());
            }
            Sync::Within => submit(write.rw_flags(libc::RWF_DSYNC).build()),
        }
        took.push(begun.elapsed().as_micros());
    }
    tell(name, took);
    std::fs::remove_file(path).expect("it was there");
}

fn glommios(directory: &Path, name: &str) {
    let path = directory.join("disk-example");
    prepared(&path, true);
    let took = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound)
        .spawn({
            let path = path.clone();
            move || async move {
                let file =
                    glommio::io::OpenOptions::new().write(true).dma_open(&path).await.expect("the file");
                write_all(&file).await
            }
        })
        .expect("an executor")
        .join()
        .expect("it ran");
    tell(name, took);
    std::fs::remove_file(path).expect("it was there");
}

async fn write_all(file: &DmaFile) -> Vec<u128> {
    let mut took = Vec::new();
    for group in 0..GROUPS {
        let begun = Instant::now();
        let mut buffer = file.alloc_dma_buffer(GROUP);
        buffer.as_bytes_mut().fill(7);
        file.write_at(buffer, (group * GROUP) as u64).await.expect("written");
        file.fdatasync().await.expect("synced");
        took.push(begun.elapsed().as_micros());
    }
    took
}

fn tell(name: &str, mut took: Vec<u128>) {
    took.sort_unstable();
    println!("  {name}: {} {}", took[took.len() / 2], took[took.len() * 99 / 100]);
}
