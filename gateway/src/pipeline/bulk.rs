//! `POST /Bulk`: several operations in one request (RFC 7644 section 3.7). Each runs through the same
//! corridor as a request of its own; the order, references and failOnErrors are `scim`'s.

use serde_json::Value;

use crate::scim::{self, BulkAnswer, BulkCall, BulkMethod, Projection, ScimError};

use super::answer::Failure;
use super::{Admitted, Method, Pipeline, Request, Response, Task, Verb};

impl Pipeline {
    /// Runs the operations and reports on each, in the order in which the client listed them.
    pub(super) async fn bulk(
        &self,
        admitted: &Admitted<'_>,
        document: Value,
    ) -> Result<Response, Failure> {
        let mut job = scim::parse_bulk(document, &self.limits)?;
        let mut number = 0;
        while let Some(call) = job.next_call() {
            number += 1;
            let request = Request {
                id: format!("{}/{number}", admitted.request.id),
                ..part(admitted.request, &call)
            };
            let operation = Admitted {
                request: &request,
                ..*admitted
            };
            let answer = self
                .operation(&operation, call.data.unwrap_or_default())
                .await
                .unwrap_or_else(Response::from);
            job.answered(told(answer));
        }
        let base_url = &admitted.admission.tenant().scim_url;
        Ok(Response::new(200, Some(job.into_response(base_url))))
    }

    /// One operation: a write, and nothing else.
    async fn operation(
        &self,
        admitted: &Admitted<'_>,
        document: Value,
    ) -> Result<Response, Failure> {
        match self.route(admitted)? {
            Task::Write(aim, _) => {
                // Of what is made or replaced, the answer needs the id and the version alone.
                let shown = match aim.verb {
                    Verb::Create | Verb::Replace(_) => Projection::Only(Vec::new()),
                    Verb::Patch(_) | Verb::Delete(_) => Projection::default(),
                };
                Box::pin(self.write(admitted, aim, document, &shown)).await
            }
            _ => Err(ScimError::invalid_syntax(
                "a bulk operation's path must be that of a resource type or of a resource",
            )
            .into()),
        }
    }
}

/// The request that an operation stands for.
fn part(bulk: &Request, call: &BulkCall) -> Request {
    let mut path = vec![call.endpoint.clone()];
    path.extend(call.id.clone());
    Request {
        method: match call.method {
            BulkMethod::Post => Method::Post,
            BulkMethod::Put => Method::Put,
            BulkMethod::Patch => Method::Patch,
            BulkMethod::Delete => Method::Delete,
        },
        path,
        query: String::new(),
        if_match: call.version.clone(),
        if_none_match: None,
        ..bulk.clone()
    }
}

/// What the bulk answer says of an operation.
fn told(response: Response) -> BulkAnswer {
    let created = response.body.as_ref().filter(|_| response.status == 201);
    let id = created.and_then(|body| body.get("id")?.as_str().map(str::to_owned));
    BulkAnswer {
        status: response.status,
        id,
        version: response.etag,
        error: response.body.filter(|_| response.status >= 400),
    }
}
