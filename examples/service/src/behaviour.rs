//! What the service answers, and how badly: pure, counted instead of random, so that a gate's figures come out the same each
//! time. It knows no socket and no clock.

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

/// A share between 0 and 1, kept in millionths so that counting it is exact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate(u64);

const WHOLE: u64 = 1_000_000;

impl Rate {
    /// Whether event number `n` (from 0) is one that happens: of any first `n` events, `floor(n * rate)` do, evenly spread.
    pub fn hits(self, n: u64) -> bool {
        let until = |n: u64| u128::from(n) * u128::from(self.0) / u128::from(WHOLE);
        until(n.saturating_add(1)) > until(n)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<f64>() {
            Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(Self((rate * WHOLE as f64).round() as u64)),
            _ => Err("expected a number from 0 to 1".into()),
        }
    }
}

/// What is wrong with orders.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Share answered with 500.
    pub error_rate: Rate,
    /// Milliseconds until the answer.
    pub latency_ms: u64,
    /// Milliseconds added at most.
    pub jitter_ms: u64,
    /// Share of the successful ones that break the contract.
    pub contract_break: Rate,
}

/// An answer: status, body, and how long to wait before it is sent.
#[derive(Debug, PartialEq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: Value,
    /// Wait before it is sent.
    pub delay: Duration,
}

/// The whole behaviour: a version, faults, and how many orders there were.
#[derive(Debug)]
pub struct Behaviour {
    version: String,
    faults: Faults,
    orders: AtomicU64,
    successes: AtomicU64,
}

impl Behaviour {
    /// Makes a service that has not answered anything yet.
    pub fn new(version: String, faults: Faults) -> Self {
        Self { version, faults, orders: AtomicU64::new(0), successes: AtomicU64::new(0) }
    }

    /// Answers a request. Only `/api/order` is slow, fails or breaks its contract: a health endpoint that says yes while users
    /// get errors is what a canary is there to find.
    pub fn answer(&self, method: &str, path: &str) -> Answer {
        let at_once = |status, body| Answer { status, body, delay: Duration::ZERO };
        match (method, path) {
            ("GET" | "HEAD", "/health") => at_once(
                200,
                json!({"status": "ok", "version": self.version, "orders": self.orders.load(Ordering::Relaxed)}),
            ),
            ("GET" | "HEAD", "/version") => at_once(200, json!({"version": self.version})),
            ("GET" | "HEAD", "/api/order") => self.order(),
            (_, "/health" | "/version" | "/api/order") => {
                at_once(405, json!({"error": "only GET and HEAD are answered"}))
            }
            _ => at_once(404, json!({"error": "there are /health, /version and /api/order"})),
        }
    }

    fn order(&self) -> Answer {
        let number = self.orders.fetch_add(1, Ordering::Relaxed);
        // Multiples of the golden ratio spread evenly over the range, whatever their number (Knuth, TAOCP 3, 6.4).
        let place = u64::from((number as u32).wrapping_mul(0x9E37_79B1));
        let jitter = (self.faults.jitter_ms * place) >> 32;
        let delay = Duration::from_millis(self.faults.latency_ms + jitter);
        if self.faults.error_rate.hits(number) {
            return Answer { status: 500, body: json!({"error": "the order could not be read"}), delay };
        }
        let mut body = json!({
            "id": number + 1,
            "version": self.version,
            "items": [{"sku": "sluice-board", "quantity": 2}],
            "currency": "EUR",
            "total_cents": 4980,
        });
        if self.faults.contract_break.hits(self.successes.fetch_add(1, Ordering::Relaxed))
            && let Some(order) = body.as_object_mut()
        {
            order.remove("total_cents");
        }
        Answer { status: 200, body, delay }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn service(faults: Faults) -> Behaviour {
        Behaviour::new("1.2.0".into(), faults)
    }

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn rates_are_shares() {
        assert_eq!(rate("0.3"), Rate(300_000));
        for text in ["", "x", "-0.1", "1.01", "NaN", "inf"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn of_any_first_events_the_share_happens(millionths in 0..=WHOLE, events in 0..2_000_u64) {
            let hits = (0..events).filter(|n| Rate(millionths).hits(*n)).count() as u64;
            prop_assert_eq!(hits, events * millionths / WHOLE);
        }
    }

    #[test]
    fn three_of_ten_orders_fail_the_same_ones_each_time() {
        let statuses = || {
            let service = service(Faults { error_rate: rate("0.3"), ..Faults::default() });
            (0..10).map(|_| service.answer("GET", "/api/order").status).collect::<Vec<_>>()
        };
        assert_eq!(statuses(), [200, 200, 200, 500, 200, 200, 500, 200, 200, 500]);
        assert_eq!(statuses(), statuses());
    }

    #[test]
    fn jitter_stays_in_its_range_and_spreads() {
        let service = service(Faults { latency_ms: 50, jitter_ms: 20, ..Faults::default() });
        let delays: Vec<_> = (0..100).map(|_| service.answer("GET", "/api/order").delay.as_millis()).collect();
        assert!(delays.iter().all(|ms| (50..70).contains(ms)), "{delays:?}");
        for low in [50, 55, 60, 65] {
            let quarter = delays.iter().filter(|ms| (low..low + 5).contains(*ms)).count();
            assert!((20..=30).contains(&quarter), "{quarter} of 100 from {low} ms on: {delays:?}");
        }
    }

    #[test]
    fn a_broken_contract_lacks_the_total() {
        let service = service(Faults { contract_break: rate("0.5"), ..Faults::default() });
        let totals: Vec<_> =
            (0..4).map(|_| service.answer("GET", "/api/order").body.get("total_cents").is_some()).collect();
        assert_eq!(totals, [true, false, true, false]);
    }

    #[test]
    fn only_orders_have_faults() {
        let service = service(Faults { error_rate: rate("1"), latency_ms: 50, ..Faults::default() });
        for path in ["/health", "/version"] {
            let answer = service.answer("GET", path);
            assert_eq!((answer.status, answer.delay), (200, Duration::ZERO), "{path}");
            assert_eq!(answer.body["version"], "1.2.0", "{path}");
        }
        assert_eq!(service.answer("POST", "/api/order").status, 405);
        assert_eq!(service.answer("GET", "/api/orders").status, 404);
        assert_eq!(service.answer("GET", "/api/order").status, 500);
    }
}
