//! What the endpoints of chains tell Prometheus.

use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, core::Collector,
    exponential_buckets,
};

/// Metrics per endpoint: `endpoint` is its place in `chains.rpc_urls`, from 0 on; `host` its host.
#[derive(Clone, Debug)]
pub struct EndpointMetrics {
    /// The endpoint's circuit breaker: 0 closed, 1 half open, 2 open, in which case it is left alone.
    pub breaker_state: IntGaugeVec,
    /// Questions by outcome: answered, refused (an error in answer), rate_limited, timed_out, failed, wrong_chain.
    pub requests_total: IntCounterVec,
    /// Seconds from a question to its outcome.
    pub request_seconds: HistogramVec,
    /// Transactions that were given to the endpoint, by its answer: accepted, a refusal's name, not_sent, perhaps_sent.
    pub sends_total: IntCounterVec,
    /// Blocks that the endpoint's head is behind the highest one that final_quorum endpoints have reached.
    pub head_lag_blocks: IntGaugeVec,
    /// 1 for the endpoint that questions go to first, 0 for the others.
    pub preferred: IntGaugeVec,
    /// Times that the endpoint called another block final than final_quorum others, and was left alone for it.
    pub outvoted_total: IntCounterVec,
    /// 1 while fewer endpoints than final_quorum can be asked, so that nothing becomes final; 0 otherwise.
    pub short_of_quorum: IntGaugeVec,
}

/// From a node beside us to one that gives up: 1 ms to 33 s.
const SECONDS: (f64, f64, usize) = (0.001, 2.0, 16);

impl EndpointMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// If the registry has metrics of these names.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let endpoint = &["chain_id", "endpoint", "host"];
        let (from, factor, count) = SECONDS;
        let seconds = HistogramOpts::new(
            "laurel_endpoint_request_seconds",
            "Seconds from a question to an endpoint to its outcome.",
        )
        .buckets(exponential_buckets(from, factor, count)?);
        Ok(Self {
            breaker_state: gauge(
                "laurel_endpoint_breaker_state",
                "The endpoint's circuit breaker: 0 closed, 1 half open, 2 open, in which case it is left alone.",
                endpoint,
            )?,
            requests_total: counter(
                "laurel_endpoint_requests_total",
                "Questions to an endpoint by outcome: answered, refused, rate_limited, timed_out, failed, wrong_chain.",
                &["chain_id", "endpoint", "host", "outcome"],
            )?,
            request_seconds: registered(registry, HistogramVec::new(seconds, endpoint)?)?,
            sends_total: counter(
                "laurel_endpoint_sends_total",
                "Transactions that were given to an endpoint, by its answer: accepted, a refusal's name, not_sent, \
                 perhaps_sent.",
                &["chain_id", "endpoint", "host", "answer"],
            )?,
            head_lag_blocks: gauge(
                "laurel_endpoint_head_lag_blocks",
                "Blocks that the endpoint's head is behind the highest one that final_quorum endpoints have reached.",
                endpoint,
            )?,
            preferred: gauge(
                "laurel_endpoint_preferred",
                "1 for the endpoint that questions go to first, 0 for the others.",
                endpoint,
            )?,
            outvoted_total: counter(
                "laurel_endpoint_outvoted_total",
                "Times that the endpoint called another block final than final_quorum others, and was left alone for it.",
                endpoint,
            )?,
            short_of_quorum: gauge(
                "laurel_endpoint_short_of_quorum",
                "1 while fewer endpoints than final_quorum can be asked, so that nothing becomes final; 0 otherwise.",
                &["chain_id"],
            )?,
        })
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
