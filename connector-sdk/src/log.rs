//! Lines for the operator, written under the tenant's and the connector's name.
//!
//! The gateway caps the number of lines of one operation and their length, and writes each on one
//! line. Never log personal data that the administrator does not need. Natively the lines go to
//! standard error.

/// How much a line matters.
#[derive(Debug, Clone, Copy)]
enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// Detail for the author of the connector.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Something that the operator may want to know.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Something odd that the connector could deal with.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Something that the operator should look into.
pub fn error(message: &str) {
    write(Level::Error, message);
}

#[cfg(target_arch = "wasm32")]
fn write(level: Level, message: &str) {
    use crate::guest::bindings::scimgw::connector::log;
    let level = match level {
        Level::Debug => log::Level::Debug,
        Level::Info => log::Level::Info,
        Level::Warn => log::Level::Warn,
        Level::Error => log::Level::Error,
    };
    log::write(level, message);
}

#[cfg(not(target_arch = "wasm32"))]
fn write(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}
