//! Templates such as `{{ version }}`, rendered by minijinja in strict mode, so that a typo is an
//! error and not an empty string.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, context};

use crate::core::ids::{HostId, Port, SlotNumber};

use super::value::{nearest, quoted};

/// The limit of instructions of a template, which stops nested loops.
const FUEL: u64 = 100_000;

/// The length limit of an expression, because every operator in a chain uses stack.
const REGION_BYTES_MAX: usize = 1000;

/// The variables of a template for a slot.
#[derive(Clone, Copy, Debug)]
pub struct SlotVars<'a> {
    pub version: &'a str,
    pub slot: SlotNumber,
    /// The first port of the slot; `None` if the service has no ports.
    pub port: Option<Port>,
    /// The ports of the slot that have names: `{{ ports.admin }}`.
    pub ports: &'a [(String, Port)],
    pub address: &'a str,
    pub host: &'a HostId,
    pub service: &'a str,
    pub fleet: &'a str,
    /// The labels of the host: `{{ labels.zone }}`.
    pub labels: &'a BTreeMap<String, String>,
}

/// The names in [`SlotVars`].
const SLOT_NAMES: [&str; 9] = [
    "version", "port", "ports", "slot", "address", "host", "service", "fleet", "labels",
];

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment
});

/// Why a template cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TemplateFault {
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// The invalid word, if it is known.
    pub(super) word: Option<String>,
}

/// Renders a template for a slot.
///
/// # Errors
/// The problem as a fragment: "unknown variable `prot`".
pub fn render(template: &str, vars: &SlotVars<'_>) -> Result<String, String> {
    render_slot(template, vars).map_err(|fault| fault.message)
}

pub(super) fn render_slot(template: &str, vars: &SlotVars<'_>) -> Result<String, TemplateFault> {
    let SlotVars {
        version,
        slot,
        port,
        ports,
        address,
        host,
        service,
        fleet,
        labels,
    } = *vars;
    let host = host.as_str();
    let port = port.map_or(Value::UNDEFINED, Value::from);
    let ports: BTreeMap<_, _> = ports.iter().cloned().collect();
    let context = context! { version, port, ports, slot, address, host, service, fleet, labels };
    render_with(template, &context, &SLOT_NAMES).map_err(|fault| match fault {
        RenderFailure::Fault(fault) => fault,
        RenderFailure::Undefined => {
            missing_port(template, vars).unwrap_or_else(|| missing_label(template, host, labels))
        }
    })
}

/// Renders a template that may only use the version, because there is no slot.
pub(super) fn render_version(template: &str, version: &str) -> Result<String, TemplateFault> {
    let undefined = TemplateFault {
        message: "an expression has no value".to_owned(),
        help: None,
        word: None,
    };
    render_with(template, &context! { version }, &["version"]).map_err(|fault| match fault {
        RenderFailure::Fault(fault) => fault,
        RenderFailure::Undefined => undefined,
    })
}

/// Whether a template may use a variable, such as `labels`, which differs between hosts, or `port`,
/// which exists only with an instance.
pub fn uses(template: &str, name: &str) -> bool {
    regions(template).iter().any(|region| {
        template
            .get(region.clone())
            .is_some_and(|text| has_variable(text, name))
    })
}

/// Whether a text contains a name that is neither a part of another name nor a field of a variable.
fn has_variable(text: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (text.get(..at), text.get(at + name.len()..));
        let before = before.and_then(|before| before.chars().next_back());
        let after = after.and_then(|after| after.chars().next());
        !before.is_some_and(|c| is_word(c) || c == '.') && !after.is_some_and(is_word)
    })
}

/// The parts of a text that minijinja interprets: `{{ … }}`, `{% … %}` and `{# … #}`.
pub(super) fn regions(text: &str) -> Vec<Range<usize>> {
    const PAIRS: [(&str, &str); 3] = [("{{", "}}"), ("{%", "%}"), ("{#", "#}")];
    let mut regions = Vec::new();
    let mut from = 0;
    while let Some(rest) = text.get(from..) {
        let opening =
            |(open, close): &(&'static str, &'static str)| rest.find(open).map(|at| (at, *close));
        let Some((at, close)) = PAIRS.iter().filter_map(opening).min() else {
            break;
        };
        let start = from + at;
        let end = text
            .get(start + 2..)
            .and_then(|rest| closing(rest, close))
            .map_or(text.len(), |end| start + end + 4);
        regions.push(start..end);
        from = end;
    }
    regions
}

/// Finds `close` outside of quotes. (A comment has no quotes.)
fn closing(text: &str, close: &str) -> Option<usize> {
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if text.get(at..).is_some_and(|rest| rest.starts_with(close)) => return Some(at),
            None if matches!(c, '"' | '\'') && close != "#}" => quote = Some(c),
            Some(_) if c == '\\' => drop(chars.next()),
            Some(open) if c == open => quote = None,
            _ => {}
        }
    }
    None
}

/// Whether a region has a `*` outside of quotes and comments.
fn has_multiplication(region: &str) -> bool {
    !region.starts_with("{#") && closing(region, "*").is_some()
}

enum RenderFailure {
    Fault(TemplateFault),
    /// A known variable does not have the requested attribute.
    Undefined,
}

fn render_with(template: &str, context: &Value, names: &[&str]) -> Result<String, RenderFailure> {
    if regions(template)
        .iter()
        .any(|region| region.len() > REGION_BYTES_MAX)
    {
        let message = format!("an expression is longer than {REGION_BYTES_MAX} bytes");
        let help = Some("write variables as \"{{ version }}\"".to_owned());
        return Err(RenderFailure::Fault(TemplateFault {
            message,
            help,
            word: None,
        }));
    }
    if regions(template)
        .into_iter()
        .any(|region| template.get(region).is_some_and(has_multiplication))
    {
        // A multiplied list is expanded only when it is read, and that does not use fuel, so the
        // limit would not apply.
        let message = "a template cannot multiply".to_owned();
        let help = Some("write variables as \"{{ version }}\"".to_owned());
        return Err(RenderFailure::Fault(TemplateFault {
            message,
            help,
            word: Some("*".to_owned()),
        }));
    }
    let compiled = ENVIRONMENT
        .template_from_str(template)
        .map_err(|error| RenderFailure::Fault(explained(&error)))?;
    let globals: Vec<&str> = ENVIRONMENT.globals().map(|(name, _)| name).collect();
    let mut used: Vec<String> = compiled.undeclared_variables(false).into_iter().collect();
    used.sort();
    if let Some(unknown) = used
        .into_iter()
        .find(|name| !names.contains(&name.as_str()) && !globals.contains(&name.as_str()))
    {
        return Err(RenderFailure::Fault(unknown_variable(unknown, names)));
    }
    let mut rendered = compiled
        .render(context)
        .map_err(|error| match error.kind() {
            ErrorKind::UndefinedError => RenderFailure::Undefined,
            _ => RenderFailure::Fault(explained(&error)),
        })?;
    // Like Jinja, minijinja removes the last line break; keep the text unchanged.
    if template.ends_with('\n') && !rendered.ends_with('\n') {
        rendered.push('\n');
    }
    Ok(rendered)
}

fn unknown_variable(name: String, names: &[&str]) -> TemplateFault {
    let help = match nearest(&name, names) {
        Some(meant) => format!("did you mean `{{{{ {meant} }}}}`?"),
        None => format!("valid variables: {}", names.join(", ")),
    };
    TemplateFault {
        message: format!("unknown variable {}", quoted(&name)),
        help: Some(help),
        word: Some(name),
    }
}

/// Explains a port that the service does not have.
fn missing_port(template: &str, vars: &SlotVars<'_>) -> Option<TemplateFault> {
    let compiled = ENVIRONMENT.template_from_str(template).ok()?;
    let mut used: Vec<String> = compiled.undeclared_variables(true).into_iter().collect();
    used.sort();
    let is_missing = |word: &str| match word.split_once('.') {
        Some(("ports", name)) => !vars.ports.iter().any(|(known, _)| known == name),
        Some(("port", _)) => true,
        _ => word == "port" && vars.port.is_none(),
    };
    let word = used.into_iter().find(|word| is_missing(word))?;
    let help = if vars.port.is_none() {
        "the service has `slots` and no ports; use `{{ slot }}`".to_owned()
    } else if vars.ports.is_empty() {
        "the ports have no names; for example: ports = [{ http = 8081, admin = 9081 }]".to_owned()
    } else {
        let known = vars.ports.iter().map(|(name, _)| format!("ports.{name}"));
        format!("valid ports: {}", known.collect::<Vec<_>>().join(", "))
    };
    Some(TemplateFault {
        message: format!("{} has no value", quoted(&word)),
        help: Some(help),
        word: Some(word),
    })
}

fn missing_label(template: &str, host: &str, labels: &BTreeMap<String, String>) -> TemplateFault {
    let used = ENVIRONMENT
        .template_from_str(template)
        .map(|compiled| compiled.undeclared_variables(true));
    let mut used: Vec<String> = used.unwrap_or_default().into_iter().collect();
    used.sort();
    let label = used
        .iter()
        .filter_map(|name| name.strip_prefix("labels."))
        .find(|label| !labels.contains_key(*label))
        .map(str::to_owned);
    match label {
        Some(label) => TemplateFault {
            message: format!("host `{host}` has no label {}", quoted(&label)),
            help: Some(format!(
                "add the label to every host in the inventory: labels = {{ {label} = \"…\" }}"
            )),
            word: Some(label),
        },
        None => TemplateFault {
            message: format!("an expression has no value on host `{host}`"),
            help: Some(format!("valid variables: {}", SLOT_NAMES.join(", "))),
            word: None,
        },
    }
}

fn explained(error: &minijinja::Error) -> TemplateFault {
    let what = match error.kind() {
        ErrorKind::SyntaxError => "not a valid template",
        ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction => {
            "unknown in templates"
        }
        ErrorKind::OutOfFuel => "the template runs too long",
        _ => "cannot render the template",
    };
    let message = match error.detail() {
        Some(detail) => format!("{what}: {detail}"),
        None => what.to_owned(),
    };
    TemplateFault {
        message,
        help: Some("write variables as \"{{ version }}\"".to_owned()),
        word: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &str) -> Result<String, String> {
        let labels = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
        let vars = SlotVars {
            version: "0.9",
            slot: 8081,
            port: Some(8081),
            ports: &[],
            address: "127.0.0.11",
            host: &HostId::from("node1"),
            service: "testpage",
            fleet: "local",
            labels: &labels,
        };
        render(template, &vars)
    }

    #[test]
    fn template_renders_all_variables_and_keeps_plain_text() {
        let all = "{{ version }} {{ port }} {{ address }} {{ host }} {{ service }} {{ fleet }} {{ \
                   labels.zone }}";
        assert_eq!(
            rendered(all).unwrap(),
            "0.9 8081 127.0.0.11 node1 testpage local a"
        );
        for plain in ["", "a $HOME \"b\" 'c' \\ <&>", "line\n", "{ }"] {
            assert_eq!(rendered(plain).unwrap(), plain);
        }
        assert_eq!(
            rendered("<{{ host }}>").unwrap(),
            "<node1>",
            "nothing is escaped"
        );
    }

    #[test]
    fn undefined_variable_is_an_error() {
        assert_eq!(
            rendered("{{ prot }}").unwrap_err(),
            "unknown variable `prot`"
        );
        assert_eq!(
            rendered("{{ labels.rack }}").unwrap_err(),
            "host `node1` has no label `rack`"
        );
        assert!(
            rendered("{{ port")
                .unwrap_err()
                .starts_with("not a valid template")
        );
        assert!(
            rendered("{{ port | upcase }}")
                .unwrap_err()
                .starts_with("unknown in templates")
        );
    }

    #[test]
    fn template_with_nested_loops_is_stopped() {
        let nested =
            "{% for a in range(90000) %}{% for b in range(90000) %}x{% endfor %}{% endfor %}";
        assert_eq!(rendered(nested).unwrap_err(), "the template runs too long");
    }

    #[test]
    fn regions_are_the_parts_in_braces() {
        let text = "a {{ b }} c {% if d %}{# e";
        let found: Vec<&str> = regions(text)
            .into_iter()
            .map(|region| &text[region])
            .collect();
        assert_eq!(found, ["{{ b }}", "{% if d %}", "{# e"]);
        let text = "{{ '}}' ~ \"\\\"}}\" }} {# it's }} #} {{ 'open }}";
        let found: Vec<&str> = regions(text)
            .into_iter()
            .map(|region| &text[region])
            .collect();
        assert_eq!(
            found,
            ["{{ '}}' ~ \"\\\"}}\" }}", "{# it's }} #}", "{{ 'open }}"]
        );
    }

    #[test]
    fn template_with_multiplication_is_rejected() {
        for template in [
            "{{ [[]] * port * port * port }}",
            "{{ 'x' ~ '*' ~ [1] * 9 }}",
            "{% set a = port ** 9 %}",
        ] {
            assert_eq!(
                rendered(template).unwrap_err(),
                "a template cannot multiply"
            );
        }
        assert_eq!(rendered("{{ '*' ~ port }}*{# 2 * 2 #}").unwrap(), "*8081*");
    }

    #[test]
    fn template_with_a_long_chain_of_operators_is_rejected() {
        for chain in ["-", "not ", "1+", "1 if 1 else "] {
            let template = format!("{{{{ '}}}}' ~ {}1 }}}}", chain.repeat(20_000));
            assert_eq!(
                rendered(&template).unwrap_err(),
                "an expression is longer than 1000 bytes"
            );
        }
        assert_eq!(
            rendered(&format!("{}{{{{ port }}}}", "long text ".repeat(1000)))
                .unwrap()
                .len(),
            10_004
        );
    }
}
