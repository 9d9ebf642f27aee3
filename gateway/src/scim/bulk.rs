//! Bulk (RFC 7644 section 3.7): many operations in one request, some of which refer to what others
//! create.
//!
//! A [`BulkJob`] is asked for one call after the other and told how each went; whoever carries the
//! calls out needs to know nothing of bulkIds, orders and failOnErrors.
//!
//! Invariant: an operation runs after those that it refers to, and otherwise in its place. Where
//! operations refer to each other in a circle (section 3.7.1), one of them is created without the
//! values that are not there yet and gets them by a PATCH as soon as they are. What is wrong with one
//! operation is that operation's error, never the request's. Absent: what an operation does, and
//! undoing: the RFC wants partial success.

mod operation;
mod reference;

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use self::operation::{Operation, Outcome, take};
use self::reference::{PREFIX, any_reference, references};
use super::error::ScimError;
use super::limits::ScimLimits;
use super::value::{is_urn, member};

/// The URN of a bulk answer (RFC 7644 section 3.7).
const RESPONSE_URN: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";

/// The URN of a PATCH (RFC 7644 section 3.5.2).
const PATCH_URN: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// The methods of bulk operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkMethod {
    /// Create.
    Post,
    /// Replace.
    Put,
    /// Change.
    Patch,
    /// Delete.
    Delete,
}

impl BulkMethod {
    const ALL: [Self; 4] = [Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkCall {
    /// How.
    pub method: BulkMethod,
    /// The first segment of the path: `Users`. It is text of the client.
    pub endpoint: String,
    /// The second segment of the path; none with POST. It is text of the client.
    pub id: Option<String>,
    /// What stands for `If-Match`.
    pub version: Option<String>,
    /// The body; none with DELETE. References in it are resolved.
    pub data: Option<Value>,
}

/// How a call went.
#[derive(Clone, Debug, Default)]
pub struct BulkAnswer {
    /// The HTTP status that the call alone would have had.
    pub status: u16,
    /// The id of what a POST created.
    pub id: Option<String>,
    /// The resource's `ETag` afterwards.
    pub version: Option<String>,
    /// The SCIM error, if it failed.
    pub error: Option<Value>,
}

/// A bulk request under way.
#[derive(Debug)]
pub struct BulkJob {
    operations: Vec<Operation>,
    /// bulkId -> the POST that it names.
    declared: HashMap<String, usize>,
    steps: std::vec::IntoIter<Step>,
    current: Option<Step>,
    /// How many more errors the client puts up with; `None` for any number.
    errors_left: Option<u64>,
}

/// One step of the way through the operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Carry this operation out.
    Run(usize),
    /// Add what this operation's resource could not be given before.
    Complete(usize),
}

/// What a bulkId stands for at this moment.
enum Referred {
    /// A resource.
    Id(String),
    /// Something that is yet to be created.
    NotYet,
    /// Something that was not created, or is not in this request.
    Never(ScimError),
}

/// Reads a bulk request.
///
/// # Errors
/// 400 invalidSyntax if this is no bulk request at all; 413 with more operations than
/// `bulk_operations_max` (RFC 7644 section 3.7.4). A malformed operation is an error of its own.
pub fn parse_bulk(body: Value, limits: &ScimLimits) -> Result<BulkJob, ScimError> {
    let Value::Object(mut body) = body else {
        return Err(ScimError::invalid_syntax("The body is not a JSON object."));
    };
    let errors_left = errors_accepted(member(&body, "failOnErrors"))?;
    let Some(Value::Array(operations)) = take(&mut body, "Operations") else {
        return Err(ScimError::invalid_syntax(
            "Operations must be a list of operations.",
        ));
    };
    let most = limits.bulk_operations_max;
    if operations.len() > most {
        let detail = format!(
            "The request carries {} operations; at most {most} (bulk_operations_max) are allowed. \
             Send them in several requests.",
            operations.len()
        );
        return Err(ScimError::status_with(413, detail));
    }
    let mut operations: Vec<Operation> = operations.into_iter().map(Operation::read).collect();
    let declared = declare(&mut operations);
    let steps = steps(&operations, &declared).into_iter();
    Ok(BulkJob {
        operations,
        declared,
        steps,
        current: None,
        errors_left,
    })
}

/// `failOnErrors`. Zero stops at the first error, as one does: there is nothing between.
fn errors_accepted(value: Option<&Value>) -> Result<Option<u64>, ScimError> {
    let number = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
    };
    match number {
        Some(number) => Ok(Some(number.max(1))),
        None => Err(ScimError::invalid_syntax(
            "failOnErrors must be a whole number, 1 or more.",
        )),
    }
}

/// Which POST each bulkId names. The second use of one is refused, and names nothing.
fn declare(operations: &mut [Operation]) -> HashMap<String, usize> {
    let mut declared = HashMap::new();
    for (at, operation) in operations.iter_mut().enumerate() {
        let (Some(BulkMethod::Post), Some(bulk_id)) = (operation.method, &operation.bulk_id) else {
            continue;
        };
        if declared.contains_key(bulk_id) {
            let detail = "Another operation of this request has the same bulkId.";
            operation.problem = Some(ScimError::invalid_value(detail));
        } else {
            declared.insert(bulk_id.clone(), at);
        }
    }
    declared
}

/// The order: what an operation refers to comes before it, and is drawn forward for that; the rest
/// stays in its place. A reference that closes a circle is left for a later step. The walk keeps its
/// own stack: a chain of references is as long as the client likes.
fn steps(operations: &[Operation], declared: &HashMap<String, usize>) -> Vec<Step> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let needs: Vec<Vec<usize>> = operations
        .iter()
        .map(|operation| needed(operation, declared))
        .collect();
    let mut marks = vec![Mark::New; operations.len()];
    // How many references of an operation wait, and who waits for an operation.
    let mut waits = vec![0_usize; operations.len()];
    let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); operations.len()];
    let mut steps = Vec::with_capacity(operations.len());
    let mut stack: Vec<(usize, usize)> = Vec::new();
    for root in 0..operations.len() {
        if marks[root] == Mark::New {
            marks[root] = Mark::Open;
            stack.push((root, 0));
        }
        while let Some((operation, at)) = stack.last_mut() {
            let operation = *operation;
            if let Some(needed) = needs[operation].get(*at).copied() {
                *at += 1;
                match marks[needed] {
                    Mark::New => {
                        marks[needed] = Mark::Open;
                        stack.push((needed, 0));
                    }
                    Mark::Open => {
                        waits[operation] += 1;
                        waiting[needed].push(operation);
                    }
                    Mark::Done => {}
                }
                continue;
            }
            stack.pop();
            marks[operation] = Mark::Done;
            steps.push(Step::Run(operation));
            for waiter in std::mem::take(&mut waiting[operation]) {
                waits[waiter] -= 1;
                if waits[waiter] == 0 {
                    steps.push(Step::Complete(waiter));
                }
            }
        }
    }
    steps
}

/// The operations that this one refers to, in their order.
fn needed(operation: &Operation, declared: &HashMap<String, usize>) -> Vec<usize> {
    let mut found = BTreeSet::new();
    let mut note = |bulk_id: &str| {
        found.extend(declared.get(bulk_id).copied());
        false
    };
    if let Some(bulk_id) = operation.id_reference() {
        note(bulk_id);
    }
    if let Some(data) = &operation.data {
        any_reference(data, &mut note);
    }
    found.into_iter().collect()
}

impl BulkJob {
    /// The next call; none when all is done, or when more went wrong than the client accepts. Every
    /// call is followed by [`BulkJob::answered`].
    pub fn next_call(&mut self) -> Option<BulkCall> {
        while self.errors_left != Some(0) {
            let step = self.steps.next()?;
            match self.call(step) {
                Ok(Some(call)) => {
                    self.current = Some(step);
                    return Some(call);
                }
                Ok(None) => {}
                Err(error) => self.note(step, BulkAnswer::from(&error)),
            }
        }
        None
    }

    /// Says how the last call went.
    pub fn answered(&mut self, answer: BulkAnswer) {
        if let Some(step) = self.current.take() {
            self.note(step, answer);
        }
    }

    /// The answer (RFC 7644 section 3.7.3): every operation that was processed, in the order of the
    /// request. Locations begin with `base_url`.
    #[must_use]
    pub fn into_response(mut self, base_url: &str) -> Value {
        for operation in &mut self.operations {
            if operation.later.is_some()
                && let Some(outcome) = &mut operation.outcome
            {
                outcome.incomplete("the request was stopped before");
            }
        }
        let operations: Vec<Value> = self
            .operations
            .into_iter()
            .filter_map(|operation| operation.into_outcome(base_url))
            .collect();
        json!({ "schemas": [RESPONSE_URN], "Operations": operations })
    }

    fn call(&mut self, step: Step) -> Result<Option<BulkCall>, ScimError> {
        match step {
            Step::Run(at) => self.run(at),
            Step::Complete(at) => self.complete(at),
        }
    }

    fn run(&mut self, at: usize) -> Result<Option<BulkCall>, ScimError> {
        let Some(operation) = self.operations.get_mut(at) else {
            return Ok(None);
        };
        if let Some(problem) = operation.problem.take() {
            return Err(problem);
        }
        let Some(method) = operation.method else {
            return Ok(None);
        };
        let (mut data, mut later) = (operation.data.take(), None);
        if let Some(bulk_id) = self.operations[at].id_reference().map(str::to_owned) {
            match self.refer(&bulk_id) {
                Referred::Id(id) => self.operations[at].id = Some(id),
                Referred::NotYet => return Err(not_created(&bulk_id)),
                Referred::Never(error) => return Err(error),
            }
        }
        if let (BulkMethod::Post, Some(Value::Object(members))) = (method, &mut data) {
            later = self.split_off(members);
        }
        if let Some(data) = &mut data {
            self.resolve(data)?;
        }
        let operation = &mut self.operations[at];
        operation.later = later.map(Value::Object);
        Ok(Some(BulkCall {
            method,
            endpoint: operation.endpoint.clone(),
            id: operation.id.clone(),
            version: operation.version.take(),
            data,
        }))
    }

    /// The PATCH that closes a circle: an `add` without path, which every attribute understands.
    fn complete(&mut self, at: usize) -> Result<Option<BulkCall>, ScimError> {
        let Some(operation) = self.operations.get_mut(at) else {
            return Ok(None);
        };
        let created = operation.outcome.as_ref();
        let created = created.filter(|outcome| outcome.error.is_none());
        let Some(id) = created.and_then(|outcome| outcome.id.clone()) else {
            operation.later = None;
            return Ok(None);
        };
        let endpoint = operation.endpoint.clone();
        let Some(mut value) = operation.later.take() else {
            return Ok(None);
        };
        self.resolve(&mut value)?;
        Ok(Some(BulkCall {
            method: BulkMethod::Patch,
            endpoint,
            id: Some(id),
            version: None,
            data: Some(json!({
                "schemas": [PATCH_URN],
                "Operations": [{ "op": "add", "value": value }],
            })),
        }))
    }

    fn note(&mut self, step: Step, answer: BulkAnswer) {
        if answer.error.is_some() {
            self.errors_left = self.errors_left.map(|left| left.saturating_sub(1));
        }
        match step {
            Step::Run(at) => {
                let Some(operation) = self.operations.get_mut(at) else {
                    return;
                };
                if answer.error.is_some() {
                    operation.later = None;
                }
                operation.outcome = Some(Outcome {
                    status: answer.status,
                    id: answer.id.or_else(|| operation.id.clone()),
                    version: answer.version,
                    error: answer.error,
                });
            }
            Step::Complete(at) => {
                let outcome = self.operations.get_mut(at);
                let Some(outcome) = outcome.and_then(|operation| operation.outcome.as_mut()) else {
                    return;
                };
                match &answer.error {
                    None => outcome.version = answer.version,
                    Some(error) => {
                        let said = error["detail"].as_str().unwrap_or("it was refused");
                        outcome.incomplete(said);
                    }
                }
            }
        }
    }

    fn refer(&self, bulk_id: &str) -> Referred {
        let Some(at) = self.declared.get(bulk_id) else {
            let detail = format!("{PREFIX}{bulk_id} refers to no POST of this request.");
            return Referred::Never(ScimError::invalid_value(detail));
        };
        let outcome = self.operations.get(*at).map(|other| &other.outcome);
        match outcome {
            Some(None) => Referred::NotYet,
            // A resource whose circle could not be closed exists all the same.
            Some(Some(Outcome { id: Some(id), .. })) => Referred::Id(id.clone()),
            _ => Referred::Never(not_created(bulk_id)),
        }
    }

    /// Whether something in the value refers to what is yet to be created.
    fn waits(&self, value: &Value) -> bool {
        any_reference(value, &mut |bulk_id| {
            matches!(self.refer(bulk_id), Referred::NotYet)
        })
    }

    /// Takes out of a resource what refers to something that is yet to be created: single values of a
    /// list, an extension's attributes, else the attribute.
    fn split_off(&self, members: &mut Map<String, Value>) -> Option<Map<String, Value>> {
        let mut later = Map::new();
        for (name, value) in members.iter_mut() {
            if !self.waits(value) {
                continue;
            }
            let split = match value {
                Value::Array(items) => {
                    let (waiting, ready) = std::mem::take(items)
                        .into_iter()
                        .partition(|item| self.waits(item));
                    *items = ready;
                    Value::Array(waiting)
                }
                Value::Object(attributes) if is_urn(name) => self
                    .split_off(attributes)
                    .map_or(Value::Null, Value::Object),
                whole => whole.take(),
            };
            later.insert(name.clone(), split);
        }
        (!later.is_empty()).then_some(later)
    }

    /// Puts ids in the place of bulkIds.
    fn resolve(&self, value: &mut Value) -> Result<(), ScimError> {
        match value {
            Value::String(text) => {
                if let Some(resolved) = self.resolved(text)? {
                    *text = resolved;
                }
                Ok(())
            }
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.resolve(item)),
            Value::Object(members) => {
                if members.keys().any(|key| key.contains(PREFIX)) {
                    let renamed = std::mem::take(members).into_iter();
                    *members = renamed
                        .map(|(key, value)| Ok((self.resolved(&key)?.unwrap_or(key), value)))
                        .collect::<Result<_, ScimError>>()?;
                }
                members.values_mut().try_for_each(|it| self.resolve(it))
            }
            _ => Ok(()),
        }
    }

    /// The text with ids in the place of bulkIds, if it holds any.
    fn resolved(&self, text: &str) -> Result<Option<String>, ScimError> {
        let mut resolved = String::new();
        let mut copied = 0;
        for found in references(text) {
            match self.refer(found.bulk_id) {
                Referred::Id(id) => {
                    resolved.push_str(&text[copied..found.start]);
                    resolved.push_str(&id);
                    copied = found.start + PREFIX.len() + found.bulk_id.len();
                }
                // Somewhere within a text it need not have been meant as a reference.
                Referred::Never(_)
                    if !found.whole && !self.declared.contains_key(found.bulk_id) => {}
                Referred::Never(error) => return Err(error),
                Referred::NotYet => return Err(not_created(found.bulk_id)),
            }
        }
        if copied == 0 {
            return Ok(None);
        }
        resolved.push_str(&text[copied..]);
        Ok(Some(resolved))
    }
}

/// 409 (RFC 7644 section 3.7.1): what an operation refers to is not there.
fn not_created(bulk_id: &str) -> ScimError {
    ScimError::status_with(
        409,
        format!("The operation with the bulkId {bulk_id}, which this one refers to, failed."),
    )
}

impl From<&ScimError> for BulkAnswer {
    fn from(error: &ScimError) -> Self {
        Self {
            status: error.status,
            error: Some(error.body()),
            ..Self::default()
        }
    }
}
