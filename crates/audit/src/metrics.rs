//! What Prometheus is told of reconciliations.

use chrono::{DateTime, Utc};
use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry};
use sqlx::PgPool;

use crate::{AuditError, Severity};

/// The newest comparison of everything, as every replica sees it in the database.
#[derive(Clone, Debug)]
pub struct AuditMetrics {
    /// Findings of the newest reconciliation, by severity.
    findings: IntGaugeVec,
    /// When the newest reconciliation came to its result, in seconds since 1970.
    finished_at: IntGauge,
    /// When the newest reconciliation that found nothing came to its result, in seconds since 1970.
    clean_at: IntGauge,
    /// Reconciliations of this replica that came to no result.
    failures: IntCounter,
}

impl AuditMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// If they are registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let findings = Opts::new(
            "laurel_reconciliation_findings",
            "Findings of the newest reconciliation, by severity.",
        );
        let metrics = Self {
            findings: IntGaugeVec::new(findings, &["severity"])?,
            finished_at: IntGauge::new(
                "laurel_reconciliation_finished_timestamp_seconds",
                "When the newest reconciliation came to its result, in seconds since 1970.",
            )?,
            clean_at: IntGauge::new(
                "laurel_reconciliation_clean_timestamp_seconds",
                "When the newest reconciliation that found nothing came to its result, in seconds since 1970.",
            )?,
            failures: IntCounter::new(
                "laurel_reconciliation_failures_total",
                "Reconciliations of this replica that came to no result.",
            )?,
        };
        registry.register(Box::new(metrics.findings.clone()))?;
        registry.register(Box::new(metrics.finished_at.clone()))?;
        registry.register(Box::new(metrics.clean_at.clone()))?;
        registry.register(Box::new(metrics.failures.clone()))?;
        Ok(metrics)
    }

    /// Counts a reconciliation that came to no result.
    pub fn failed(&self) {
        self.failures.inc();
    }

    /// Looks at the newest reconciliation of everything.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn look(&self, pool: &PgPool) -> Result<(), AuditError> {
        let newest = sqlx::query!(
            r#"
            SELECT finished_at, critical, errors, warnings FROM reconciliations
            WHERE campaign IS NULL
            ORDER BY started_at DESC
            LIMIT 1
            "#,
        )
        .fetch_optional(pool)
        .await?;
        let Some(newest) = newest else { return Ok(()) };
        let counts = [newest.critical, newest.errors, newest.warnings];
        for (severity, count) in Severity::ALL.iter().zip(counts) {
            self.findings.with_label_values(&[severity.as_str()]).set(count);
        }
        self.finished_at.set(newest.finished_at.timestamp());
        let clean: Option<DateTime<Utc>> = sqlx::query_scalar!(
            r#"
            SELECT finished_at FROM reconciliations
            WHERE campaign IS NULL AND critical + errors + warnings = 0
            ORDER BY started_at DESC
            LIMIT 1
            "#,
        )
        .fetch_optional(pool)
        .await?;
        if let Some(clean) = clean {
            self.clean_at.set(clean.timestamp());
        }
        Ok(())
    }
}
