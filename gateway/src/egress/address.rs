//! Which addresses may be connected to: the public internet, and what the tenant's
//! `egress.allow_private` adds.
//!
//! Invariant: an address is refused unless it is known to be public; for IPv6 that means inside
//! 2000::/3 and in no special range. Pure: no resolution, no sockets. The ranges are those of the
//! IANA special-purpose address registries (RFC 6890 and its updates), plus the addresses at which
//! cloud providers serve machine credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Whether the gateway may connect to `address`. `encrypted` is false for plain http, which may go
/// to listed networks only: it would show the credential to every hop on the way.
///
/// # Errors
/// Says what the address is and which setting would allow it.
pub(super) fn check(address: IpAddr, encrypted: bool, allowed: &[IpNet]) -> Result<(), String> {
    // ::ffff:127.0.0.1 is the kernel's other spelling of 127.0.0.1.
    let canonical = address.to_canonical();
    if allowed
        .iter()
        .any(|net| net.contains(&canonical) || net.contains(&address))
    {
        return Ok(());
    }
    let net = IpNet::from(canonical);
    match special(canonical) {
        Some(class) => Err(format!(
            "{canonical} is not a public address ({class}); if the vendor is there, add \"{net}\" \
             to the tenant's egress.allow_private"
        )),
        None if !encrypted => Err(format!(
            "plain http to {canonical} would show the credential to everyone on the way; use \
             https, or, if the vendor is on a network of yours, add \"{net}\" to the tenant's \
             egress.allow_private"
        )),
        None => Ok(()),
    }
}

/// What kind of special address this is; none for a public one.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => V4
            .iter()
            .find(|(net, _)| net.contains(&v4))
            .map(|(_, class)| *class),
        IpAddr::V6(v6) => match V6.iter().find(|(net, _)| net.contains(&v6)) {
            Some((_, class)) => Some(class),
            None if GLOBAL_UNICAST.contains(&v6) => None,
            None => Some("outside global unicast"),
        },
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(head: [u16; 4], prefix: u8) -> Ipv6Net {
    let [a, b, c, d] = head;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix)
}

/// First match wins, so single addresses stand before their range.
const V4: &[(Ipv4Net, &str)] = &[
    (v4(169, 254, 169, 254, 32), "cloud metadata"),
    (v4(169, 254, 170, 2, 32), "cloud metadata"),
    (v4(100, 100, 100, 200, 32), "cloud metadata"),
    (v4(192, 0, 0, 192, 32), "cloud metadata"),
    // Azure's host agent; the one that lies in public space.
    (v4(168, 63, 129, 16, 32), "cloud metadata"),
    (v4(0, 0, 0, 0, 8), "this host"),
    (v4(10, 0, 0, 0, 8), "private network"),
    (v4(100, 64, 0, 0, 10), "carrier-grade NAT"),
    (v4(127, 0, 0, 0, 8), "loopback"),
    (v4(169, 254, 0, 0, 16), "link-local"),
    (v4(172, 16, 0, 0, 12), "private network"),
    (v4(192, 0, 0, 0, 24), "protocol assignments"),
    (v4(192, 0, 2, 0, 24), "documentation"),
    (v4(192, 31, 196, 0, 24), "AS112"),
    (v4(192, 52, 193, 0, 24), "AMT relay"),
    (v4(192, 88, 99, 0, 24), "6to4 relay"),
    (v4(192, 168, 0, 0, 16), "private network"),
    (v4(192, 175, 48, 0, 24), "AS112"),
    (v4(198, 18, 0, 0, 15), "benchmarks"),
    (v4(198, 51, 100, 0, 24), "documentation"),
    (v4(203, 0, 113, 0, 24), "documentation"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(255, 255, 255, 255, 32), "broadcast"),
    (v4(240, 0, 0, 0, 4), "reserved"),
];

const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0], 3);

/// The translating ranges (NAT64, 6to4, Teredo) carry an IPv4 address inside and would be a way
/// around the table above, so they are refused whole.
const V6: &[(Ipv6Net, &str)] = &[
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), "this host"),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), "loopback"),
    (v6([0, 0, 0, 0], 96), "IPv4-compatible"),
    (v6([0x64, 0xff9b, 0, 0], 96), "NAT64"),
    (v6([0x64, 0xff9b, 1, 0], 48), "NAT64"),
    (v6([0x100, 0, 0, 0], 64), "discard"),
    (v6([0x2001, 0, 0, 0], 32), "Teredo"),
    (v6([0x2001, 2, 0, 0], 48), "benchmarks"),
    (v6([0x2001, 0, 0, 0], 23), "protocol assignments"),
    (v6([0x2001, 0xdb8, 0, 0], 32), "documentation"),
    (v6([0x2002, 0, 0, 0], 16), "6to4"),
    (v6([0x2620, 0x4f, 0x8000, 0], 48), "AS112"),
    (v6([0x3fff, 0, 0, 0], 20), "documentation"),
    (v6([0x5f00, 0, 0, 0], 16), "segment routing"),
    (v6([0xfc00, 0, 0, 0], 7), "unique local"),
    (v6([0xfe80, 0, 0, 0], 10), "link-local"),
    (v6([0xfec0, 0, 0, 0], 10), "site-local"),
    (v6([0xff00, 0, 0, 0], 8), "multicast"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = "
        1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 52.32.0.1 93.184.216.34 100.63.255.255 100.128.0.0
        126.255.255.255 128.0.0.0 168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0
        172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0 192.167.255.255 192.169.0.0
        198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0
        223.255.255.255 ::ffff:8.8.8.8
        2000::1 2001:200::1 2001:4860:4860::8888 2001:db7:ffff::1 2001:db9::1 2003::1
        2606:4700:4700::1111 2a00:1450:4001:81b::200e 3fff:1000::1";

    const SPECIAL: &str = "
        0.0.0.0 0.1.2.3 10.0.0.0 10.255.255.255 100.64.0.0 100.100.100.200 100.127.255.255
        127.0.0.1 127.1.2.3 127.255.255.255 168.63.129.16 169.254.0.0 169.254.169.254 169.254.170.2
        169.254.255.255 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.192 192.0.2.1 192.31.196.1
        192.52.193.1 192.88.99.1 192.168.0.0 192.168.255.255 192.175.48.1 198.18.0.0 198.19.255.255
        198.51.100.7 203.0.113.255 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
        :: ::1 ::2 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254
        ::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::1 100::1 100:0:0:1::1
        2001::1 2001:0:4136:e378::1 2001:2::1 2001:10::1 2001:20::1 2001:1ff:ffff::1 2001:db8::1
        2002:7f00:1::1 2002:a00:1:: 2620:4f:8000::1 3fff::1 3fff:fff:ffff::1 4000::1 5f00::1
        fc00::1 fd00:ec2::254 fdff::1 fe80::1 febf::1 fec0::1 ff02::1 ff0e::1 e000::1";

    fn addresses(list: &str) -> impl Iterator<Item = IpAddr> {
        list.split_whitespace()
            .map(|text| text.parse().expect("an address"))
    }

    #[test]
    fn public_addresses_pass_over_https_and_only_there() {
        for address in addresses(PUBLIC) {
            assert_eq!(check(address, true, &[]), Ok(()), "{address}");
            assert!(
                check(address, false, &[]).is_err(),
                "{address} over plain http"
            );
        }
    }

    #[test]
    fn special_addresses_are_refused() {
        for address in addresses(SPECIAL) {
            let refusal = check(address, true, &[]).expect_err(&address.to_string());
            assert!(refusal.contains("allow_private"), "{refusal}");
        }
    }

    #[test]
    fn allow_private_opens_what_it_covers_in_every_spelling() {
        let allowed: [IpNet; 2] = [
            "127.0.0.0/8".parse().expect("v4"),
            "fd00::/8".parse().expect("v6"),
        ];
        for open in ["127.0.0.1", "127.9.9.9", "::ffff:127.0.0.1", "fd00::1"] {
            let open: IpAddr = open.parse().expect("an address");
            assert_eq!(check(open, true, &allowed), Ok(()));
            assert_eq!(check(open, false, &allowed), Ok(()));
        }
        for shut in [
            "128.0.0.1",
            "10.0.0.1",
            "::1",
            "fe80::1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
        ] {
            let shut: IpAddr = shut.parse().expect("an address");
            assert!(check(shut, false, &allowed).is_err(), "{shut}");
        }
    }
}
