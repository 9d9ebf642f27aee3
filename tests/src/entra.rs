//! A provisioning client that speaks as Microsoft Entra ID does: look up by `userName`, create or
//! read and patch, disable with a string boolean, and come again after `Retry-After`. Groups are
//! looked up and read without their members, and change by members that are added and removed (Entra
//! facts 1.5 and 1.7).

use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

/// How often a request is repeated on 429 and 503 before it counts as failed.
const ATTEMPTS: usize = 20;

/// What went wrong, for the person who reads the test's output.
pub type Result<T> = std::result::Result<T, String>;

/// One provisioning job: a tenant URL and a secret token.
#[derive(Clone)]
pub struct Entra {
    client: Client,
    tenant_url: String,
    token: String,
}

/// An answer: status and document.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The SCIM document; null when there is none.
    pub body: Value,
    /// `Retry-After`, seconds.
    pub retry_after_s: Option<u64>,
}

impl Entra {
    /// A job for a tenant.
    pub fn new(tenant_url: &str, token: &str) -> Result<Self> {
        let client = Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            client,
            tenant_url: tenant_url.to_owned(),
            token: token.to_owned(),
        })
    }

    /// The id of the user with this `userName`, if the tenant has one.
    pub async fn look_up(&self, user_name: &str) -> Result<Option<String>> {
        let path = format!("Users?filter=userName+eq+\"{}\"", encode(user_name));
        self.first_id(&path).await
    }

    /// The id of the group with this `displayName`, if the tenant has one.
    pub async fn look_up_group(&self, display_name: &str) -> Result<Option<String>> {
        let name = encode(display_name);
        let path = format!("Groups?excludedAttributes=members&filter=displayName+eq+\"{name}\"");
        self.first_id(&path).await
    }

    async fn first_id(&self, path: &str) -> Result<Option<String>> {
        let answer = self.repeat(Method::GET, path, None, 200).await?;
        let id = answer.body["Resources"][0]["id"].as_str();
        Ok(id.map(str::to_owned))
    }

    /// Creates a user and returns its id.
    pub async fn create(&self, user: &Value) -> Result<String> {
        self.post("Users", user).await
    }

    /// Creates a group and returns its id.
    pub async fn create_group(&self, group: &Value) -> Result<String> {
        self.post("Groups", group).await
    }

    async fn post(&self, endpoint: &str, resource: &Value) -> Result<String> {
        let answer = self.repeat(Method::POST, endpoint, Some(resource), 201);
        let answer = answer.await?;
        let id = answer.body["id"].as_str();
        id.map(str::to_owned)
            .ok_or_else(|| format!("201 without an id: {}", answer.body))
    }

    /// Reads a user.
    pub async fn read(&self, id: &str) -> Result<Value> {
        let path = format!("Users/{id}");
        Ok(self.repeat(Method::GET, &path, None, 200).await?.body)
    }

    /// Reads a group without its members.
    pub async fn read_group(&self, id: &str) -> Result<Value> {
        let path = format!("Groups/{id}?excludedAttributes=members");
        Ok(self.repeat(Method::GET, &path, None, 200).await?.body)
    }

    /// Patches a user with Entra's operations.
    pub async fn patch(&self, id: &str, operations: Value) -> Result<Value> {
        let body = patch_of(operations);
        let path = format!("Users/{id}");
        Ok(self
            .repeat(Method::PATCH, &path, Some(&body), 200)
            .await?
            .body)
    }

    /// Disables a user as Entra does without its compliance flag: a string in place of a boolean.
    pub async fn disable(&self, id: &str) -> Result<Value> {
        let operation = json!([{ "op": "Replace", "path": "active", "value": "False" }]);
        self.patch(id, operation).await
    }

    /// Deletes a user.
    pub async fn delete(&self, id: &str) -> Result<()> {
        let path = format!("Users/{id}");
        self.repeat(Method::DELETE, &path, None, 204)
            .await
            .map(|_| ())
    }

    /// Adds members, in one operation.
    pub async fn add_members(&self, group: &str, members: &[String]) -> Result<()> {
        self.patch_group(group, change_of_members("Add", members))
            .await
    }

    /// Removes members, in one operation: as Entra does without its compliance flag.
    pub async fn remove_members(&self, group: &str, members: &[String]) -> Result<()> {
        self.patch_group(group, change_of_members("Remove", members))
            .await
    }

    /// Gives a group another name.
    pub async fn rename_group(&self, id: &str, display_name: &str) -> Result<()> {
        let operation = json!([{ "op": "Replace", "path": "displayName", "value": display_name }]);
        self.patch_group(id, operation).await
    }

    /// Patches a group with Entra's operations, which are answered without a body.
    pub async fn patch_group(&self, id: &str, operations: Value) -> Result<()> {
        let path = format!("Groups/{id}");
        let body = patch_of(operations);
        self.repeat(Method::PATCH, &path, Some(&body), 204)
            .await
            .map(|_| ())
    }

    /// Deletes a group.
    pub async fn delete_group(&self, id: &str) -> Result<()> {
        let path = format!("Groups/{id}");
        self.repeat(Method::DELETE, &path, None, 204)
            .await
            .map(|_| ())
    }

    /// One request, without repetition.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let mut request = self
            .client
            .request(method, format!("{}/{path}", self.tenant_url))
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/scim+json; charset=utf-8")
                .body(body.to_string());
        }
        let response = request.send().await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let retry_after_s = response
            .headers()
            .get("retry-after")
            .and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        let text = response.text().await.map_err(|error| error.to_string())?;
        let body = match text.is_empty() {
            true => Value::Null,
            false => serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?,
        };
        Ok(Answer {
            status,
            body,
            retry_after_s,
        })
    }

    async fn repeat(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        wanted: u16,
    ) -> Result<Answer> {
        for _ in 0..ATTEMPTS {
            let answer = self.send(method.clone(), path, body).await?;
            let status = StatusCode::from_u16(answer.status).unwrap_or_default();
            match status {
                _ if answer.status == wanted => return Ok(answer),
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    let pause = Duration::from_secs(answer.retry_after_s.unwrap_or(1));
                    tokio::time::sleep(pause).await;
                }
                _ => {
                    let body = answer.body;
                    return Err(format!(
                        "{method} {path}: {} instead of {wanted}: {body}",
                        answer.status
                    ));
                }
            }
        }
        Err(format!(
            "{method} {path}: still refused after {ATTEMPTS} attempts"
        ))
    }
}

/// Entra writes spaces as `+` and leaves the quotes around the value raw (facts: captured requests).
fn encode(value: &str) -> String {
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

/// The body of a PATCH with these operations.
pub fn patch_of(operations: Value) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": operations,
    })
}

/// One operation on `members`; `$ref` is there and null (Entra fact 1.7).
pub fn change_of_members(verb: &str, members: &[String]) -> Value {
    let value: Vec<Value> = members
        .iter()
        .map(|id| json!({ "$ref": null, "value": id }))
        .collect();
    json!([{ "op": verb, "path": "members", "value": value }])
}
