//! What is remembered of an upstream's health: failures, quarantine, speed.

use crate::rpc::UpstreamError;
use postrider_message::Height;
use std::time::{Duration, Instant};

/// How long an upstream that failed is left alone: doubled with each failure, to this at most.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// How long an upstream that contradicted the quorum is not listened to.
pub const QUARANTINE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Health {
    failures: u32,
    rest_until: Option<Instant>,
    quarantined_until: Option<Instant>,
    last_error: Option<UpstreamError>,
    height: Option<Height>,
    /// Smoothed time of an answer.
    latency: Duration,
}

/// An upstream's health, for people.
#[derive(Debug, Clone)]
pub struct HealthReport {
    /// The highest block it told of.
    pub height: Option<Height>,
    /// Smoothed time of an answer.
    pub latency: Duration,
    /// Whether it contradicted the quorum lately.
    pub quarantined: bool,
    /// Failures in a row.
    pub failures: u32,
    /// The last failure's text, without URL or key.
    pub last_error: Option<String>,
}

impl Health {
    pub(crate) fn report(&self) -> HealthReport {
        HealthReport {
            height: self.height,
            latency: self.latency,
            quarantined: self.quarantined_until.is_some_and(|t| t > Instant::now()),
            failures: self.failures,
            last_error: self.last_error.as_ref().map(ToString::to_string),
        }
    }

    pub(crate) fn is_usable(&self) -> bool {
        let now = Instant::now();
        self.rest_until.is_none_or(|t| t <= now) && self.quarantined_until.is_none_or(|t| t <= now)
    }

    pub(crate) fn quarantine(&mut self) -> bool {
        let now = Instant::now();
        let fresh = self.quarantined_until.is_none_or(|t| t <= now);
        self.quarantined_until = Some(now + QUARANTINE);
        fresh
    }

    pub(crate) fn preference(&self) -> (u32, Duration) {
        (self.failures, self.latency)
    }

    pub(crate) fn reached(&mut self, height: Height) {
        self.height = Some(height);
    }

    /// An answer, if only a refusal, shows that it lives; anything else lets it rest.
    pub(crate) fn note<T>(&mut self, elapsed: Duration, result: &Result<T, UpstreamError>) {
        match result {
            Ok(_) | Err(UpstreamError::Missing(_) | UpstreamError::Refused { .. }) => {
                self.failures = 0;
                self.rest_until = None;
                self.latency = (self.latency * 7 + elapsed) / 8;
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let wait = Duration::from_millis(250) * 2u32.pow(self.failures.min(8) - 1);
                self.rest_until = Some(Instant::now() + wait.min(LONGEST_REST));
                self.last_error = Some(error.clone());
            }
        }
    }
}
