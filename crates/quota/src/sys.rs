//! The three system calls for which neither std nor rustix has a safe function.
#![expect(unsafe_code, reason = "no crate has safe functions for these calls")]

use std::ffi::c_int;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd as _};

use rustix::ioctl::{Getter, Opcode, Setter, ioctl, opcode};

/// `struct fsxattr` of linux/fs.h.
#[repr(C)]
#[derive(Clone, Copy)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_on_write_extent_size: u32,
    padding: [u8; 8],
}

const GET: Opcode = opcode::read::<Attributes>(b'X', 31);
const SET: Opcode = opcode::write::<Attributes>(b'X', 32);

/// What is made in the directory belongs to its project (`FS_XFLAG_PROJINHERIT`).
const INHERIT: u32 = 0x200;

/// `struct fs_quota_statv` of linux/dqblk_xfs.h; of what it tells only `flags` is of interest.
#[repr(C)]
struct Status {
    version: i8,
    padding: u8,
    flags: u16,
    rest: [u64; 20],
}

/// `struct if_dqblk` of linux/quota.h.
#[repr(C)]
#[derive(Default)]
struct Quota {
    hard_blocks: u64,
    soft_blocks: u64,
    used_bytes: u64,
    hard_files: u64,
    soft_files: u64,
    used_files: u64,
    blocks_time: u64,
    files_time: u64,
    valid: u32,
}

const GET_QUOTA: c_int = 0x0080_0007;
const SET_QUOTA: c_int = 0x0080_0008;
const GET_STATUS: c_int = (b'X' as c_int) << 8 | 8;
const PROJECTS: c_int = 2;
/// Of a quota that is set, only the limits on blocks count (`QIF_BLIMITS`).
const BLOCK_LIMITS: u32 = 1;
/// Quotas of projects are enforced (`FS_QUOTA_PDQ_ENFD`).
const ENFORCED: u16 = 1 << 5;

fn attributes(file: impl AsFd) -> io::Result<Attributes> {
    // SAFETY: FS_IOC_FSGETXATTR writes one `struct fsxattr`, which `Attributes` is, field by field; every bit pattern of
    // it is valid.
    let found = unsafe { ioctl(file, Getter::<GET, Attributes>::new()) };
    Ok(found?)
}

pub(super) fn project(file: impl AsFd) -> io::Result<u32> {
    Ok(attributes(file)?.project)
}

pub(super) fn set_project(file: impl AsFd, project: u32, inherit: bool) -> io::Result<()> {
    let file = file.as_fd();
    let mut wanted = attributes(file)?;
    wanted.project = project;
    if inherit {
        wanted.flags |= INHERIT;
    }
    // SAFETY: FS_IOC_FSSETXATTR reads one `struct fsxattr`, which `Attributes` is, field by field.
    let set = unsafe { ioctl(file, Setter::<SET, Attributes>::new(wanted)) };
    Ok(set?)
}

pub(super) fn enforces_projects(file: impl AsFd) -> io::Result<bool> {
    let mut status = Status { version: 1, padding: 0, flags: 0, rest: [0; 20] };
    // SAFETY: Q_XGETQSTATV writes one `struct fs_quota_statv`, for which `Status` has the room.
    unsafe { quotactl(file, GET_STATUS, 0, &mut status) }?;
    Ok(status.flags & ENFORCED != 0)
}

/// The bytes that a project takes, and the blocks that it may take.
pub(super) fn quota(file: impl AsFd, project: u32) -> io::Result<(u64, u64)> {
    let mut quota = Quota::default();
    // SAFETY: Q_GETQUOTA writes one `struct if_dqblk`, which `Quota` is, field by field.
    unsafe { quotactl(file, GET_QUOTA, project, &mut quota) }?;
    Ok((quota.used_bytes, quota.hard_blocks))
}

pub(super) fn set_quota(file: impl AsFd, project: u32, blocks: u64) -> io::Result<()> {
    let mut quota = Quota { hard_blocks: blocks, valid: BLOCK_LIMITS, ..Quota::default() };
    // SAFETY: Q_SETQUOTA reads one `struct if_dqblk`, which `Quota` is, field by field.
    unsafe { quotactl(file, SET_QUOTA, project, &mut quota) }
}

/// The system call `quotactl_fd`, of which glibc has no function.
///
/// # Safety
///
/// `argument` is what the kernel reads or writes for this command, and not smaller.
unsafe fn quotactl<T>(file: impl AsFd, command: c_int, id: u32, argument: &mut T) -> io::Result<()> {
    const { assert!(size_of::<Quota>() == 72 && size_of::<Status>() >= 160 && size_of::<Attributes>() == 28) };
    let command = command << 8 | PROJECTS;
    let file = file.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open for the length of the call; of the argument the caller promises.
    let done =
        unsafe { libc::syscall(libc::SYS_quotactl_fd, file, command, id, std::ptr::from_mut(argument)) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
