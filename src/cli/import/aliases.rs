//! now.sh rules files: their JSON, and what their paths mean here.

use crate::config::rules;
use serde_json::{Map, Value};

/// One rule of the file, translated but for the name of its upstream.
#[derive(Debug)]
pub(super) struct Alias {
    /// `pathname` as written.
    pub(super) written: String,
    /// What it is here; `None` matches everything.
    pub(super) pattern: Option<String>,
    /// Whether `pattern` ends in `/**` and the rule there took the path before that, too.
    pub(super) took_bare: bool,
    /// In upper case; empty = all.
    pub(super) methods: Vec<String>,
    /// A URL with scheme and without a slash at its end.
    pub(super) dest: String,
    /// What a reader should know about the translation.
    pub(super) notes: Vec<String>,
}

/// Reads a file; fails with everything that is wrong.
pub(super) fn parse(text: &str) -> Result<Vec<Alias>, Vec<String>> {
    let file: Value = serde_json::from_str(text).map_err(|fault| vec![format!("this is not JSON: {fault}")])?;
    let Some(file) = file.as_object() else {
        return Err(vec!["a rules file looks like {\"rules\": [...]}".to_owned()]);
    };
    let mut faults = unknown(file, &["rules"]);
    let rules = match file.get("rules") {
        Some(Value::Array(rules)) => rules.as_slice(),
        _ => {
            faults.push("a rules file looks like {\"rules\": [...]}".to_owned());
            &[]
        }
    };
    if rules.is_empty() && faults.is_empty() {
        faults.push("`rules` is empty".to_owned());
    }
    let mut aliases = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        match parse_rule(rule) {
            Ok(alias) => aliases.push(alias),
            Err(more) => faults.extend(more.into_iter().map(|fault| format!("rule {}{fault}", index + 1))),
        }
    }
    if faults.is_empty() { Ok(aliases) } else { Err(faults) }
}

fn parse_rule(rule: &Value) -> Result<Alias, Vec<String>> {
    let Some(rule) = rule.as_object() else { return Err(vec![" is not an object".to_owned()]) };
    let mut faults: Vec<_> = unknown(rule, &["pathname", "method", "dest"]);
    let mut noted = |fault: String| faults.push(fault);
    let mut alias = Alias {
        written: String::new(),
        pattern: None,
        took_bare: false,
        methods: parse_methods(rule.get("method")).map_err(&mut noted).unwrap_or_default(),
        dest: String::new(),
        notes: Vec::new(),
    };
    match rule.get("pathname") {
        None | Some(Value::Null) => {}
        Some(Value::String(pathname)) => translate_path(pathname, &mut alias).unwrap_or_else(&mut noted),
        Some(_) => noted("`pathname` is not a text".to_owned()),
    }
    match rule.get("dest") {
        Some(Value::String(dest)) => alias.dest = parse_dest(dest).map_err(&mut noted).unwrap_or_default(),
        Some(_) => noted("`dest` is not a text".to_owned()),
        None => {
            let faults = faults.into_iter().map(|fault| format!(": {fault}"));
            return Err(faults.chain([" has no `dest`".to_owned()]).collect());
        }
    }
    if faults.is_empty() { Ok(alias) } else { Err(faults.into_iter().map(|fault| format!(": {fault}")).collect()) }
}

fn unknown(object: &Map<String, Value>, known: &[&str]) -> Vec<String> {
    let closest = |name: &str| {
        let close = known.iter().map(|known| (strsim::jaro_winkler(name, known), known));
        let best = close.filter(|(closeness, _)| *closeness >= 0.8).max_by(|one, other| one.0.total_cmp(&other.0));
        best.map(|(_, known)| format!(", did you mean `{known}`?")).unwrap_or_default()
    };
    let names = object.keys().filter(|name| !known.contains(&name.as_str()));
    names.map(|name| format!("unknown key `{name}`{}", closest(name))).collect()
}

fn parse_methods(methods: Option<&Value>) -> Result<Vec<String>, String> {
    let methods = match methods {
        None | Some(Value::Null) => &[],
        Some(Value::Array(methods)) => methods.as_slice(),
        Some(method) => std::slice::from_ref(method),
    };
    let parse = |method: &Value| {
        let method = method.as_str().ok_or("`method` is not a text or a list of texts")?;
        let upper = method.to_ascii_uppercase();
        match http::Method::from_bytes(upper.as_bytes()) {
            Ok(_) => Ok(upper),
            Err(_) => Err(format!("`{method}` is not a method")),
        }
    };
    methods.iter().map(parse).collect()
}

/// The URL of a `dest`; one without a scheme was https.
fn parse_dest(dest: &str) -> Result<String, String> {
    let url = if dest.contains("://") { dest.to_owned() } else { format!("https://{dest}") };
    let url = url.trim_end_matches('/').to_ascii_lowercase();
    let authority = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    if authority.contains(['/', '?', '#']) {
        return Err("`dest` must not have a path: paths are forwarded as they come".to_owned());
    }
    let sane = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if authority.is_empty() || !authority.bytes().all(sane) {
        return Err("`dest` is not a host name or an http(s) URL".to_owned());
    }
    Ok(url)
}

/// Puts what `pathname` means here into `alias`.
fn translate_path(pathname: &str, alias: &mut Alias) -> Result<(), String> {
    alias.written = pathname.to_owned();
    let path = &pathname[..pathname.find(['?', '#']).unwrap_or(pathname.len())];
    let mut segments: Vec<&str> = Vec::new();
    let written: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    for (index, segment) in written.iter().copied().enumerate() {
        let last = index + 1 == written.len() && !path.ends_with('/');
        let prefix = segment.strip_suffix("**").filter(|prefix| last && !prefix.contains('*') && !prefix.is_empty());
        match prefix {
            _ if !segment.contains('*') || matches!(segment, "*" | "**") => segments.push(segment),
            Some(prefix) => {
                segments.extend([prefix, "**"]);
                alias.took_bare = true;
                alias.notes.push(format!(
                    "{pathname:?} there also matched names that merely begin so; here segments are whole."
                ));
            }
            None => {
                segments.push(if segment.contains("**") { "**" } else { "*" });
                alias
                    .notes
                    .push(format!("{pathname:?} is wider here, as stars are whole segments: check what it takes."));
            }
        }
    }
    segments.dedup_by(|next, before| *next == "**" && *before == "**");
    if segments == ["**"] {
        return Ok(());
    }
    let slash = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    let joined = format!("/{}{slash}", segments.join("/"));
    let spelled = rules::spelled(&joined).map_err(|fault| format!("`pathname` {pathname:?}: {}", fault.message))?;
    alias.pattern = Some(spelled);
    Ok(())
}
