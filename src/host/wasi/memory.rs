//! The guest's linear memory as host calls see it.
//!
//! Other guest threads may write any byte at any moment, so no Rust reference to guest bytes is ever
//! made: small values are copied with volatile accesses, runs of bytes by `memcpy` through raw
//! pointers, and buffers of system calls are handed to the kernel as they are.

use super::errno::Errno;

/// Guest linear memory 0, checked against its accessible length.
///
/// Addresses and lengths are in bytes. Every access that does not fit gives `fault`. The functions of
/// preview 1 also want what the witx text calls a pointer aligned to what it points to, and give `inval`
/// otherwise, as Wasmtime does; the accesses here do not.
#[derive(Clone, Copy, Debug)]
pub struct GuestMemory {
    base: *mut u8,
    len: u64,
}

/// Reads and writes of one integer type.
macro_rules! integers {
    ($($read:ident $write:ident $ty:ty;)*) => {$(
        /// Reads a little-endian integer.
        pub fn $read(&self, addr: u64) -> Result<$ty, Errno> {
            Ok(<$ty>::from_le_bytes(self.read_array(addr)?))
        }

        /// Writes a little-endian integer.
        pub fn $write(&self, addr: u64, value: $ty) -> Result<(), Errno> {
            self.write_array(addr, value.to_le_bytes())
        }
    )*};
}

impl GuestMemory {
    /// A view of `len` bytes from `base`.
    ///
    /// # Safety
    /// All of the range must stay mapped, readable and writable for as long as the value and copies of
    /// it are used. Rust references into the range must not exist meanwhile.
    pub unsafe fn new(base: *mut u8, len: u64) -> Self {
        GuestMemory { base, len }
    }

    /// Bytes that are accessible.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn range(&self, addr: u64, len: u64) -> Result<*mut u8, Errno> {
        match addr.checked_add(len) {
            // In bounds of a mapping that starts at `base`, so the offset fits in a pointer.
            Some(end) if end <= self.len => Ok(self.base.wrapping_add(addr as usize)),
            _ => Err(Errno::Fault),
        }
    }

    integers! {
        read_u8 write_u8 u8;
        read_u16 write_u16 u16;
        read_u32 write_u32 u32;
        read_u64 write_u64 u64;
    }

    /// Reads `N` bytes, each once.
    pub fn read_array<const N: usize>(&self, addr: u64) -> Result<[u8; N], Errno> {
        let from = self.range(addr, N as u64)?.cast::<[u8; N]>();
        // SAFETY: `range` has checked that the bytes are inside the mapping that `new` promises; an
        // array of bytes has no alignment. The access is volatile, since other threads may write.
        Ok(unsafe { from.read_volatile() })
    }

    /// Writes `N` bytes, each once.
    pub fn write_array<const N: usize>(&self, addr: u64, bytes: [u8; N]) -> Result<(), Errno> {
        let to = self.range(addr, N as u64)?.cast::<[u8; N]>();
        // SAFETY: as in `read_array`.
        unsafe { to.write_volatile(bytes) };
        Ok(())
    }

    /// Checks an array of records of the guest, before anything is done with it: `inval` if it is not
    /// aligned to `align` bytes, `fault` if it leaves the memory. An empty array may lie anywhere.
    pub(super) fn array(&self, addr: u64, count: u64, layout: Layout) -> Result<(), Errno> {
        if count == 0 {
            return Ok(());
        }
        if !addr.is_multiple_of(layout.align) {
            return Err(Errno::Inval);
        }
        self.range(addr, count.checked_mul(layout.size).ok_or(Errno::Fault)?).map(drop)
    }

    /// A place for a result of `N` bytes, checked as an [`array`](Self::array) of one.
    pub(super) fn place<const N: usize>(&self, addr: u64, align: u64) -> Result<Place<N>, Errno> {
        self.array(addr, 1, Layout { size: N as u64, align })?;
        Ok(Place { memory: *self, addr })
    }

    /// Copies bytes out. The range is checked before anything is allocated.
    pub fn read_bytes(&self, addr: u64, len: u64) -> Result<Vec<u8>, Errno> {
        let (from, len) = self.slice_for_syscall(addr, len)?;
        let mut bytes = Vec::with_capacity(len);
        // SAFETY: the source is inside the mapping, the destination is a fresh allocation of `len`
        // bytes, and `memcpy` has set all of them when it returns.
        unsafe {
            libc::memcpy(bytes.as_mut_ptr() as *mut _, from as *const _, len);
            bytes.set_len(len);
        }
        Ok(bytes)
    }

    /// Copies bytes in.
    pub fn write_bytes(&self, addr: u64, bytes: &[u8]) -> Result<(), Errno> {
        let to = self.range(addr, bytes.len() as u64)?;
        // SAFETY: the destination is inside the mapping; `bytes` is Rust's own memory, which by the
        // contract of `new` is not part of it.
        unsafe { libc::memcpy(to as *mut _, bytes.as_ptr() as *const _, bytes.len()) };
        Ok(())
    }

    /// The host address and length of a range, for the kernel to read or fill. Never make a reference
    /// of it.
    pub fn slice_for_syscall(&self, addr: u64, len: u64) -> Result<(*mut u8, usize), Errno> {
        Ok((self.range(addr, len)?, len as usize))
    }
}

/// Size and alignment of a witx record in bytes.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub size: u64,
    pub align: u64,
}

/// Where a result goes. Calls ask for it before they do anything, so that one whose result cannot be
/// delivered has no effect; since memories do not shrink, the result is delivered then.
pub(super) struct Place<const N: usize> {
    memory: GuestMemory,
    addr: u64,
}

impl<const N: usize> Place<N> {
    /// Writes the result.
    pub(super) fn put(&self, bytes: [u8; N]) -> Result<(), Errno> {
        self.memory.write_array(self.addr, bytes)
    }
}

/// Witx `iovec` and `ciovec`.
const IOVEC: Layout = Layout { size: 8, align: 4 };
/// The most entries of an iovec array, as Linux has it (`IOV_MAX`).
const IOV_MAX: u32 = 1024;
/// Arrays up to this length need no allocation.
const INLINE: usize = 8;

/// A guest's scatter/gather list (witx `iovec_array`, `ciovec_array`), checked and with host addresses.
pub(super) struct IoVecs {
    inline: [libc::iovec; INLINE],
    heap: Vec<libc::iovec>,
    len: usize,
}

impl IoVecs {
    /// Reads `count` entries at `addr`, each once; `inval` past `IOV_MAX` or if the array is not aligned,
    /// `fault` if the array or any buffer leaves the memory. What other threads make of the array
    /// afterwards has no effect.
    pub(super) fn read(memory: GuestMemory, addr: u64, count: u32) -> Result<IoVecs, Errno> {
        if count > IOV_MAX {
            return Err(Errno::Inval);
        }
        memory.array(addr, count.into(), IOVEC)?;
        let none = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let len = count as usize;
        let heap = if len > INLINE { vec![none; len] } else { Vec::new() };
        let mut vecs = IoVecs { inline: [none; INLINE], heap, len };
        let slots = if len > INLINE { &mut vecs.heap[..] } else { &mut vecs.inline[..len] };
        for (slot, at) in slots.iter_mut().zip((addr..).step_by(8)) {
            let entry: [u8; 8] = memory.read_array(at)?;
            let (ptr, len) = (super::types::field(&entry, 0), super::types::field(&entry, 4));
            let (ptr, len) = (u32::from_le_bytes(ptr), u32::from_le_bytes(len));
            // POSIX lets an empty buffer point anywhere.
            if len != 0 {
                let (base, len) = memory.slice_for_syscall(ptr.into(), len.into())?;
                *slot = libc::iovec { iov_base: base.cast(), iov_len: len };
            }
        }
        Ok(vecs)
    }

    /// The entries.
    pub(super) fn as_slice(&self) -> &[libc::iovec] {
        if self.len > INLINE { &self.heap } else { &self.inline[..self.len] }
    }

    /// The bytes of all buffers, at most `limit` of them, copied out in order.
    pub(super) fn gather(&self, limit: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = Vec::with_capacity(self.total(limit));
        for vec in self.as_slice() {
            let n = vec.iov_len.min(limit - bytes.len());
            // SAFETY: `read` has checked the buffer against the memory; `n` bytes fit in the capacity,
            // since `total` adds up the same lengths under the same limit. Empty entries copy nothing.
            unsafe {
                let to = bytes.as_mut_ptr().add(bytes.len());
                if n != 0 {
                    libc::memcpy(to.cast(), vec.iov_base, n);
                }
                bytes.set_len(bytes.len() + n);
            }
        }
        bytes
    }

    /// Copies `bytes` into the buffers in order, as far as they reach.
    pub(super) fn scatter(&self, mut bytes: &[u8]) {
        for vec in self.as_slice() {
            let n = vec.iov_len.min(bytes.len());
            if n != 0 {
                // SAFETY: `read` has checked the buffer against the memory, and `n` is within both.
                unsafe { libc::memcpy(vec.iov_base, bytes.as_ptr().cast(), n) };
            }
            bytes = &bytes[n..];
        }
    }

    /// What remains of the buffers after the first `filled` bytes.
    pub(super) fn after(&self, mut filled: usize) -> Vec<libc::iovec> {
        let mut rest = Vec::new();
        for vec in self.as_slice() {
            let skipped = filled.min(vec.iov_len);
            filled -= skipped;
            if skipped < vec.iov_len {
                let iov_base = vec.iov_base.wrapping_byte_add(skipped);
                rest.push(libc::iovec { iov_base, iov_len: vec.iov_len - skipped });
            }
        }
        rest
    }

    /// The length of all buffers in bytes, or `limit` if that is less.
    pub(super) fn total(&self, limit: usize) -> usize {
        self.as_slice().iter().fold(0usize, |sum, vec| sum.saturating_add(vec.iov_len)).min(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(len: usize) -> GuestMemory {
        let bytes = Box::leak(vec![0u8; len].into_boxed_slice());
        // SAFETY: leaked, and reached through this value alone.
        unsafe { GuestMemory::new(bytes.as_mut_ptr(), len as u64) }
    }

    #[test]
    fn accesses_are_checked_without_overflow() {
        let memory = memory(64);
        assert_eq!(memory.write_u64(56, 7), Ok(()));
        assert_eq!(memory.read_u64(56), Ok(7));
        assert_eq!(memory.read_u64(57), Err(Errno::Fault));
        assert_eq!(memory.read_u32(u64::MAX - 1), Err(Errno::Fault));
        assert_eq!(memory.read_bytes(8, u64::MAX), Err(Errno::Fault));
        assert_eq!(memory.read_bytes(64, 0), Ok(vec![]));
        assert_eq!(memory.read_bytes(65, 0), Err(Errno::Fault));
        assert_eq!(memory.write_bytes(60, &[0; 5]), Err(Errno::Fault));
        assert_eq!(memory.write_u32(1, 0x0403_0201), Ok(()));
        assert_eq!(memory.read_bytes(1, 4), Ok(vec![1, 2, 3, 4]));
    }

    #[test]
    fn records_are_checked_for_alignment_and_range() {
        let memory = memory(64);
        let eight = Layout { size: 8, align: 8 };
        assert_eq!(memory.array(0, 8, eight), Ok(()));
        assert_eq!(memory.array(0, 9, eight), Err(Errno::Fault));
        assert_eq!(memory.array(4, 1, eight), Err(Errno::Inval));
        assert_eq!(memory.array(8, u64::MAX / 2, eight), Err(Errno::Fault));
        assert_eq!(memory.array(u64::MAX, 0, eight), Ok(()));
        assert_eq!(memory.place::<4>(60, 4).map(drop), Ok(()));
        assert_eq!(memory.place::<4>(62, 4).err(), Some(Errno::Inval));
        assert_eq!(memory.place::<4>(64, 4).err(), Some(Errno::Fault));
        memory.place(56, 8).and_then(|place| place.put(7u64.to_le_bytes())).unwrap();
        assert_eq!(memory.read_u64(56), Ok(7));
    }

    #[test]
    fn iovec_arrays_are_bounded_and_checked() {
        let memory = memory(16 * 1024);
        assert_eq!(IoVecs::read(memory, 0, 1025).err(), Some(Errno::Inval));
        assert_eq!(IoVecs::read(memory, 0, u32::MAX).err(), Some(Errno::Inval));
        assert_eq!(IoVecs::read(memory, 16 * 1024 - 8, 2).err(), Some(Errno::Fault));
        assert_eq!(IoVecs::read(memory, 2, 1).err(), Some(Errno::Inval));
        assert!(IoVecs::read(memory, 2, 0).is_ok());
        assert_eq!(IoVecs::read(memory, 0, 1024).map(|v| v.as_slice().len()), Ok(1024));
        // An empty buffer may point anywhere, a full one may not.
        memory.write_u32(0, u32::MAX).unwrap();
        assert!(IoVecs::read(memory, 0, 1).is_ok());
        memory.write_u32(4, 1).unwrap();
        assert_eq!(IoVecs::read(memory, 0, 1).err(), Some(Errno::Fault));
    }

    #[test]
    fn gather_and_scatter_keep_order_and_limit() {
        let memory = memory(4096);
        memory.write_bytes(1000, b"abcdef").unwrap();
        for (i, (ptr, len)) in [(1000, 2), (7, 0), (1002, 4)].into_iter().enumerate() {
            memory.write_u32(i as u64 * 8, ptr).unwrap();
            memory.write_u32(i as u64 * 8 + 4, len).unwrap();
        }
        let vecs = IoVecs::read(memory, 0, 3).unwrap();
        assert_eq!(vecs.gather(100), b"abcdef");
        assert_eq!(vecs.gather(3), b"abc");
        let after =
            |filled| -> Vec<usize> { vecs.after(filled).iter().map(|vec| vec.iov_len).collect() };
        assert_eq!(
            [after(0), after(1), after(2), after(5)],
            [vec![2, 4], vec![1, 4], vec![4], vec![1]]
        );
        assert!(after(6).is_empty());
        vecs.scatter(b"vwxyz");
        assert_eq!(memory.read_bytes(1000, 6).unwrap(), b"vwxyzf");
    }
}
