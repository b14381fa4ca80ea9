//! How much memory this process has in use.

/// The memory in use, from a moment on.
pub struct Memory {
    resident: u64,
}

impl Memory {
    /// From here on.
    pub fn begin() -> Self {
        // Has the kernel forget the peak so far (see proc_pid_clear_refs(5)).
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Self { resident: Self::read("VmRSS:") }
    }

    /// By how many bytes it rose at the most.
    pub fn rise(&self) -> u64 {
        Self::read("VmHWM:").saturating_sub(self.resident)
    }

    fn read(name: &str) -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(name));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }
}
