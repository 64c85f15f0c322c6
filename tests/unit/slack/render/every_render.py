"""A table of everything that the bot shows in Slack, each made from texts that others wrote."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, Literal, TypeVar

import bot.slack
import bot.webhooks.slack_format
from bot.deployments.dokku_facts import (
    BuildRecord,
    BuildStatus,
    Container,
    Containers,
    LogEnd,
)
from bot.deployments.live.compare import LiveEvidence, compare_live
from bot.deployments.live.reader import LiveReport
from bot.deployments.live.rollback import RollbackPlan, RollbackTarget
from bot.deployments.lock import ALL, Lock
from bot.deployments.locks import rules
from bot.deployments.locks.rules import lock_notice
from bot.deployments.log_pages import LogPages
from bot.deployments.model import (
    Actor,
    AppKey,
    AppPolicy,
    Approval,
    CancelRequest,
    Deployment,
    Event,
    Failure,
    Live,
    MessagePlace,
    Phase,
)
from bot.deployments.progress import Blocker, Progress
from bot.deployments.refs import Commit, Commits
from bot.deployments.requests.server_cancel import LeftBuild
from bot.deployments.states import ENDINGS
from bot.deployments.verdict.server_cancel import LogSeen
from bot.outbox import APPROVAL, CORRECTED, FINISHED, NOTE, Outgoing
from bot.slack import thread_replies
from bot.slack.listeners import answers, questions
from bot.slack.listeners.desk import as_answer
from bot.slack.listeners.log_window import LOG_BUTTONS
from bot.slack.listeners.message_buttons import MESSAGE_BUTTONS
from bot.slack.listeners.payloads import write_meta
from bot.slack.render import answer_window, form, home, live_state, locks, log, proof, reject_form
from bot.slack.render import deployment as live_message
from bot.slack.render.blocks import Answer, Json
from bot.slack.render.deployment import Rendered
from bot.slack.render.history import HistoryPage
from bot.slack.result_posts import result_post
from bot.webhooks.payload import standard_body
from bot.webhooks.slack_format import slack_message
from tests.support.builders import NOW, a_deployment

T = TypeVar("T")
PERMALINK = "https://slack.example/archives/C1/p1"
PAGE = "https://git.example/c"
SHA, OTHER = "a" * 40, "b" * 40
Kind = Literal["message", "modal", "home", "options", "sentence"]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One thing that Slack is given."""

    kind: Kind
    text: str = ""
    blocks: Sequence[Json] = ()
    view: Json | None = None
    pings: bool = False
    """It mentions people on purpose, in the ways of `OWN_PINGS`."""


def message(answer: Answer | Rendered, **more: Any) -> Shown:
    return Shown(kind="message", text=answer.text, blocks=answer.blocks, **more)


def sentence(text: str) -> Shown:
    return message(as_answer("x")) if not text else Shown(kind="sentence", text=text)


class Source:
    """Rows whose every text is foreign; `choice` decides what else differs."""

    def __init__(self, foreign: Callable[[], str], seed: int) -> None:
        self.foreign = foreign
        self._random = Random(seed)

    def one_of(self, values: Sequence[T]) -> T:
        return self._random.choice(list(values))

    def texts(self, most: int = 12) -> tuple[str, ...]:
        return tuple(self.foreign() for _ in range(self._random.randint(0, most)))

    def person(self) -> Actor:
        return Actor(user="U1", team="T1", name=self.foreign() or "ada")

    def key(self) -> AppKey:
        return AppKey(server=self.foreign() or "s", dokku_app=self.foreign() or "a")

    def commits(self) -> Commits:
        def commit(sha: str) -> Commit:
            return Commit(sha=sha, subject=self.foreign(), author=self.foreign())

        return Commits(
            head=commit(SHA),
            base=self.one_of([None, OTHER]),
            ahead=self.one_of([0, 4, 1_001]),
            behind=self.one_of([0, 3]),
            listed=tuple(commit(OTHER) for _ in range(5)),
        )

    def containers(self) -> Containers:
        one = Container(
            id=self.foreign(), process=self.foreign(), image=self.foreign(), state=self.foreign()
        )
        up = Container(id="1" * 12, process="web.1", image="i", state="running", restarts=1)
        return Containers(listed=self.one_of([(), (one,), (up,), (one, up)]))

    def deployment(self, phase: Phase | None = None, **more: Any) -> Deployment:
        phase = phase or self.one_of(list(Phase))
        ended = phase in {Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED}
        values: dict[str, Any] = {
            "id": "01K9ZB3V7N8Q4R5S6T7V8W9X0Y",
            "app": self.foreign() or "app",
            "dokku_app": self.foreign() or "app",
            "server": self.foreign() or "server",
            "ref": self.foreign() or "main",
            "repo": self.foreign(),
            "sha": self.one_of([None, SHA]),
            "ready": self.one_of([True, False]),
            "phase": phase,
            "failure": self.one_of(list(Failure)) if phase is Phase.FAILED else None,
            "live": self.one_of(list(Live)) if ended else None,
            "reason": self.foreign() if ended else None,
            "evidence": self.foreign(),
            "build_id": self.foreign(),
            "previous_sha": self.one_of([None, OTHER]),
            "rollback_sha": self.one_of([None, OTHER]),
            "rollback_of": self.one_of([None, "01K9ZB3V7N8Q4R5S6T7V8W9X0Z"]),
            "retry_of": self.one_of([None, "01K9ZB3V7N8Q4R5S6T7V8W9X0Z"]),
            "came_from": self.foreign(),
            "url": self.one_of(["http://a.example", "http://a|<!here>", "javascript:1"]),
            "requested_by": self.person(),
            "approved_by": self.one_of([None, self.person()]),
            "approval": self.one_of(list(Approval)),
            "cancel": self.one_of([None, CancelRequest(by=self.person(), at=NOW)]),
            "attempt": self.one_of([1, 2]),
            "commits": self.one_of([None, self.commits()]),
            "after": self.one_of([None, self.containers()]),
            "message": self.one_of(
                [None, MessagePlace(channel="C1", ts="1.1", permalink=PERMALINK)]
            ),
            "started_at": NOW - timedelta(seconds=80),
            "finished_at": NOW if ended else None,
        }
        return a_deployment(**(values | more))

    def progress(self) -> Progress:
        blocker = Blocker(
            what=self.foreign(),
            since=NOW,
            stuck=self.one_of([True, False]),
            advice=self.foreign(),
            by=self.one_of([None, self.person()]),
            until=NOW,
            why=self.foreign(),
        )
        return Progress(
            step=self.foreign(),
            tail=self.texts(40),
            excerpt=self.texts(),
            checked_at=NOW,
            stale_since=self.one_of([None, NOW]),
            stale_why=self.foreign(),
            place=self.one_of([None, 1, 112]),
            waits_for=self.foreign(),
            blocker=self.one_of([None, blocker]),
            reading_end=self.one_of([True, False]),
            usual=self.one_of([None, timedelta(seconds=90)]),
            others=self.foreign(),
            notes=self.texts(4),
        )

    def known(self, count: int) -> list[tuple[Deployment, Progress]]:
        return [(self.deployment(), self.progress()) for _ in range(count)]

    def lock(self) -> Lock:
        return Lock(
            id="01LOCK",
            key=self.one_of([ALL, self.key()]),
            app=self.foreign() or "app",
            holder=self.person(),
            reason=self.foreign(),
            since=NOW,
            until=self.one_of([None, NOW]),
        )

    def report(self) -> LiveReport:
        record = BuildRecord(
            id=self.foreign(), app="x", status=BuildStatus.FAILED, source=self.foreign()
        )
        seen = LiveEvidence(
            started=[self.deployment(self.one_of([Phase.SUCCEEDED, Phase.FAILED]))],
            containers=self.containers(),
            records=[record],
        )
        return LiveReport(
            server=self.foreign() or "s",
            app=self.foreign() or "a",
            dokku_app=self.foreign() or "a",
            state=compare_live(seen),
            why=self.foreign(),
            missing=self.one_of([True, False, False]),
        )

    def plan(self) -> RollbackPlan:
        target = RollbackTarget(
            sha=OTHER,
            deployment=self.deployment(Phase.SUCCEEDED),
            came_from=self.foreign(),
            verified=self.one_of([True, False]),
        )
        live = self.one_of([None, self.deployment(Phase.SUCCEEDED)])
        source = self.deployment(Phase.SUCCEEDED)
        return RollbackPlan(target=target, live=live, live_sha=SHA, source=source)

    def left_build(self) -> LeftBuild:
        record = BuildRecord(
            id=self.foreign() or "b1",
            app=self.foreign(),
            status=BuildStatus.RUNNING,
            source=self.foreign(),
            duration=self.one_of([None, timedelta(minutes=42)]),
        )
        grew_at = self.one_of([None, NOW])
        seen = LogSeen(
            end=LogEnd(), looked_at=0, since=NOW, grew_at=grew_at, grew=self.one_of([True, False])
        )
        of = self.one_of([None, self.deployment(Phase.BUILDING)])
        return LeftBuild(app=self.foreign(), server=self.foreign(), record=record, of=of, log=seen)


def _live_message(of: Source) -> Iterator[Shown]:
    for phase in Phase:
        for several in (True, False):
            yield message(
                live_message.render(
                    of.deployment(phase),
                    of.progress(),
                    now=NOW,
                    buttons=MESSAGE_BUTTONS,
                    commit_url=of.one_of([None, PAGE]),
                    compare_url=of.one_of([None, PAGE]),
                    name_server=several,
                    updates_every=timedelta(seconds=60),
                    running=40,
                )
            )


def _result_post(of: Source) -> Iterator[Shown]:
    for kind in (FINISHED, CORRECTED):
        body = {"data": {"corrected_from": {"status": of.foreign(), "live": of.foreign()}}}
        row = Outgoing(id="01", deployment_id="01", lane="results", kind=kind, body=body)
        for phase in ENDINGS:
            yield message(
                result_post(of.deployment(phase), row, permalink=PERMALINK, name_server=True)
            )


def _reply(of: Source) -> Iterator[Shown]:
    for kind in (FINISHED, CORRECTED, NOTE, APPROVAL):
        body = {
            "text": of.foreign(),
            "mentions": ["U0ADA", "S0OPS"],
            "data": {"corrected_from": {"status": of.foreign(), "live": of.foreign()}},
        }
        row = Outgoing(id="01", deployment_id="01", lane="slack", kind=kind, body=body)
        shown = thread_replies.render(of.deployment(Phase.FAILED), row)
        yield message(shown, pings=kind != NOTE)


def _deploy_form(of: Source) -> Iterator[Shown]:
    apps = {of.foreign()[:50]: [of.foreign()] for _ in range(of.one_of([0, 3, 90]))}
    prefill = form.FormValues(
        app=of.one_of([None, of.foreign()]),
        ref=of.one_of([None, of.foreign()]),
        server=of.one_of([None, of.foreign()]),
    )
    choices = [form.FormValues(app=of.foreign()[:100], ref=of.foreign()[:100]) for _ in range(3)]
    view = form.deploy_form(
        apps=apps,
        # The names of servers are the operator's own.
        servers=[f"{number}{of.foreign()[:100]}" for number in range(of.one_of([1, 3]))],
        metadata="{}",
        prefill=prefill,
        choices=of.one_of([(), choices]),
        facts=[*live_state.live_mrkdwn(of.report(), now=NOW), form.missing_words(of.foreign())],
        note=of.one_of([None, of.foreign()]),
    )
    yield Shown(kind="modal", view=view)
    yield Shown(kind="modal", view=form.with_values(view, prefill, generation=2))
    yield Shown(kind="modal", view=form.deploy_form(apps={}, servers=(), metadata="", ready=False))


def _home(of: Source) -> Iterator[Shown]:
    shown = home.Home(
        unfinished=of.known(of.one_of([0, 3, 60])),
        locks=[home.HomeLock(lock=of.lock(), may_end=of.one_of([True, False])) for _ in range(9)],
        ended=[of.deployment(Phase.FAILED) for _ in range(20)],
        name_server=of.one_of([True, False]),
    )
    yield Shown(kind="home", view=home.home_view(shown, buttons=MESSAGE_BUTTONS, metadata="{}"))


def _log(of: Source) -> Iterator[Shown]:
    text = "\n".join(of.texts(60))
    pages = LogPages(first=1, texts=[text], count=3, size=10)
    view = log.log_view(of.deployment(), pages, buttons=LOG_BUTTONS, has_error=True)
    yield Shown(kind="modal", view=view)
    yield Shown(kind="modal", view=log.with_note(view, "Posted as a file in the thread."))
    yield Shown(kind="modal", view=log.with_error(view, of.foreign()))


def _locked(of: Source) -> Iterator[Shown]:
    lock = of.lock()
    more = of.one_of(["", "Nothing was started."])
    for may_end in (True, False):
        answer = locks.locked_answer(
            lock, of.foreign()[:60], of.key(), may_end=may_end, name_server=True, more=more
        )
        yield message(answer)


def _notices(of: Source) -> Iterator[Shown]:
    for kind in (rules.ENDED, rules.RELEASED, rules.TAKEN_OVER, rules.FREE):
        made = lock_notice(kind, of.lock(), "C1", by=of.person())
        yield sentence(locks.notice_words(made.kind, made.body, name_server=True))


def _webhook(of: Source) -> Iterator[Shown]:
    for kind in ("deployment.started", FINISHED, CORRECTED):
        event = Event(type=kind, log_tail=of.texts(), corrected_from={"status": of.foreign()})
        made: Mapping[str, Any] = slack_message(standard_body(of.deployment(), event, at=NOW))
        yield Shown(kind="message", text=made["text"], blocks=made["blocks"])


def _history(of: Source) -> Iterator[Shown]:
    rows = [of.deployment() for _ in range(25)]
    page = HistoryPage(app=of.foreign(), server=of.foreign(), number=of.one_of([0, 1]))
    live = {rows[0].target: of.one_of([None, "", rows[0].id])}
    yield message(
        answers.history_answer(page, rows, live=live, now=NOW, locks=[of.lock(), of.lock()])
    )


def _live(of: Source) -> Iterator[Shown]:
    found = [of.report() for _ in range(of.one_of([1, 3]))]
    known = of.progress()
    held = [of.lock()]
    answer = answers.live_answer(found, lambda one: (one, known), now=NOW, locks=held)
    yield message(answer)
    one = answers.status_answer(of.deployment(), known, now=NOW)
    yield message(answers.with_live_state(one, answer))


def _policies(of: Source) -> list[AppPolicy]:
    return [
        AppPolicy(server="production", app=of.foreign() or "a", dokku_app="a") for _ in range(40)
    ]


Make = Callable[[Source], Iterator[Shown]]

RENDERS: Mapping[str, Make] = {
    "bot.slack.render.deployment.render": _live_message,
    "bot.slack.render.form.deploy_form": _deploy_form,
    "bot.slack.render.form.with_facts": _deploy_form,
    "bot.slack.render.form.with_values": _deploy_form,
    "bot.slack.render.form.app_options": lambda of: iter(
        [Shown(kind="options", blocks=form.app_options(of.texts(), of.foreign()))]
    ),
    "bot.slack.render.form.ref_options": lambda of: iter(
        [
            Shown(
                kind="options",
                blocks=form.ref_options([(one, "branch") for one in of.texts()], of.foreign()),
            )
        ]
    ),
    "bot.slack.render.home.home_view": _home,
    "bot.slack.render.home.sentence_view": lambda of: iter(
        [Shown(kind="home", view=home.sentence_view(of.foreign()))]
    ),
    "bot.slack.render.locks.locked_answer": _locked,
    "bot.slack.render.locks.lock_line": lambda of: iter(
        [sentence(locks.lock_line(of.lock(), name_server=True))]
    ),
    "bot.slack.render.locks.what_words": lambda of: iter(
        [sentence(locks.what_words(of.foreign(), of.key(), name_server=True))]
    ),
    "bot.slack.render.locks.set_words": lambda of: iter(
        [sentence(locks.set_words(of.lock(), of.lock(), name_server=True, runs=True))]
    ),
    "bot.slack.render.locks.released_words": lambda of: iter(
        [sentence(locks.released_words(of.lock(), of.person(), name_server=True))]
    ),
    "bot.slack.render.locks.taken_over_words": lambda of: iter(
        [sentence(locks.taken_over_words(of.lock(), of.lock(), name_server=True))]
    ),
    "bot.slack.render.answer_window.answer_window": lambda of: iter(
        [
            Shown(
                kind="modal",
                view=answer_window.answer_window(
                    answers.status_answer(of.deployment(), of.progress(), now=NOW),
                    metadata=write_meta(),
                ),
            )
        ]
    ),
    "bot.slack.render.locks.notice_words": _notices,
    "bot.slack.render.log.log_view": _log,
    "bot.slack.render.log.with_note": _log,
    "bot.slack.render.log.with_error": _log,
    "bot.slack.render.log.opening_view": lambda of: iter(
        [Shown(kind="modal", view=log.opening_view(of.deployment().id))]
    ),
    "bot.slack.render.log.problem_view": lambda of: iter(
        [Shown(kind="modal", view=log.problem_view(of.deployment().id, of.foreign()))]
    ),
    "bot.slack.render.proof.state_proof": lambda of: iter(
        [message(proof.state_proof([of.report(), of.report()], read_at=NOW))]
    ),
    "bot.slack.render.proof.deployment_proof": lambda of: iter(
        [message(proof.deployment_proof(of.deployment(), of.progress()))]
    ),
    "bot.slack.render.reject_form.reject_form": lambda of: iter(
        [
            Shown(
                kind="modal",
                view=reject_form.reject_form(of.deployment(), metadata=write_meta(id="01")),
            )
        ]
    ),
    "bot.slack.listeners.answers.status_answer": lambda of: iter(
        [message(answers.status_answer(of.deployment(), of.progress(), now=NOW))]
    ),
    "bot.slack.listeners.answers.live_answer": _live,
    "bot.slack.listeners.answers.with_live_state": _live,
    "bot.slack.listeners.answers.queue_answer": lambda of: iter(
        [
            message(
                answers.queue_answer(
                    of.known(12), [of.lock()], servers=[of.foreign() or "s"], now=NOW
                )
            )
        ]
    ),
    "bot.slack.listeners.answers.unfinished_answer": lambda of: iter(
        [message(answers.unfinished_answer(of.known(12), now=NOW, locks=[of.lock()]))]
    ),
    "bot.slack.listeners.answers.history_answer": _history,
    "bot.slack.listeners.answers.apps_answer": lambda of: iter(
        [message(answers.apps_answer(_policies(of), servers=["production", of.foreign()]))]
    ),
    "bot.slack.listeners.answers.help_answer": lambda of: iter(
        [message(answers.help_answer([("status [APP|ID]", "Show what is live.")]))]
    ),
    "bot.slack.listeners.answers.started_answer": lambda of: iter(
        [message(answers.started_answer(of.deployment()))]
    ),
    "bot.slack.listeners.answers.already_words": lambda of: iter(
        [sentence(answers.already_words(of.deployment(), back=True))]
    ),
    "bot.slack.listeners.questions.rollback_words": lambda of: iter(
        [sentence(questions.rollback_words(of.plan(), now=NOW))]
    ),
    "bot.slack.listeners.questions.server_cancel_words": lambda of: iter(
        [sentence(questions.server_cancel_words(of.left_build()))]
    ),
    "bot.slack.result_posts.result_post": _result_post,
    "bot.slack.thread_replies.render": _reply,
    "bot.slack.thread_replies.approval_reply": _reply,
    "bot.slack.thread_replies.result_reply": _reply,
    "bot.webhooks.slack_format.slack_message": _webhook,
}
"""Each function that makes something to show, and how to make it from foreign texts."""

PARTS = frozenset(
    {
        "bot.slack.listeners.desk.as_answer",
        # Pieces, which the functions of the table put together.
        *(
            f"bot.slack.render.blocks.{name}"
            for name in (
                *("mrkdwn", "plain", "section", "plain_section", "header", "fields"),
                *("preformatted", "context", "actions", "button", "button_row", "spoken"),
            )
        ),
        "bot.slack.render.locks.follow_button",
        "bot.slack.render.locks.unlock_button",
    }
)
"""`as_answer`: one of the bot's own sentences, which quotes by itself."""


def renders() -> Iterator[str]:
    """The public functions that return something to show, found by what they return."""
    modules = [
        *(one.name for one in pkgutil.walk_packages(bot.slack.__path__, "bot.slack.")),
        bot.webhooks.slack_format.__name__,
    ]
    for module in modules:
        for name, made in vars(importlib.import_module(module)).items():
            own = inspect.isfunction(made) and made.__module__ == module
            if not own or name.startswith("_") or inspect.iscoroutinefunction(made):
                continue
            returned = inspect.signature(made).return_annotation
            words = module.endswith((".locks", ".questions", ".answers")) and returned is str
            if returned in {Answer, Rendered, Json, list[Json], dict[str, object]} or words:
                yield f"{module}.{name}"
