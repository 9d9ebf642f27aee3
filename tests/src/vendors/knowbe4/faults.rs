//! How a request to the simulated KnowBe4 can fail.
//!
//! Absent: when it does; the plan of faults is every vendor's.

/// What the client sees in place of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status with a short text as its body; 429 looks like the rate limit's own.
    Status(u16),
    /// 200, `application/json`, and a body that breaks off.
    Junk,
    /// 200 with an HTML page, as from a proxy or a sign-in page.
    Html,
    /// 200 with a top-level GraphQL error of this message and null as `data`.
    TopLevelError(String),
    /// No answer while the simulator runs.
    Hang,
    /// The connection closes without a whole answer.
    Drop,
}
