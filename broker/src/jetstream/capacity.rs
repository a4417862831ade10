//! How much JetStream may hold, where the configuration does not say: three quarters of the machine's memory, and of what is
//! free on the store's disk at the start or is the store's own already. (nats-server counts what is free alone: a server that
//! was started while its disk was full, or fuller than to three sevenths, refuses publishes whatever room there is later.)

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use weir_backends::root::StoreDir;
use weir_conf::options;
use weir_engine::store::Capacity;

/// Where the machine does not tell how much memory it has: 256 MiB, as nats-server has it.
const MEMORY_DEFAULT: u64 = 256 << 20;
/// Where the disk does not tell how much is free: 1 TiB, as nats-server has it.
const FILE_DEFAULT: u64 = 1 << 40;

/// What the configuration says, or else the machine. The folder exists.
pub fn capacity(options: &options::JetStream, store_dir: &Path) -> Capacity {
    let three_quarters = |all: u64| all / 4 * 3;
    Capacity {
        memory: options
            .max_memory
            .unwrap_or_else(|| machine_memory().map_or(MEMORY_DEFAULT, three_quarters)),
        file: options
            .max_file
            .unwrap_or_else(|| room_on_disk(store_dir).map_or(FILE_DEFAULT, three_quarters)),
    }
}

/// Bytes of memory that the machine has.
fn machine_memory() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = told.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Bytes that are free on the disk of a store's folder, and those that the store has there itself.
fn room_on_disk(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    let free = disk.f_bavail.checked_mul(disk.f_frsize)?;
    free.checked_add(held(StoreDir::new(folder).root()))
}

/// Bytes on the disk of the files below a folder, as far as it can be read; links are not followed.
fn held(folder: &Path) -> u64 {
    /// Of what a file occupies, whatever the disk's own blocks are.
    const BLOCK: u64 = 512;
    let mut sum = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => folders.push(entry.path()),
                Ok(found) => sum += found.blocks() * BLOCK,
                Err(_) => {}
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests;
