//! `http://host:port`, the form in which services and the site itself are named.

use super::diagnostic::Fault;
use std::net::Ipv6Addr;

/// Scheme, host and port of a URL without anything behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) https: bool,
    /// Lower case; an IPv6 address in brackets.
    pub(super) host: String,
    /// Written, or the scheme's own.
    pub(super) port: u16,
}

impl Origin {
    /// Reads an `http://` or `https://` URL that has no path (a lone `/` is none), query, fragment or user.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(Fault::new("this is not a URL", "begin with `http://` or `https://`"));
        };
        let https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            "unix" => return Err(Fault::new("this is not a URL", "`unix:/path` is written without `//`")),
            _ => return Err(Fault::new("this URL's scheme is not supported", "use `http://` or `https://`")),
        };
        let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if rest.contains('@') {
            return Err(Fault::new("the URL must not hold a user or password", "leave everything up to the `@` out"));
        }
        if !matches!(behind, "" | "/") {
            let remedy = "leave everything behind the host and port out; `add_prefix` of a rule changes paths";
            return Err(Fault::new("the URL must not have a path, query or fragment", remedy));
        }
        let (host, port) = split_port(authority)?;
        Ok(Self { https, host: parse_host(host)?, port: port.unwrap_or(if https { 443 } else { 80 }) })
    }
}

/// Splits `host:port`; the port is not 0.
pub(super) fn split_port(authority: &str) -> Result<(&str, Option<u16>), Fault> {
    let after_address = authority.rfind(']').map_or(0, |end| end + 1);
    let Some(colon) = authority[after_address..].rfind(':').map(|at| after_address + at) else {
        return Ok((authority, None));
    };
    let (host, port) = (&authority[..colon], &authority[colon + 1..]);
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(number) if digits && number != 0 => Ok((host, Some(number))),
        _ => Err(Fault::new(format!("`{port}` is not a port"), "a port is a number between 1 and 65535")),
    }
}

/// A host name, IPv4 address or bracketed IPv6 address, in lower case and without a trailing dot.
pub(super) fn parse_host(host: &str) -> Result<String, Fault> {
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').and_then(|address| address.parse::<Ipv6Addr>().ok());
        return address
            .map(|address| format!("[{address}]"))
            .ok_or_else(|| Fault::new("this is not an IPv6 address in brackets", "such as `[::1]`"));
    }
    if host.parse::<Ipv6Addr>().is_ok() {
        return Err(Fault::new("an IPv6 address needs brackets", format!("write `[{host}]`")));
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if host.is_empty() {
        return Err(Fault::new("the host is missing", "such as `127.0.0.1:8080` or `app.example.com`"));
    }
    if !host.is_ascii() {
        let remedy = "write it as DNS knows it, in its `xn--` form";
        return Err(Fault::new(format!("`{host}` is not an ASCII host name"), remedy));
    }
    let labels = host.split('.').all(|label| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    });
    if !labels || host.len() > 253 {
        return Err(Fault::new(format!("`{host}` is not a host name"), "letters, digits, `-` and dots"));
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_with_their_ports() {
        let read = |text| Origin::parse(text).map(|origin| (origin.https, origin.host, origin.port));
        assert_eq!(read("http://127.0.0.1:8090"), Ok((false, "127.0.0.1".into(), 8090)));
        assert_eq!(read("HTTPS://Example.COM./"), Ok((true, "example.com".into(), 443)));
        assert_eq!(read("http://[::1]"), Ok((false, "[::1]".into(), 80)));
        assert_eq!(read("http://[0:0::1]:81"), Ok((false, "[::1]".into(), 81)));
        assert_eq!(read("http://my_service"), Ok((false, "my_service".into(), 80)));
    }

    #[test]
    fn what_is_more_or_less_than_an_origin_is_refused() {
        for text in [
            "app",
            "127.0.0.1:80",
            "ftp://x",
            "h2c://x",
            "unix:///x",
            "http://",
            "http://:80",
            "http://x:0",
            "http://x:",
            "http://x:+8",
            "http://x:99999",
            "http://x/y",
            "http://x?y",
            "http://x#y",
            "http://u:p@x",
            "http://x y",
            "http://é",
            "http://[::1",
            "http://[x]",
            "http://::1",
            "http://a..b",
            "http://x/@",
        ] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_repeated() {
        let fault = Origin::parse("http://user:hunter2@x").expect_err("a fault");
        assert!(!format!("{fault:?}").contains("hunter2"));
    }
}
