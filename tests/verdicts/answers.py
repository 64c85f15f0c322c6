"""Ask the rules about a row or a generated piece of evidence, and write their answer as words."""

from typing import assert_never

from bot.deployments.verdict.decisions import (
    Decision,
    Ended,
    LiveDetail,
    LookAgain,
    ReadAgain,
    Requeue,
    StartAgain,
    WatchRelease,
)
from bot.deployments.verdict.evidence import Evidence
from bot.deployments.verdict.rules import before_start, decide
from bot.deployments.verdict.stability import NextLook, judge
from tests.verdicts.codes import Question, Unstarted, Watch

Answer = Decision | NextLook


def ask(question: Question) -> Answer:
    """Ask the rules."""
    match question:
        case Unstarted():
            return before_start(question.cause, question.after, failure=question.failure)
        case Evidence():
            return decide(question)
        case Watch(first=first, now=now, known=known, last_word=last_word):
            return judge(first, now, known, last_word=last_word)
        case _:
            assert_never(question)


def outcome(answer: Answer) -> str:
    """`kind phase failure live rule`, a dash for what is not decided."""
    match answer:
        case Ended(phase=phase, failure=failure, live=live, rule=rule):
            return f"end {phase} {failure or '-'} {live} {rule}"
        case StartAgain(otherwise=ended):
            return f"start_again {ended.phase} {ended.failure or '-'} {ended.live} {ended.rule}"
        case WatchRelease(rule=rule) | ReadAgain(rule=rule):
            return f"check - - - {rule}"
        case LookAgain(rule=rule):
            return f"watch - - - {rule}"
        case Requeue(rule=rule):
            return f"requeue - - - {rule}"
        case NextLook():
            return f"{answer} - - - -"
        case _:
            assert_never(answer)


def ended(answer: Answer) -> Ended | None:
    """The result that an answer holds, be it only for the case that no new start is allowed."""
    match answer:
        case Ended():
            return answer
        case StartAgain(otherwise=result):
            return result
        case _:
            return None


def _named(result: Ended) -> list[str]:
    """Each process that is down; with how, where that is not the cause."""
    return [process if how is result.cause else f"{process} {how}" for how, process in result.down]


def cause(answer: Answer) -> str:
    """What the message is made of, in codes: the cause and whatever else its sentence names.

    Without the output line that names the cause: that is the row's `text`.
    """
    if isinstance(answer, ReadAgain):
        return "read_again"
    result = ended(answer)
    if result is None:
        return ""
    words = [
        result.cause,
        f"of={', '.join(_named(result))}" if result.down else "",
        "late" if result.late else "",
        "by_lock" if result.by_lock else "",
        f"by={result.by}" if result.by else "",
        f"live={result.live_detail}" if result.live_detail is not LiveDetail.NONE else "",
        f"live_by={result.live_by}" if result.live_by else "",
    ]
    return " ".join(word for word in words if word)
