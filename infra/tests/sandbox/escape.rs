//! What cannot get out of a sandbox, and what it cannot see or use up.

use std::os::unix::fs::MetadataExt;

use shellgate_infra::compute::sandbox::LimitedBy;

use crate::place::{Place, SESSION, TOKEN};

#[tokio::test]
async fn the_preflight_says_what_is_enforced_and_leaves_nothing() {
    let place = Place::new().await;
    let preflight = place.preflight().await;
    let told = preflight.to_string();
    println!("{told}");
    for words in ["network: none", "system call filter: on", "memory: ", "processor time: "] {
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(preflight.drops_to_own_uid, rustix::process::geteuid().is_root());
    assert_eq!(serde_json::to_value(&preflight).unwrap()["bwrap_version"], preflight.bwrap_version);
    let left = std::fs::read_dir(place.at().join("state")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "tasks" || name == "locks"), "{left:?}");
    place.closes().await;
}

#[tokio::test]
async fn only_its_own_home_is_there_and_nothing_else_of_the_host() {
    let place = Place::new().await;
    let mut shell = place.opens_a_shell().await;
    assert_eq!(
        shell.says("ls /home; whoami; hostname; pwd").await,
        "agent\nagent\nshellgate\n/home/agent"
    );
    assert_eq!(shell.says("ls /").await, ROOT.join("\n"));
    let absent = format!(
        "/etc/shadow /etc/ssh /etc/machine-id /root /sys /boot /var/lib /run/systemd {}",
        place.at().display()
    );
    let seen = shell.says(&format!("for p in {absent}; do [ -e $p ] && echo $p; done")).await;
    assert_eq!(seen, "");
    shell.says("echo mine > ~/file").await;
    let file = std::fs::symlink_metadata(place.at().join("homes/ada/file")).unwrap();
    assert_eq!((file.uid(), file.gid()), (Place::uid(), Place::gid()));
    place.closes().await;
}

const ROOT: &[&str] =
    &["bin", "dev", "etc", "home", "lib", "lib64", "proc", "run", "sbin", "tmp", "usr", "var"];

#[tokio::test]
async fn all_but_home_tmp_shm_and_secrets_is_read_only() {
    let place = Place::new().await;
    let mut shell = place.opens_a_shell().await;
    let places = "/ /bin /dev /etc /etc/alternatives /etc/ssl /home /run /run/gw /run/shellgate \
                  /usr /usr/local /var /proc/sys/kernel";
    let writable = format!("for p in {places}; do : > $p/x && echo $p; done 2>/dev/null");
    assert_eq!(shell.says(&writable).await, "");
    let files = "/etc/passwd /run/shellgate/bridge /proc/sys/kernel/core_pattern \
                 /proc/sysrq-trigger /usr/bin/env";
    let writable = format!("for p in {files}; do : >> $p && echo $p; done 2>/dev/null");
    assert_eq!(shell.says(&writable).await, "");
    let own = "/home/agent /tmp /var/tmp /dev/shm /run/secrets";
    let writable = format!("for p in {own}; do : > $p/x || echo $p; done");
    assert_eq!(shell.says(&writable).await, "");
    assert_eq!(shell.says("stat -c %a /run/secrets").await, "700");
    place.closes().await;
}

#[tokio::test]
async fn memory_backed_directories_are_bounded() {
    let place = Place::new().await;
    let mut shell = place.opens_a_shell().await;
    for directory in ["/tmp", "/dev/shm"] {
        let command = format!(
            "head -c 4194304 /dev/zero > {directory}/big; stat -c %s {directory}/big; rm {directory}/big"
        );
        let said = shell.says(&command).await;
        let size: u64 = said.lines().last().unwrap().parse().unwrap();
        assert!(said.contains("No space left") && size <= 2 << 20, "{said}");
    }
    place.closes().await;
}

#[tokio::test]
async fn there_is_no_network_and_no_socket_of_the_hosts() {
    let place = Place::new().await;
    let host = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = host.local_addr().unwrap().port();
    let mut shell = place.opens_a_shell().await;
    let interfaces = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '";
    assert_eq!(shell.says(interfaces).await, "lo");
    assert_eq!(
        shell.says("tail -n +2 /proc/net/route; cat /proc/net/ipv6_route | grep -v ' lo$'").await,
        ""
    );
    let dial = |address: &str| format!("timeout 5 bash -c ': > /dev/tcp/{address}' || echo no");
    for address in [format!("127.0.0.1/{port}"), "169.254.169.254/80".to_owned()] {
        let said = shell.says(&dial(&address)).await;
        assert!(said.ends_with("no") && !said.contains("Terminated"), "{said}");
    }
    assert_eq!(shell.says("grep -c @ /proc/net/unix").await, "0");
    place.closes().await;
}

#[tokio::test]
async fn it_has_no_capability_and_can_gain_none() {
    let place = Place::new().await;
    let mut shell = place.opens_a_shell().await;
    for process in ["self", "1"] {
        let said = shell.says(&format!("cat /proc/{process}/status")).await;
        let is = |key: &str, value: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            assert_eq!(line.map(str::trim), Some(value), "{key} of {process}");
        };
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            is(set, "0000000000000000");
        }
        is("NoNewPrivs", "1");
        is("Seccomp", "2");
    }
    assert!(shell.says("unshare -U true || echo refused").await.ends_with("refused"));
    assert!(shell.says("unshare -r id || echo refused").await.ends_with("refused"));
    assert!(shell.says("mount -t tmpfs x /tmp || echo refused").await.ends_with("refused"));
    place.closes().await;
}

#[tokio::test]
async fn the_host_never_sees_it_as_root_and_sees_no_secret_of_it() {
    let place = Place::new().await;
    let shell = place.opens_a_shell().await;
    for pid in [shell.pid(), shell.first_pid()] {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let ids = |key: &str| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.split_ascii_whitespace().map(|id| id.parse().unwrap()).collect()
        };
        assert_eq!(ids("Uid:"), [Place::uid(); 4]);
        assert_eq!(ids("Gid:"), [Place::gid(); 4]);
        if rustix::process::geteuid().is_root() {
            assert!(ids("Groups:").is_empty());
        }
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert!(!line.contains(TOKEN) && !line.contains(SESSION), "{line}");
    }
    assert_eq!(std::fs::read(format!("/proc/{}/environ", shell.pid())).unwrap(), b"");
    place.closes().await;
}

#[tokio::test]
async fn it_shares_no_session_group_or_terminal_with_the_gateway() {
    let place = Place::new().await;
    let shell = place.opens_a_shell().await;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", shell.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    let pid = shell.pid().to_string();
    assert_eq!((fields[2], fields[3], fields[4]), (pid.as_str(), pid.as_str(), "0"));
    place.closes().await;
}

#[tokio::test]
async fn a_terminal_can_be_made_and_is_its_own() {
    let place = Place::new().await;
    let mut shell = place.opens_a_shell().await;
    let said =
        shell.says("script -qec 'tty; stty size; ls /dev/pts' /dev/null | tr -d '\\r'").await;
    assert!(said.starts_with("/dev/pts/0\n"), "{said}");
    place.closes().await;
}

const EPERM: i32 = libc::EPERM;

#[tokio::test]
async fn calls_that_could_leave_the_sandbox_are_refused() {
    let place = Place::new().await;
    let mut shell = place.opens_a_shell().await;
    // Without the filter each of these gives another error: the arguments are wrong on purpose.
    for call in [
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_setns,
        libc::SYS_open_tree,
        libc::SYS_fsopen,
        libc::SYS_bpf,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_kexec_load,
        libc::SYS_open_by_handle_at,
    ] {
        assert_eq!(shell.calls(call, &[u64::MAX, 1, 1, 1, 1]).await, EPERM, "{call}");
    }
    for namespace in [libc::CLONE_NEWUSER, libc::CLONE_NEWNS, libc::CLONE_NEWNET, 0x80] {
        let flags = [namespace as u64];
        assert_eq!(shell.calls(libc::SYS_unshare, &flags).await, EPERM, "{namespace:#x}");
    }
    assert_eq!(shell.calls(libc::SYS_clone, &[libc::CLONE_NEWUSER as u64]).await, EPERM);
    assert_eq!(shell.calls(libc::SYS_clone3, &[0, 0]).await, libc::ENOSYS);
    assert_eq!(shell.calls(0x4000_0000 + libc::SYS_getpid, &[]).await, libc::ENOSYS);
    place.closes().await;
}

#[tokio::test]
async fn nobody_types_into_a_terminal_for_others_not_even_with_a_high_bit_set() {
    let place = Place::new().await;
    let mut shell = place.opens_a_shell().await;
    for high in [0, 1 << 32, 1 << 63] {
        for request in [libc::TIOCSTI, libc::TIOCLINUX] {
            let arguments = [u64::MAX, request | high, 0];
            assert_eq!(shell.calls(libc::SYS_ioctl, &arguments).await, EPERM);
        }
    }
    // Another request gets as far as its descriptor.
    let other = [u64::MAX, libc::TIOCGWINSZ, 0];
    assert_eq!(shell.calls(libc::SYS_ioctl, &other).await, libc::EBADF);
    place.closes().await;
}

#[tokio::test]
async fn only_usual_kinds_of_socket_can_be_made() {
    let place = Place::new().await;
    let mut shell = place.opens_a_shell().await;
    let kind = libc::SOCK_STREAM as u64;
    for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6] {
        assert_eq!(shell.calls(libc::SYS_socket, &[family as u64, kind, 0]).await, 0, "{family}");
    }
    for family in [libc::AF_VSOCK, libc::AF_ALG, libc::AF_PACKET, libc::AF_BLUETOOTH] {
        for high in [0, 1 << 32] {
            let arguments = [family as u64 | high, kind, 0];
            assert_eq!(shell.calls(libc::SYS_socket, &arguments).await, EPERM, "{family}");
        }
    }
    place.closes().await;
}

#[tokio::test]
async fn its_first_process_cannot_be_killed_or_stopped_from_inside() {
    let place = Place::new().await;
    let mut shell = place.opens_a_shell().await;
    shell.says("kill -9 -1; kill -STOP 1; kill -9 1").await;
    shell.says("kill -9 -1").await;
    assert_eq!(shell.says("echo $((6 * 7))").await, "42");
    place.closes().await;
}

#[tokio::test]
async fn no_process_of_the_hosts_can_be_seen() {
    let place = Place::new().await;
    let mut shell = place.opens_a_shell().await;
    let said = shell.says("cd /proc; echo [0-9]*").await;
    let seen: Vec<u32> = said.split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert!(seen.contains(&1) && seen.len() <= 3 && seen.iter().all(|&pid| pid < 20), "{seen:?}");
    let masked = "for p in kallsyms keys key-users; do cat /proc/$p && echo $p; done 2>/dev/null";
    assert_eq!(shell.says(masked).await, "");
    place.closes().await;
}

#[tokio::test]
async fn its_environment_is_what_is_documented_and_has_no_secret() {
    let place = Place::new().await;
    let mut shell = place.opens_a_shell().await;
    let said = shell.says("tr '\\0' '\\n' < /proc/1/environ | cut -d= -f1 | sort").await;
    let names = [
        "HOME",
        "LANG",
        "PATH",
        "PWD",
        "SHELLGATE_DIAL",
        "SHELLGATE_HOME",
        "SHELLGATE_LAUNCH",
        "SHELLGATE_SECRETS_DIR",
        "SHELLGATE_SESSION",
        "SHELLGATE_SPILL_FD",
        "SHELLGATE_TOKEN_FD",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), names);
    let said = shell.says("cat /proc/1/environ /proc/1/cmdline | tr '\\0' '\\n'").await;
    assert!(!said.contains(TOKEN), "{said}");
    place.closes().await;
}

#[tokio::test]
async fn it_gets_no_descriptor_but_the_documented_ones() {
    let place = Place::new().await;
    // As a library would leave it open that does not know of exec.
    let leak = std::fs::File::open("/dev/zero").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let mut shell = place.opens_a_shell().await;
    drop(leak);
    let listed = "for f in /proc/self/fd/*; do readlink $f; done; echo $SHELLGATE_SPILL_FD";
    let said = shell
        .says("cd /proc/$BASHPID/fd; for f in [0-9]*; do echo $f; done; echo $SHELLGATE_SPILL_FD")
        .await;
    let mut lines: Vec<&str> = said.lines().collect();
    let spill = lines.pop().unwrap();
    // 255 is bash's own, and 3 is the directory that it reads, if it is still open.
    let mut expected = vec!["0", "1", "2", spill];
    lines.retain(|fd| *fd != "255" && (*fd == spill || *fd != "3"));
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected, "{}", shell.says(listed).await);
    let links = "stat -L -c %h /proc/self/fd/$SHELLGATE_SPILL_FD";
    assert_eq!(shell.says(links).await, "0");
    let named = "ln -L /proc/self/fd/$SHELLGATE_SPILL_FD ~/spill || echo refused";
    assert!(shell.says(named).await.ends_with("refused"));
    place.closes().await;
}

#[tokio::test]
async fn the_socket_to_dial_cannot_be_removed_renamed_or_replaced() {
    let place = Place::new().await;
    let mut shell = place.opens_a_shell().await;
    let socket = place.at().join("gw/dial.sock");
    let before = std::fs::symlink_metadata(&socket).unwrap();
    for command in [
        "rm -f /run/gw/dial.sock",
        "mv /run/gw/dial.sock /run/gw/other",
        "ln -sf /tmp/x /run/gw/dial.sock",
        "chmod 000 /run/gw/dial.sock",
        "chmod 777 /run/gw",
        "touch /run/gw/x",
        "rmdir /run/gw",
        "mv /run/gw /run/gone",
    ] {
        let said = shell.says(&format!("{command} || echo refused")).await;
        assert!(said.ends_with("refused"), "{command}: {said}");
    }
    let after = std::fs::symlink_metadata(&socket).unwrap();
    assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()));
    assert_eq!(std::fs::read_dir(place.at().join("gw")).unwrap().count(), 1);
    place.closes().await;
}

#[tokio::test]
async fn signals_that_the_gateway_ignores_or_blocks_work_inside() {
    let place = Place::new().await;
    // As after `nohup gateway &`, in this whole process: no test here needs the signal.
    // SAFETY: ignoring is no code of ours.
    #[allow(unsafe_code)]
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
    }
    let mut shell = place.opens_a_shell().await;
    let said = shell.says("grep -E '^Sig(Ign|Blk)' /proc/$BASHPID/status | cut -f2").await;
    for set in said.lines() {
        let set = u64::from_str_radix(set, 16).unwrap();
        assert_eq!(set & 0b11, 0, "{said}");
    }
    assert_eq!(said.lines().count(), 2);
    place.closes().await;
}

#[tokio::test]
async fn a_fork_bomb_stays_in_its_sandbox_and_stops_no_other() {
    let place = Place::new().await;
    let mut shell = place.opens_a_shell().await;
    let count: u32 = shell.says("/run/shellgate/bridge forks 500").await.parse().unwrap();
    assert!((10..=48).contains(&count), "{count}");
    let mut other = place.opens(&place.spec("two")).await;
    assert_eq!(other.says("echo fine | cat").await, "fine");
    shell.says("kill -9 -1").await;
    assert_eq!(shell.says("echo fine | cat").await, "fine");
    place.closes().await;
}

#[tokio::test]
async fn a_memory_hog_does_not_get_what_its_sandbox_may_not_have() {
    let place = Place::new().await;
    let mut shell = place.opens_a_shell().await;
    let said = shell.says("/run/shellgate/bridge hog 512; echo status $?").await;
    match place.preflight().await.memory {
        LimitedBy::CgroupV1 | LimitedBy::CgroupV2 | LimitedBy::SystemdScope => {
            assert!(said.ends_with("status 137"), "{said}");
        }
        LimitedBy::EachProcess => assert!(said.starts_with("refused after "), "{said}"),
        other => panic!("memory is limited by {other:?}"),
    }
    assert_eq!(shell.says("/run/shellgate/bridge hog 16").await, "had 16 MiB");
    place.closes().await;
}
