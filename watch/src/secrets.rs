//! Where a check file names secrets: who may look at the page.

use alerting::secret::Secret;
use schemars::JsonSchema;
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};

/// Who may read page and metrics.
#[derive(Clone, PartialEq, JsonSchema, Debug)]
#[schemars(deny_unknown_fields, rename_all = "snake_case")]
pub enum Auth {
    /// Whoever knows a name and a password (RFC 7617).
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// Whoever has a token (RFC 6750).
    Bearer(Secret),
}

impl<'de> Deserialize<'de> for Auth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Tables {
            basic: Option<BasicTable>,
            bearer: Option<Secret>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct BasicTable {
            user: String,
            password: Secret,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Tables(Tables),
            Other(IgnoredAny),
        }
        match Either::deserialize(deserializer)? {
            Either::Tables(Tables { basic: Some(BasicTable { user, password }), bearer: None }) => {
                Ok(Auth::Basic { user, password })
            }
            Either::Tables(Tables { basic: None, bearer: Some(token) }) => Ok(Auth::Bearer(token)),
            _ => Err(D::Error::custom(
                "auth is either bearer = { file = \"/path\" } or basic = { user = \"NAME\", password = { file = \"/path\" } }, and a \
                 secret may also be { env = \"NAME\" }",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::checks::CheckFile;

    const CHECK: &str = "[[check]]\nname = \"a\"\ntarget = \"https://a.test/\"\n";

    #[test]
    fn a_secret_that_stands_in_the_file_is_refused_and_not_shown() {
        let receiver = |rest: &str| format!("{CHECK}[[receiver]]\n{rest}\n");
        for (text, line) in [
            (receiver("kind = \"pagerduty\"\nrouting_key = \"hunter2\""), "line 6, column 15"),
            (receiver("kind = \"webhook\"\nurl = \"http://h/\"\ntoken = \"hunter2\""), "line 7, column 9"),
            (receiver("kind = \"webhook\"\nurl = \"http://h/\"\ntoken = { value = \"hunter2\" }"), "line 7, column 9"),
            (receiver("kind = \"webhook\"\nurl = \"http://h/\"\ntokn = \"hunter2\""), "line 7, column 1"),
            (receiver("kind = \"webhook\"\nurl = \"http://h/\"\ntoken = [\"hunter2\"]"), "line 7, column 9"),
            (format!("[watch]\nauth = \"hunter2\"\n{CHECK}"), "line 2"),
            (format!("[watch.auth]\nbearer = \"hunter2\"\n{CHECK}"), "line"),
            (format!("[watch.auth]\nbasic = {{ user = \"x\", password = \"hunter2\" }}\n{CHECK}"), "line"),
            (format!("{CHECK}headers = {{ Authorization = [\"hunter2\"] }}\n"), "line 4"),
            (format!("{CHECK}headers = {{ Authorization = {{ fil = \"hunter2\" }} }}\n"), "line 4"),
            (receiver("kind = \"webhook\"\nurl = \"http://h/\"\ntoken = \"hunter2"), "line"),
        ] {
            let error = CheckFile::parse(&text).expect_err(&text).to_string();
            assert!(error.starts_with(line) && !error.contains("hunter2"), "{text}\n{error}");
        }
        let good = format!(
            "[watch.auth]\nbasic = {{ user = \"x\", password = {{ env = \"P\" }} }}\n{CHECK}headers = {{ A = \"b\", C = {{ file = \"/d\" }} }}\n"
        );
        let file = CheckFile::parse(&good).expect("it is valid");
        assert!(format!("{file:?}").contains("a secret in $P") && format!("{file:?}").contains("a secret in /d"));
    }
}
