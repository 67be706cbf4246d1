//! What the filter's hook takes from a stream that is under way at an interface: `toll INTERFACE PORT SECONDS`.
//!
//! Runs of the same stream differ by more than what is asked for. So the hook is put on and taken off many times a second beside one
//! stream, in blocks of on, off, off, on (or the other way round): a drift within a block falls out of the ratio of its halves. Printed is
//! the median of the blocks' ratios with its 95 % interval (bootstrap; Efron 1979).

#[cfg(kernel_filter)]
mod toll {
    use std::error::Error;
    use std::time::{Duration, Instant};

    use analysis::wire::packet::LinkType;
    use whostalled_capture::kernel::KernelFilter;
    use whostalled_capture::limits::Limits;

    /// How long the hook stays as it is.
    const SLICE: Duration = Duration::from_millis(50);
    /// How long the stream has to get used to it first.
    const SETTLE: Duration = Duration::from_millis(10);

    type Result<T> = std::result::Result<T, Box<dyn Error>>;

    /// Bytes that the interface has sent and received, in the namespace of the calling thread.
    fn bytes(interface: &str) -> Result<u64> {
        let text = std::fs::read_to_string("/proc/thread-self/net/dev")?;
        let line = text.lines().find_map(|l| l.trim_start().strip_prefix(interface)?.strip_prefix(':'));
        let fields: Vec<u64> = line.ok_or("no such interface")?.split_whitespace().filter_map(|f| f.parse().ok()).collect();
        Ok(fields[0] + fields[8])
    }

    /// Bytes a second.
    fn rate(interface: &str) -> Result<f64> {
        std::thread::sleep(SETTLE);
        let (begun, before) = (Instant::now(), bytes(interface)?);
        std::thread::sleep(SLICE);
        let (after, took) = (bytes(interface)?, begun.elapsed());
        Ok((after - before) as f64 / took.as_secs_f64())
    }

    fn median(values: &mut [f64]) -> f64 {
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    }

    pub fn run(interface: &str, port: u16, seconds: u64) -> Result<()> {
        let limits = Limits { ports: vec![port], ..Limits::default() };
        let mut filter = KernelFilter::load(&limits, LinkType::Ethernet)?;
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut ratios, mut off) = (Vec::new(), Vec::new());
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            let on_first = rng.bool();
            let mut sums = [0.0; 2]; // off, on
            for on in [on_first, !on_first, !on_first, on_first] {
                if on {
                    filter.attach(interface)?;
                }
                sums[usize::from(on)] += rate(interface)?;
                filter.detach(interface);
            }
            ratios.push(sums[1] / sums[0]);
            off.push(sums[0] / 2.0 * 8.0 / 1e9);
        }
        let mut medians: Vec<f64> = (0..2_000)
            .map(|_| median(&mut (0..ratios.len()).map(|_| ratios[rng.usize(..ratios.len())]).collect::<Vec<f64>>()))
            .collect();
        let middle = median(&mut ratios);
        medians.sort_unstable_by(f64::total_cmp);
        let seen = filter.counters()?.seen;
        println!(
            "{:.1} Gb/s without; with the hook {middle:.4} of it (median of {} blocks; 95 %: {:.4} to {:.4}); it saw {seen} packets",
            median(&mut off),
            ratios.len(),
            medians[50],
            medians[1_949],
        );
        Ok(())
    }
}

#[cfg(kernel_filter)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [interface, port, seconds] = &arguments[..] else { return Err("toll INTERFACE PORT SECONDS".into()) };
    toll::run(interface, port.parse()?, seconds.parse()?)
}

#[cfg(not(kernel_filter))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    Err("this build has no in-kernel filter: clang was missing".into())
}
