//! What Fargate has: the pairs of processor and memory that a task may ask for. Pure.

use crate::compute::Limits;

const MIB: u64 = 1 << 20;

/// All secrets of a session together: their files live in memory.
pub(super) const SECRETS_MIB: u64 = 4;

/// What must be left for processes beside what lies in memory as files.
const PROCESSES_MIN_MIB: u64 = 32;

/// One size of processor: its units (1024 are a core), the least memory that goes with it, the most,
/// and the step between, in MiB.
struct Tier {
    cpu: u32,
    least: u64,
    most: u64,
    step: u64,
}

const fn tier(cpu: u32, least: u64, most: u64, step: u64) -> Tier {
    Tier { cpu, least, most, step }
}

/// docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size
const TIERS: &[Tier] = &[
    // 512, 1024 and 2048: what doubles is written as two tiers.
    tier(256, 512, 512, 512),
    tier(256, 1024, 2048, 1024),
    tier(512, 1024, 4096, 1024),
    tier(1024, 2048, 8192, 1024),
    tier(2048, 4096, 16_384, 1024),
    tier(4096, 8192, 30_720, 1024),
    tier(8192, 16_384, 61_440, 4096),
    tier(16_384, 32_768, 122_880, 8192),
];

/// The smallest size of Fargate that holds these limits: its CPU units (1024 are a core) and its
/// memory in MiB. A task's /tmp and secrets lie in its memory and count against it, as
/// [`Limits::memory`] has it: the memory of the whole task.
///
/// # Errors
/// In words for who wrote the limits: Fargate has nothing so large, or files in memory would leave
/// nothing for processes.
pub fn fargate_size(limits: &Limits) -> Result<(u32, u32), String> {
    let needed = limits.memory.div_ceil(MIB);
    let files = tmp_mib(limits) + SECRETS_MIB;
    if needed < files + PROCESSES_MIN_MIB {
        return Err(format!(
            "a memory of {needed} MiB is too little for a /tmp of {} MiB: /tmp lies in memory, and \
             {} MiB more are needed",
            tmp_mib(limits),
            SECRETS_MIB + PROCESSES_MIN_MIB
        ));
    }
    let units = (u64::from(limits.cpu_millis) * 1024).div_ceil(1000);
    let found = TIERS.iter().find(|tier| u64::from(tier.cpu) >= units && tier.most >= needed);
    let Some(tier) = found else {
        return Err(format!(
            "Fargate has nothing with {} thousandths of a core and {needed} MiB of memory: its \
             largest task has 16 cores and 120 GiB",
            limits.cpu_millis
        ));
    };
    let beyond = needed.saturating_sub(tier.least).div_ceil(tier.step) * tier.step;
    let memory = u32::try_from(tier.least + beyond).map_err(|error| error.to_string())?;
    Ok((tier.cpu, memory))
}

/// The size of /tmp in whole MiB, which is how ECS counts it.
pub(super) fn tmp_mib(limits: &Limits) -> u64 {
    limits.tmp.div_ceil(MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(cpu_millis: u32, memory_mib: u64) -> Result<(u32, u32), String> {
        fargate_size(&Limits { memory: memory_mib * MIB, cpu_millis, pids: 100, tmp: MIB })
    }

    /// As AWS's table has them, written out.
    fn valid() -> Vec<(u32, u32)> {
        let steps = |cpu, range: std::ops::RangeInclusive<u32>, step| {
            range.step_by(step).map(move |memory| (cpu, memory))
        };
        let mut all = vec![(256, 512), (256, 1024), (256, 2048)];
        all.extend(steps(512, 1024..=4096, 1024));
        all.extend(steps(1024, 2048..=8192, 1024));
        all.extend(steps(2048, 4096..=16_384, 1024));
        all.extend(steps(4096, 8192..=30_720, 1024));
        all.extend(steps(8192, 16_384..=61_440, 4096));
        all.extend(steps(16_384, 32_768..=122_880, 8192));
        all
    }

    #[test]
    fn the_smallest_valid_pair_that_holds_the_limits_is_taken() {
        let valid = valid();
        for cpu_millis in [1, 250, 251, 500, 1000, 1001, 2000, 4000, 7999, 8000, 16_000] {
            for memory in (64..=122_880).step_by(61) {
                let units = (u64::from(cpu_millis) * 1024).div_ceil(1000);
                let smallest = valid
                    .iter()
                    .find(|(cpu, has)| u64::from(*cpu) >= units && u64::from(*has) >= memory);
                assert_eq!(
                    size(cpu_millis, memory).ok().as_ref(),
                    smallest,
                    "{cpu_millis} {memory}"
                );
            }
        }
    }

    #[test]
    fn what_fargate_has_not_is_refused_in_words() {
        assert!(size(16_001, 512).unwrap_err().contains("Fargate has nothing"));
        assert!(size(1000, 122_881).unwrap_err().contains("122881 MiB"));
    }

    #[test]
    fn files_in_memory_count_against_the_task() {
        let limits = |tmp| Limits { memory: 512 * MIB, cpu_millis: 250, pids: 100, tmp };
        assert_eq!(fargate_size(&limits(476 * MIB)), Ok((256, 512)));
        assert!(fargate_size(&limits(476 * MIB + 1)).unwrap_err().contains("/tmp"));
    }
}
