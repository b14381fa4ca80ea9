//! An emulated machine: its kernel, its disk, and the two serial lines on which it says what it
//! does. To end its process is to cut its power: whatever its kernel had not given to the disk is
//! gone.

use super::super::{Outcome, now_ms, program};
use super::guest::Said;
use super::initramfs::{Archive, add_modules, add_program};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

const QEMU: &str = "qemu-system-x86_64";

/// A disk that is written for minutes, sparse.
const DISK_BYTES: u64 = 1 << 30;

/// No machine takes longer to begin its work, even without help of the processor.
const PATIENCE_MS: u64 = 600_000;

/// How `ext4` treats data beside its journal; each fails in its own way.
pub const MODES: [&str; 3] = ["ordered", "writeback", "journal"];

/// What it takes to emulate a machine.
#[derive(clap::Args)]
pub struct Parts {
    /// The kernel [default: the newest /boot/vmlinuz*]. Its modules are looked for beside it, in
    /// ../lib/modules/VERSION, so that a package that was only unpacked will do
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// A busybox that is statically linked
    #[arg(long, value_name = "FILE", default_value = "/bin/busybox")]
    busybox: PathBuf,
    /// Let the processor help (/dev/kvm); on a machine that is itself emulated that may not work
    #[arg(long)]
    kvm: bool,
}

/// Parts that are all there.
pub struct Found {
    kernel: PathBuf,
    modules: PathBuf,
    busybox: PathBuf,
    mkfs: PathBuf,
    kvm: bool,
}

impl Parts {
    /// All of them; what is missing, and where it comes from.
    pub fn find(&self) -> Result<Found, String> {
        if Command::new(QEMU).arg("--version").output().is_err() {
            return Err(format!("{QEMU} is missing (apt-get install qemu-system-x86)"));
        }
        let unpacked = "apt-get download PACKAGE and dpkg -x PACKAGE.deb FOLDER are enough";
        let kernel = self.kernel.clone().or_else(newest_kernel).ok_or_else(|| {
            format!("no kernel in /boot; name one with --kernel (linux-image-amd64; {unpacked})")
        })?;
        let modules = modules_of(&kernel).filter(|modules| modules.is_dir()).ok_or_else(|| {
            format!("no modules in ../lib/modules beside the kernel {}", kernel.display())
        })?;
        if !self.busybox.is_file() {
            let missing = self.busybox.display();
            return Err(format!(
                "{missing} is missing; see --busybox (busybox-static; {unpacked})"
            ));
        }
        let mkfs = ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"].map(PathBuf::from);
        let mkfs = mkfs.into_iter().find(|file| file.is_file());
        let mkfs = mkfs.ok_or("mkfs.ext4 is missing (apt-get install e2fsprogs)")?;
        Ok(Found { kernel, modules, busybox: self.busybox.clone(), mkfs, kvm: self.kvm })
    }
}

fn newest_kernel() -> Option<PathBuf> {
    let entries = fs::read_dir("/boot").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let kernels = entries.filter(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
    });
    kernels.max_by_key(|path| fs::metadata(path).and_then(|told| told.modified()).ok())
}

fn modules_of(kernel: &Path) -> Option<PathBuf> {
    let name = kernel.file_name()?.to_string_lossy().into_owned();
    let version = name.strip_prefix("vmlinuz-")?;
    Some(kernel.parent()?.parent()?.join("lib/modules").join(version))
}

/// What every life of every machine of a campaign begins with.
pub struct Machine {
    parts: Found,
    folder: PathBuf,
    initramfs: PathBuf,
    /// Its disk, as a file.
    disk: PathBuf,
}

/// What one life is told.
pub struct Life<'a> {
    /// How often this disk was started from before.
    pub boot: u64,
    /// Draws what is done.
    pub seed: u64,
    /// How the file system treats data.
    pub mode: &'a str,
    /// Whether syncs of write-ahead logs are forgotten.
    pub lies: bool,
}

/// When the power is cut.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// So long after it was switched on, wherever that is.
    AfterOn(u64),
    /// So long after so many acknowledgements.
    AtWork { kept: u64, ms: u64 },
}

/// What was heard of a life, and how it began.
#[derive(Default)]
pub struct Heard {
    /// Everything that it said, in order.
    pub said: Vec<Said>,
    /// When the work began, after it was switched on.
    pub ready_ms: Option<u64>,
    /// Whether the file system had to replay its journal.
    pub replayed: bool,
}

impl Machine {
    /// A machine without a disk yet.
    pub fn new(parts: Found, carnet: &Path, folder: &Path) -> Outcome<Self> {
        let mut archive = Archive::default();
        for name in ["/proc", "/sys", "/dev", "/tmp", "/data"] {
            archive.folder(Path::new(name));
        }
        archive.program("/bin/busybox", &fs::read(&parts.busybox)?);
        archive.link("/bin/sh", "busybox");
        // The node must find itself on the machine on which it was founded.
        archive.program("/etc/machine-id", b"0123456789abcdef0123456789abcdef\n");
        archive.program("/bin/faults.so", &fs::read(program::layer(folder)?)?);
        add_program(&mut archive, "carnet", carnet, folder)?;
        add_program(&mut archive, "simulations", &std::env::current_exe()?, folder)?;
        let modules = add_modules(&mut archive, &parts.modules)?;
        archive.program("/init", init(&modules).as_bytes());
        let initramfs = folder.join("initramfs");
        fs::write(&initramfs, archive.finish())?;
        Ok(Self { parts, folder: folder.to_owned(), initramfs, disk: folder.join("disk") })
    }

    /// A new disk in the place of the old one.
    pub fn format(&self) -> Outcome<()> {
        File::create(&self.disk)?.set_len(DISK_BYTES)?;
        let made = Command::new(&self.parts.mkfs).args(["-q", "-F"]).arg(&self.disk).output()?;
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        if made.status.success() { Ok(()) } else { Err(format!("mkfs.ext4: {said}").into()) }
    }

    /// Switches it on, and cuts its power.
    pub fn live(&self, life: &Life<'_>, when: When) -> Outcome<Heard> {
        let begun = now_ms();
        let mut child = self.switch_on(life)?;
        let lines = listen(&mut child)?;
        let heard = hear(&lines, begun, when);
        child.kill()?;
        child.wait()?;
        let mut heard = heard.map_err(|error| format!("{error}; {}", self.last_words()))?;
        // What it said before the cut, it promised.
        for line in lines {
            heard.take(&line, begun)?;
        }
        heard.replayed = self.console().contains("recovery complete");
        Ok(heard)
    }

    fn switch_on(&self, life: &Life<'_>) -> Outcome<Child> {
        let Life { boot, seed, mode, lies } = life;
        let lie = if *lies { "lie=/bin/faults.so" } else { "" };
        // A busy host lets an emulated timer come late, which the kernel would take for a broken one.
        let line = format!(
            "console=ttyS0 loglevel=7 panic=-1 no_timer_check boot={boot} seed={seed} mode={mode} {lie}"
        );
        let drive = format!("file={},format=raw,if=virtio,cache=writeback", self.disk.display());
        let console = format!("file:{}", self.console_file().display());
        let mut command = Command::new(QEMU);
        command
            .args(["-machine", if self.parts.kvm { "q35,accel=kvm" } else { "q35,accel=tcg" }])
            .args(["-cpu", "max", "-smp", "2", "-m", "1024", "-nodefaults", "-no-reboot"])
            .args(["-display", "none", "-monitor", "none"])
            .args(["-serial", &console, "-serial", "stdio", "-drive", &drive])
            .args(["-append", &line])
            .arg("-kernel")
            .arg(&self.parts.kernel)
            .arg("-initrd")
            .arg(&self.initramfs);
        let errors = File::create(self.folder.join("qemu.stderr"))?;
        Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).spawn()?)
    }

    fn console_file(&self) -> PathBuf {
        self.folder.join("console")
    }

    fn console(&self) -> String {
        let bytes = fs::read(self.console_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The end of what its kernel and its emulator said.
    fn last_words(&self) -> String {
        let mut said = fs::read_to_string(self.folder.join("qemu.stderr")).unwrap_or_default();
        said += &self.console();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(12)..].join(" | ")
    }
}

/// The first process: what busybox can do, and then the guest.
fn init(modules: &str) -> String {
    format!(
        "#!/bin/sh\n\
         export PATH=/bin\n\
         mount() {{ busybox mount \"$@\"; }}\n\
         insmod() {{ busybox insmod \"$@\"; }}\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sysfs /sys\n\
         mount -t devtmpfs dev /dev\n\
         exec >/dev/console 2>&1\n\
         busybox ifconfig lo 127.0.0.1 up\n\
         {modules}\
         n=0; while [ ! -b /dev/vda ] && [ $n -lt 100 ]; do busybox usleep 50000; n=$((n+1)); done\n\
         mount -t ext4 -o data=$mode /dev/vda /data\n\
         busybox stty -F /dev/ttyS1 raw -echo 2>/dev/null\n\
         cd /\n\
         exec simulations power-guest /data --boot $boot --seed $seed ${{lie:+--lie $lie}} >/dev/ttyS1\n"
    )
}

fn listen(child: &mut Child) -> Outcome<Receiver<String>> {
    let stdout = BufReader::new(child.stdout.take().ok_or("no output")?);
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        let mut stdout = stdout;
        loop {
            let mut line = String::new();
            let read = stdout.read_line(&mut line);
            // A line that the cut ended promises nothing.
            if !read.is_ok_and(|bytes| bytes > 0) || !line.ends_with('\n') {
                return;
            }
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    Ok(lines)
}

fn hear(lines: &Receiver<String>, begun: u64, when: When) -> Outcome<Heard> {
    let mut heard = Heard::default();
    let mut reached = None;
    loop {
        let end = match when {
            When::AfterOn(ms) => begun + ms,
            When::AtWork { kept, ms } if heard.ready_ms.is_some() && heard.kept() >= kept => {
                *reached.get_or_insert_with(now_ms) + ms
            }
            When::AtWork { .. } => begun + PATIENCE_MS,
        };
        let now = now_ms();
        if now >= end {
            let late = end == begun + PATIENCE_MS;
            return if late { Err("the machine does not come to work".into()) } else { Ok(heard) };
        }
        match lines.recv_timeout(Duration::from_millis(end - now)) {
            Ok(line) => heard.take(&line, begun)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err("the machine ended by itself".into()),
        }
        if heard.said.iter().any(|said| matches!(said, Said::Flaw(_))) {
            return Ok(heard);
        }
    }
}

impl Heard {
    fn take(&mut self, line: &str, begun: u64) -> Outcome<()> {
        let said = serde_json::from_str(line.trim())
            .map_err(|error| format!("the machine said {line:?}: {error}"))?;
        if matches!(said, Said::Ready) {
            self.ready_ms = Some(now_ms() - begun);
        }
        self.said.push(said);
        Ok(())
    }

    fn kept(&self) -> u64 {
        use super::super::promises::Word;
        let kept = |said: &&Said| matches!(said, Said::Word(Word::Kept { .. } | Word::Bundle(_)));
        self.said.iter().filter(kept).count() as u64
    }
}
