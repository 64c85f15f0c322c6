"""The metrics have fixed names and labels."""

from prometheus_client.parser import text_string_to_metric_families

from bot.metrics import Metrics
from bot.release import release

CONTRACT = {
    "deploybot_deployments_total": ("server", "status", "failure"),
    "deploybot_deployments_active": ("server",),
    "deploybot_queue_length": ("server",),
    "deploybot_deployment_seconds": (),
    "deploybot_deployment_duration_seconds": ("server", "status"),
    "deploybot_poll_seconds": (),
    "deploybot_poll_errors_total": (),
    "deploybot_poll_lateness_seconds": (),
    "deploybot_slack_calls_total": ("method", "outcome"),
    "deploybot_slack_edit_lag_seconds": (),
    "deploybot_ack_seconds": (),
    "deploybot_webhook_deliveries_total": ("outcome",),
    "deploybot_ssh_connections": ("server",),
    "deploybot_server_up": ("server",),
    "deploybot_slack_connected": (),
    "deploybot_outbox_age_seconds": ("receiver",),
    "deploybot_build_info": ("version", "python"),
}


def test_metric_names_and_labels() -> None:
    assert {one.name: one.labels for one in Metrics().described()} == CONTRACT


def test_page_shows_counted_values() -> None:
    metrics = Metrics()
    metrics.deployments.labels("production", "failed", "build_failed").inc()
    metrics.poll_seconds.observe(0.04)

    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.page().decode())
        for sample in family.samples
    }

    labels = (("failure", "build_failed"), ("server", "production"), ("status", "failed"))
    assert samples["deploybot_deployments_total", labels] == 1
    assert samples["deploybot_poll_seconds_count", ()] == 1


def test_page_says_which_release_runs() -> None:
    page = Metrics().page().decode()

    assert f'version="{release()}"' in page
    assert "deploybot_build_info{" in page


def test_two_bots_in_one_process_count_separately() -> None:
    one, other = Metrics(), Metrics()
    one.poll_errors.inc()

    assert b"deploybot_poll_errors_total 1.0" in one.page()
    assert b"deploybot_poll_errors_total 0.0" in other.page()
