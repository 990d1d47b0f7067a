//! How sandboxes begin, are found again, and end, also when a gateway dies in the middle.

use std::path::PathBuf;
use std::time::Duration;

use shellgate_infra::compute::sandbox::{Sandbox, SandboxConfig};
use shellgate_infra::compute::{Compute, ComputeError, DialRoute, TaskRef};
use shellgate_infra::volumes::VolumeRef;

use crate::place::{Place, soon, spec};

const GRACE: Duration = Duration::from_secs(5);

fn record_of(place: &Place, name: &str) -> PathBuf {
    place.at().join("state/tasks").join(format!("{name}.json"))
}

/// As a gateway leaves it that dies right after bwrap was started.
fn cuts_off(place: &Place, name: &str) {
    let path = record_of(place, name);
    let mut record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    record["outermost"] = serde_json::Value::Null;
    record["first"] = serde_json::Value::Null;
    std::fs::write(&path, record.to_string()).unwrap();
}

fn is_there(pid: i32) -> bool {
    std::path::Path::new("/proc").join(pid.to_string()).exists()
}

/// Waits for what other tasks of this process do by themselves.
async fn until(what: &str, holds: impl Fn() -> bool) {
    soon(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(holds(), "{what}");
}

#[tokio::test]
async fn a_sandbox_whose_start_was_cut_off_is_found_by_its_mark() {
    let place = Place::new().await;
    let mut shell = place.opens_a_shell().await;
    cuts_off(&place, "one");
    let other = place.another_sandbox();
    assert_eq!(soon(other.list()).await.unwrap(), std::slice::from_ref(&shell.task));
    cuts_off(&place, "one");
    assert_eq!(soon(other.start(&place.spec("one"))).await.unwrap(), shell.task);
    assert_eq!(shell.says("echo same").await, "same");
    soon(other.stop(&shell.task, GRACE)).await.unwrap();
    assert!(!is_there(shell.pid()) || soon(place.sandbox.wait(&shell.task)).await.is_ok());
    place.sandbox.forget(shell.task.name()).await.unwrap();
    place.closes().await;
}

#[tokio::test]
async fn a_start_that_was_cut_off_before_anything_ran_is_begun_anew() {
    let place = Place::new().await;
    let shell = place.opens_a_shell().await;
    soon(place.sandbox.stop(&shell.task, GRACE)).await.unwrap();
    cuts_off(&place, "one");
    let mut anew = place.opens_a_shell().await;
    assert_ne!(anew.task, shell.task);
    assert_eq!(anew.says("echo anew").await, "anew");
    place.closes().await;
}

#[tokio::test]
async fn a_sandbox_lives_on_when_its_gateway_is_killed() {
    let place = Place::new().await;
    let mut gateway = another_gateway(&place);
    until("the gateway starts a sandbox", || {
        let record = std::fs::read(record_of(&place, "one")).unwrap_or_default();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap_or_default();
        record["first"].is_object()
    })
    .await;
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    let tasks = soon(place.sandbox.list()).await.unwrap();
    assert_eq!(tasks.len(), 1);
    let mut shell = place.is_called_by(tasks[0].clone()).await;
    assert_eq!(shell.says("echo alive").await, "alive");
    soon(place.sandbox.stop(&shell.task, GRACE)).await.unwrap();
    let end = soon(place.sandbox.wait(&shell.task)).await.unwrap();
    assert_eq!(end.evidence, "gone (it was not this gateway's child)");
    soon(place.sandbox.forget(shell.task.name())).await.unwrap();
    place.closes().await;
}

/// This program once more, in the place's directory: that is how it knows where to start.
fn another_gateway(place: &Place) -> std::process::Child {
    std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "life::a_gateway_that_starts_a_sandbox_and_stays"])
        .current_dir(place.at())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_gateway_killed_at_any_moment_of_a_start_leaves_one_sandbox_or_none() {
    const MOMENTS: u32 = 12;
    let place = Place::new().await;
    for moment in 0..MOMENTS {
        let mut gateway = another_gateway(&place);
        // No synchronisation: the moment is what is tried.
        tokio::time::sleep(Duration::from_millis(10) * moment).await;
        gateway.kill().unwrap();
        gateway.wait().unwrap();
        let task = soon(place.sandbox.start(&place.spec("one"))).await.unwrap();
        assert_eq!(soon(place.sandbox.list()).await.unwrap().len(), 1, "at moment {moment}");
        until("it runs in its home", || !processes_with(place.at()).is_empty()).await;
        soon(place.sandbox.stop(&task, GRACE)).await.unwrap();
        soon(place.sandbox.forget(task.name())).await.unwrap();
        until("nothing else runs in its home", || processes_with(place.at()).is_empty()).await;
    }
    // Some were killed in the middle of their preflight: the next one clears up.
    soon(place.another_sandbox().preflight()).await.unwrap();
    place.closes().await;
}

/// The processes in whose mounts a place shows.
fn processes_with(at: &std::path::Path) -> Vec<i32> {
    // As the kernel shows it: from the root of its own filesystem.
    let home = format!("{}/homes/ada", at.file_name().unwrap().to_str().unwrap());
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo"));
        mounts.is_ok_and(|mounts| mounts.contains(&home))
    })
    .collect()
}

#[tokio::test]
#[ignore = "the other process of the tests before it"]
async fn a_gateway_that_starts_a_sandbox_and_stays() {
    let at = std::env::current_dir().unwrap();
    if !at.join("homes").exists() {
        return;
    }
    let home = Place::furnished(&at).await;
    let sandbox = Place::sandbox_at(&at);
    let task = sandbox.start(&spec("one", home, &at)).await.unwrap();
    let _ = sandbox.wait(&task).await;
}

#[tokio::test]
async fn its_end_is_told_and_leaves_no_zombie_though_nobody_waits() {
    let place = Place::new().await;
    let shell = place.opens_a_shell().await;
    let (task, pid) = (shell.task.clone(), shell.pid());
    // The probe ends when its caller hangs up.
    drop(shell);
    until("it is reaped", || !is_there(pid)).await;
    let end = soon(place.sandbox.wait(&task)).await.unwrap();
    assert_eq!(end.evidence, "exit code 0");
    let end = soon(place.another_sandbox().wait(&task)).await.unwrap();
    assert_eq!(end.evidence, "exit code 0");
    assert_eq!(soon(place.sandbox.start(&place.spec("one"))).await.unwrap(), task);
    soon(place.sandbox.forget(task.name())).await.unwrap();
    place.closes().await;
}

#[tokio::test]
async fn what_it_said_before_its_end_is_kept() {
    let place = Place::new().await;
    let sandbox = place.sandbox_with_bridge("#!/bin/sh\nsleep 0.3\necho because >&2\nexit 7\n");
    let task = soon(sandbox.start(&place.spec("one"))).await.unwrap();
    let end = soon(sandbox.wait(&task)).await.unwrap();
    assert_eq!((end.evidence.as_str(), end.log_tail.as_str()), ("exit code 7", "because"));
    soon(sandbox.forget(task.name())).await.unwrap();
    place.closes().await;
}

#[tokio::test]
async fn one_that_does_not_listen_is_killed_after_its_grace() {
    let place = Place::new().await;
    let sandbox = place.sandbox_with_bridge("#!/bin/bash\ntrap '' TERM\nsleep 60 & sleep 60\n");
    let task = soon(sandbox.start(&place.spec("one"))).await.unwrap();
    let TaskRef::Sandbox { pid, .. } = &task else { panic!("{task:?}") };
    soon(sandbox.stop(&task, Duration::from_millis(100))).await.unwrap();
    until("it is reaped", || !is_there(*pid)).await;
    let end = soon(sandbox.wait(&task)).await.unwrap();
    assert_eq!(end.evidence, "exit code 137 (as after signal 9)");
    soon(sandbox.forget(task.name())).await.unwrap();
    place.closes().await;
}

#[tokio::test]
async fn one_that_is_stopped_while_it_begins_hears_of_it() {
    let place = Place::new().await;
    let task = soon(place.sandbox.start(&place.spec("one"))).await.unwrap();
    soon(place.sandbox.stop(&task, Duration::from_secs(30))).await.unwrap();
    assert_eq!(soon(place.sandbox.wait(&task)).await.unwrap().evidence, "exit code 0");
    soon(place.sandbox.forget(task.name())).await.unwrap();
    place.closes().await;
}

#[tokio::test]
async fn when_its_outermost_process_is_killed_alone_the_rest_ends_too() {
    let place = Place::new().await;
    let shell = place.opens_a_shell().await;
    let first = shell.first_pid();
    // As somebody else's child: nobody attends to it.
    let outermost = rustix::process::Pid::from_raw(shell.pid()).unwrap();
    rustix::process::kill_process(outermost, rustix::process::Signal::KILL).unwrap();
    let end = soon(place.sandbox.wait(&shell.task)).await.unwrap();
    assert_eq!(end.evidence, "killed by signal 9");
    // Its new parent may not have reaped it yet.
    let state = std::fs::read_to_string(format!("/proc/{first}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
    assert_eq!(soon(place.sandbox.list()).await.unwrap(), []);
    soon(place.sandbox.forget(shell.task.name())).await.unwrap();
    place.closes().await;
}

#[tokio::test]
async fn many_begin_and_end_at_once_and_leave_nothing() {
    let place = Place::new().await;
    place.preflight().await;
    let mut all = tokio::task::JoinSet::new();
    for number in 0..12 {
        let (sandbox, spec) = (place.sandbox.clone(), place.spec(&format!("number-{number}")));
        all.spawn(async move {
            let task = sandbox.start(&spec).await.unwrap();
            sandbox.stop(&task, GRACE).await.unwrap();
            sandbox.forget(&spec.name).await.unwrap();
            let TaskRef::Sandbox { pid, .. } = task else { panic!("{task:?}") };
            pid
        });
    }
    let pids = soon(all.join_all()).await;
    for pid in pids {
        until("it is reaped", || !is_there(pid)).await;
    }
    assert_eq!(soon(place.sandbox.list()).await.unwrap(), []);
    place.closes().await;
}

#[tokio::test]
async fn a_sandbox_that_runs_is_not_forgotten() {
    let place = Place::new().await;
    let shell = place.opens_a_shell().await;
    assert!(soon(place.sandbox.forget(shell.task.name())).await.unwrap_err().is_retryable());
    assert_eq!(soon(place.sandbox.list()).await.unwrap(), std::slice::from_ref(&shell.task));
    place.closes().await;
}

#[tokio::test]
async fn what_a_lost_record_leaves_is_ended_by_the_next_gateway() {
    let place = Place::new().await;
    let shell = place.opens_a_shell().await;
    if place.preflight().await.memory == shellgate_infra::compute::sandbox::LimitedBy::EachProcess {
        // Nothing but a control group could still name it.
        return place.closes().await;
    }
    std::fs::remove_file(record_of(&place, "one")).unwrap();
    soon(place.another_sandbox().preflight()).await.unwrap();
    until("it is ended", || !is_there(shell.pid())).await;
    soon(place.sandbox.forget(shell.task.name())).await.unwrap();
    place.closes().await;
}

#[tokio::test]
async fn one_whose_record_cannot_be_written_takes_nothing_from_the_others() {
    let place = Place::new().await;
    let mut shell = place.opens_a_shell().await;
    let mut other = place.opens(&place.spec("two")).await;
    cuts_off(&place, "one");
    // Where the new record would be written.
    let obstacle = place.at().join("state/tasks/.one.new");
    std::fs::create_dir(&obstacle).unwrap();
    let successor = place.another_sandbox();
    soon(successor.preflight()).await.unwrap();
    let listed = soon(successor.list()).await.unwrap();
    assert!(listed.contains(&shell.task) && listed.contains(&other.task), "{listed:?}");
    assert_eq!(soon(successor.start(&place.spec("one"))).await.unwrap(), shell.task);
    assert_eq!(shell.says("echo same").await, "same");
    assert_eq!(other.says("echo same").await, "same");
    std::fs::remove_dir(&obstacle).unwrap();
    place.closes().await;
}

#[tokio::test]
async fn one_whose_record_cannot_be_read_lives_on_until_it_is_stopped() {
    let place = Place::new().await;
    let mut shell = place.opens_a_shell().await;
    let record = std::fs::read(record_of(&place, "one")).unwrap();
    std::fs::write(record_of(&place, "one"), "{").unwrap();
    let successor = place.another_sandbox();
    soon(successor.preflight()).await.unwrap();
    assert_eq!(soon(successor.list()).await.unwrap(), []);
    assert_eq!(shell.says("echo alive").await, "alive");
    std::fs::write(record_of(&place, "one"), record).unwrap();
    assert_eq!(soon(successor.list()).await.unwrap(), std::slice::from_ref(&shell.task));
    std::fs::write(record_of(&place, "one"), "{").unwrap();
    soon(successor.stop(&shell.task, GRACE)).await.unwrap();
    until("it is reaped", || !is_there(shell.pid())).await;
    soon(successor.forget(shell.task.name())).await.unwrap();
    soon(place.another_sandbox().preflight()).await.unwrap();
    place.closes().await;
}

#[tokio::test]
async fn wrong_requests_are_refused_and_leave_nothing() {
    let place = Place::new().await;
    let home = place.at().join("homes/ada");
    let link = place.at().join("link");
    std::os::unix::fs::symlink(&home, &link).unwrap();
    let (uid, gid) = (Place::uid(), Place::gid());
    let directory =
        |path: &PathBuf, uid, gid| VolumeRef::Directory { path: path.clone(), uid, gid };
    let mut nowhere = place.spec("one");
    nowhere.dial = DialRoute::Socket(place.at().join("nowhere"));
    let mut closed = place.spec("one");
    let shut = place.at().join("closed");
    closed.dial = DialRoute::Socket(shut.clone());
    std::fs::create_dir(&shut).unwrap();
    let nobodys = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&shut, nobodys).unwrap();
    let mut requests = vec![nowhere, closed];
    for volume in [
        directory(&home, 0, 0),
        directory(&home, uid, 0),
        directory(&home, uid + 1, gid),
        directory(&link, uid, gid),
        directory(&place.at().join("homes/none"), uid, gid),
    ] {
        requests.push(shellgate_infra::compute::TaskSpec { volume, ..place.spec("one") });
    }
    for request in requests {
        soon(place.sandbox.start(&request)).await.unwrap_err();
        assert_eq!(soon(place.sandbox.list()).await.unwrap(), []);
        assert!(!record_of(&place, "one").exists(), "{request:?}");
    }
    place.closes().await;
}

#[tokio::test]
async fn without_a_boundary_nothing_is_started_and_the_remedy_is_told() {
    let place = Place::new().await;
    let with = |bwrap: PathBuf| {
        let mut config = SandboxConfig::new(place.at().join("state"), crate::place::probe());
        config.bwrap = Some(bwrap);
        Sandbox::new(config).unwrap()
    };
    let refused = |sandbox: Sandbox| async move {
        match soon(sandbox.preflight()).await {
            Err(ComputeError::Unavailable(told)) => told,
            other => panic!("{other:?}"),
        }
    };
    let told = refused(with(place.at().join("none"))).await;
    assert!(told.contains("apt-get install bubblewrap"), "{told}");

    // Not below /tmp, which a root gateway's sandboxes see as their own from the beginning.
    let elsewhere = tempfile::tempdir_in("/var/tmp").unwrap();
    let script = |name: &str, does: &str| {
        let path = elsewhere.path().join(name);
        let text = format!(
            "#!/bin/sh\ncase $1 in --version) echo old;; --help) bwrap --help;; *) {does};; esac\n"
        );
        std::fs::write(&path, text).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, executable).unwrap();
        path
    };
    let says_no = "echo 'bwrap: No permissions to create new namespace' >&2; exit 1";
    let told = refused(with(script("refuses", says_no))).await;
    assert!(told.contains("No permissions") && told.contains("nothing is started"), "{told}");
    let weak = "echo 'Pid: 1'; echo 'Inter-|'; echo x; echo 'eth0: 1'";
    let told = refused(with(script("pretends", weak))).await;
    assert!(told.contains("no boundary") && told.contains("it has a network"), "{told}");
    place.closes().await;
}

#[tokio::test]
#[ignore = "a measurement, to be read and not judged: cargo test -- --ignored --nocapture first_byte"]
async fn from_start_to_the_first_byte() {
    const ROUNDS: usize = 20;
    let place = Place::new().await;
    place.preflight().await;
    let (mut started, mut called, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let spec = place.spec(&format!("round-{round}"));
        let begun = tokio::time::Instant::now();
        let task = soon(place.sandbox.start(&spec)).await.unwrap();
        started.push(begun.elapsed());
        let shell = place.is_called_by(task.clone()).await;
        called.push(begun.elapsed());
        drop(shell);
        soon(place.sandbox.stop(&task, GRACE)).await.unwrap();
        soon(place.sandbox.forget(task.name())).await.unwrap();

        if rustix::process::geteuid().is_root() {
            // Without becoming a user it is another thing; as one it cannot walk to this place.
            continue;
        }
        let begun = tokio::time::Instant::now();
        let mut bwrap = bare_bwrap(&place).spawn().unwrap();
        place.is_called_by_anybody().await;
        bare.push(begun.elapsed());
        bwrap.wait().unwrap();
    }
    let all = [
        ("start returned", &mut started),
        ("first byte", &mut called),
        ("first byte out of a bare bwrap", &mut bare),
    ];
    for (what, times) in all.into_iter().filter(|(_, times)| !times.is_empty()) {
        times.sort_unstable();
        let (median, most) = (times[ROUNDS / 2], times[ROUNDS - 1]);
        println!("{what}: median {median:?}, most {most:?}, of {ROUNDS}");
    }
    place.closes().await;
}

/// The yardstick: the same program in the least that is called a sandbox.
fn bare_bwrap(place: &Place) -> std::process::Command {
    let mut bwrap = std::process::Command::new("/usr/bin/bwrap");
    bwrap.args(["--unshare-all", "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib"]);
    bwrap.args(["--symlink", "usr/lib64", "/lib64", "--symlink", "usr/bin", "/bin"]);
    bwrap.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--as-pid-1"]);
    bwrap.arg("--ro-bind").arg(place.at().join("gw")).arg("/run/gw");
    bwrap.arg("--ro-bind").arg(crate::place::probe()).arg("/run/shellgate/bridge");
    bwrap.args(["--setenv", "SHELLGATE_DIAL", "unix:/run/gw/dial.sock"]);
    bwrap.args(["--setenv", "SHELLGATE_TOKEN_FD", "0", "/run/shellgate/bridge"]);
    bwrap.stdin(std::process::Stdio::null());
    bwrap
}
