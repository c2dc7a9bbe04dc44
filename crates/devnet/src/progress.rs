//! How long-lasting work tells a person what it is doing.

/// Receives one line each time a step of the work begins.
pub trait Progress: Send + Sync {
    /// A step begins; `text` is a short phrase for people, without a full stop.
    fn step(&self, text: &str);
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _text: &str) {}
}

impl<F: Fn(&str) + Send + Sync> Progress for F {
    fn step(&self, text: &str) {
        self(text);
    }
}
