//! `ip`, `cidr` and `url`.

use std::{any::Any, collections::HashMap, net::IpAddr};

use cel::{
    DeclarationError, Env, ExecutionError,
    common::{
        types::{CelBool, CelInt, CelList, CelMap, CelMapKey, CelString, STRING_TYPE, Type},
        value::{CowVal, StaticVal, Val},
    },
};

use super::{argument, failed, text};

static IP: Type = Type::new_unspecified_type("net.IP");
static CIDR: Type = Type::new_unspecified_type("net.CIDR");
static URL: Type = Type::new_unspecified_type("kubernetes.URL");

#[derive(Debug, Clone, PartialEq)]
struct Ip(IpAddr);

#[derive(Debug, Clone, PartialEq)]
struct Cidr {
    address: IpAddr,
    length: u32,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Url {
    scheme: String,
    host: String,
    path: String,
    query: String,
}

macro_rules! value {
    ($name:ident, $kind:ident) => {
        impl StaticVal for $name {}

        impl Val for $name {
            fn get_type(&self) -> &Type {
                &$kind
            }

            fn cel_type() -> &'static Type {
                &$kind
            }

            fn equals(&self, other: &dyn Val) -> bool {
                other.downcast_ref::<Self>() == Some(self)
            }

            fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
                Box::new(self.clone())
            }

            fn as_any(&self) -> Option<&dyn Any> {
                Some(self)
            }
        }
    };
}

value!(Ip, IP);
value!(Cidr, CIDR);
value!(Url, URL);

impl Ip {
    fn parse(text: &str) -> Result<Self, ExecutionError> {
        let address: IpAddr = text
            .parse()
            .map_err(|_| failed(format!("IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): unable to parse IP")))?;
        if matches!(address, IpAddr::V6(six) if six.to_ipv4_mapped().is_some()) {
            return Err(failed(format!(
                "IPv4-mapped IPv6 address {text:?} is not allowed"
            )));
        }
        Ok(Self(address))
    }
}

impl Cidr {
    fn parse(text: &str) -> Result<Self, ExecutionError> {
        let wrong = || {
            failed(format!(
                "network address parse error during conversion from string: {text}"
            ))
        };
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let address = Ip::parse(address).map_err(|_| wrong())?.0;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length = length
            .parse()
            .ok()
            .filter(|length| *length <= longest)
            .ok_or_else(wrong)?;
        Ok(Self { address, length })
    }

    fn masked(&self) -> Self {
        let address = match self.address {
            IpAddr::V4(four) => {
                let mask = u32::MAX.checked_shl(32 - self.length).unwrap_or(0);
                IpAddr::V4((u32::from(four) & mask).into())
            }
            IpAddr::V6(six) => {
                let mask = u128::MAX.checked_shl(128 - self.length).unwrap_or(0);
                IpAddr::V6((u128::from(six) & mask).into())
            }
        };
        Self {
            address,
            length: self.length,
        }
    }

    fn holds(&self, address: IpAddr, length: u32) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && length >= self.length
            && Self {
                address,
                length: self.length,
            }
            .masked()
                == self.masked()
    }
}

impl Url {
    /// An absolute URL, or an absolute path.
    fn parse(text: &str) -> Result<Self, ExecutionError> {
        let wrong = |why: &str| {
            failed(format!(
                "URL parse error during conversion from string: parse {text:?}: {why}"
            ))
        };
        if text.is_empty() {
            return Err(wrong("empty url"));
        }
        if text.chars().any(|c| c.is_ascii_control()) {
            return Err(wrong("net/url: invalid control character in URL"));
        }
        let (rest, query) = text.split_once('?').unwrap_or((text, ""));
        let mut url = Self {
            query: query.to_owned(),
            ..Self::default()
        };
        let rest = match rest.split_once(':') {
            Some((scheme, rest)) if !scheme.contains('/') => {
                let mut letters = scheme.chars();
                let fits = letters.next().is_some_and(|c| c.is_ascii_alphabetic())
                    && letters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
                if !fits {
                    return Err(wrong("first path segment in URL cannot contain colon"));
                }
                url.scheme = scheme.to_ascii_lowercase();
                rest
            }
            _ => rest,
        };
        let path = match rest.strip_prefix("//").filter(|_| !url.scheme.is_empty()) {
            Some(rest) => {
                let end = rest.find('/').unwrap_or(rest.len());
                let (authority, path) = rest.split_at(end);
                let host = authority
                    .rsplit_once('@')
                    .map_or(authority, |(_, host)| host);
                if host.contains(' ') {
                    return Err(wrong("invalid character \" \" in host name"));
                }
                host.clone_into(&mut url.host);
                path
            }
            None if rest.starts_with('/') || !url.scheme.is_empty() => rest,
            None => return Err(wrong("invalid URI for request")),
        };
        url.path = path.replace(' ', "%20");
        Ok(url)
    }

    fn name_and_port(&self) -> (&str, &str) {
        let host = self.host.as_str();
        if let Some((name, rest)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
            return (name, rest.strip_prefix(':').unwrap_or_default());
        }
        host.rsplit_once(':').unwrap_or((host, ""))
    }
}

fn string<'b, 'v>(text: impl Into<String>) -> CowVal<'b, 'v> {
    CowVal::owned(CelString::from(text.into()))
}

fn flag<'b, 'v>(flag: bool) -> CowVal<'b, 'v> {
    CowVal::owned(CelBool::from(flag))
}

/// Declares the functions.
pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    ips(env)?;
    cidrs(env)?;
    urls(env)
}

fn ips(env: &mut Env) -> Result<(), DeclarationError> {
    let own = || IP.to_owned();
    env.add_overload("ip", "string_to_ip", vec![STRING_TYPE], |args| {
        Ok(CowVal::owned(Ip::parse(text(&args, 0)?)?))
    })?;
    env.add_overload("isIP", "is_ip", vec![STRING_TYPE], |args| {
        Ok(flag(Ip::parse(text(&args, 0)?).is_ok()))
    })?;
    env.add_overload(
        "ip.isCanonical",
        "ip_is_canonical",
        vec![STRING_TYPE],
        |args| {
            let source = text(&args, 0)?;
            Ok(flag(Ip::parse(source)?.0.to_string() == source))
        },
    )?;
    env.add_overload("string", "ip_to_string", vec![own()], |args| {
        Ok(string(argument::<Ip>(&args, 0)?.0.to_string()))
    })?;
    env.add_member_overload("family", "ip_family", own(), vec![], |args| {
        let family = if argument::<Ip>(&args, 0)?.0.is_ipv4() {
            4
        } else {
            6
        };
        Ok(CowVal::owned(CelInt::from(family)))
    })?;
    env.add_member_overload(
        "isUnspecified",
        "ip_is_unspecified",
        own(),
        vec![],
        |args| Ok(flag(argument::<Ip>(&args, 0)?.0.is_unspecified())),
    )?;
    env.add_member_overload("isLoopback", "ip_is_loopback", own(), vec![], |args| {
        Ok(flag(argument::<Ip>(&args, 0)?.0.is_loopback()))
    })?;
    env.add_member_overload(
        "isLinkLocalMulticast",
        "ip_is_link_local_multicast",
        own(),
        vec![],
        |args| {
            Ok(flag(match argument::<Ip>(&args, 0)?.0 {
                IpAddr::V4(four) => four.octets()[..3] == [224, 0, 0],
                IpAddr::V6(six) => six.segments()[0] & 0xff0f == 0xff02,
            }))
        },
    )?;
    env.add_member_overload(
        "isLinkLocalUnicast",
        "ip_is_link_local_unicast",
        own(),
        vec![],
        |args| Ok(flag(link_local(argument::<Ip>(&args, 0)?.0))),
    )?;
    env.add_member_overload(
        "isGlobalUnicast",
        "ip_is_global_unicast",
        own(),
        vec![],
        |args| {
            let address = argument::<Ip>(&args, 0)?.0;
            let broadcast = matches!(address, IpAddr::V4(four) if four.is_broadcast());
            Ok(flag(
                !broadcast
                    && !address.is_unspecified()
                    && !address.is_loopback()
                    && !address.is_multicast()
                    && !link_local(address),
            ))
        },
    )
}

fn link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => four.is_link_local(),
        IpAddr::V6(six) => six.is_unicast_link_local(),
    }
}

fn cidrs(env: &mut Env) -> Result<(), DeclarationError> {
    let own = || CIDR.to_owned();
    env.add_overload("cidr", "string_to_cidr", vec![STRING_TYPE], |args| {
        Ok(CowVal::owned(Cidr::parse(text(&args, 0)?)?))
    })?;
    env.add_overload("isCIDR", "is_cidr", vec![STRING_TYPE], |args| {
        Ok(flag(Cidr::parse(text(&args, 0)?).is_ok()))
    })?;
    env.add_overload("string", "cidr_to_string", vec![own()], |args| {
        let cidr = argument::<Cidr>(&args, 0)?;
        Ok(string(format!("{}/{}", cidr.address, cidr.length)))
    })?;
    env.add_member_overload("ip", "cidr_ip", own(), vec![], |args| {
        Ok(CowVal::owned(Ip(argument::<Cidr>(&args, 0)?.address)))
    })?;
    env.add_member_overload(
        "prefixLength",
        "cidr_prefix_length",
        own(),
        vec![],
        |args| {
            let length = i64::from(argument::<Cidr>(&args, 0)?.length);
            Ok(CowVal::owned(CelInt::from(length)))
        },
    )?;
    env.add_member_overload("masked", "cidr_masked", own(), vec![], |args| {
        Ok(CowVal::owned(argument::<Cidr>(&args, 0)?.masked()))
    })?;
    for (id, kind) in [
        ("cidr_contains_ip_string", STRING_TYPE),
        ("cidr_contains_ip_ip", IP.to_owned()),
    ] {
        env.add_member_overload("containsIP", id, own(), vec![kind], |args| {
            let address = match argument::<Ip>(&args, 1) {
                Ok(ip) => ip.0,
                Err(_) => Ip::parse(text(&args, 1)?)?.0,
            };
            Ok(flag(argument::<Cidr>(&args, 0)?.holds(address, u32::MAX)))
        })?;
    }
    for (id, kind) in [
        ("cidr_contains_cidr_string", STRING_TYPE),
        ("cidr_contains_cidr", own()),
    ] {
        env.add_member_overload("containsCIDR", id, own(), vec![kind], |args| {
            let other = match argument::<Cidr>(&args, 1) {
                Ok(cidr) => cidr.clone(),
                Err(_) => Cidr::parse(text(&args, 1)?)?,
            };
            let holds = argument::<Cidr>(&args, 0)?.holds(other.address, other.length);
            Ok(flag(holds))
        })?;
    }
    Ok(())
}

fn urls(env: &mut Env) -> Result<(), DeclarationError> {
    let own = || URL.to_owned();
    env.add_overload("url", "string_to_url", vec![STRING_TYPE], |args| {
        Ok(CowVal::owned(Url::parse(text(&args, 0)?)?))
    })?;
    env.add_overload("isURL", "is_url_string", vec![STRING_TYPE], |args| {
        Ok(flag(Url::parse(text(&args, 0)?).is_ok()))
    })?;
    env.add_member_overload("getScheme", "url_get_scheme", own(), vec![], |args| {
        Ok(string(argument::<Url>(&args, 0)?.scheme.as_str()))
    })?;
    env.add_member_overload("getHost", "url_get_host", own(), vec![], |args| {
        Ok(string(argument::<Url>(&args, 0)?.host.as_str()))
    })?;
    env.add_member_overload("getHostname", "url_get_hostname", own(), vec![], |args| {
        Ok(string(argument::<Url>(&args, 0)?.name_and_port().0))
    })?;
    env.add_member_overload("getPort", "url_get_port", own(), vec![], |args| {
        Ok(string(argument::<Url>(&args, 0)?.name_and_port().1))
    })?;
    env.add_member_overload(
        "getEscapedPath",
        "url_get_escaped_path",
        own(),
        vec![],
        |args| Ok(string(argument::<Url>(&args, 0)?.path.as_str())),
    )?;
    env.add_member_overload("getQuery", "url_get_query", own(), vec![], |args| {
        let mut values: HashMap<String, Vec<Box<dyn Val>>> = HashMap::new();
        let query = argument::<Url>(&args, 0)?.query.clone();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = CelString::from(value.to_owned());
            values
                .entry(key.to_owned())
                .or_default()
                .push(Box::new(value));
        }
        let map: HashMap<CelMapKey<'static>, Box<dyn Val>> = values
            .into_iter()
            .map(|(key, list)| {
                let list: Box<dyn Val> = Box::new(CelList::from(list));
                (CelMapKey::from(key), list)
            })
            .collect();
        Ok(CowVal::owned(CelMap::from(map)))
    })
}
