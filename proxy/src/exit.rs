//! Exit codes (BSD's sysexits.h, docs/exit-codes.md), and the error that carries one to `main`.

use std::fmt;

/// How a process ends that could not do what it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// `check` or `doctor` found problems.
    Found = 1,
    /// `doctor` cannot tell; or the command line is wrong.
    CannotTell = 2,
    /// Something it needs is not there: a port in use, a name that has no address.
    Unavailable = 69,
    /// The system refused a thread, memory, a descriptor.
    System = 71,
    /// A file could not be read or written.
    Io = 74,
    /// Not permitted.
    Permission = 77,
    /// The configuration is wrong, or the kernel's settings are unsafe.
    Config = 78,
}

/// Why the process ends; printed as it is.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// One line for each thing that is wrong.
    pub message: String,
}

impl Failure {
    /// With one of our own codes.
    pub fn new(code: Code, message: impl fmt::Display) -> Self {
        Self {
            code: code as u8,
            message: message.to_string(),
        }
    }

    /// With the code that the error itself knows.
    pub fn coded(code: u8, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }
}
