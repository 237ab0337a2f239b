//! How long a thread runs before Linux lets another have its core.
//!
//! Threads that compute keep theirs for long, and the thread of the network gets one at once. By
//! itself Linux gives all the same few milliseconds, and a call that comes while all cores compute
//! waits for the end of a slice. Linux takes wishes from 6.12 on; older ones, and other systems,
//! ignore them.

// System calls.
#![allow(unsafe_code)]

use std::time::Duration;

/// Sets the slice of the calling thread, and of threads that it starts later.
#[cfg(target_os = "linux")]
pub(crate) fn set(slice: Duration) {
    // The first version of Linux's `struct sched_attr`.
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let mut attributes = Attributes::default();
    let size = size_of::<Attributes>() as u32;
    // SAFETY: both calls read or write as many bytes as they are told. If they fail, the thread
    // keeps its slice.
    unsafe {
        if libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) != 0 {
            return;
        }
        attributes.size = size;
        attributes.runtime = slice.as_nanos() as u64;
        libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0);
    }
}

/// Does nothing: the system has no such wishes.
#[cfg(not(target_os = "linux"))]
pub(crate) fn set(_: Duration) {}
