//! What the environment says of tracing: the standard variables of OpenTelemetry's SDKs, as far as they concern traces by OTLP.
//!
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/> and
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>

use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use url::Url;

use super::context::TraceParent;
use super::otlp::Encoding;
use super::span::Attributes;

/// How long one request may take where nothing else is set, as the specification says.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the end of a run waits for what is not delivered yet: as long as one waits without wondering.
const HOLD: Duration = Duration::from_secs(2);
/// Nobody means more than this by a number of milliseconds: ten minutes.
const MAX_WAIT: Duration = Duration::from_secs(600);
/// Longest value of a variable that is read, in bytes.
const MAX_VALUE: usize = 64 << 10;

/// What the environment asks for.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// Whoever started us, and wants to see us below it.
    pub(crate) parent: Option<TraceParent>,
    /// Where spans go; none: nowhere.
    pub(crate) export: Option<Export>,
    /// What cannot be done as it was asked for, each one line.
    pub(crate) problems: Vec<String>,
}

/// Where and how spans are delivered.
#[derive(Debug)]
pub(crate) struct Export {
    /// The URL that is posted to.
    pub(crate) url: Url,
    /// Headers of each request. They may hold secrets, so they are never printed.
    pub(crate) headers: HeaderMap,
    pub(super) encoding: Encoding,
    /// How long one request may take.
    pub(crate) timeout: Duration,
    /// How long the end of the run waits at most.
    pub(crate) hold: Duration,
    /// What the resource says, as the user wants it.
    pub(crate) resource: Vec<(String, String)>,
}

impl Config {
    /// Reads the variables of this process.
    pub(crate) fn from_env() -> Self {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        // An empty variable counts as none.
        let get = |name: &str| get(name).filter(|value| !value.trim().is_empty() && value.len() <= MAX_VALUE);
        let mut problems = Vec::new();
        let parent = get("TRACEPARENT").and_then(|text| {
            let parent = TraceParent::parse(&text);
            if parent.is_none() {
                problems.push("TRACEPARENT is not one and is ignored".to_owned());
            }
            parent
        });
        let is_off = get("OTEL_SDK_DISABLED").is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
            || get("OTEL_TRACES_EXPORTER").is_some_and(|value| value.split(',').all(|name| name.trim() != "otlp"))
            // Whoever began the trace does not keep it.
            || parent.is_some_and(|parent| !parent.is_sampled());
        let export = if is_off { None } else { export(&get, &mut problems) };
        Self { parent, export, problems }
    }
}

fn export(get: &impl Fn(&str) -> Option<String>, problems: &mut Vec<String>) -> Option<Export> {
    let own = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    let (name, text, is_base) = match (get(own), get("OTEL_EXPORTER_OTLP_ENDPOINT")) {
        (Some(text), _) => (own, text, false),
        (None, Some(text)) => ("OTEL_EXPORTER_OTLP_ENDPOINT", text, true),
        (None, None) => return None,
    };
    // The variable of the signal goes before that of all signals.
    let either = |suffix: &str| {
        let names = [format!("OTEL_EXPORTER_OTLP_TRACES_{suffix}"), format!("OTEL_EXPORTER_OTLP_{suffix}")];
        names.into_iter().find_map(|name| get(&name).map(|value| (name, value)))
    };
    let mut refuse = |problem: String| {
        problems.push(format!("no traces are sent: {problem}"));
        None
    };
    let encoding = match either("PROTOCOL") {
        None => Encoding::Protobuf,
        Some((name, value)) => match value.trim() {
            "http/protobuf" => Encoding::Protobuf,
            "http/json" => Encoding::Json,
            other => {
                let other: String = other.chars().take(40).collect();
                return refuse(format!(
                    "{name} is `{other}`, which Lockgate does not speak; set \
                     OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf and OTEL_EXPORTER_OTLP_TRACES_ENDPOINT to where it is \
                     taken, as in http://localhost:4318/v1/traces"
                ));
            }
        },
    };
    let url = match endpoint(&text, is_base) {
        Ok(url) => url,
        Err(problem) => return refuse(format!("{name} {problem}; set it to a URL as in http://localhost:4318")),
    };
    let headers = either("HEADERS").map(|(name, value)| headers(&name, &value, problems)).unwrap_or_default();
    let mut wait = |value: Option<(String, String)>, default: Duration| {
        let Some((name, value)) = value else { return default };
        match value.trim().parse().map(Duration::from_millis) {
            Ok(wait) if wait <= MAX_WAIT => wait,
            _ => {
                problems.push(format!("{name} is no number of milliseconds up to {}", MAX_WAIT.as_millis()));
                default
            }
        }
    };
    let timeout = wait(either("TIMEOUT"), TIMEOUT);
    let hold = "OTEL_BSP_EXPORT_TIMEOUT";
    let hold = wait(get(hold).map(|value| (hold.to_owned(), value)), HOLD);
    Some(Export { url, headers, encoding, timeout, hold, resource: resource(get, problems) })
}

fn endpoint(text: &str, is_base: bool) -> Result<Url, String> {
    let mut url = Url::parse(text.trim()).map_err(|error| format!("cannot be read ({error})"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err("is neither an http nor an https URL".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or a password, which belong into OTEL_EXPORTER_OTLP_HEADERS".to_owned());
    }
    url.set_fragment(None);
    if is_base {
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    Ok(url)
}

/// Pairs as in `a=b,c=d`, values percent-encoded. Gives what can be read, and whether all could.
fn pairs(text: &str) -> (Vec<(String, String)>, bool) {
    let mut all = true;
    let mut read = |pair: &str| {
        let pair = pair.trim();
        if pair.is_empty() {
            return None;
        }
        let value = pair.split_once('=').and_then(|(name, value)| {
            let name = percent_decode_str(name.trim()).decode_utf8().ok().filter(|name| !name.is_empty())?;
            Some((name.into_owned(), percent_decode_str(value.trim()).decode_utf8().ok()?.into_owned()))
        });
        all &= value.is_some();
        value
    };
    let pairs = text.split(',').filter_map(&mut read).collect();
    (pairs, all)
}

fn headers(variable: &str, text: &str, problems: &mut Vec<String>) -> HeaderMap {
    let (pairs, mut all) = pairs(text);
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                headers.append(name, value);
            }
            _ => all = false,
        }
    }
    if !all {
        problems.push(format!("{variable} holds what is no header; expected `name=value,name=value`, percent-encoded"));
    }
    headers
}

/// Attributes of the resource; nothing of a text that is wrong anywhere, as the specification says.
fn resource(get: &impl Fn(&str) -> Option<String>, problems: &mut Vec<String>) -> Vec<(String, String)> {
    let variable = "OTEL_RESOURCE_ATTRIBUTES";
    let (mut resource, all) = get(variable).map_or_else(|| (Vec::new(), true), |text| pairs(&text));
    if !all {
        problems.push(format!("{variable} is ignored: expected `key=value,key=value`, percent-encoded"));
        resource.clear();
    }
    if let Some(name) = get("OTEL_SERVICE_NAME") {
        resource.retain(|(key, _)| key != "service.name");
        resource.push(("service.name".to_owned(), name));
    }
    resource
}

impl Export {
    /// The resource of a run's spans: what the user says goes before what we say.
    pub(super) fn resource(&self, mut ours: Vec<(&'static str, String)>) -> Attributes {
        ours.retain(|(key, _)| self.resource.iter().all(|(given, _)| given != key));
        let mut attributes = Attributes::default();
        for (key, value) in ours {
            attributes.put(key, value);
        }
        for (key, value) in &self.resource {
            attributes.put(key.as_str(), value.as_str());
        }
        attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(variables: &[(&str, &str)]) -> Config {
        let get = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Config::read(get)
    }

    fn url(variables: &[(&str, &str)]) -> Option<String> {
        read(variables).export.map(|export| export.url.to_string())
    }

    const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const OWN: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

    #[test]
    fn without_an_endpoint_there_is_no_export() {
        let config = read(&[("OTEL_SERVICE_NAME", "x"), (BASE, " ")]);
        assert!(config.export.is_none() && config.problems.is_empty() && config.parent.is_none());
    }

    #[test]
    fn endpoints_become_urls_as_specified() {
        assert_eq!(url(&[(BASE, "http://a:4318")]).as_deref(), Some("http://a:4318/v1/traces"));
        assert_eq!(url(&[(BASE, "https://a/otlp/")]).as_deref(), Some("https://a/otlp/v1/traces"));
        assert_eq!(url(&[(OWN, "http://a:4318")]).as_deref(), Some("http://a:4318/"));
        assert_eq!(url(&[(BASE, "http://a"), (OWN, "http://b/x?y=z")]).as_deref(), Some("http://b/x?y=z"));
    }

    #[test]
    fn wrong_endpoints_are_refused_without_repeating_secrets() {
        for text in ["localhost:4318", "a", "ftp://a", "http://user:secret@a", "unix:///x"] {
            let config = read(&[(BASE, text)]);
            assert!(config.export.is_none(), "{text}");
            assert!(
                config.problems[0].contains(BASE) && !config.problems[0].contains("secret"),
                "{:?}",
                config.problems
            );
        }
    }

    #[test]
    fn protocols_that_are_not_spoken_are_refused() {
        let config = read(&[(BASE, "http://a:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
        assert!(config.export.is_none());
        assert!(
            config.problems[0].contains("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf"),
            "{:?}",
            config.problems
        );
        let own = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json");
        let config = read(&[(BASE, "http://a"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), own]);
        assert_eq!(config.export.unwrap().encoding, Encoding::Json);
    }

    #[test]
    fn the_switches_turn_it_off() {
        let on = (BASE, "http://a");
        for off in
            [("OTEL_SDK_DISABLED", "True"), ("OTEL_TRACES_EXPORTER", "none"), ("OTEL_TRACES_EXPORTER", "console")]
        {
            assert!(read(&[on, off, ("TRACEPARENT", PARENT)]).export.is_none(), "{off:?}");
        }
        assert!(
            read(&[on, ("OTEL_SDK_DISABLED", "false"), ("OTEL_TRACES_EXPORTER", "console, otlp")]).export.is_some()
        );
        let config = read(&[on, ("TRACEPARENT", &PARENT.replace("-01", "-00"))]);
        assert!(config.export.is_none() && config.parent.is_some(), "a trace that nobody keeps");
    }

    #[test]
    fn a_wrong_parent_is_told_and_ignored() {
        let config = read(&[(BASE, "http://a"), ("TRACEPARENT", "x")]);
        assert!(config.export.is_some() && config.parent.is_none());
        assert!(config.problems[0].contains("TRACEPARENT"));
    }

    #[test]
    fn headers_are_read_and_wrong_ones_told_without_their_values() {
        let variable = "OTEL_EXPORTER_OTLP_HEADERS";
        let config = read(&[(BASE, "http://a"), (variable, "Authorization=Bearer%20x%3Dy, b = c ,")]);
        let headers = config.export.unwrap().headers;
        assert_eq!((&headers["authorization"], &headers["b"]), (&"Bearer x=y".parse().unwrap(), &"c".parse().unwrap()));
        assert!(config.problems.is_empty());
        let config = read(&[(BASE, "http://a"), (variable, "a b=secret,c=d,secret,e=%0asecret")]);
        assert_eq!(config.export.unwrap().headers.len(), 1);
        assert!(config.problems[0].contains(variable) && !config.problems[0].contains("secret"));
    }

    #[test]
    fn waits_are_milliseconds() {
        let config =
            read(&[(BASE, "http://a"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"), ("OTEL_BSP_EXPORT_TIMEOUT", "10s")]);
        let export = config.export.unwrap();
        assert_eq!((export.timeout, export.hold), (Duration::from_millis(1_500), HOLD));
        assert!(config.problems[0].contains("OTEL_BSP_EXPORT_TIMEOUT"));
    }

    #[test]
    fn the_users_resource_goes_before_ours() {
        let attributes = |variables: &[(&str, &str)]| {
            let variables = [variables, &[(BASE, "http://a")]].concat();
            let config = read(&variables);
            let ours = vec![("service.name", "lockgate".to_owned()), ("service.version", "1".to_owned())];
            (format!("{:?}", config.export.unwrap().resource(ours).0), config.problems.len())
        };
        let (text, problems) =
            attributes(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,deployment.environment.name=x%2Cy")]);
        assert!(
            text.contains("Text(\"a\")") && text.contains("x,y") && !text.contains("lockgate") && problems == 0,
            "{text}"
        );
        let (text, _) = attributes(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=a"), ("OTEL_SERVICE_NAME", "b")]);
        assert!(text.contains("Text(\"b\")") && !text.contains("Text(\"a\")"), "{text}");
        let (text, problems) = attributes(&[("OTEL_RESOURCE_ATTRIBUTES", "a=1,b")]);
        assert!(text.contains("lockgate") && !text.contains("\"a\"") && problems == 1, "{text}");
    }
}
