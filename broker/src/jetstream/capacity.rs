//! How much JetStream may hold, where the configuration does not say: three quarters of the machine's memory, and of what is
//! free on the store's disk at the start, as nats-server takes them.

use std::path::Path;

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
            .unwrap_or_else(|| free_disk(store_dir).map_or(FILE_DEFAULT, three_quarters)),
    }
}

/// Bytes of memory that the machine has.
fn machine_memory() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = told.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Bytes that are free on a folder's disk.
fn free_disk(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

#[cfg(test)]
mod tests;
