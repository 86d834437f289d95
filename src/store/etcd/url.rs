//! URLs of state in etcd: `etcd://[USER:PASSWORD@]HOST[:PORT],…[/PREFIX][?OPTIONS]`.

use std::fmt;
use std::path::PathBuf;

use super::error::EtcdError;

pub(super) const SCHEME: &str = "etcd://";
const PORT: u16 = 2379;
const PREFIX: &str = "ship";
const ENDPOINTS_MAX: usize = 16;
const HINT_FORM: &str = "write it as etcd://USER:PASSWORD@HOST:2379,HOST:2379/PREFIX, with special \
                         characters of the password as in %2F for `/` and %40 for `@`";
const HINT_OPTIONS: &str =
    "write options as in ?ca=/etc/ssl/etcd-ca.pem&cert=ship.pem&key=ship.key";

/// The parts of a URL, completed from the environment.
///
/// Where the URL says nothing, the variables of `etcdctl` apply: `ETCDCTL_USER` (with or without
/// `:PASSWORD`), `ETCDCTL_PASSWORD`, `ETCDCTL_CACERT`, `ETCDCTL_CERT`, `ETCDCTL_KEY`. TLS is used
/// with `tls=true` or if one of the files is given. Paths are relative to the working directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EtcdUrl {
    /// Each as `HOST:PORT`, in the order of the URL.
    pub(super) endpoints: Vec<String>,
    /// Without slashes at its ends.
    pub(super) prefix: String,
    pub(super) login: Option<EtcdLogin>,
    pub(super) tls: Option<EtcdTls>,
}

/// A user and the password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct EtcdLogin {
    pub(super) user: String,
    pub(super) password: String,
}

impl fmt::Debug for EtcdLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdLogin")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// The files of a TLS connection, all in PEM.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct EtcdTls {
    /// The certificates that sign those of the endpoints. Without it, the system's apply.
    pub(super) ca: Option<PathBuf>,
    /// The client's certificate and its key. It does not stand for a user: the gateway has no
    /// authentication by certificate.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

/// Reads a variable of the environment.
pub(super) type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

impl EtcdUrl {
    /// Parses a URL. Errors repeat none of its text, which may be a part of a password.
    pub(super) fn parse(url: &str, variable: Variable<'_>) -> Result<Self, EtcdError> {
        let malformed = |why: &str| EtcdError::rejected(why, HINT_FORM);
        let Some(rest) = url.strip_prefix(SCHEME) else {
            return Err(malformed("it does not begin with etcd://"));
        };
        if rest.contains('#') {
            return Err(malformed("it contains `#`"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // An unescaped slash in a password would make the rest of it a prefix.
        if path.contains('@') {
            return Err(malformed("it contains `@` after the first `/`"));
        }
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        let options = Options::parse(query, variable)?;
        Ok(Self {
            endpoints: endpoints(hosts)?,
            prefix: prefix(path)?,
            login: login_of(login, variable)?,
            tls: options.into_tls()?,
        })
    }

    /// The URL without user, password and options.
    pub(super) fn location(&self) -> String {
        format!("{SCHEME}{}/{}", self.endpoints.join(","), self.prefix)
    }
}

fn endpoints(hosts: &str) -> Result<Vec<String>, EtcdError> {
    let endpoints: Vec<&str> = hosts.split(',').collect();
    if endpoints.len() > ENDPOINTS_MAX {
        let why = format!("it names more than {ENDPOINTS_MAX} endpoints");
        return Err(EtcdError::rejected(why, HINT_FORM));
    }
    let endpoint = |(number, text): (usize, &&str)| {
        endpoint(text).map_err(|why| {
            EtcdError::rejected(format!("its endpoint {} {why}", number + 1), HINT_FORM)
        })
    };
    endpoints.iter().enumerate().map(endpoint).collect()
}

fn endpoint(text: &str) -> Result<String, &'static str> {
    // The colons of an IPv6 address are inside brackets.
    let end = match text.strip_prefix('[') {
        Some(rest) => rest.find(']').ok_or("has no closing `]`")? + 2,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at(end);
    let is_ipv6 = |host: &str| {
        let address = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
    };
    let is_name = |host: &str| {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        !host.is_empty() && host.chars().all(is_allowed)
    };
    if !is_name(host) && !is_ipv6(host) {
        return Err("is not a valid host");
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => PORT,
        port => port
            .and_then(|port| port.parse().ok())
            .filter(|port| *port > 0)
            .ok_or("has no valid port (1 to 65535)")?,
    };
    Ok(format!("{host}:{port}"))
}

fn prefix(path: &str) -> Result<String, EtcdError> {
    let prefix = decode(path.trim_matches('/'))?;
    if prefix.is_empty() {
        return Ok(PREFIX.to_owned());
    }
    let is_valid = !prefix.chars().any(char::is_control) && !prefix.split('/').any(str::is_empty);
    is_valid.then_some(prefix).ok_or_else(|| {
        let why = "its prefix has an empty part or a control character";
        EtcdError::rejected(why, HINT_FORM)
    })
}

/// The user of the URL, or else that of the environment.
fn login_of(text: Option<&str>, variable: Variable<'_>) -> Result<Option<EtcdLogin>, EtcdError> {
    let elsewhere = variable("ETCDCTL_USER");
    let elsewhere = elsewhere.as_deref().filter(|user| !user.is_empty());
    let known = variable("ETCDCTL_PASSWORD").filter(|password| !password.is_empty());
    // With ETCDCTL_PASSWORD, all of ETCDCTL_USER is the name, as for etcdctl.
    let elsewhere = elsewhere.map(|user| match (known, user.split_once(':')) {
        (None, Some((user, password))) => (user.to_owned(), Some(password.to_owned())),
        (known, _) => (user.to_owned(), known),
    });
    let (user, password) = match (text, elsewhere) {
        (None, None) => return Ok(None),
        (None, Some(elsewhere)) => elsewhere,
        (Some(text), elsewhere) => {
            let (user, password) = match text.split_once(':') {
                Some((user, password)) => (decode(user)?, Some(decode(password)?)),
                None => (decode(text)?, None),
            };
            let same_user = elsewhere.filter(|(other, _)| *other == user);
            let password = password
                .or_else(|| same_user.and_then(|(_, password)| password))
                .or_else(|| variable("ETCDCTL_PASSWORD"));
            (user, password)
        }
    };
    if user.is_empty() {
        return Err(EtcdError::rejected(
            "it has a password, but no user",
            HINT_FORM,
        ));
    }
    let Some(password) = password.filter(|password| !password.is_empty()) else {
        let hint = "write it into the URL, or into ETCDCTL_PASSWORD";
        return Err(EtcdError::rejected("the user has no password", hint));
    };
    Ok(Some(EtcdLogin { user, password }))
}

/// The part of the URL after `?`, completed from the environment.
#[derive(Default)]
struct Options {
    tls: Option<bool>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Options {
    fn parse(query: &str, variable: Variable<'_>) -> Result<Self, EtcdError> {
        let mut options = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value)?;
            if value.is_empty() {
                return Err(EtcdError::rejected("an option has no value", HINT_OPTIONS));
            }
            let is_new = match name {
                "tls" => {
                    let value = value.parse().map_err(|_| {
                        EtcdError::rejected("`tls` is neither true nor false", HINT_OPTIONS)
                    })?;
                    options.tls.replace(value).is_none()
                }
                "ca" => options.ca.replace(value.into()).is_none(),
                "cert" => options.cert.replace(value.into()).is_none(),
                "key" => options.key.replace(value.into()).is_none(),
                _ => {
                    let why = "it has an option other than `tls`, `ca`, `cert` and `key`";
                    return Err(EtcdError::rejected(why, HINT_OPTIONS));
                }
            };
            if !is_new {
                let why = format!("it has the option `{name}` twice");
                return Err(EtcdError::rejected(why, HINT_OPTIONS));
            }
        }
        options.complete(variable)
    }

    fn complete(mut self, variable: Variable<'_>) -> Result<Self, EtcdError> {
        if self.tls == Some(false) {
            if self.ca.is_some() || self.cert.is_some() || self.key.is_some() {
                let why = "`tls=false` contradicts `ca`, `cert` and `key`";
                return Err(EtcdError::rejected(why, HINT_OPTIONS));
            }
            return Ok(self);
        }
        let file = |name: &str| {
            let path = variable(name).filter(|path| !path.is_empty());
            path.map(PathBuf::from)
        };
        self.ca = self.ca.or_else(|| file("ETCDCTL_CACERT"));
        // A certificate and the key of another one do not match.
        if self.cert.is_none() && self.key.is_none() {
            self.cert = file("ETCDCTL_CERT");
            self.key = file("ETCDCTL_KEY");
        }
        Ok(self)
    }

    fn into_tls(self) -> Result<Option<EtcdTls>, EtcdError> {
        let identity = match (self.cert, self.key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => {
                let why = "a client certificate needs both `cert` and `key`";
                return Err(EtcdError::rejected(why, HINT_OPTIONS));
            }
        };
        let is_used = self.tls.unwrap_or(self.ca.is_some() || identity.is_some());
        Ok(is_used.then_some(EtcdTls {
            ca: self.ca,
            identity,
        }))
    }
}

/// Replaces `%XX` by the byte it stands for.
fn decode(text: &str) -> Result<String, EtcdError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    let malformed = || {
        let why = "it has a `%` that is not the beginning of an encoded character";
        EtcdError::rejected(why, "write `%` itself as %25")
    };
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = rest
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let is_hex = |digits: &&str| digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let byte = digits
            .filter(is_hex)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or_else(malformed)?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> EtcdUrl {
        EtcdUrl::parse(url, &|_| None).unwrap()
    }

    fn with_environment(url: &str, variables: &[(&str, &str)]) -> Result<EtcdUrl, EtcdError> {
        EtcdUrl::parse(url, &|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn url_is_completed_with_port_and_prefix() {
        let url = parse("etcd://db1,db2:4001,[::1]:23,[fd00::2]");
        assert_eq!(
            url.endpoints,
            ["db1:2379", "db2:4001", "[::1]:23", "[fd00::2]:2379"]
        );
        assert_eq!(
            (url.prefix.as_str(), &url.login, &url.tls),
            ("ship", &None, &None)
        );
        assert_eq!(parse("etcd://db1/").prefix, "ship");
        assert_eq!(parse("etcd://db1//infra/ship%20é/").prefix, "infra/ship é");
        assert_eq!(
            parse("etcd://anna:pw@db1,db2/x?tls=true").location(),
            "etcd://db1:2379,db2:2379/x"
        );
    }

    #[test]
    fn user_and_password_are_decoded() {
        let login = |url| parse(url).login.unwrap();
        let found = login("etcd://an%3Ana:p%40s%2Fs:w@db1");
        assert_eq!(
            (found.user.as_str(), found.password.as_str()),
            ("an:na", "p@s/s:w")
        );
        assert_eq!(login("etcd://anna:p@ss@db1").password, "p@ss");
    }

    #[test]
    fn environment_completes_what_the_url_does_not_say() {
        let login = |url, variables: &[(&str, &str)]| {
            let login = with_environment(url, variables).unwrap().login;
            login.map(|login| format!("{} {}", login.user, login.password))
        };
        let both = [("ETCDCTL_USER", "anna"), ("ETCDCTL_PASSWORD", "pw")];
        let joined = [("ETCDCTL_USER", "anna:pw")];
        assert_eq!(login("etcd://db1", &both).as_deref(), Some("anna pw"));
        assert_eq!(login("etcd://db1", &joined).as_deref(), Some("anna pw"));
        assert_eq!(login("etcd://bob@db1", &both).as_deref(), Some("bob pw"));
        assert_eq!(
            login("etcd://anna@db1", &joined).as_deref(),
            Some("anna pw")
        );
        assert_eq!(login("etcd://b:x@db1", &both).as_deref(), Some("b x"));
        assert_eq!(login("etcd://db1", &both[1..]), None);

        let files = [
            ("ETCDCTL_CACERT", "ca"),
            ("ETCDCTL_CERT", "c"),
            ("ETCDCTL_KEY", "k"),
        ];
        let tls = |url| with_environment(url, &files).unwrap().tls;
        let identity = |cert: &str, key: &str| Some((cert.into(), key.into()));
        let expected = EtcdTls {
            ca: Some("ca".into()),
            identity: identity("c", "k"),
        };
        assert_eq!(tls("etcd://db1"), Some(expected));
        assert_eq!(tls("etcd://db1?tls=false"), None);
        let expected = EtcdTls {
            ca: Some("x".into()),
            identity: identity("d", "e"),
        };
        assert_eq!(tls("etcd://db1?cert=d&key=e&ca=x"), Some(expected));
    }

    #[test]
    fn mistakes_are_rejected_without_repeating_the_password() {
        for (url, expected) in [
            ("etcd:/db1", "it does not begin with etcd://"),
            ("etcds://db1", "it does not begin with etcd://"),
            ("etcd://", "its endpoint 1 is not a valid host"),
            ("etcd://db1,,db2", "its endpoint 2 is not a valid host"),
            (
                "etcd://db1,db2:x",
                "its endpoint 2 has no valid port (1 to 65535)",
            ),
            (
                "etcd://db1:0",
                "its endpoint 1 has no valid port (1 to 65535)",
            ),
            (
                "etcd://db1:65536",
                "its endpoint 1 has no valid port (1 to 65535)",
            ),
            ("etcd://[::1", "its endpoint 1 has no closing `]`"),
            ("etcd://[é]x", "its endpoint 1 is not a valid host"),
            ("etcd://[db1]", "its endpoint 1 is not a valid host"),
            (
                "etcd://root:12/secret@db1",
                "it contains `@` after the first `/`",
            ),
            (
                "etcd://root:secret",
                "its endpoint 1 has no valid port (1 to 65535)",
            ),
            ("etcd://root:1?secret@db1", "an option has no value"),
            (
                "etcd://root:1?secret=2@db1",
                "it has an option other than `tls`, `ca`, `cert` and `key`",
            ),
            ("etcd://root:1#secret@db1", "it contains `#`"),
            ("etcd://root@db1", "the user has no password"),
            ("etcd://:secret@db1", "it has a password, but no user"),
            (
                "etcd://root:secret%@db1",
                "it has a `%` that is not the beginning of an encoded character",
            ),
            (
                "etcd://root:secret%+1@db1",
                "it has a `%` that is not the beginning of an encoded character",
            ),
            (
                "etcd://db1/a//b",
                "its prefix has an empty part or a control character",
            ),
            (
                "etcd://db1?cert=x",
                "a client certificate needs both `cert` and `key`",
            ),
            ("etcd://db1?tls=yes", "`tls` is neither true nor false"),
            (
                "etcd://db1?tls=false&ca=x",
                "`tls=false` contradicts `ca`, `cert` and `key`",
            ),
            ("etcd://db1?ca=x&ca=y", "it has the option `ca` twice"),
        ] {
            let error = EtcdUrl::parse(url, &|_| None).unwrap_err();
            assert_eq!(error.why, expected, "{url}");
            assert!(!error.hint.contains("secret"), "{url}");
        }
    }

    #[test]
    fn debug_output_has_no_password() {
        let url = parse("etcd://anna:secret@db1");
        assert!(!format!("{url:?}").contains("secret"));
    }
}
