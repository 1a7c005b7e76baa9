//! {{what}}

use lockgate_sdk::http::Request;
use lockgate_sdk::prelude::*;

/// What is asked.
#[config]
pub struct Config {
    /// The URL; the pipeline grants it.
    url: String,
}

/// The plugin.
pub struct Plugin;

impl HealthCheck for Plugin {
    type Config = Config;
    const ABOUT: About = about!("{{what}}").effects(&["http"]);

    fn check(config: Config, look: Look) -> Result<Health> {
        debug!("look {}", look.index);
        // A service that does not answer is not well. What the pipeline did not grant says nothing about the service.
        let response = match Request::get(&config.url).send() {
            Ok(response) => response,
            Err(error) if error.code == "not-granted" => return Err(error.into()),
            Err(error) => return Ok(Health::unhealthy(format!("no answer: {error}"))),
        };
        Ok(match response.status {
            200 => Health::healthy("answered 200"),
            status => Health::unhealthy(format!("answered {status}")),
        })
    }
}

export_health_check!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_sdk::http::Response;
    use lockgate_sdk::testing::Harness;

    #[test]
    fn only_200_is_healthy() {
        for (status, expected) in [(200, HealthStatus::Healthy), (503, HealthStatus::Unhealthy)] {
            let answer = move |_| Ok(Response { status, ..Response::default() });
            let outcome = Harness::new().http(answer).check::<Plugin>(r#"{"url": "http://a/"}"#, Look::default());
            assert_eq!(outcome.ok().status, expected);
        }
    }
}
