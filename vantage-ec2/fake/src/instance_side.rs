//! What an instance asks, and tests: metadata, SSM, a file to fetch, its own shutdown.

use std::fs::File;
use std::io::Cursor;

use serde_json::{Value, json};
use tiny_http::{Method, Request, Response, ResponseBox};

use crate::http::Shared;

/// The access key that metadata hands out: of the instance's role, and of nobody else.
const ROLE_KEY: &str = "ASIAFAKEROLE00000000";
const TOKEN: &str = "a-token-of-metadata";

fn text(status: u16, text: &str) -> ResponseBox {
    Response::from_data(text.as_bytes().to_vec()).with_status_code(status).boxed()
}

fn json(status: u16, value: &Value) -> ResponseBox {
    let header = tiny_http::Header::from_bytes("Content-Type", "application/x-amz-json-1.1").expect("a header");
    let bytes = value.to_string().into_bytes();
    let length = bytes.len();
    Response::new(status.into(), vec![header], Cursor::new(bytes), Some(length), None).boxed()
}

/// Answers what is not EC2's.
pub(crate) fn answer(shared: &Shared, request: &Request, body: &str) -> Option<ResponseBox> {
    let header = |name: &'static str| request.headers().iter().find(|h| h.field.equiv(name)).map(|h| h.value.to_string());
    let url = request.url();
    if let Some(target) = header("X-Amz-Target") {
        let signed = header("Authorization").unwrap_or_default();
        return Some(ssm(shared, &target, &signed, body));
    }
    if url == "/latest/api/token" {
        return Some(if *request.method() == Method::Put { text(200, TOKEN) } else { text(405, "") });
    }
    if let Some(path) = url.strip_prefix("/latest/") {
        if shared.tokens_required() && header("X-aws-ec2-metadata-token").as_deref() != Some(TOKEN) {
            return Some(text(401, "Unauthorized"));
        }
        return Some(metadata(shared, path));
    }
    if let Some(id) = url.strip_prefix("/shutdown/") {
        shared.shut_down(id);
        return Some(text(200, ""));
    }
    if url == "/troubles" {
        return Some(if shared.add_troubles(body) { text(200, "") } else { text(400, "[[\"RunInstances\",\"lost\",1]]") });
    }
    if url == "/program" {
        let file = shared.setup.program.as_ref().and_then(|path| File::open(path).ok());
        return Some(file.map_or_else(|| text(404, ""), |file| Response::from_file(file).boxed()));
    }
    None
}

fn metadata(shared: &Shared, path: &str) -> ResponseBox {
    let Some(profile) = shared.profile() else { return text(404, "no instance profile") };
    match path.strip_prefix("meta-data/iam/security-credentials/") {
        Some("") => text(200, &profile),
        Some(role) if role == profile => {
            let credentials = json!({
                "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": ROLE_KEY, "SecretAccessKey": "secret", "Token": "session",
                "LastUpdated": "2026-01-01T00:00:00Z", "Expiration": "2099-01-01T00:00:00Z",
            });
            text(200, &credentials.to_string())
        }
        _ => text(404, ""),
    }
}

fn ssm(shared: &Shared, target: &str, signed: &str, body: &str) -> ResponseBox {
    if target != "AmazonSSM.GetParameter" {
        return json(400, &json!({"__type": "UnknownOperationException"}));
    }
    if !signed.contains(ROLE_KEY) {
        return json(400, &json!({"__type": "AccessDeniedException", "message": "this is not the role of the instance"}));
    }
    let asked: Value = serde_json::from_str(body).unwrap_or_default();
    let name = asked["Name"].as_str().unwrap_or_default();
    match shared.setup.parameters.get(name) {
        Some(value) => json(200, &json!({"Parameter": {"Name": name, "Type": "SecureString", "Value": value, "Version": 1}})),
        None => json(400, &json!({"__type": "ParameterNotFound"})),
    }
}
