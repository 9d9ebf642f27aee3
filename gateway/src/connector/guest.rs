//! The host's side of one running connector: what it was lent, and what it has used of it.
//!
//! Invariant: a guest reaches nothing but the two interfaces below, and both are metered. The state
//! lives as long as one call.

use std::sync::Arc;
use std::time::Instant;

use super::contract::{http, log, types};
use super::limits::{ConnectorLimits, MemoryMeter};
use super::verdict::one_line;
use crate::egress::{self, EgressError, Outbound};

/// State of one call.
pub(super) struct Guest {
    pub(super) memory: MemoryMeter,
    pub(super) cpu: CpuMeter,
    pub(super) log: LogBook,
    outbound: Arc<dyn Outbound>,
    requests_left: u32,
    deadline: Instant,
}

impl Guest {
    pub(super) fn new(
        limits: &ConnectorLimits,
        outbound: Arc<dyn Outbound>,
        deadline: Instant,
        log: LogBook,
    ) -> Guest {
        Guest {
            memory: MemoryMeter::new(limits.memory_bytes_max),
            cpu: CpuMeter::new(limits.cpu_ms),
            log,
            outbound,
            requests_left: limits.http_requests_max,
            deadline,
        }
    }
}

/// Counts the epochs in which the guest ran.
pub(super) struct CpuMeter {
    epochs_left: u32,
    has_waited: bool,
}

impl CpuMeter {
    fn new(cpu_ms: u32) -> CpuMeter {
        let epoch_ms = u32::try_from(super::engine::EPOCH.as_millis()).unwrap_or(1);
        CpuMeter {
            epochs_left: cpu_ms.div_ceil(epoch_ms),
            has_waited: false,
        }
    }

    /// Books one epoch that ended; false if the budget is used up. Epochs also end while the guest
    /// waits for the vendor: the one that it notices on its return is not its own.
    pub(super) fn book(&mut self) -> bool {
        if std::mem::take(&mut self.has_waited) {
            return true;
        }
        match self.epochs_left.checked_sub(1) {
            Some(left) => {
                self.epochs_left = left;
                true
            }
            None => false,
        }
    }
}

impl types::Host for Guest {}

impl http::Host for Guest {
    async fn send(&mut self, request: http::Request) -> Result<http::Response, http::HttpError> {
        let Some(left) = self.requests_left.checked_sub(1) else {
            return Err(http::HttpError::BudgetExhausted);
        };
        self.requests_left = left;
        let left = self.deadline.saturating_duration_since(Instant::now());
        let left_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
        let request = egress::Request {
            method: request.method,
            url: request.url,
            headers: request.headers,
            body: request.body,
            timeout_ms: Some(request.timeout_ms.unwrap_or(u32::MAX).min(left_ms)),
        };
        let answer = self.outbound.send(request).await;
        self.cpu.has_waited = true;
        match answer {
            Ok(answer) => Ok(http::Response {
                status: answer.status,
                headers: answer.headers,
                body: answer.body,
            }),
            Err(error) => Err(error.into()),
        }
    }
}

impl From<EgressError> for http::HttpError {
    fn from(error: EgressError) -> http::HttpError {
        match error {
            EgressError::Denied(reason) => http::HttpError::Denied(reason),
            EgressError::Timeout => http::HttpError::Timeout,
            EgressError::TooLarge(bytes_max) => http::HttpError::TooLarge(bytes_max),
            EgressError::Dns(reason) => http::HttpError::Dns(reason),
            EgressError::Connect(reason) => http::HttpError::Connect(reason),
            EgressError::Tls(reason) => http::HttpError::Tls(reason),
            EgressError::Protocol(reason) => http::HttpError::Protocol(reason),
        }
    }
}

impl log::Host for Guest {
    fn write(&mut self, level: log::Level, message: String) {
        self.log.write(level, &message);
    }
}

/// The log lines of one call.
pub(super) struct LogBook {
    tenant: String,
    connector: Arc<str>,
    operation_id: String,
    lines_left: u32,
    line_bytes_max: usize,
    dropped: u32,
    last_error: Option<String>,
}

impl LogBook {
    pub(super) fn new(
        limits: &ConnectorLimits,
        tenant: String,
        connector: Arc<str>,
        operation_id: String,
    ) -> LogBook {
        LogBook {
            tenant,
            connector,
            operation_id,
            lines_left: limits.log_lines_max,
            line_bytes_max: limits.log_line_bytes_max,
            dropped: 0,
            last_error: None,
        }
    }

    fn write(&mut self, level: log::Level, message: &str) {
        let Some(left) = self.lines_left.checked_sub(1) else {
            self.dropped = self.dropped.saturating_add(1);
            return;
        };
        self.lines_left = left;
        let line = one_line(message, self.line_bytes_max);
        // The level of a tracing event is part of its place in the source, hence four of them.
        macro_rules! event {
            ($level:ident) => {
                tracing::event!(
                    tracing::Level::$level,
                    tenant.id = self.tenant,
                    connector.id = &*self.connector,
                    operation.id = self.operation_id,
                    "{line}"
                )
            };
        }
        match level {
            log::Level::Debug => event!(DEBUG),
            log::Level::Info => event!(INFO),
            log::Level::Warn => event!(WARN),
            log::Level::Error => {
                event!(ERROR);
                self.last_error = Some(line);
            }
        }
    }

    /// The last line that the guest wrote as an error: before a trap, the message of its panic.
    pub(super) fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }
}

impl Drop for LogBook {
    fn drop(&mut self) {
        if self.dropped > 0 {
            tracing::warn!(
                tenant.id = self.tenant,
                connector.id = &*self.connector,
                operation.id = self.operation_id,
                "the connector wrote {} log lines more than gateway.limits.connector.log_lines_max; dropped",
                self.dropped
            );
        }
    }
}
