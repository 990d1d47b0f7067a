//! The tests' eyes and hands inside a sandbox: stands where the bridge will, runs what it is told
//! over the dial-back socket, and answers. Also a few things that a shell can't do by itself.
//! Part of no product.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{WaitOptions, waitpid};

/// What a command may print, in bytes.
const OUTPUT_MAX: u64 = 1 << 20;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => serve(),
        ["syscall", numbers @ ..] => syscall(numbers),
        ["hog", mebibytes] => hog(mebibytes),
        ["forks", most] => forks(most),
        _ => ExitCode::from(64),
    }
}

/// Sends the token, then answers each line, a command for bash, with its output and a zero byte.
fn serve() -> ExitCode {
    end_on_term();
    let setting = |name: &str| std::env::vars().find(|(n, _)| n == name).map(|(_, value)| value);
    let (Some(dial), Some(token)) = (setting("SHELLGATE_DIAL"), setting("SHELLGATE_TOKEN_FD"))
    else {
        eprintln!("probe: no SHELLGATE_DIAL or no SHELLGATE_TOKEN_FD");
        return ExitCode::from(78);
    };
    let path = dial.strip_prefix("unix:").unwrap_or(&dial);
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) => {
            eprintln!("probe: {path}: {error}");
            return ExitCode::from(69);
        }
    };
    let Some(token) = token.parse().ok().and_then(read_token) else { return ExitCode::from(78) };
    let mut answers = &stream;
    let answered = writeln!(answers, "{token}").and_then(|()| {
        for line in BufReader::new(&stream).lines() {
            answers.write_all(&run(&line?))?;
            answers.write_all(&[0])?;
            reap();
        }
        Ok(())
    });
    match answered {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("probe: {error}");
            ExitCode::from(74)
        }
    }
}

fn run(command: &str) -> Vec<u8> {
    let script = format!("exec 2>&1; {command}");
    let child = Command::new("/bin/bash")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut output = Vec::new();
    match child {
        Ok(mut child) => {
            if let Some(out) = child.stdout.take() {
                let _ = out.take(OUTPUT_MAX).read_to_end(&mut output);
            }
            let _ = child.wait();
        }
        Err(error) => output.extend(format!("probe: bash: {error}").bytes()),
    }
    output.retain(|&b| b != 0);
    output
}

/// The first process of a namespace inherits all orphans.
fn reap() {
    while let Ok(Some(_)) = waitpid(None, WaitOptions::NOHANG) {}
}

fn read_token(descriptor: i32) -> Option<String> {
    // SAFETY: the descriptor was handed over by number for this, and nothing else here has it.
    #[allow(unsafe_code)]
    let mut file = unsafe { std::fs::File::from_raw_fd(descriptor) };
    let mut token = String::new();
    file.read_to_string(&mut token).ok()?;
    Some(token)
}

/// A first process gets only the signals for which it has a handler.
fn end_on_term() {
    extern "C" fn end(_: libc::c_int) {
        // SAFETY: `_exit` may be called in a handler.
        #[allow(unsafe_code)]
        unsafe {
            libc::_exit(0);
        }
    }
    // SAFETY: the handler makes one system call.
    #[allow(unsafe_code)]
    unsafe {
        libc::signal(libc::SIGTERM, end as extern "C" fn(libc::c_int) as libc::sighandler_t);
    }
}

/// Makes one system call with numbers for arguments and prints `0`, or the error's number.
fn syscall(numbers: &[&str]) -> ExitCode {
    let parsed: Option<Vec<libc::c_long>> = numbers
        .iter()
        .map(|text| match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok().map(u64::cast_signed),
            None => text.parse().ok(),
        })
        .collect();
    let Some(mut numbers) = parsed.filter(|numbers| (1..=7).contains(&numbers.len())) else {
        return ExitCode::from(64);
    };
    numbers.resize(7, 0);
    let [call, a, b, c, d, e, f] = numbers[..] else { return ExitCode::from(64) };
    // SAFETY: not given by types: the tests pass numbers that point to no memory of this process,
    // and a call that succeeded against them could harm only this process.
    #[allow(unsafe_code)]
    let result = unsafe { libc::syscall(call, a, b, c, d, e, f) };
    let error = if result < 0 { std::io::Error::last_os_error().raw_os_error() } else { None };
    println!("{}", error.unwrap_or(0));
    ExitCode::SUCCESS
}

/// Starts processes until there are so many or the kernel says no, and leaves them.
fn forks(most: &str) -> ExitCode {
    let Ok(most) = most.parse::<usize>() else { return ExitCode::from(64) };
    let mut started = 0;
    while started < most {
        let mut sleep = Command::new("/bin/sleep");
        sleep.arg("60").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if sleep.spawn().is_err() {
            break;
        }
        started += 1;
    }
    println!("{started}");
    ExitCode::SUCCESS
}

/// Fills so much memory.
fn hog(mebibytes: &str) -> ExitCode {
    let Ok(mebibytes) = mebibytes.parse::<usize>() else { return ExitCode::from(64) };
    let mut all = Vec::new();
    for step in 0..mebibytes {
        let mut block: Vec<u8> = Vec::new();
        if block.try_reserve_exact(1 << 20).is_err() {
            println!("refused after {step} MiB");
            return ExitCode::FAILURE;
        }
        block.resize(1 << 20, 1);
        all.push(std::hint::black_box(block));
    }
    println!("had {} MiB", all.len());
    ExitCode::SUCCESS
}
