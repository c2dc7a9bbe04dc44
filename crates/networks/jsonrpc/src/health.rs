//! What is remembered of an upstream's health: failures, quarantine, speed.

use crate::UpstreamError;
use postrider_message::Height;
use std::time::{Duration, Instant};

/// How long an upstream that failed is left alone: doubled with each failure, to this at most.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// How long an upstream that contradicted the quorum is not listened to.
pub const QUARANTINE: Duration = Duration::from_secs(60);

/// What is remembered of one upstream: who asks it notes how each question went.
#[derive(Debug, Default)]
pub struct Health {
    failures: u32,
    rest_until: Option<Instant>,
    quarantined_until: Option<Instant>,
    last_error: Option<UpstreamError>,
    height: Option<Height>,
    /// Smoothed time of an answer.
    latency: Duration,
    requests: u64,
    errors: u64,
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
    /// How often it was asked since the start; many questions at once count as one.
    pub requests: u64,
    /// How often it did not answer, or not as it must.
    pub errors: u64,
}

impl Health {
    /// What is remembered, for people.
    pub fn report(&self) -> HealthReport {
        HealthReport {
            height: self.height,
            latency: self.latency,
            quarantined: self.quarantined_until.is_some_and(|t| t > Instant::now()),
            failures: self.failures,
            last_error: self.last_error.as_ref().map(ToString::to_string),
            requests: self.requests,
            errors: self.errors,
        }
    }

    /// Whether it may be asked now: it neither rests nor is in quarantine.
    pub fn is_usable(&self) -> bool {
        let now = Instant::now();
        self.rest_until.is_none_or(|t| t <= now) && self.quarantined_until.is_none_or(|t| t <= now)
    }

    /// It contradicted the quorum: it is not listened to for [`QUARANTINE`]. Whether that is news.
    pub fn quarantine(&mut self) -> bool {
        let now = Instant::now();
        let fresh = self.quarantined_until.is_none_or(|t| t <= now);
        self.quarantined_until = Some(now + QUARANTINE);
        fresh
    }

    /// Who is to be asked first: the least of these.
    pub fn preference(&self) -> (u32, Duration) {
        (self.failures, self.latency)
    }

    /// It told of a block at this height.
    pub fn reached(&mut self, height: Height) {
        self.height = Some(height);
    }

    /// A question that took so long ended like this. An answer, if only a refusal, shows that it
    /// lives; anything else lets it rest.
    pub fn note<T>(&mut self, elapsed: Duration, result: &Result<T, UpstreamError>) {
        self.requests = self.requests.saturating_add(1);
        match result {
            Ok(_) | Err(UpstreamError::Missing(_) | UpstreamError::Refused { .. }) => {
                self.failures = 0;
                self.rest_until = None;
                self.latency = (self.latency * 7 + elapsed) / 8;
            }
            Err(error) => {
                self.errors = self.errors.saturating_add(1);
                self.failures = self.failures.saturating_add(1);
                let wait = Duration::from_millis(250) * 2u32.pow(self.failures.min(8) - 1);
                self.rest_until = Some(Instant::now() + wait.min(LONGEST_REST));
                self.last_error = Some(error.clone());
            }
        }
    }
}
