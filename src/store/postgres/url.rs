//! The text of a `PostgreSQL` URL.
//!
//! The errors here never show a part of the URL, because it may be part of a password that was not
//! percent-encoded.

use std::collections::BTreeMap;

use super::error::PostgresError;

/// The parts of a URL, decoded. No `Debug`, because one of them is the password.
#[derive(Default)]
pub(super) struct PostgresUrl {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// Hosts and their ports. A host may be empty.
    pub(super) hosts: Vec<(String, Option<u16>)>,
    pub(super) database: Option<String>,
    parameters: BTreeMap<String, String>,
}

/// The parameters that a URL may have. Their names and meanings are those of libpq, except for
/// `schema`.
const PARAMETERS: [&str; 14] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "options",
    "passfile",
    "password",
    "port",
    "schema",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
    "user",
];

const ENCODE_HINT: &str = "percent-encode special characters in the user and the password, for \
                           example `@` as %40, `:` as %3A, `/` as %2F and `?` as %3F";

impl PostgresUrl {
    /// # Errors
    /// If the text is not a valid URL.
    pub(super) fn parse(text: &str) -> Result<Self, PostgresError> {
        let rest = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"))
            .ok_or_else(|| {
                invalid(
                    "it does not begin with postgres://",
                    "write postgres://USER@HOST/DATABASE",
                )
            })?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if path.contains(['@', '#']) || authority.matches('@').count() > 1 || query.contains('#') {
            return Err(invalid("it contains a character of its own", ENCODE_HINT));
        }
        let mut url = Self::default();
        let hosts = match authority.split_once('@') {
            Some((credentials, hosts)) => {
                url.read_credentials(credentials)?;
                hosts
            }
            None => authority,
        };
        if !hosts.is_empty() {
            for host in hosts.split(',') {
                url.hosts.push(host_and_port(host)?);
            }
        }
        let database = path.strip_prefix('/').unwrap_or(path);
        if database.contains('/') {
            return Err(invalid(
                "its path is not the name of a database",
                "write postgres://USER@HOST/DATABASE; percent-encode the directory of a socket",
            ));
        }
        url.database = Some(decode(database)?).filter(|name| !name.is_empty());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            url.read_parameter(pair)?;
        }
        Ok(url)
    }

    /// The value of a parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    fn read_credentials(&mut self, credentials: &str) -> Result<(), PostgresError> {
        let (user, password) = match credentials.split_once(':') {
            Some((user, password)) => (user, Some(decode(password)?)),
            None => (credentials, None),
        };
        self.user = Some(decode(user)?).filter(|user| !user.is_empty());
        self.password = password;
        Ok(())
    }

    fn read_parameter(&mut self, pair: &str) -> Result<(), PostgresError> {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| invalid("a parameter has no value", "write ?NAME=VALUE&NAME=VALUE"))?;
        let name = decode(name)?;
        if !PARAMETERS.contains(&name.as_str()) {
            // Only plain names are shown: others may be part of a password.
            let is_plain = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            let shown = if is_plain && self.user.is_some() {
                format!("`{name}` is not a known parameter")
            } else {
                "it has an unknown parameter".to_owned()
            };
            return Err(invalid(
                &shown,
                &format!("the parameters are {}", PARAMETERS.join(", ")),
            ));
        }
        if self.parameters.insert(name, decode(value)?).is_some() {
            return Err(invalid(
                "a parameter occurs twice",
                "give each parameter once",
            ));
        }
        Ok(())
    }
}

/// Splits `host:port`, `[::1]:5432` or a percent-encoded directory.
fn host_and_port(text: &str) -> Result<(String, Option<u16>), PostgresError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest
            .split_once(']')
            .ok_or_else(|| invalid("`[` of an IPv6 address is not closed", "write [::1]:5432"))?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match port.strip_prefix(':') {
        Some("") => None,
        Some(port) => Some(parse_port(port)?),
        None if port.is_empty() => None,
        None => {
            return Err(invalid(
                "an IPv6 address is followed by other text",
                "write [::1]:5432",
            ));
        }
    };
    Ok((decode(host)?, port))
}

/// # Errors
/// If the text is not a port.
pub(super) fn parse_port(text: &str) -> Result<u16, PostgresError> {
    match text.parse() {
        Ok(0) | Err(_) => Err(invalid(
            "a port is not a number from 1 to 65535",
            "write postgres://USER:PASSWORD@HOST:PORT/DATABASE; IPv6 addresses are written in \
             brackets",
        )),
        Ok(port) => Ok(port),
    }
}

/// Decodes `%40` and the like.
fn decode(text: &str) -> Result<String, PostgresError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                match (digit(bytes.next()), digit(bytes.next())) {
                    (Some(high), Some(low)) => u8::try_from(high * 16 + low).unwrap_or(0),
                    _ => return Err(invalid("`%` is not followed by two digits", ENCODE_HINT)),
                }
            }
            byte => byte,
        };
        if byte == 0 {
            return Err(invalid("it contains a zero byte", ENCODE_HINT));
        }
        decoded.push(byte);
    }
    String::from_utf8(decoded).map_err(|_| invalid("it is not valid UTF-8", ENCODE_HINT))
}

fn invalid(what: &str, hint: &str) -> PostgresError {
    PostgresError::rejected(format!("the URL is not valid: {what}"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        match PostgresUrl::parse(text) {
            Ok(_) => panic!("{text} is valid"),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn url_has_all_parts() {
        let url = PostgresUrl::parse(
            "postgres://an%40na:p%3Aw%2F@db1:5433,[::1]:5434,db2/st%20ate?sslmode=require&schema=x",
        )
        .unwrap();
        assert_eq!(url.user.as_deref(), Some("an@na"));
        assert_eq!(url.password.as_deref(), Some("p:w/"));
        let host = |host: &str, port| (host.to_owned(), port);
        assert_eq!(
            url.hosts,
            [
                host("db1", Some(5433)),
                host("::1", Some(5434)),
                host("db2", None)
            ]
        );
        assert_eq!(url.database.as_deref(), Some("st ate"));
        assert_eq!(url.parameter("sslmode"), Some("require"));
        assert_eq!(url.parameter("schema"), Some("x"));
        assert_eq!(url.parameter("host"), None);
    }

    #[test]
    fn url_may_be_silent() {
        for text in ["postgres://", "postgresql:///", "postgres:///?schema=x"] {
            let url = PostgresUrl::parse(text).unwrap();
            assert!(url.user.is_none() && url.hosts.is_empty() && url.database.is_none());
        }
        let url = PostgresUrl::parse("postgres://%2Frun%2Fpostgresql/state").unwrap();
        assert_eq!(url.hosts, [("/run/postgresql".to_owned(), None)]);
    }

    #[test]
    fn url_errors_do_not_show_the_password() {
        for text in [
            "mysql://anna:secret@db/state",
            "postgres://anna:secret/db/state",
            "postgres://anna:sec@secret@db/state",
            "postgres://anna:sec/secret@db/state",
            "postgres://anna:sec?secret@db/state",
            "postgres://anna:sec#secret@db/state",
            "postgres://anna:secret%4@db/state",
            "postgres://anna:secret%00@db/state",
            "postgres://anna:secret%ff@db/state",
            "postgres://anna:1?secret=@db/state",
            "postgres://anna:x@db:secret/state",
            "postgres://anna:x@db:0/state",
            "postgres://anna:x@db/state/more",
            "postgres://anna:x@[::1/state",
            "postgres://anna:x@[::1]5432/state",
            "postgres://anna:x@db/state?unknown=secret",
            "postgres://anna:x@db/state?sslmode",
            "postgres://anna:x@db/state?sslmode=require&sslmode=secret",
        ] {
            let error = error(text);
            assert!(error.contains("Rejected"), "{error}");
            assert!(!error.contains("secret"), "{text}: {error}");
        }
        let error = error("postgres://anna@db/state?colour=red");
        assert!(error.contains("`colour` is not a known parameter"));
    }
}
