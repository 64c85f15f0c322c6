"""Locks in Slack: sentences, buttons and notices. Pure."""

from collections.abc import Mapping
from typing import Any

from bot.deployments.lock import ALL, Lock
from bot.deployments.locks import rules
from bot.deployments.model import Actor, AppKey
from bot.names import typed
from bot.slack.render.blocks import (
    LONGEST_VALUE,
    Answer,
    Json,
    Style,
    actions,
    button,
    plain,
    section,
    spoken,
)
from bot.slack.render.text import code, cut, day_time, inert, one_line, person, plain_times

RELEASE, TAKE_OVER, FOLLOW = "lock_release", "lock_take_over", "app_follow"
"""The buttons' action ids."""
FOLLOW_LABEL = "Tell me when it is free"
REASON = 200


def what_words(app: str, key: AppKey, *, name_server: bool) -> str:
    """The app, with its server if there are several; or every app."""
    if key == ALL:
        return "*Every app*"
    server = f" on {inert(key.server, 60)}" if name_server else ""
    return f"*{inert(app, 80)}*{server}"


def lock_line(lock: Lock, *, name_server: bool) -> str:
    """What is locked, by whom, until when, why."""
    what = what_words(lock.app, lock.key, name_server=name_server)
    return f"🔒 {what} is locked by {_holder(lock)}{_end(lock)}{_why(lock.reason)}"


def locked_answer(
    lock: Lock, app: str, key: AppKey, *, may_end: bool, name_server: bool, more: str
) -> Answer:
    """The refusal of what a lock stops, with what the person can do about it."""
    line = f"{lock_line(lock, name_server=name_server)}. Only the holder can deploy meanwhile."
    line += f" {more}" if more else ""
    elements = [unlock_button(lock), _take_over(lock)] if may_end else []
    follow = follow_button(app, key)
    elements += [follow] if key != ALL and len(follow["value"]) <= LONGEST_VALUE else []
    blocks = [section(line)]
    if elements:
        blocks.append(actions(elements))
    return Answer(text=plain_times(line), blocks=tuple(blocks))


def follow_button(app: str, key: AppKey) -> Json:
    """`Tell me when it is free`. No name has a space in it."""
    value = f"{key.server} {key.dokku_app} {app}"
    element = button(action_id=FOLLOW, label=FOLLOW_LABEL, value=value)
    return spoken(element, f"{FOLLOW_LABEL}: {app}")


def read_follow(value: str) -> tuple[AppKey, str] | None:
    """What `follow_button` wrote. None: it was not written by it."""
    parts = value.split(" ")
    if len(parts) != 3:  # noqa: PLR2004 - server, app, name
        return None
    return AppKey(server=parts[0], dokku_app=parts[1]), parts[2]


def unlock_button(lock: Lock) -> Json:
    """`Unlock`, for those who may."""
    return _asking(
        _about(button(action_id=RELEASE, label="Unlock", value=lock.id), lock),
        title="Unlock?",
        text=f"This ends the lock of {_plain(lock)}. The holder is notified.",
        yes="Unlock",
    )


def _take_over(lock: Lock) -> Json:
    return _asking(
        _about(button(action_id=TAKE_OVER, label="Take over", value=lock.id), lock),
        title="Take over this lock?",
        text=f"You become the holder of the lock of {_plain(lock)}, until the same end. The former "
        "holder is notified, and can't deploy any more.",
        yes="Take over",
    )


def _about(element: Json, lock: Lock) -> Json:
    server = "" if lock.key == ALL else f" on {lock.key.server}"
    what = "every app" if lock.key == ALL else lock.app
    return spoken(element, f"{element['text']['text']}: {what}", cut(one_line(server), 30))


def _asking(element: Json, *, title: str, text: str, yes: str) -> Json:
    confirm = {
        "title": plain(title),
        "text": plain(text[:300]),
        "confirm": plain(yes),
        "deny": plain("Leave it"),
    }
    return element | {"style": Style.DANGER.value, "confirm": confirm}


def _plain(lock: Lock) -> str:
    holder = cut(one_line(lock.holder.name or "its holder"), 30)
    what = "every app" if lock.key == ALL else cut(one_line(lock.app), 40)
    return f"{holder} on {what}"[:120]


def set_words(lock: Lock, former: Lock | None, *, name_server: bool, runs: bool) -> str:
    """Said to all where a lock was set."""
    line = f"{lock_line(lock, name_server=name_server)}. Only the holder can deploy meanwhile."
    if lock.until is None:
        line += " It stays until someone unlocks it."
    if former is not None:
        line += " This replaces the holder's earlier lock."
    if runs:
        line += " What is already running goes on."
    return line


def released_words(lock: Lock, by: Actor, *, name_server: bool) -> str:
    """Said to all where a lock was ended by a person."""
    what = what_words(lock.app, lock.key, name_server=name_server)
    line = f"🔓 {what} was unlocked by {person(by.user, by.name)}"
    if by.user != lock.holder.user:
        line += f"; {_holder(lock)} had locked it{_why(lock.reason)}"
    return line


def taken_over_words(lock: Lock, former: Lock, *, name_server: bool) -> str:
    """Said to all where a lock was taken over."""
    who = person(lock.holder.user, lock.holder.name)
    line = lock_line(lock, name_server=name_server)
    return f"{line}. {who} took it over from {_holder(former)}."


def notice_words(kind: str, body: Mapping[str, Any], *, name_server: bool) -> str:
    """The text of a notice to a channel, a former holder or a follower."""
    key = AppKey(server=body.get("server") or "", dokku_app=body.get("app") or "")
    if not key.server:
        key = ALL
    what = what_words(body.get("app") or "", key, name_server=name_server)
    by, reason = _person_of(body.get("by")), body.get("reason") or ""
    match kind:
        case rules.ENDED:
            holder = _person_of(body.get("holder"))
            return f"🔓 {what} is no longer locked: the lock of {holder} ended{_why(reason)}"
        case rules.RELEASED:
            return f"🔓 {by} ended your lock: {what} can be deployed by everyone{_why(reason)}"
        case rules.TAKEN_OVER:
            return f"🔒 {by} took over your lock: only they can deploy {what} now{_why(reason)}"
        case _:
            line = f"{body.get('app')} to {key.server}" if name_server else f"{body.get('app')}"
            return (
                f"🟢 {what} is free: nothing runs or waits, and no lock stops you. "
                f"Next: {code(typed(line))}."
            )


def _person_of(stored: Mapping[str, Any] | None) -> str:
    if not stored:
        return "someone"
    return person(str(stored.get("user") or "-"), stored.get("name"))


def _holder(lock: Lock) -> str:
    return person(lock.holder.user, lock.holder.name)


def _end(lock: Lock) -> str:
    return f" until {day_time(lock.until)}" if lock.until else ""


def _why(reason: str) -> str:
    return f" ({inert(reason, REASON)})" if reason else ""
