//! Why a unit cannot be adopted.

use thiserror::Error;

/// Why ship writes no playbook for a unit, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnitRefusal {
    #[error(
        "it is not the name of a unit\nhint: list the services of a host with `systemctl \
         list-units --type=service`"
    )]
    InvalidName,
    #[error(
        "it is a {0}, not a service\nhint: name the service that it starts; `systemctl show -p \
         Triggers` prints it"
    )]
    NotService(String),
    #[error(
        "it is a template\nhint: name one of its instances, such as `{0}`; `systemctl list-units \
         '{1}'` lists them"
    )]
    Template(String, String),
    #[error(
        "the host has no such unit\nhint: list its services with `systemctl list-units \
         --type=service`"
    )]
    NotFound,
    #[error(
        "it is masked\nhint: unmask and start it with `systemctl unmask --now`, or name another \
         unit"
    )]
    Masked,
    #[error("systemd cannot load it: {0}\nhint: correct the unit and start it")]
    NotLoaded(String),
    #[error(
        "it is not running ({0})\nhint: start it with `systemctl start`; ship reads its ports from \
         its processes"
    )]
    NotRunning(String),
    #[error(
        "its files cannot be read: {0}\nhint: pass --sudo, or log in as a user who may read them"
    )]
    Unreadable(String),
    #[error(
        "{0} starts it and passes the sockets, which ship does not do\nhint: let the service listen \
         on a port itself, disable the socket, and start the service"
    )]
    SocketActivation(String),
    #[error(
        "its Type={0} leaves the foreground, and ship supervises the process that it starts\nhint: \
         start the program in the foreground (an option such as `--foreground` or `daemon off`) \
         with Type=simple or Type=notify"
    )]
    Forking(String),
    #[error(
        "with Type={0} it is not a service that keeps running\nhint: name the unit whose process \
         serves; a command that runs once is a hook or a migration"
    )]
    NotLongRunning(String),
    #[error(
        "its Type=dbus owns a name on the bus, so two instances cannot run\nhint: ship needs \
         Type=simple, exec or notify"
    )]
    Bus,
    #[error(
        "it is a unit of ship already\nhint: `ship status` shows its service, in the directory of its inventory"
    )]
    OwnUnit,
    #[error("ship cannot read its command: {0}")]
    Command(String),
}
