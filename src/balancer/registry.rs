//! The driver of each kind of balancer.

use super::command::CommandDriver;
use super::driver::BalancerDriver;
use super::haproxy::HaproxyDriver;
use super::nftables::NftablesDriver;
use super::nginx::NginxDriver;
use crate::config::TrafficDriver;

/// Creates the driver that the playbook selects.
pub fn driver_for(settings: &TrafficDriver) -> Box<dyn BalancerDriver> {
    match settings {
        TrafficDriver::Haproxy(settings) => Box::new(HaproxyDriver::new(settings.clone())),
        TrafficDriver::Nginx(settings) => Box::new(NginxDriver::new(settings.clone())),
        TrafficDriver::Nftables(settings) => Box::new(NftablesDriver::new(*settings)),
        TrafficDriver::Command(settings) => Box::new(CommandDriver::new(settings.clone())),
    }
}
