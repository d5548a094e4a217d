//! The BPF objects in this executable, and loading them.

use super::{Mode, hook::Hooked, kernel};
use anyhow::{Context as _, Result, anyhow, bail};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, ProgramArray},
    programs::{ProgramError, ProgramInfo, TestRunOptions, Xdp},
    util::nr_cpus,
};
use aya_obj::programs::XdpAttachType;
use lb_common::{
    address::Address, adoption::Adoption, bucket::buckets, hint, settings::Settings, spare::spares,
    stage::Stage,
};
use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

/// What `build.rs` built, for each hook.
static XDP: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lb"));
static TC: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lb-tc"));

/// Why the kernel refused a program the last time.
const VERIFIER_LOG: &str = "/run/lb-ctl/verifier.log";

/// The map that leads from `balance` to its stages.
const STAGES: &str = "STAGES";

/// What `arm`, `disarm` and `adopt` return when they have worked.
const DONE: u32 = 2;

/// What to trace; all zero is everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter {
    /// A client.
    pub client: Address,
    /// A service's address.
    pub service: Address,
    /// A service's port, network order.
    pub port: u16,
}

/// How an instance of the program differs from others on the same maps.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// Where it will be attached.
    pub mode: Mode,
    /// Whether packets with partial checksums may come in.
    pub partial: bool,
    /// Whether packets without an Ethernet header may come in.
    pub bare: bool,
    /// Size of the connection table.
    pub connections: u32,
    /// What it traces, if it does.
    pub trace: Option<Filter>,
}

/// One instance of the program in the kernel.
pub struct Instance {
    /// What makes it different.
    pub variant: Variant,
    /// Its maps and programs.
    pub ebpf: Ebpf,
}

impl Instance {
    /// Loads `balance` and its stages on the maps pinned in a directory; pins there the maps that are missing.
    pub fn load(pins: &Path, variant: Variant) -> Result<Self> {
        let mut instance = Self::prepare(pins, variant)?;
        for name in Stage::ALL.map(Stage::name).into_iter().chain(["balance"]) {
            instance.program(name)?.load().map_err(|error| explain(name, error.into()))?;
        }
        instance.join()?;
        Ok(instance)
    }

    /// The object on the maps pinned in a directory, with no program loaded yet.
    fn prepare(pins: &Path, variant: Variant) -> Result<Self> {
        let index = buckets(variant.connections);
        let maps = pinned_maps(pins)?;
        let filter = variant.trace.unwrap_or_default();
        let (client, service) = (filter.client.octets(), filter.service.octets());
        let generic = u8::from(variant.mode == Mode::Generic);
        let (partial, trace) = (u8::from(variant.partial), u8::from(variant.trace.is_some()));
        let (bare, mask) = (u8::from(variant.bare), index - 1);
        let cpus = u32::try_from(nr_cpus().map_err(|(path, error)| anyhow!("{path}: {error}"))?)?;
        let sets = hint::sets(variant.connections, cpus);
        let jiffy = kernel::jiffy();
        let (hints_mask, spares) = (sets - 1, spares(variant.connections, cpus));

        let mut loader = EbpfLoader::new();
        loader
            .map_max_entries("INDEX", index)
            .map_max_entries("HINTS", sets * cpus)
            .map_max_entries("CONNECTIONS", variant.connections)
            .map_max_entries("FREE", variant.connections)
            .override_global("INDEX_MASK", &mask, true)
            .override_global("HINTS_MASK", &hints_mask, true)
            .override_global("JIFFY", &jiffy, true)
            .override_global("SPARE_SLOTS", &spares, true)
            .override_global("TRACE", &trace, true)
            .override_global("TRACE_CLIENT", &client, true)
            .override_global("TRACE_SERVICE", &service, true)
            .override_global("TRACE_SERVICE_PORT", &filter.port, true);
        if variant.mode != Mode::Tc {
            loader.override_global("GENERIC", &generic, true).override_global("PARTIAL", &partial, true);
        } else {
            loader.override_global("BARE", &bare, true);
        }
        let object = if variant.mode == Mode::Tc { TC } else { XDP };
        for (name, path) in &maps {
            loader.map_pin_path(name, path);
        }
        let ebpf = loader.load(object).context("cannot load the program")?;
        for (name, map) in ebpf.maps() {
            let missing = is_shared(name) && maps.iter().all(|(pinned, _)| pinned != name);
            if missing {
                map.pin(pins.join(name)).with_context(|| format!("cannot pin the map {name}"))?;
            }
        }
        Ok(Self { variant, ebpf })
    }

    /// Lets the programs end in each other.
    fn join(&mut self) -> Result<()> {
        for stage in Stage::ALL {
            let program = self.program(stage.name())?.fd()?.try_clone()?;
            let stages = self.ebpf.map_mut(STAGES).context("the object has no map STAGES")?;
            let mut stages = ProgramArray::try_from(stages)?;
            stages.set(stage as u32, &program, 0).context("cannot join the programs of the balancer")?;
        }
        Ok(())
    }

    /// A program of this instance.
    pub fn program(&mut self, name: &str) -> Result<Hooked<'_>> {
        let program =
            self.ebpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?;
        Ok(program.try_into()?)
    }

    /// Writes the settings of a new table.
    pub fn write_settings(&mut self, settings: Settings) -> Result<()> {
        let map = self.ebpf.map_mut("SETTINGS").context("the object has no map SETTINGS")?;
        let mut map: Array<_, Settings> = Array::try_from(map)?;
        Ok(map.set(0, settings, 0)?)
    }

    /// Pins `balance` under a name, in place of what was pinned there, and beforehand the map that
    /// leads to its stages: the kernel empties such a map when nobody holds it.
    pub fn pin(&mut self, pins: &Path, name: &str) -> Result<()> {
        let path = pins.join(stages_name(self.program("balance")?.info()?.id()));
        let stages = self.ebpf.map_mut(STAGES).context("the object has no map STAGES")?;
        stages.pin(&path).with_context(|| format!("cannot pin {}", path.display()))?;
        replace_pin(self.program("balance")?, pins, name)
    }

    /// Starts the timer of the sweep, or hands it to this instance, and pins what does so.
    pub fn arm(&mut self, pins: &Path) -> Result<()> {
        for name in ["arm", "disarm"] {
            let mut program = self.program(name)?;
            program.load().map_err(|error| explain(name, error.into()))?;
            replace_pin(program, pins, name)?;
        }
        run(&self.program("arm")?).context("cannot start the timer of the connection table")
    }
}

/// The program that takes connections over; it is in no link.
pub struct Adopter(Instance);

impl Adopter {
    /// Loads it on the maps pinned in a directory.
    pub fn load(pins: &Path, connections: u32) -> Result<Self> {
        let variant = Variant { mode: Mode::Generic, partial: false, bare: false, connections, trace: None };
        let mut instance = Instance::prepare(pins, variant)?;
        instance.program("adopt")?.load().map_err(|error| explain("adopt", error.into()))?;
        Ok(Self(instance))
    }

    /// Takes a connection over; whether there was room for it.
    pub fn adopt(&mut self, adoption: &Adoption) -> Result<bool> {
        let options = TestRunOptions { data_in: Some(bytemuck::bytes_of(adoption)), ..TestRunOptions::new() };
        Ok(self.0.program("adopt")?.test_run(options)?.return_value == DONE)
    }
}

/// Stops the timer of the sweep.
pub fn disarm(pins: &Path) -> Result<()> {
    // The kernel does not ask what type it is run as.
    let mut program = Xdp::from_pin(pins.join("disarm"), XdpAttachType::Interface)?;
    run(&Hooked::Xdp(&mut program)).context("cannot stop the timer of the connection table")
}

/// The name that the program of a mode is pinned under.
pub fn pin_name(mode: Mode, traced: bool) -> String {
    format!("{}-{mode}", if traced { "trace" } else { "balance" })
}

/// The name that the map of an instance's further programs is pinned under: `balance`'s id keeps
/// apart the instances that work at the same time.
fn stages_name(program: u32) -> String {
    format!("stages-{program}")
}

/// Removes the maps of further programs that belong to no program in `used`.
pub fn forget_stages(pins: &Path, used: &[u32]) -> Result<()> {
    for entry in fs::read_dir(pins).with_context(|| format!("cannot read {}", pins.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let program = name.and_then(|name| name.strip_prefix("stages-")?.parse().ok());
        if program.is_some_and(|program| !used.contains(&program)) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// The pinned program of each mode that was attached.
pub fn pinned(pins: &Path) -> Result<Vec<(Mode, ProgramInfo)>> {
    programs(pins, false)
}

/// The ids of the programs that trace.
pub fn traced(pins: &Path) -> Result<Vec<u32>> {
    Ok(programs(pins, true)?.iter().map(|(_, info)| info.id()).collect())
}

fn programs(pins: &Path, traced: bool) -> Result<Vec<(Mode, ProgramInfo)>> {
    let paths = Mode::ALL.map(|mode| (mode, pins.join(pin_name(mode, traced))));
    let there = paths.into_iter().filter(|(_, path)| path.exists());
    there.map(|(mode, path)| Ok((mode, ProgramInfo::from_pin(path)?))).collect()
}

fn run(program: &Hooked<'_>) -> Result<()> {
    let result = program.test_run(TestRunOptions { data_in: Some(&[0; 64]), ..TestRunOptions::new() })?;
    if result.return_value != DONE {
        bail!("the program returned {}", result.return_value);
    }
    Ok(())
}

/// Pins beside, then renames over: there is always one of the two under the name.
fn replace_pin(mut program: Hooked<'_>, pins: &Path, name: &str) -> Result<()> {
    let (path, beside) = (pins.join(name), pins.join(format!("{name}-new")));
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    program.pin(&beside).with_context(|| format!("cannot pin {}", beside.display()))?;
    fs::rename(&beside, &path).with_context(|| format!("cannot pin {}", path.display()))
}

/// Whether a map belongs to the balancer and not to one instance of the program (its globals, its
/// log, its further programs).
fn is_shared(name: &str) -> bool {
    !name.starts_with('.') && name != "AYA_LOGS" && name != STAGES
}

/// The maps in a directory of pins. Their names are in capitals, unlike those of programs and links.
pub fn pinned_maps(pins: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut maps = Vec::new();
    for entry in fs::read_dir(pins).with_context(|| format!("cannot read {}", pins.display()))? {
        let entry = entry?;
        let name =
            entry.file_name().into_string().map_err(|name: OsString| anyhow!("a stray pin {name:?}"))?;
        if name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
            maps.push((name, entry.path()));
        }
    }
    Ok(maps)
}

/// One line for the error of a program; what the verifier says goes to a file.
fn explain(program: &str, error: anyhow::Error) -> anyhow::Error {
    /// Statistics that follow the reason.
    const NOISE: [&str; 3] = ["processed", "stack depth", "verification time"];

    let Some(ProgramError::LoadError { io_error, verifier_log }) = error.downcast_ref() else {
        return error.context("cannot load the program");
    };
    let log = verifier_log.to_string();
    let reason =
        log.lines().rfind(|line| !NOISE.iter().any(|noise| line.starts_with(noise))).unwrap_or_default();
    match fs::write(VERIFIER_LOG, &log) {
        Ok(()) => {
            anyhow!(
                "this kernel refuses the program {program}: {io_error}: {reason} (all of it in {VERIFIER_LOG})"
            )
        }
        Err(_) => anyhow!("this kernel refuses the program {program}: {io_error}: {reason}"),
    }
}

/// Removes what a verifier has said.
pub fn forget_log() {
    // Mostly there is none.
    let _ = fs::remove_file(VERIFIER_LOG);
}
