//! An array map in this process's memory: reading and writing need no system call.

use anyhow::{Context as _, Result, bail};
use aya::maps::MapData;
use bytemuck::Pod;
use memmap2::{MmapOptions, MmapRaw};
use std::{
    cell::OnceCell,
    marker::PhantomData,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
};

/// An array map with `BPF_F_MMAPABLE`, shared with the packet path.
///
/// It is mapped at the first access, because mapping a large one takes milliseconds.
#[derive(Debug)]
pub struct Mapped<T> {
    map: MapData,
    name: String,
    length: u32,
    memory: OnceCell<MmapRaw>,
    _element: PhantomData<T>,
}

impl<T: Pod> Mapped<T> {
    /// Bytes from one element to the next: the kernel aligns them to 8.
    const STRIDE: usize = size_of::<T>().next_multiple_of(8);

    /// Opens a pinned array.
    pub fn open(path: &Path) -> Result<Self> {
        let map = MapData::from_pin(path).with_context(|| format!("cannot open {}", path.display()))?;
        let info = map.info()?;
        if info.value_size() as usize != size_of::<T>() {
            bail!(
                "the loaded program's {} has elements of {} bytes, this lb-ctl expects {}: lb-ctl unload, then load",
                path.display(),
                info.value_size(),
                size_of::<T>()
            );
        }
        let name = path.display().to_string();
        Ok(Self { map, name, length: info.max_entries(), memory: OnceCell::new(), _element: PhantomData })
    }

    /// Number of elements.
    pub fn len(&self) -> u32 {
        self.length
    }

    /// A copy of an element. Fields that the packet path changes may be of different moments.
    ///
    /// Panics, as a slice would, when `index` is not below [`Self::len`].
    pub fn get(&self, index: u32) -> T {
        // SAFETY: `pointer` is to a live element, aligned to 8; any bytes are a T.
        unsafe { self.pointer(index).read_volatile() }
    }

    /// Overwrites an element.
    pub fn set(&mut self, index: u32, value: T) {
        // SAFETY: as above.
        unsafe { self.pointer(index).write_volatile(value) }
    }

    /// Where an element lies, for atomic access to its fields.
    pub fn pointer(&self, index: u32) -> *mut T {
        assert!(index < self.length, "{}[{index}] of {}", self.name, self.length);
        let memory = self.memory.get_or_init(|| self.map_memory());
        // SAFETY: the mapping covers `length` elements of this stride.
        unsafe { memory.as_mut_ptr().add(index as usize * Self::STRIDE).cast() }
    }

    fn map_memory(&self) -> MmapRaw {
        MmapOptions::new()
            .len(self.length as usize * Self::STRIDE)
            .map_raw(self.map.fd().as_fd().as_raw_fd())
            .unwrap_or_else(|error| panic!("cannot map {}: {error}", self.name))
    }
}
