//! How to connect: the URL, completed from the environment as libpq does.

use std::env;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{PostgresError, PostgresNames, quote};
use super::passfile::{PasswordFile, PasswordKey};
use super::tls::{self, TlsMode, TlsRoots};
use super::url::{PostgresUrl, parse_port};
use crate::store::records::StoreAccess;
use crate::system::accounts;

/// The longest time for connecting to one address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
/// Data that the server does not acknowledge for this long means that the connection is lost.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(15);
const PORT: u16 = 5432;
/// The directories in which Debian's and the original `PostgreSQL` have their socket.
const SOCKET_DIRS: [&str; 3] = ["/var/run/postgresql", "/run/postgresql", "/tmp"];

/// The hosts, the schema, and what messages contain.
pub(super) struct PostgresSettings {
    pub(super) hosts: Vec<PostgresHost>,
    /// A valid name; not quoted.
    pub(super) schema: String,
    pub(super) names: PostgresNames,
    /// The URL without a password.
    pub(super) location: String,
    pub(super) connect_timeout: Duration,
}

/// A server that may be the right one.
pub(super) struct PostgresHost {
    /// A name, an address, or the directory of a socket.
    pub(super) host: String,
    pub(super) port: u16,
    /// Everything except host, address and port.
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
}

impl PostgresHost {
    /// Whether the host is the directory of a socket.
    pub(super) fn is_socket(&self) -> bool {
        is_socket(&self.host)
    }

    /// For messages: `db1:5432`.
    pub(super) fn shown(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Where values come from: parameters of the URL, then variables of the environment.
struct Sources<'a> {
    url: &'a PostgresUrl,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Sources<'_> {
    fn get(&self, parameter: &str, variable: &str) -> Option<String> {
        self.url
            .parameter(parameter)
            .map(str::to_owned)
            .or_else(|| (self.environment)(variable))
            .filter(|value| !value.is_empty())
    }

    fn home(&self) -> Option<PathBuf> {
        (self.environment)("HOME").map(PathBuf::from)
    }
}

impl PostgresSettings {
    /// # Errors
    /// If the URL or a variable of the environment is not valid, or a file cannot be used.
    pub(super) fn from_environment(url: &str, access: StoreAccess) -> Result<Self, PostgresError> {
        Self::parse(url, access, &|name| env::var(name).ok())
    }

    fn parse(
        url: &str,
        access: StoreAccess,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, PostgresError> {
        let url = PostgresUrl::parse(url)?;
        let sources = Sources {
            url: &url,
            environment,
        };
        let schema = parse_schema(url.parameter("schema").unwrap_or("ship"))?;
        let user = sources
            .url
            .parameter("user")
            .map(str::to_owned)
            .or_else(|| url.user.clone())
            .or_else(|| sources.get("user", "PGUSER"))
            .or_else(|| accounts::user_name(accounts::effective_uid()))
            .ok_or_else(|| {
                PostgresError::rejected(
                    "the URL names no role, and this user has no name",
                    "write postgres://ROLE@HOST/DATABASE",
                )
            })?;
        let database = url.parameter("dbname").map(str::to_owned);
        let database = database
            .or_else(|| url.database.clone())
            .or_else(|| sources.get("dbname", "PGDATABASE"))
            .unwrap_or_else(|| user.clone());
        let hosts = read_hosts(&sources)?;
        let password_file = read_password_file(&sources);
        let names = PostgresNames {
            role: user.clone(),
            database: database.clone(),
            schema: quote(&schema),
            password_note: password_file.ignored.clone(),
        };
        let location = location(&user, &hosts, &database, &schema);
        let connect_timeout = read_connect_timeout(&sources)?;
        let mut config = common_config(&sources, access, hosts.len())?;
        config.user(&user).dbname(&database);
        let password = url.parameter("password").map(str::to_owned);
        let password = password
            .or_else(|| url.password.clone())
            .or_else(|| sources.get("password", "PGPASSWORD"));
        let hosts = hosts
            .into_iter()
            .map(|(host, port)| {
                let mut config = config.clone();
                let password = password.clone().or_else(|| {
                    let host = if SOCKET_DIRS.contains(&host.as_str()) {
                        "localhost"
                    } else {
                        &host
                    };
                    password_file.password(PasswordKey {
                        host,
                        port,
                        database: &database,
                        user: &user,
                    })
                });
                if let Some(password) = password {
                    config.password(password);
                }
                let mode = tls_mode(&sources, &host)?;
                config.ssl_mode(match mode {
                    TlsMode::Disable => SslMode::Disable,
                    TlsMode::Prefer => SslMode::Prefer,
                    TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
                });
                let tls = tls::connector(mode, &tls_roots(&sources))?;
                Ok(PostgresHost {
                    host,
                    port,
                    config,
                    tls,
                })
            })
            .collect::<Result<_, PostgresError>>()?;
        Ok(Self {
            hosts,
            schema,
            names,
            location,
            connect_timeout,
        })
    }
}

/// What is the same for all hosts.
fn common_config(
    sources: &Sources<'_>,
    access: StoreAccess,
    hosts: usize,
) -> Result<Config, PostgresError> {
    let mut config = Config::new();
    let application = sources.get("application_name", "PGAPPNAME");
    config
        .application_name(application.unwrap_or_else(|| "ship".to_owned()))
        .keepalives(true)
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES)
        .tcp_user_timeout(UNACKNOWLEDGED_MAX);
    if let Some(options) = sources.get("options", "PGOPTIONS") {
        config.options(options);
    }
    let channel_binding = sources.get("channel_binding", "PGCHANNELBINDING");
    config.channel_binding(match channel_binding.as_deref() {
        None | Some("prefer") => ChannelBinding::Prefer,
        Some("disable") => ChannelBinding::Disable,
        Some("require") => ChannelBinding::Require,
        Some(_) => {
            return Err(PostgresError::rejected(
                "`channel_binding` has an unknown value",
                "expected disable, prefer or require",
            ));
        }
    });
    let attributes = sources.get("target_session_attrs", "PGTARGETSESSIONATTRS");
    config.target_session_attrs(match attributes.as_deref() {
        Some("read-write" | "primary") => TargetSessionAttrs::ReadWrite,
        // Of several hosts, only one can be written.
        None if hosts > 1 && access == StoreAccess::Write => TargetSessionAttrs::ReadWrite,
        None | Some("any") => TargetSessionAttrs::Any,
        Some(_) => {
            return Err(PostgresError::rejected(
                "`target_session_attrs` has an unknown value",
                "expected any, read-write or primary",
            ));
        }
    });
    Ok(config)
}

/// The hosts and ports. There is at least one.
fn read_hosts(sources: &Sources<'_>) -> Result<Vec<(String, u16)>, PostgresError> {
    let split = |text: String| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let ports = sources.get("port", "PGPORT").map(split).unwrap_or_default();
    let ports = ports
        .iter()
        .map(|port| match port.as_str() {
            "" => Ok(PORT),
            port => parse_port(port),
        })
        .collect::<Result<Vec<u16>, _>>()?;
    let mut hosts: Vec<(String, Option<u16>)> = match sources.url.parameter("host") {
        Some(hosts) => split(hosts.to_owned())
            .into_iter()
            .map(|host| (host, None))
            .collect(),
        None => sources.url.hosts.clone(),
    };
    if hosts.is_empty() {
        let found = (sources.environment)("PGHOST").map(split);
        let found = found.unwrap_or_else(|| vec![String::new()]);
        hosts = found.into_iter().map(|host| (host, None)).collect();
    }
    if ports.len() > 1 && ports.len() != hosts.len() {
        return Err(PostgresError::rejected(
            format!("there are {} hosts and {} ports", hosts.len(), ports.len()),
            "give one port for all hosts, or one for each",
        ));
    }
    Ok(hosts
        .into_iter()
        .enumerate()
        .map(|(number, (host, port))| {
            let listed = ports.get(number).or(ports.first()).copied();
            let port = port.or(listed).unwrap_or(PORT);
            let host = if host.is_empty() {
                default_host(port)
            } else {
                host
            };
            (host, port)
        })
        .collect())
}

/// The directory of the socket on this machine, if there is one.
fn default_host(port: u16) -> String {
    let socket = format!(".s.PGSQL.{port}");
    SOCKET_DIRS
        .iter()
        .find(|dir| Path::new(dir).join(&socket).exists())
        .map_or_else(|| "localhost".to_owned(), |dir| (*dir).to_owned())
}

fn is_socket(host: &str) -> bool {
    host.starts_with('/')
}

/// The mode for a host. What leaves this machine is encrypted and verified unless the URL says
/// otherwise.
fn tls_mode(sources: &Sources<'_>, host: &str) -> Result<TlsMode, PostgresError> {
    let configured = sources.get("sslmode", "PGSSLMODE");
    let configured = configured.map(|text| TlsMode::parse(&text)).transpose()?;
    // As in libpq, TLS is not used over Unix sockets.
    if is_socket(host) {
        return Ok(TlsMode::Disable);
    }
    let is_loopback = host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    Ok(configured.unwrap_or(if is_loopback {
        TlsMode::Prefer
    } else {
        TlsMode::VerifyFull
    }))
}

/// The file of the URL or environment, else the file that libpq uses if it exists, else the
/// platform's authorities.
fn tls_roots(sources: &Sources<'_>) -> TlsRoots {
    match sources.get("sslrootcert", "PGSSLROOTCERT") {
        Some(name) if name == "system" => TlsRoots::Platform,
        Some(path) => TlsRoots::File(PathBuf::from(path)),
        None => sources
            .home()
            .map(|home| home.join(".postgresql/root.crt"))
            .filter(|path| path.exists())
            .map_or(TlsRoots::Platform, TlsRoots::File),
    }
}

fn read_password_file(sources: &Sources<'_>) -> PasswordFile {
    let path = sources
        .get("passfile", "PGPASSFILE")
        .map(PathBuf::from)
        .or_else(|| sources.home().map(|home| home.join(".pgpass")));
    path.map(|path| PasswordFile::read(&path))
        .unwrap_or_default()
}

fn read_connect_timeout(sources: &Sources<'_>) -> Result<Duration, PostgresError> {
    let Some(text) = sources.get("connect_timeout", "PGCONNECT_TIMEOUT") else {
        return Ok(CONNECT_TIMEOUT);
    };
    match text.parse() {
        // For libpq, 0 means no limit.
        Ok(0) => Ok(CONNECT_TIMEOUT),
        Ok(seconds) => Ok(Duration::from_secs(seconds).min(CONNECT_TIMEOUT)),
        Err(_) => Err(PostgresError::rejected(
            "`connect_timeout` is not a number of seconds",
            "expected a number from 1 to 5",
        )),
    }
}

/// Validates the name of a schema.
fn parse_schema(name: &str) -> Result<String, PostgresError> {
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let valid = begins
        && name.len() <= 63
        && !name.starts_with("pg_")
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if valid {
        Ok(name.to_owned())
    } else {
        Err(PostgresError::rejected(
            "`schema` is not a valid name",
            "use at most 63 lowercase letters, digits and `_`; the first is not a digit, and the \
             name does not begin with pg_",
        ))
    }
}

/// The URL without a password, complete enough to be used again.
fn location(user: &str, hosts: &[(String, u16)], database: &str, schema: &str) -> String {
    let list: Vec<String> = hosts
        .iter()
        .map(|(host, port)| {
            if host.contains(':') {
                format!("[{host}]:{port}")
            } else {
                format!("{}:{port}", encode(host))
            }
        })
        .collect();
    let mut location = format!(
        "postgres://{}@{}/{}",
        encode(user),
        list.join(","),
        encode(database)
    );
    if schema != "ship" {
        location = format!("{location}?schema={schema}");
    }
    location
}

/// Percent-encodes what has a meaning in URLs.
fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || "-._~".contains(c) || !c.is_ascii() {
            encoded.push(c);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{:02X}", u32::from(c));
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
