//! What the gateway tells a connector about the operation at hand.

/// The operation that a call belongs to, and the tenant's settings.
#[derive(Debug, Clone)]
pub struct Context<S> {
    /// Stable over all attempts of one operation: the idempotency key where the vendor has one.
    pub operation_id: String,
    /// 1 on the first attempt.
    pub attempt: u32,
    /// Milliseconds left for the whole operation when the call started.
    pub deadline_ms: u32,
    /// The tenant's settings. Never a secret.
    pub settings: S,
}
