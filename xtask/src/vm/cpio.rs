//! An initial RAM disk: a cpio archive in the `newc` format, which the kernel unpacks by itself
//! (`Documentation/driver-api/early-userspace/buffer-format.rst`). Everything in it belongs to root.

use std::{
    fs,
    io::{Result, Write},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;

pub struct Archive<W> {
    out: W,
    inode: u32,
}

impl<W: Write> Archive<W> {
    pub fn new(out: W) -> Self {
        Self { out, inode: 0 }
    }

    /// All that is below a directory of the host.
    pub fn tree(&mut self, root: &Path, below: &Path) -> Result<()> {
        let mut entries = fs::read_dir(root.join(below))?.collect::<Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = below.join(entry.file_name());
            let metadata = entry.metadata()?;
            let content = match metadata.file_type() {
                kind if kind.is_symlink() => fs::read_link(entry.path())?.as_os_str().as_bytes().to_vec(),
                kind if kind.is_file() => fs::read(entry.path())?,
                _ => Vec::new(),
            };
            self.entry(name.as_os_str().as_bytes(), metadata.mode(), &content)?;
            if metadata.is_dir() {
                self.tree(root, &name)?;
            }
        }
        Ok(())
    }

    pub fn directory(&mut self, name: &str) -> Result<()> {
        self.entry(name.as_bytes(), DIRECTORY, &[])
    }

    pub fn executable(&mut self, name: &str, content: &[u8]) -> Result<()> {
        self.entry(name.as_bytes(), EXECUTABLE, content)
    }

    pub fn finish(mut self) -> Result<()> {
        self.entry(b"TRAILER!!!", 0, &[])?;
        self.out.flush()
    }

    fn entry(&mut self, name: &[u8], mode: u32, content: &[u8]) -> Result<()> {
        self.inode += 1;
        let (size, length) = (content.len(), name.len() + 1);
        // Magic, inode, mode, owner, group, links, time, size, four device numbers, name's length, sum.
        write!(
            self.out,
            "070701{:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{size:08x}{:08x}{:08x}{:08x}{:08x}{length:08x}{:08x}",
            self.inode, 0, 0, 1, 0, 0, 0, 0, 0, 0
        )?;
        self.out.write_all(name)?;
        // The header is 110 bytes long; name and content end at multiples of four.
        self.out.write_all(&[0; 4][..1 + padding(110 + length)])?;
        self.out.write_all(content)?;
        self.out.write_all(&[0; 4][..padding(size)])
    }
}

fn padding(length: usize) -> usize {
    length.wrapping_neg() % 4
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn names_and_contents_end_at_multiples_of_four() -> std::io::Result<()> {
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes);
        archive.executable("init", b"hello")?;
        archive.finish()?;
        assert_eq!(&bytes[110..115], b"init\0");
        assert_eq!(&bytes[116..121], b"hello");
        assert_eq!(&bytes[124..130], b"070701");
        assert_eq!(bytes.len() % 4, 0);
        Ok(())
    }
}
