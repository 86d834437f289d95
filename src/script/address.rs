//! Addresses in the formats of ss and of `/proc/net/tcp`. The latter prints words of memory in hex,
//! on a little-endian machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// For a host at a loopback address, the addresses of listeners that block its ports, in both
/// formats. Empty for every other host, where all listeners block except those on loopback.
pub(super) fn loopback_forms(host_address: &str) -> String {
    let own = match host_address.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) if ip.to_canonical().is_loopback() => vec![ip.to_canonical()],
        Err(_) if host_address == "localhost" => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        _ => return String::new(),
    };
    let any = [
        IpAddr::from(Ipv4Addr::UNSPECIFIED),
        Ipv6Addr::UNSPECIFIED.into(),
    ];
    let mapped = own.iter().filter_map(|ip| match ip {
        IpAddr::V4(v4) => Some(IpAddr::from(v4.to_ipv6_mapped())),
        IpAddr::V6(_) => None,
    });
    any.into_iter()
        .chain(mapped)
        .chain(own.iter().copied())
        .flat_map(forms)
        .collect::<Vec<_>>()
        .join(" ")
}

/// An address in the formats of the kernel and of ss.
fn forms(ip: IpAddr) -> Vec<String> {
    let text = match ip {
        IpAddr::V4(v4) => vec![v4.to_string()],
        IpAddr::V6(v6) if v6.is_unspecified() => vec!["[::]".to_owned(), "*".to_owned()],
        IpAddr::V6(v6) => vec![format!("[{v6}]")],
    };
    [encode(ip)].into_iter().chain(text).collect()
}

/// An address as the kernel prints it.
fn encode(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => format!("{:08X}", u32::from(v4).swap_bytes()),
        IpAddr::V6(v6) => {
            let [a, b, c, d] = v6_words(v6);
            format!("{a:08X}{b:08X}{c:08X}{d:08X}")
        }
    }
}

fn v6_words(v6: Ipv6Addr) -> [u32; 4] {
    let bits = u128::from(v6);
    [96, 64, 32, 0].map(|shift| {
        u32::try_from(bits >> shift & u128::from(u32::MAX))
            .unwrap_or(0)
            .swap_bytes()
    })
}

/// Parses an address printed by the kernel or ss. An IPv4-mapped IPv6 address becomes an IPv4
/// address.
pub(super) fn decode(hex: &str) -> Option<IpAddr> {
    if hex == "*" {
        return Some(Ipv6Addr::UNSPECIFIED.into());
    }
    if hex.contains(['.', ':']) {
        return hex
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .ok()
            .map(|ip| ip.to_canonical());
    }
    if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    match hex.len() {
        8 => u32::from_str_radix(hex, 16)
            .ok()
            .map(|word| Ipv4Addr::from(word.swap_bytes()).into()),
        32 => {
            let mut octets = [0; 16];
            for (at, word) in octets.chunks_mut(4).enumerate() {
                let digits = hex.get(at * 8..at * 8 + 8)?;
                word.copy_from_slice(&u32::from_str_radix(digits, 16).ok()?.to_le_bytes());
            }
            Some(IpAddr::from(octets).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decode_parses_addresses_of_the_kernel_and_ss() {
        assert_eq!(
            decode("0B00007F"),
            Some(Ipv4Addr::new(127, 0, 0, 11).into())
        );
        assert_eq!(
            decode("00000000000000000000000001000000"),
            Some(Ipv6Addr::LOCALHOST.into())
        );
        assert_eq!(
            decode("0000000000000000FFFF00000B00007F"),
            Some(Ipv4Addr::new(127, 0, 0, 11).into())
        );
        assert_eq!(
            decode("127.0.0.11"),
            Some(Ipv4Addr::new(127, 0, 0, 11).into())
        );
        assert_eq!(
            decode("[::ffff:127.0.0.11]"),
            Some(Ipv4Addr::new(127, 0, 0, 11).into())
        );
        assert_eq!(decode("*"), Some(Ipv6Addr::UNSPECIFIED.into()));
        for wrong in [
            "",
            "1.2.3",
            "[::g]",
            "7F",
            "0B00007G",
            "+B00007F",
            "0B00007F0B00007F",
            "ééééé",
        ] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn loopback_host_is_blocked_by_its_own_address_and_wildcards_only() {
        assert_eq!(
            loopback_forms("127.0.0.11"),
            "00000000 0.0.0.0 00000000000000000000000000000000 [::] * \
             0000000000000000FFFF00000B00007F \
             [::ffff:127.0.0.11] 0B00007F 127.0.0.11"
        );
        assert!(loopback_forms("[::1]").ends_with(" 00000000000000000000000001000000 [::1]"));
        assert!(loopback_forms("localhost").contains("0100007F"));
    }

    #[test]
    fn other_hosts_have_no_loopback_forms() {
        for address in ["192.168.72.233", "web1.example.org", "::", "fe80::1"] {
            assert_eq!(loopback_forms(address), "");
        }
    }

    proptest! {
        #[test]
        fn decode_reverses_encode(ip: IpAddr) {
            prop_assert_eq!(decode(&encode(ip)), Some(ip.to_canonical()));
        }
    }
}
