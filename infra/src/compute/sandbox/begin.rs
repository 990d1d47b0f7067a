//! A start, under its task's lock: finds what an earlier one made, or makes it. What may be cut off at
//! any step is written down before it is done.

use std::os::unix::ffi::OsStrExt;

use super::launch::{
    Launched, NotLaunched, Order, filled_pipe, launch, limit_processes, unnamed_file,
};
use super::preflight::Plan;
use super::process::Process;
use super::record::{Lock, Record, io_error};
use super::{Inner, KILLING, checked, command, hex, log, random_hex};
use crate::compute::{ComputeError, TaskRef, TaskSpec};

impl Inner {
    /// What the parents of this state directory's control groups are called.
    pub(super) fn cgroup_name(&self) -> String {
        let path = self.config.state.as_os_str().as_bytes();
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, path);
        format!("shellgate-{}", hex(&hash.as_ref()[..8]))
    }

    /// Removes what a trial that was killed left behind. Only for whoever may make one.
    pub(super) fn sweep_trials(&self) {
        for entry in std::fs::read_dir(&self.config.state).into_iter().flatten().flatten() {
            let is_trial = entry.file_name().as_bytes().starts_with(b"trial-");
            if is_trial {
                // One that cannot be removed is tried again by the next preflight.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    /// A record whose start was cut off before its processes were known, with what is found. What
    /// cannot be written down is found again by whoever looks next.
    pub(super) fn completed(&self, mut record: Record, held: &Lock) -> Record {
        if !record.is_cut_off() || record.boot_id != self.boot_id {
            return record;
        }
        let before = record.clone();
        if record.outermost.is_none() {
            record.outermost = Process::with_argument(&command::mark(&record.marker));
        }
        let outermost = record.outermost.filter(Process::lives);
        if let Some(first) = outermost.and_then(|found| found.children().first().copied()) {
            match record.process_limit.map_or(Ok(()), |most| limit_processes(first, most)) {
                Ok(()) => record.first = Some(first),
                // Not taken for known before it is limited: then it is tried again.
                Err(error) => tracing::warn!(task = %record.name, %error, "a task has no limit"),
            }
        }
        if record != before
            && let Err(error) = self.records.write(&record, held)
        {
            tracing::warn!(task = %record.name, %error, "what was found is not written down");
        }
        record
    }

    pub(super) fn begin(
        &self,
        plan: &Plan,
        spec: &TaskSpec,
        held: &Lock,
    ) -> Result<(TaskRef, Option<Process>), ComputeError> {
        if let Some(record) = self.records.read(&spec.name)?
            && let Some(task) = self.completed(record, held).task()
        {
            return Ok((task, None));
        }
        let marker = random_hex().map_err(io_error("get random numbers".to_owned()))?;
        let task = spec.name.as_str();
        let groups = plan.cgroups.as_ref().map_or_else(Vec::new, |groups| groups.of_task(task));
        let mut record = Record {
            name: spec.name.clone(),
            marker,
            boot_id: self.boot_id.clone(),
            groups,
            outermost: None,
            first: None,
            process_limit: plan.engine.process_limit(&spec.limits),
            ended: None,
        };
        self.records.write(&record, held)?;
        let launched = self.run(plan, spec, &record).inspect_err(|_| {
            // Nothing runs: the next start of this name is the first again.
            for group in &record.groups {
                group.remove_when_empty(KILLING);
                group.remove_parent();
            }
            if let Err(left) = self.records.remove(&spec.name, held) {
                tracing::warn!(task, error = %left, "the record of a failed start is left");
            }
        })?;
        record.outermost = Some(launched.outermost);
        record.first = Some(launched.first);
        // The marker finds the process where this cannot be written; the caller tries again.
        self.records.write(&record, held)?;
        let task = record.task().ok_or_else(|| ComputeError::Failed("no process".to_owned()))?;
        Ok((task, Some(launched.outermost)))
    }

    pub(super) fn run(
        &self,
        plan: &Plan,
        spec: &TaskSpec,
        record: &Record,
    ) -> Result<Launched, ComputeError> {
        let super::Checked { home, uid, gid, dial_directory } = checked(spec)?;
        let task = spec.name.as_str();
        let io = |what: &str| io_error(format!("{what} of {task}"));
        if let Some(cgroups) = &plan.cgroups {
            cgroups.make(task, &spec.limits).map_err(io("make the control groups"))?;
        }
        let token = filled_pipe(spec.token.0.as_bytes()).map_err(io("hand over the token"))?;
        let spill = unnamed_file(&self.config.state).map_err(io("make the spill file"))?;
        let log = self.records.log(&spec.name);
        let order = Order {
            marker: &record.marker,
            home,
            uid,
            gid,
            dial_directory,
            bridge: &self.config.bridge,
            limits: spec.limits,
            groups: &record.groups,
            program: &[command::BRIDGE],
            environment: vec![
                ("SHELLGATE_SESSION", spec.session.clone()),
                ("SHELLGATE_LAUNCH", spec.launch.to_string()),
            ],
            descriptors: vec![("SHELLGATE_TOKEN_FD", token), ("SHELLGATE_SPILL_FD", spill)],
            output: log::open(&log).map_err(io("open the log"))?,
        };
        launch(&plan.engine, order).map_err(|refused| match refused {
            NotLaunched::Error(error) => error,
            NotLaunched::EngineEnded(how) => {
                ComputeError::Failed(format!("bwrap ended ({how}): {}", log::tail(&log)))
            }
        })
    }
}
