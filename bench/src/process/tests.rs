use super::*;

#[test]
fn ticks_are_found_behind_an_awkward_name() {
    let stat = "12 (a) b (c) S 1 12 12 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 7 0 99 1 2";
    assert_eq!(cpu_ticks(stat), Some(300));
    assert_eq!(cpu_ticks("12 nothing"), None);
}

#[test]
fn kernel_kilobytes_become_bytes() {
    let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
    assert_eq!(kib_field(status, "VmRSS:"), Some(1024 * 1024));
    assert_eq!(kib_field(status, "VmHWM:"), Some(2048 * 1024));
    assert_eq!(kib_field(status, "VmSwap:"), None);
}

#[test]
fn this_process_has_memory_and_time() {
    let memory = memory(std::process::id()).unwrap();
    assert!(memory.anonymous > 0 && memory.resident > memory.anonymous && memory.peak >= memory.resident);
    cpu_time(std::process::id()).unwrap();
}
