//! TCP ports that stay a node's own over its restarts.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;

use crate::error::DevnetError;

/// Below the range from which systems choose the ports of outgoing connections, so that none of
/// those takes a node's port while the node is down.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// A port of 127.0.0.1 that no other process of this crate takes while this lives: it holds the
/// lock of a file named after the port, which the system releases when the process ends.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Takes a port on which nothing listens.
    ///
    /// # Errors
    /// [`DevnetError::File`] when the folder of the locks cannot be used, [`DevnetError::Listen`]
    /// when all ports are taken.
    pub(crate) fn take() -> Result<Self, DevnetError> {
        let folder = folder();
        std::fs::create_dir_all(&folder).map_err(DevnetError::file("create", &folder))?;
        // Processes that start at once begin at different places.
        let count = PORTS.end - PORTS.start;
        let first = u16::try_from(std::process::id() % u32::from(count)).unwrap_or(0);
        for step in 0..count {
            let number = PORTS.start + first.wrapping_add(step) % count;
            let path = folder.join(format!("{number}.lock"));
            let Ok(lock) = File::options().create(true).append(true).open(&path) else {
                continue;
            };
            if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Ok(Self { number, _lock: lock });
            }
        }
        let all = format!("every port from {} to {} is taken", PORTS.start, PORTS.end);
        Err(DevnetError::Listen(std::io::Error::other(all)))
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

fn folder() -> PathBuf {
    // Another user's files could not be locked.
    let user = rustix::process::getuid().as_raw();
    std::env::temp_dir().join(format!("postrider-ports-{user}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_taken_once_until_it_is_given_back() {
        let ports: Vec<Port> = (0..20).map(|_| Port::take().unwrap()).collect();
        let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 20);
        assert!(numbers.iter().all(|number| PORTS.contains(number)));
    }
}
