//! The process of a server. It ends with the pipe that it holds, whatever becomes of this one. Knows
//! no directory's content.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::programs::Programs;

/// How often it is looked whether it answers, or has ended, and how many times: for a minute.
const LOOK: Duration = Duration::from_millis(10);
const LOOKS: u32 = 6_000;

/// Runs the server, and ends it once the pipe on its own input has ended. `QUIT` means at once: clients
/// are not waited for.
const WATCH: &str = r#"
exec 3<&0
"$@" </dev/null &
server=$!
{ read -r _ <&3; kill -QUIT "$server"; } 2>/dev/null &
reader=$!
wait "$server"
kill "$reader" 2>/dev/null
"#;

#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts it, and waits until it takes connections.
    pub fn start(programs: &Programs, place: &Path, port: u16, log: &Path) -> Result<Self, String> {
        let server = programs.command("postgres");
        let mut watch = Command::new("/bin/sh");
        Programs::as_ordinary(&mut watch);
        watch.args(["-c", WATCH, "sh"]).arg(server.get_program());
        watch.arg("-D").arg(place.join("data")).arg("-k").arg(place);
        watch.args(["-p", &port.to_string()]);
        watch.env_clear().envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let append = || File::options().create(true).append(true).open(log);
        let append = || append().map_err(|error| format!("{}: {error}", log.display()));
        let started = append()?.metadata().map_err(|error| error.to_string())?.len();
        watch.stdin(Stdio::piped()).stdout(append()?).stderr(append()?).current_dir(place);
        let process = Self(watch.spawn().map_err(|error| format!("no shell: {error}"))?);
        process.wait_until_ready(log, started, port)
    }

    fn wait_until_ready(mut self, log: &Path, from: u64, port: u16) -> Result<Self, String> {
        for _ in 0..LOOKS {
            if let Ok(Some(ended)) = self.0.try_wait() {
                return Err(format!("it has ended: {ended}"));
            }
            let said = std::fs::read_to_string(log).unwrap_or_default();
            let said = said.get(usize::try_from(from).unwrap_or_default()..).unwrap_or_default();
            if said.contains("database system is ready to accept connections")
                && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
            {
                return Ok(self);
            }
            std::thread::sleep(LOOK);
        }
        Err(format!("it is not ready within {:?}", LOOK * LOOKS))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        for _ in 0..LOOKS {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK);
        }
        eprintln!("Postgres has not ended within {:?}", LOOK * LOOKS);
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports");
    listener.local_addr().expect("it is bound").port()
}
