//! The time stamp counter: the only clock that is read without the kernel, whatever its clock source is.
#![allow(unsafe_code)]

/// Ticks of the counter.
#[inline]
pub fn read() -> u64 {
    // SAFETY: RDTSC is part of every x86-64 processor, and nobody here asks the kernel to trap it (PR_SET_TSC); it reads a
    // counter and changes nothing but its result.
    unsafe { core::arch::x86_64::_rdtsc() }
}
