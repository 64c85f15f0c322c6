"""Questions to one person before something dangerous happens: ephemeral, with Yes and No.

A button asks in Slack's own dialog; a word in a chat has none. Here a question is written;
`question_buttons.py` handles the answers.
"""

from datetime import datetime

from bot.deployments.live.rollback import RollbackPlan
from bot.deployments.model import Deployment
from bot.deployments.requests.server_cancel import LeftBuild
from bot.deployments.verdict.outside_changes import command_of
from bot.slack.listeners.desk import Call
from bot.slack.render import blocks as kit
from bot.slack.render import words
from bot.slack.render.blocks import Answer, Style
from bot.slack.render.text import clock_time, code, duration, inert, short_sha

YES_CANCEL, YES_ROLL_BACK, NO = "answer_cancel", "answer_roll_back", "answer_no"
YES_SERVER_CANCEL = "answer_server_cancel"
"""The buttons' action ids."""


async def ask_cancel(call: Call, deployment: Deployment) -> None:
    """Ask whether to cancel. Declined: it cannot be cancelled, or not by this person."""
    desk = call.desk
    await desk.service.check_cancel(deployment.id, call.asker.actor)
    now, progress = desk.queries.snapshot(deployment)
    app, target = inert(now.app, 80), words.target_words(now, name_server=desk.names_server)
    await desk.answers(call.asker).ask(
        _question(
            f"Cancel {app} {target}? ({words.status_words(now, progress)})",
            yes=("Cancel deployment", YES_CANCEL),
            no="Keep it",
            value=kit.write_value(deployment.id, key=call.request_key),
        )
    )


async def ask_rollback(call: Call, plan: RollbackPlan) -> None:
    """Ask whether to roll back, from where to where. Declined: not by this person."""
    deployment = plan.target.deployment
    await call.desk.service.check_deployer(deployment, call.asker.actor)
    await call.desk.answers(call.asker).ask(
        _question(
            rollback_words(plan, now=call.desk.clock.now(), name_server=call.desk.names_server),
            yes=("Roll back", YES_ROLL_BACK),
            no="Leave it",
            value=kit.write_value(deployment.id, key=call.request_key, rest=plan.target.sha),
        )
    )


async def ask_server_cancel(call: Call, deployment_id: str, build_id: str | None) -> None:
    """Ask whether to cancel a build on the server; says what is known of it. Declined."""
    desk = call.desk
    found = await desk.service.server_cancels.look(deployment_id, build_id, call.asker.actor)
    await call.answers.ask(
        _question(
            server_cancel_words(found, name_server=desk.names_server),
            yes=(words.SERVER_CANCEL_LABEL, YES_SERVER_CANCEL),
            no="Leave it",
            value=kit.write_value(deployment_id, key=call.request_key, rest=build_id),
        )
    )


def server_cancel_words(found: LeftBuild, *, name_server: bool = True) -> str:
    """Whose build it is, how long it has run, whether its log grows, and the risk."""
    app, build = inert(found.app, 80), code(found.record.id)
    where = f" on {inert(found.server, 60)}" if name_server else ""
    lines = [f"Cancel Dokku build {build} of *{app}*{where}?", f"• {_whose(found)}"]
    if found.record.duration is not None:
        lines.append(f"• By Dokku's record it has run for {duration(found.record.duration)}.")
    log = found.log
    if log.grew:
        lines.append("• Its log grew a moment ago: the build lives.")
        lines.append(
            "• *The risk*: if it is already releasing, the new release may serve, or a part of it."
        )
        return "\n".join(lines)
    if log.grew_at is not None:
        lines.append(f"• Its log last grew at {clock_time(log.grew_at)}.")
    else:
        lines.append(f"• Its log has not grown since the first look at {clock_time(log.since)}.")
    look = code(f"builds:info {found.record.app} {found.record.id}")
    lines.append(
        "• *The risk*: a dead build is shown as running while another process has its PID, and "
        f"that process would be killed. An operator can look first with {look}."
    )
    return "\n".join(lines)


def _whose(found: LeftBuild) -> str:
    if found.of is None:
        command = inert(command_of(found.record), 60)
        return (
            f"It was not started by this bot: Dokku's record says {command}, and does not say by "
            "whom."
        )
    by = words.requester_words(found.of)
    return (
        f"It is the build of {code(found.of.ref)}, requested by {by}. The bot has no connection to "
        "it any more."
    )


def rollback_words(plan: RollbackPlan, *, now: datetime, name_server: bool = True) -> str:
    """From which commit to which one, how old each is, and what is not verified."""
    target = plan.target
    one = target.deployment
    here = f"*{inert(one.app, 80)}*" + (f" on {inert(one.server, 60)}" if name_server else "")
    parts = [f"Roll back {here} from {_live_words(plan, now)} to {code(short_sha(target.sha))}"]
    if target.verified:
        parts.append(f"{_deployed(plan.source, now)}? It is built again.")
    else:
        parts.append(
            ", the commit that Dokku's own record named before? It is *not verified by "
            "deploybot*: it may never have been live. It is built again."
        )
    return "".join(parts)


def _live_words(plan: RollbackPlan, now: datetime) -> str:
    if plan.live is not None and plan.live_sha:
        return f"{code(short_sha(plan.live_sha))}{_deployed(plan.live, now)}"
    if plan.live_sha:
        return f"{code(short_sha(plan.live_sha))} (live according to Dokku's own record)"
    return "what is live now"


def _deployed(one: Deployment | None, now: datetime) -> str:
    if one is None or one.finished_at is None:
        return ""
    ago = duration(max(now - one.finished_at, now - now))
    return f" (deployed {ago} ago by {words.actor_words(one.requested_by)})"


def _question(sentence: str, *, yes: tuple[str, str], no: str, value: str) -> Answer:
    label, action_id = yes
    agree = kit.button(action_id=action_id, label=label, value=value)
    agree["style"] = Style.DANGER.value
    refuse = kit.button(action_id=NO, label=no, value=value)
    return Answer(text=sentence, blocks=(kit.section(sentence), kit.actions([agree, refuse])))
