//! The name of the page about a deployment.

use std::fmt;

use crate::core::stack::DeploymentNumber;

/// The name of the page about a deployment in the state directory, which inventories of several
/// fleets may share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeploymentPageName {
    pub(super) fleet: String,
    pub(super) number: DeploymentNumber,
}

impl DeploymentPageName {
    const MIDDLE: &'static str = "-deployment-";

    /// The deployment of a file with this name; `None` if it is another file.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (fleet, number) = name.rsplit_once(Self::MIDDLE)?;
        Some(Self {
            fleet: fleet.to_owned(),
            number: DeploymentNumber(number.parse().ok()?),
        })
    }
}

impl fmt::Display for DeploymentPageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.fleet, Self::MIDDLE, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_read_back_and_others_are_not_read() {
        let name = DeploymentPageName {
            fleet: "a-deployment-b".to_owned(),
            number: DeploymentNumber(12),
        };
        assert_eq!(name.to_string(), "a-deployment-b-deployment-12");
        assert_eq!(DeploymentPageName::parse(&name.to_string()), Some(name));
        for other in ["12", "shop-deployment-", "shop-deployment-x", "shop"] {
            assert_eq!(DeploymentPageName::parse(other), None, "{other}");
        }
    }
}
