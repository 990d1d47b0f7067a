//! `/proc/PID/stat` of a program that has chosen its own name: by the bridge inside its task, and by
//! the gateway outside of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shellgate_bridge::processes::Process;

// A part of the sandbox, which shows nobody how it knows its processes.
#[allow(dead_code)]
#[path = "../../infra/src/compute/sandbox/stat.rs"]
mod stat;
use stat::Stat;

// Numbers, then a name.
fuzz_target!(|bytes: &[u8]| {
    let _ = (Process::parse(&String::from_utf8_lossy(bytes)), Stat::parse(bytes));

    let Some((numbers, name)) = bytes.split_first_chunk::<8>() else { return };
    let [pid, parent, state, user, system, pages, start, rest] = numbers.map(u64::from);
    let state = b"RSDZTtXIxKWP"[state as usize % 12];
    // As the kernel writes it (proc_pid_stat(5)); a name is at most 64 bytes long.
    let name = &name[..name.len().min(64)];
    let mut line = format!("{pid} (").into_bytes();
    line.extend_from_slice(name);
    let fields = format!(
        ") {} {parent} {rest} {rest} 0 -1 {rest} 1 2 3 4 {user} {system} 7 8 20 0 1 0 {start} \
         {rest} {pages} 18446744073709551615 0 0\n",
        char::from(state),
    );
    line.extend_from_slice(fields.as_bytes());

    let process = Process {
        pid: pid as i32,
        parent: parent as i32,
        zombie: state == b'Z',
        ticks: user + system + 7 + 8,
        pages,
    };
    assert_eq!(Process::parse(&String::from_utf8_lossy(&line)), Some(process));
    let expected = Stat { state, parent: parent as i32, start_time: start };
    assert_eq!(Stat::parse(&line), Some(expected));
});
