//! What the figures were measured on, and how busy it was. Knows no system.

use tokio::time::Instant;

/// The machine, since a run began.
pub struct Machine {
    began: Instant,
    loads: Vec<f64>,
}

fn field(path: &str, at: usize) -> Option<f64> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().next()?.split_ascii_whitespace().nth(at)?.parse().ok()
}

impl Machine {
    /// A run begins.
    pub fn new() -> Self {
        Self { began: Instant::now(), loads: Vec::new() }
    }

    /// Notes how busy it is: the load average of the last minute, and seconds of processor time that
    /// its host has taken since it started.
    pub fn look(&mut self) -> String {
        let load = field("/proc/loadavg", 0).unwrap_or(f64::NAN);
        let stolen = field("/proc/stat", 8).unwrap_or(f64::NAN) / 100.0;
        self.loads.push(load);
        format!("load {load:.2}, {stolen:.0} s stolen so far")
    }

    /// Processors, memory, kernel, and the load during the run.
    pub fn describe(&self) -> String {
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let kernel = read("/proc/sys/kernel/osrelease");
        let kib = field("/proc/meminfo", 1).unwrap_or(f64::NAN);
        let (least, most) = self
            .loads
            .iter()
            .fold((f64::INFINITY, 0.0f64), |(least, most), &l| (least.min(l), most.max(l)));
        format!(
            "{processors} processors, {:.0} GiB, Linux {}; load average {least:.1} to {most:.1} \
             before each measurement; {:.0} minutes",
            kib / f64::from(1 << 20),
            kernel.trim(),
            self.began.elapsed().as_secs_f64() / 60.0
        )
    }
}
