//! Compares the configuration with what the networks say.
