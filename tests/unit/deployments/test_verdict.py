"""Every rule of the verdict, each with what it must and must not take."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.model import Failure, Live, Mark, Phase
from bot.deployments.proof import KILLED, PIPE_CLOSED, Evidence, ours_images, serving, whose
from bot.deployments.readings import AppReport, BuildStatus, Containers
from bot.deployments.verdict import Kind, Verdict, as_sentence, before_start, cause_of, decide
from tests.support.builders import (
    CONFIG_SET,
    DEPLOYED,
    METADATA,
    NEW,
    NEW_WORKER,
    OLD,
    OLD_METADATA,
    OLD_WORKER,
    PUSH,
    RESTARTED_NEW,
    RESTARTED_OLD,
    STRANGER,
    a_container,
    a_record,
    a_snapshot,
    containers,
    evidence,
    facts,
)

BAD = {"record": a_record(BuildStatus.FAILED, 1)}
LOST = {"exit_status": None, "output": facts()}
FIRST = {"before": a_snapshot(containers())}
NOTHING = {"after": containers()}
SAME = {"after": containers(OLD)}


def the(**changes: Any) -> Verdict:
    return decide(evidence(**changes))


def end(
    rule: str, phase: Phase, failure: Failure | None, live: Live, reason: str, kind: Kind = Kind.END
) -> Verdict:
    return Verdict(kind=kind, rule=rule, phase=phase, failure=failure, live=live, reason=reason)


SERVES_NEW = "The new release is serving."
SERVES_OLD = "The previous release is still serving."
SERVES_NOTHING = "Nothing is serving."
SERVES_BOTH = "Some processes run the new release, some the old one."
SERVES_UNKNOWN = "What is serving now is not known."

TABLE: list[tuple[str, dict[str, Any], Verdict]] = [
    # --- a refused start
    (
        "refused by the lock",
        {"exit_status": 1, "output": facts(Mark.LOCKED)} | SAME,
        Verdict(kind=Kind.REQUEUE, rule="lock_held_by_another"),
    ),
    (
        "refused by the lock, as Dokku's copy of the text says: the line was lost",
        {"output": facts(Mark.LOCKED)}
        | {"exit_status": None, "record": a_record(BuildStatus.ABANDONED)}
        | SAME,
        Verdict(kind=Kind.REQUEUE, rule="lock_held_by_another"),
    ),
    (
        "refused by the lock, but not seen dead",
        {"output": facts(Mark.LOCKED)}
        | {"exit_status": None, "record": a_record(BuildStatus.RUNNING)}
        | SAME,
        Verdict(kind=Kind.WATCH, rule="still_running"),
    ),
    (
        "a good end is none of a refused start, whatever the text says",
        {"output": facts(*DEPLOYED, Mark.LOCKED, ours=(NEW,))},
        Verdict(kind=Kind.CHECK, rule="new_release_seen"),
    ),
    (
        "refused by the lock, and somebody asked for the end",
        {"exit_status": 1, "output": facts(Mark.LOCKED), "cancel_asked": True, "record": None}
        | {"after": containers(STRANGER)},
        end("cancelled", Phase.CANCELLED, None, Live.UNKNOWN, f"Cancelled. {SERVES_UNKNOWN}"),
    ),
    (
        "a cancel asked, but the command had a good end with nothing scaled up",
        {"output": facts(*DEPLOYED), "cancel_asked": True} | FIRST | NOTHING,
        end(
            "nothing_scaled_up",
            Phase.SUCCEEDED,
            None,
            Live.NONE,
            "Released; no process is scaled up, so nothing is serving.",
        ),
    ),
    (
        "our output names a container, but none is listed any more: no success",
        NOTHING,
        end(
            "nothing_scaled_up",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.NONE,
            "The new release was stopped or scaled down before it had proved itself. "
            + SERVES_NOTHING,
        ),
    ),
    # --- cancelled
    (
        "asked, recorded, old serves",
        {"exit_status": 141, "record": a_record(BuildStatus.CANCELED, -1), "cancel_asked": True}
        | SAME,
        end("cancelled", Phase.CANCELLED, None, Live.PREVIOUS, f"Cancelled. {SERVES_OLD}"),
    ),
    (
        "asked, recorded, but the new release serves",
        {"exit_status": 141, "record": a_record(BuildStatus.CANCELED, -1), "cancel_asked": True},
        end("cancelled", Phase.CANCELLED, None, Live.NEW, f"Cancelled, but too late. {SERVES_NEW}"),
    ),
    (
        "asked, recorded, containers cannot be read",
        {"exit_status": 141, "record": a_record(BuildStatus.CANCELED), "cancel_asked": True}
        | {"after": None},
        end("cancelled", Phase.CANCELLED, None, Live.UNKNOWN, f"Cancelled. {SERVES_UNKNOWN}"),
    ),
    (
        "asked, our channel closed, record abandoned, nothing changed",
        {"record": a_record(BuildStatus.ABANDONED), "cancel_asked": True} | LOST | SAME,
        end("cancelled", Phase.CANCELLED, None, Live.PREVIOUS, f"Cancelled. {SERVES_OLD}"),
    ),
    (
        "asked on a first deploy, nothing there before or after",
        {"exit_status": 141, "record": None, "cancel_asked": True} | FIRST | NOTHING,
        end("cancelled", Phase.CANCELLED, None, Live.NONE, f"Cancelled. {SERVES_NOTHING}"),
    ),
    (
        "asked, but the record still runs and our channel is closed: not proven",
        {"record": a_record(BuildStatus.RUNNING), "cancel_asked": True} | LOST | SAME,
        Verdict(kind=Kind.WATCH, rule="still_running"),
    ),
    (
        "asked, but no record tells that our command is dead",
        {"record": None, "cancel_asked": True} | LOST | SAME,
        Verdict(kind=Kind.WATCH, rule="no_contact"),
    ),
    (
        "asked, command failed, and the old containers are gone: no cancelled",
        {"exit_status": 1, "cancel_asked": True, "output": facts()} | BAD | NOTHING,
        end(
            "failed",
            Phase.FAILED,
            Failure.RELEASE_FAILED,
            Live.NONE,
            f"The release failed. {SERVES_NOTHING}",
        ),
    ),
    (
        "asked, but a good end came first",
        {"cancel_asked": True},
        Verdict(kind=Kind.CHECK, rule="new_release_seen"),
    ),
    (
        "the cap cancelled it",
        {"exit_status": 141, "record": a_record(BuildStatus.CANCELED), "cap_reached": True} | SAME,
        end(
            "cancelled",
            Phase.FAILED,
            Failure.TIMED_OUT,
            Live.PREVIOUS,
            f"It took longer than allowed and was stopped. {SERVES_OLD}",
        ),
    ),
    (
        "the cap closed our channel, nothing changed",
        {"exit_status": 141, "record": a_record(BuildStatus.ABANDONED), "cap_reached": True} | SAME,
        end(
            "cancelled",
            Phase.FAILED,
            Failure.TIMED_OUT,
            Live.PREVIOUS,
            f"It took longer than allowed and was stopped. {SERVES_OLD}",
        ),
    ),
    (
        "a person asked before the cap was reached",
        {"exit_status": 141, "record": a_record(BuildStatus.CANCELED)}
        | {"cap_reached": True, "cancel_asked": True}
        | SAME,
        end("cancelled", Phase.CANCELLED, None, Live.PREVIOUS, f"Cancelled. {SERVES_OLD}"),
    ),
    (
        "nobody asked: cancelled on the server",
        {"exit_status": 141, "record": a_record(BuildStatus.CANCELED)} | SAME,
        end(
            "cancelled",
            Phase.CANCELLED,
            None,
            Live.PREVIOUS,
            f"It was cancelled on the server, not by this bot. {SERVES_OLD}",
        ),
    ),
    *[
        (
            f"{rule}, and somebody restarted the old release meanwhile",
            changes | {"after": containers(RESTARTED_OLD)},
            end(
                rule,
                Phase.FAILED,
                failure,
                Live.PREVIOUS,
                f"{cause}. "
                "The previous release is serving; it was restarted meanwhile from elsewhere.",
                kind=kind,
            ),
        )
        for rule, changes, failure, cause, kind in (
            (
                "cancelled",
                {"exit_status": 141, "record": a_record(BuildStatus.CANCELED)}
                | {"cap_reached": True},
                Failure.TIMED_OUT,
                "It took longer than allowed and was stopped",
                Kind.END,
            ),
            (
                "not_deployed",
                {"output": facts(Mark.BUILDING, Mark.DEPLOYED)},
                Failure.NOT_DEPLOYED,
                "Dokku's command ended well, but released nothing",
                Kind.END,
            ),
            (
                "ended_without_telling",
                {"record": a_record(BuildStatus.ABANDONED)} | LOST,
                Failure.INTERRUPTED,
                "The connection or the bot died during the deployment, and Dokku's command with it",
                Kind.START_AGAIN,
            ),
        )
    ],
    # --- a good end
    ("a good end", {}, Verdict(kind=Kind.CHECK, rule="new_release_seen")),
    (
        "a good end of the same content: the image is the old one",
        {
            "output": facts(*DEPLOYED, ours=(a_container("7" * 12),)),
            "after": containers(a_container("7" * 12)),
        },
        Verdict(kind=Kind.CHECK, rule="new_release_seen"),
    ),
    (
        "a good end with checks off: Renaming lines name ours",
        {"output": facts(*DEPLOYED, renamed=frozenset({NEW.id}))},
        Verdict(kind=Kind.CHECK, rule="new_release_seen"),
    ),
    (
        "a good end without a record is like an older Dokku",
        {"record": None},
        Verdict(kind=Kind.CHECK, rule="new_release_seen"),
    ),
    (
        "a good end with a record that is not succeeded is like an older Dokku",
        {"record": a_record(BuildStatus.ABANDONED)},
        Verdict(kind=Kind.CHECK, rule="new_release_seen"),
    ),
    (
        "the line was lost, the record says succeeded",
        {"exit_status": None},
        Verdict(kind=Kind.CHECK, rule="new_release_seen"),
    ),
    (
        "a new process that restarts is looked at closer",
        {"after": containers(a_container(NEW.id, image="sha256:new", state="restarting"))},
        Verdict(kind=Kind.CHECK, rule="new_release_seen"),
    ),
    (
        "containers cannot be read yet",
        {"after": None},
        Verdict(kind=Kind.CHECK, rule="good_end_unreadable"),
    ),
    (
        "containers could not be read, no more waiting",
        {"after": None, "last_word": True},
        end(
            "good_end_unreadable",
            Phase.FAILED,
            Failure.INTERNAL,
            Live.UNKNOWN,
            f"Dokku's command ended well, but its containers could not be read. {SERVES_UNKNOWN}",
        ),
    ),
    (
        "old and new side by side",
        {
            "before": a_snapshot(containers(OLD, OLD_WORKER)),
            "after": containers(NEW, OLD_WORKER),
            "report": AppReport(metadata=OLD_METADATA),
        },
        Verdict(kind=Kind.CHECK, rule="old_beside_new"),
    ),
    (
        "old and new side by side, no more waiting",
        {
            "before": a_snapshot(containers(OLD, OLD_WORKER)),
            "after": containers(NEW, OLD_WORKER),
            "last_word": True,
        },
        end(
            "old_beside_new",
            Phase.FAILED,
            Failure.RELEASE_FAILED,
            Live.MIXED,
            f"Not every process was replaced. {SERVES_BOTH}",
        ),
    ),
    (
        "nothing is scaled up",
        {"output": facts(*DEPLOYED)} | FIRST | NOTHING,
        end(
            "nothing_scaled_up",
            Phase.SUCCEEDED,
            None,
            Live.NONE,
            "Released; no process is scaled up, so nothing is serving.",
        ),
    ),
    (
        "only exited containers of ours are listed: something is scaled up, and down",
        {"after": containers(a_container(NEW.id, image="sha256:new", state="exited"))},
        Verdict(kind=Kind.CHECK, rule="new_release_seen"),
    ),
    (
        "metadata names another commit",
        {"report": AppReport(metadata=OLD_METADATA)},
        end(
            "commit_not_confirmed",
            Phase.FAILED,
            Failure.INTERNAL,
            Live.NEW,
            f"Released, but the commit could not be confirmed. {SERVES_NEW}",
        ),
    ),
    (
        "metadata could not be read",
        {"report": None},
        end(
            "commit_not_confirmed",
            Phase.FAILED,
            Failure.INTERNAL,
            Live.NEW,
            f"Released, but the commit could not be confirmed. {SERVES_NEW}",
        ),
    ),
    (
        "the commit was never known",
        {"expected": None},
        end(
            "commit_not_confirmed",
            Phase.FAILED,
            Failure.INTERNAL,
            Live.NEW,
            f"Released, but the commit could not be confirmed. {SERVES_NEW}",
        ),
    ),
    (
        "nothing scaled up, metadata names another commit",
        {"output": facts(*DEPLOYED), "report": AppReport(metadata=OLD_METADATA)} | FIRST | NOTHING,
        end(
            "commit_not_confirmed",
            Phase.FAILED,
            Failure.INTERNAL,
            Live.NONE,
            f"Released, but the commit could not be confirmed. {SERVES_NOTHING}",
        ),
    ),
    (
        "Dokku never said that it deployed, although new containers run",
        {"output": facts(Mark.BUILDING, ours=(NEW,))},
        end(
            "good_end_not_said",
            Phase.FAILED,
            Failure.INTERNAL,
            Live.NEW,
            f"Dokku's command ended well without saying that it deployed. {SERVES_NEW}",
        ),
    ),
    (
        "exit status 0 and the old containers alone",
        SAME,
        end(
            "not_deployed",
            Phase.FAILED,
            Failure.NOT_DEPLOYED,
            Live.PREVIOUS,
            f"Dokku's command ended well, but released nothing. {SERVES_OLD}",
        ),
    ),
    (
        "deploy skipped on a first deploy",
        {"output": facts(Mark.BUILDING, Mark.DEPLOY_SKIPPED)} | FIRST | NOTHING,
        end(
            "not_deployed",
            Phase.FAILED,
            Failure.NOT_DEPLOYED,
            Live.NONE,
            f"Dokku's command ended well, but released nothing. {SERVES_NOTHING}",
        ),
    ),
    (
        "nothing was built on a first deploy",
        {"output": facts(Mark.BUILD_SKIPPED)} | FIRST | NOTHING,
        end(
            "not_deployed",
            Phase.FAILED,
            Failure.NOT_DEPLOYED,
            Live.NONE,
            f"Dokku's command ended well, but released nothing. {SERVES_NOTHING}",
        ),
    ),
    (
        "ours was deployed, and others of the former image run now",
        {"after": containers(RESTARTED_OLD)},
        end(
            "replaced_before_proof",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.PREVIOUS,
            "Other containers took the place of its own before it had proved itself. "
            "The previous release is serving; it was restarted meanwhile from elsewhere.",
        ),
    ),
    (
        "ours was deployed, and somebody restarted the former image",
        {"after": containers(RESTARTED_OLD), "others": (CONFIG_SET,)},
        end(
            "replaced_before_proof",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.PREVIOUS,
            "Other containers took the place of its own before it had proved itself. "
            "The previous release is serving; it was restarted meanwhile by config:set.",
        ),
    ),
    (
        "ours was started and never said to be deployed, and others of the former image run now",
        {"output": facts(Mark.BUILDING, ours=(NEW,)), "after": containers(RESTARTED_OLD)},
        end(
            "not_deployed",
            Phase.FAILED,
            Failure.NOT_DEPLOYED,
            Live.PREVIOUS,
            "Dokku's command ended well, but released nothing. "
            "The previous release is serving; it was restarted meanwhile from elsewhere.",
        ),
    ),
    (
        "somebody else's release serves after a good end",
        {"after": containers(STRANGER)},
        end(
            "replaced_before_proof",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.UNKNOWN,
            "Other containers took the place of its own before it had proved itself. "
            f"{SERVES_UNKNOWN}",
        ),
    ),
    (
        "somebody else's release serves beside ours after a good end",
        {"after": containers(NEW, STRANGER)},
        end(
            "replaced_before_proof",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.UNKNOWN,
            f"Another release replaced it before it had proved itself. {SERVES_UNKNOWN}",
        ),
    ),
    (
        "somebody's push serves after a good end",
        {"after": containers(STRANGER), "others": (PUSH, CONFIG_SET)},
        end(
            "replaced_before_proof",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.UNKNOWN,
            f"It was replaced by git push before it had proved itself. {SERVES_UNKNOWN}",
        ),
    ),
    # --- a bad end
    (
        "killed on the server, old serves",
        {"exit_status": KILLED, "output": facts(Mark.BUILDING)} | BAD | SAME,
        end(
            "failed",
            Phase.FAILED,
            Failure.RELEASE_FAILED,
            Live.PREVIOUS,
            "Dokku's command was killed on the server, as by a reboot or for lack of memory. "
            f"{SERVES_OLD}",
        ),
    ),
    (
        "killed on the server after the switch",
        {"exit_status": KILLED, "output": facts(Mark.BUILDING, ours=(NEW,))} | BAD,
        end(
            "failed_late",
            Phase.FAILED,
            Failure.RELEASE_FAILED,
            Live.NEW,
            "Failed late. Dokku's command was killed on the server, as by a reboot or for lack of "
            f"memory. {SERVES_NEW}",
        ),
    ),
    (
        "the build failed, and the records tell who restarted the old release meanwhile",
        {
            "exit_status": 1,
            "output": facts(Mark.BUILD_FAILED),
            "after": containers(RESTARTED_OLD),
            "others": (CONFIG_SET,),
        }
        | BAD,
        end(
            "failed",
            Phase.FAILED,
            Failure.BUILD_FAILED,
            Live.PREVIOUS,
            "The build failed. "
            "The previous release is serving; it was restarted meanwhile by config:set.",
        ),
    ),
    (
        "the build failed, old serves",
        {"exit_status": 1, "output": facts(Mark.BUILD_FAILED, error="ERROR: failed to solve")}
        | BAD
        | SAME,
        end(
            "failed",
            Phase.FAILED,
            Failure.BUILD_FAILED,
            Live.PREVIOUS,
            f"The build failed: ERROR: failed to solve. {SERVES_OLD}",
        ),
    ),
    (
        "the build failed, nothing serves",
        {"exit_status": 1, "output": facts(Mark.BUILD_FAILED)} | BAD | FIRST | NOTHING,
        end(
            "failed",
            Phase.FAILED,
            Failure.BUILD_FAILED,
            Live.NONE,
            f"The build failed. {SERVES_NOTHING}",
        ),
    ),
    (
        "the build failed, and the old release restarts by itself",
        {
            "exit_status": 1,
            "output": facts(Mark.BUILD_FAILED),
            "after": containers(a_container(OLD.id, state="restarting")),
        }
        | BAD,
        end(
            "failed",
            Phase.FAILED,
            Failure.BUILD_FAILED,
            Live.PREVIOUS,
            "The build failed. The previous release is still in place, but is itself restarting.",
        ),
    ),
    (
        "the build failed, and somebody restarted the old release meanwhile",
        {
            "exit_status": 1,
            "output": facts(Mark.BUILD_FAILED),
            "after": containers(RESTARTED_OLD),
        }
        | BAD,
        end(
            "failed",
            Phase.FAILED,
            Failure.BUILD_FAILED,
            Live.PREVIOUS,
            "The build failed. "
            "The previous release is serving; it was restarted meanwhile from elsewhere.",
        ),
    ),
    (
        "the build failed, and one of two old processes was restarted: it still serves",
        {
            "exit_status": 1,
            "output": facts(Mark.BUILD_FAILED),
            "before": a_snapshot(containers(OLD, OLD_WORKER)),
            "after": containers(RESTARTED_OLD, OLD_WORKER),
        }
        | BAD,
        end(
            "failed",
            Phase.FAILED,
            Failure.BUILD_FAILED,
            Live.PREVIOUS,
            f"The build failed. {SERVES_OLD}",
        ),
    ),
    (
        "a bad end with containers that nobody can place",
        {"exit_status": 1, "output": facts(Mark.BUILD_FAILED), "after": containers(STRANGER)} | BAD,
        end(
            "failed",
            Phase.FAILED,
            Failure.BUILD_FAILED,
            Live.UNKNOWN,
            f"The build failed. {SERVES_UNKNOWN}",
        ),
    ),
    (
        "a bad end, containers cannot be read",
        {"exit_status": 1, "output": facts(Mark.CHECKS_FAILED), "after": None} | BAD,
        end(
            "failed",
            Phase.FAILED,
            Failure.HEALTHCHECK_FAILED,
            Live.UNKNOWN,
            f"The health check failed. {SERVES_UNKNOWN}",
        ),
    ),
    (
        "the snapshot had no containers to compare with",
        {"exit_status": 1, "output": facts(), "before": a_snapshot(None)} | BAD | SAME,
        end(
            "failed",
            Phase.FAILED,
            Failure.RELEASE_FAILED,
            Live.UNKNOWN,
            f"The release failed. {SERVES_UNKNOWN}",
        ),
    ),
    (
        "failed late: the new release serves",
        {"exit_status": 1, "output": facts(Mark.RELEASE_FAILED, ours=(NEW,), error="postdeploy")}
        | BAD,
        end(
            "failed_late",
            Phase.FAILED,
            Failure.RELEASE_FAILED,
            Live.NEW,
            f"Failed late. The release failed: postdeploy. {SERVES_NEW}",
        ),
    ),
    (
        "failed late: a foreign restart of our release serves beside it",
        {
            "exit_status": 1,
            "output": facts(ours=(NEW,)),
            "after": containers(NEW, a_container("6" * 12, process="web.2", image="sha256:new")),
        }
        | BAD,
        end(
            "failed_late",
            Phase.FAILED,
            Failure.RELEASE_FAILED,
            Live.NEW,
            f"Failed late. The release failed. {SERVES_NEW}",
        ),
    ),
    (
        "failed with a mixed release",
        {
            "exit_status": 1,
            "output": facts(Mark.CHECKS_FAILED, ours=(NEW, NEW_WORKER)),
            "before": a_snapshot(containers(OLD, OLD_WORKER)),
            "after": containers(NEW, OLD_WORKER),
        }
        | BAD,
        end(
            "failed_late",
            Phase.FAILED,
            Failure.RELEASE_FAILED,
            Live.MIXED,
            f"Failed late. The health check failed. {SERVES_BOTH}",
        ),
    ),
    # --- the line was lost
    (
        "lost, the record runs",
        {"record": a_record(BuildStatus.RUNNING)} | LOST | SAME,
        Verdict(kind=Kind.WATCH, rule="still_running"),
    ),
    (
        "lost, the record runs for ever",
        {"record": a_record(BuildStatus.RUNNING), "last_word": True} | LOST | SAME,
        end(
            "still_running",
            Phase.FAILED,
            Failure.TIMED_OUT,
            Live.UNKNOWN,
            "It took longer than allowed, and its end on the server could not be confirmed. "
            + SERVES_UNKNOWN,
        ),
    ),
    (
        "lost, the record tells a failure",
        {"record": a_record(BuildStatus.FAILED, 1)} | LOST | SAME,
        end(
            "failed",
            Phase.FAILED,
            Failure.RELEASE_FAILED,
            Live.PREVIOUS,
            f"The release failed. {SERVES_OLD}",
        ),
    ),
    *[
        (
            f"lost, abandoned, but Dokku's own log says {mark}",
            {"output": facts(Mark.FETCHING, mark, error="fatal: why")}
            | {"exit_status": None, "record": a_record(BuildStatus.ABANDONED)}
            | SAME,
            end(
                "failed",
                Phase.FAILED,
                failure,
                Live.PREVIOUS,
                f"{cause}: fatal: why. {SERVES_OLD}",
            ),
        )
        for mark, failure, cause in (
            (Mark.REF_MISSING, Failure.REF_NOT_FOUND, "The repository has no such ref"),
            (
                Mark.REPO_UNREACHABLE,
                Failure.REPO_UNREACHABLE,
                "Dokku could not read the repository",
            ),
        )
    ],
    (
        "lost, abandoned in a build whose fetch had failed at first",
        {"output": facts(Mark.REPO_UNREACHABLE, Mark.BUILDING)}
        | {"exit_status": None, "record": a_record(BuildStatus.ABANDONED)}
        | SAME,
        end(
            "ended_without_telling",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.PREVIOUS,
            "The connection or the bot died during the deployment, and Dokku's command with it. "
            f"{SERVES_OLD}",
            kind=Kind.START_AGAIN,
        ),
    ),
    (
        "lost, and the fetch has failed, but the record is shown running",
        {"output": facts(Mark.REPO_UNREACHABLE)}
        | {"exit_status": None, "record": a_record(BuildStatus.RUNNING)}
        | SAME,
        Verdict(kind=Kind.WATCH, rule="still_running"),
    ),
    (
        "lost, abandoned, but Dokku's own log says that the build failed",
        {
            "exit_status": None,
            "output": facts(Mark.BUILD_FAILED),
            "record": a_record(BuildStatus.ABANDONED),
        }
        | SAME,
        end(
            "failed",
            Phase.FAILED,
            Failure.BUILD_FAILED,
            Live.PREVIOUS,
            f"The build failed. {SERVES_OLD}",
        ),
    ),
    (
        "lost, pruned to failed/-1, but Dokku's own log says that the build failed",
        {
            "exit_status": None,
            "output": facts(Mark.BUILD_FAILED),
            "record": a_record(BuildStatus.FAILED, -1),
        }
        | SAME,
        end(
            "failed",
            Phase.FAILED,
            Failure.BUILD_FAILED,
            Live.PREVIOUS,
            f"The build failed. {SERVES_OLD}",
        ),
    ),
    *[
        (
            f"lost, {record.status}/{record.exit_code}, nothing changed",
            {"record": record} | LOST | SAME,
            end(
                "ended_without_telling",
                Phase.FAILED,
                Failure.INTERRUPTED,
                Live.PREVIOUS,
                "The connection or the bot died during the deployment, and Dokku's command "
                f"with it. {SERVES_OLD}",
                kind=Kind.START_AGAIN,
            ),
        )
        for record in (
            a_record(BuildStatus.ABANDONED),
            a_record(BuildStatus.FAILED, 141),
            a_record(BuildStatus.FAILED, -1),
            a_record(BuildStatus.FAILED, None),
        )
    ],
    (
        "lost on a first deploy, nothing there before or after",
        {"record": a_record(BuildStatus.ABANDONED)} | LOST | FIRST | NOTHING,
        end(
            "ended_without_telling",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.NONE,
            "The connection or the bot died during the deployment, and Dokku's command with it. "
            + SERVES_NOTHING,
            kind=Kind.START_AGAIN,
        ),
    ),
    (
        "lost, and the old containers are gone: never start again into that",
        {"record": a_record(BuildStatus.ABANDONED)} | LOST | NOTHING,
        end(
            "ended_without_telling",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.NONE,
            "The connection or the bot died during the deployment, and Dokku's command with it. "
            + SERVES_NOTHING,
        ),
    ),
    (
        "lost after the switch",
        {
            "exit_status": None,
            "output": facts(ours=(NEW,)),
            "record": a_record(BuildStatus.FAILED, 141),
        },
        end(
            "ended_without_telling",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.NEW,
            "The connection or the bot died during the deployment, and Dokku's command with it. "
            + SERVES_NEW,
        ),
    ),
    (
        "lost before Dokku had begun: once more",
        {"record": None, "never_began": True} | LOST | SAME,
        end(
            "ended_without_telling",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.PREVIOUS,
            f"The connection was lost before Dokku had begun, so nothing of it ran. {SERVES_OLD}",
            kind=Kind.START_AGAIN,
        ),
    ),
    (
        "lost before Dokku had begun, and another release serves",
        {"record": None, "never_began": True} | LOST | {"after": containers(STRANGER)},
        end(
            "ended_without_telling",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.UNKNOWN,
            "The connection was lost before Dokku had begun, so nothing of it ran. "
            + SERVES_UNKNOWN,
        ),
    ),
    (
        "lost before Dokku had begun, and somebody asked for the end",
        {"record": None, "never_began": True, "cancel_asked": True} | LOST | SAME,
        end("cancelled", Phase.CANCELLED, None, Live.PREVIOUS, f"Cancelled. {SERVES_OLD}"),
    ),
    (
        "lost, a cancel was asked, and whether it began is not known",
        {"record": None, "cancel_asked": True} | LOST | SAME,
        Verdict(kind=Kind.WATCH, rule="no_contact"),
    ),
    (
        "lost, no record or two candidates",
        {"record": None} | LOST | SAME,
        Verdict(kind=Kind.WATCH, rule="no_contact"),
    ),
    (
        "lost, no record, no more waiting",
        {"record": None, "last_word": True} | LOST | SAME,
        end(
            "no_contact",
            Phase.FAILED,
            Failure.LOST_CONTACT,
            Live.UNKNOWN,
            f"Contact with Dokku was lost, and how the deployment ended is not known. "
            f"{SERVES_UNKNOWN}",
        ),
    ),
    # --- a Dokku without records
    (
        "no records: lost, but our commit and our containers are there",
        {"keeps_records": False, "record": None, "exit_status": None},
        Verdict(kind=Kind.CHECK, rule="end_seen_by_effect"),
    ),
    (
        "no records: lost, our containers, but another commit",
        {"keeps_records": False, "record": None, "exit_status": None}
        | {"report": AppReport(metadata=OLD_METADATA)},
        Verdict(kind=Kind.WATCH, rule="no_contact"),
    ),
    (
        "no records: lost, our containers, commit unreadable",
        {"keeps_records": False, "record": None, "exit_status": None, "report": None},
        Verdict(kind=Kind.WATCH, rule="no_contact"),
    ),
    (
        "no records: lost, our containers, commit never known",
        {"keeps_records": False, "record": None, "exit_status": None, "expected": None},
        Verdict(kind=Kind.WATCH, rule="no_contact"),
    ),
    (
        "no records: lost, our commit, old containers",
        {"keeps_records": False, "record": None, "exit_status": None} | SAME,
        Verdict(kind=Kind.WATCH, rule="no_contact"),
    ),
    (
        "records are kept, but ours is not found: effects alone prove nothing",
        {"record": None, "exit_status": None},
        Verdict(kind=Kind.WATCH, rule="no_contact"),
    ),
]


@pytest.mark.parametrize(
    ("changes", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_evidence_gives_the_verdict(changes: dict[str, Any], expected: Verdict) -> None:
    assert the(**changes) == expected


MARKED = [
    (Mark.APP_MISSING, Failure.APP_NOT_FOUND, "The app does not exist on the server"),
    (Mark.REF_MISSING, Failure.REF_NOT_FOUND, "The repository has no such ref"),
    (Mark.REPO_UNREACHABLE, Failure.REPO_UNREACHABLE, "Dokku could not read the repository"),
    (Mark.DOCKER_DOWN, Failure.BUILD_FAILED, "Docker on the server did not answer"),
    (
        Mark.NO_COMMAND,
        Failure.RELEASE_FAILED,
        "The image has no command to start; give it a CMD, or the app a Procfile",
    ),
    (Mark.CHECKS_FAILED, Failure.HEALTHCHECK_FAILED, "The health check failed"),
    (Mark.BUILD_FAILED, Failure.BUILD_FAILED, "The build failed"),
    (Mark.REFUSED, Failure.REFUSED, "Dokku refused"),
    (Mark.RELEASE_FAILED, Failure.RELEASE_FAILED, "The release failed"),
    (Mark.BUILDING, Failure.RELEASE_FAILED, "The release failed"),
]


@pytest.mark.parametrize(("mark", "failure", "sentence"), MARKED)
def test_the_marks_name_the_failure(mark: Mark, failure: Failure, sentence: str) -> None:
    assert cause_of(facts(mark), 1) == (failure, sentence)
    assert cause_of(facts(mark, error="why"), 1) == (failure, f"{sentence}: why")


@pytest.mark.parametrize(("mark", "failure", "sentence"), MARKED[:-1])
def test_a_kill_is_named_where_the_output_names_no_cause(
    mark: Mark, failure: Failure, sentence: str
) -> None:
    assert cause_of(facts(mark), KILLED) == (failure, sentence)


@pytest.mark.parametrize(
    ("status", "how"),
    [
        (KILLED, "killed on the server, as by a reboot or for lack of memory"),
        (PIPE_CLOSED, "cut off on the server, as by somebody's `kill`"),
    ],
)
def test_output_that_just_stops_is_told_by_the_exit_status(status: int, how: str) -> None:
    sentence = f"Dokku's command was {how}"
    assert cause_of(facts(Mark.BUILDING), status) == (Failure.RELEASE_FAILED, sentence)


def test_a_missing_ref_is_named_before_the_build_that_failed_for_it() -> None:
    assert cause_of(facts(Mark.BUILD_FAILED, Mark.REF_MISSING), 1)[0] is Failure.REF_NOT_FOUND


@pytest.mark.parametrize(
    ("first", "then"),
    [(Mark.DOCKER_DOWN, Mark.BUILD_FAILED), (Mark.NO_COMMAND, Mark.RELEASE_FAILED)],
)
def test_the_reason_is_named_before_what_failed_for_it(first: Mark, then: Mark) -> None:
    assert cause_of(facts(first, then), 1) == cause_of(facts(first), 1)


def test_ours_are_the_named_ones_before_the_old_ones() -> None:
    ours = frozenset({NEW.id})
    images = frozenset({NEW.image})
    before = containers(OLD)
    assert whose(NEW, ours, images, before) is Live.NEW
    assert whose(OLD, ours, images | {OLD.image}, before) is Live.PREVIOUS
    assert whose(RESTARTED_NEW, ours, images, before) is Live.NEW
    assert whose(RESTARTED_OLD, ours, images, before) is Live.PREVIOUS
    assert whose(RESTARTED_OLD, ours, images | {OLD.image}, before) is Live.NEW
    assert whose(STRANGER, ours, images, before) is Live.UNKNOWN
    assert whose(OLD, ours, images, None) is Live.UNKNOWN


def test_images_of_ours_come_from_every_read() -> None:
    assert ours_images(frozenset({NEW.id}), None, containers(OLD, NEW)) == {NEW.image}
    assert ours_images(frozenset(), containers(NEW)) == frozenset()


def test_what_is_down_serves_nothing() -> None:
    down = containers(a_container(OLD.id, state="exited"), a_container("8" * 12, state="created"))
    assert serving(down, frozenset(), containers(OLD)) is Live.NONE


def test_one_unknown_among_known_ones_makes_it_unknown() -> None:
    after = containers(NEW, STRANGER)
    assert serving(after, frozenset({NEW.id}), containers(OLD)) is Live.UNKNOWN


@pytest.mark.parametrize(
    ("after", "live", "sentence"),
    [
        (None, Live.UNKNOWN, SERVES_UNKNOWN),
        (containers(), Live.NONE, SERVES_NOTHING),
        (containers(OLD), Live.PREVIOUS, SERVES_OLD),
        (containers(a_container(state="restarting")), Live.PREVIOUS, SERVES_OLD),
        (containers(a_container(state="exited")), Live.NONE, SERVES_NOTHING),
    ],
)
def test_an_end_before_the_start(after: Containers | None, live: Live, sentence: str) -> None:
    verdict = before_start(Failure.SERVER_UNREACHABLE, "It did not answer", after)
    assert verdict == end(
        "before_start",
        Phase.FAILED,
        Failure.SERVER_UNREACHABLE,
        live,
        f"It did not answer. {sentence}",
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a", "a."),
        ("a.", "a."),
        ("a?", "a?"),
        ("a!", "a!"),
        ("a: ", "a."),
        ("X: ", "X."),
        (": a", ": a."),
    ],
)
def test_a_sentence_ends_once(text: str, sentence: str) -> None:
    assert as_sentence(text) == sentence


ANY_CONTAINERS = st.none() | st.lists(
    st.sampled_from(
        [
            OLD,
            NEW,
            NEW_WORKER,
            OLD_WORKER,
            STRANGER,
            RESTARTED_OLD,
            RESTARTED_NEW,
            a_container(NEW.id, image="sha256:new", state="restarting"),
            a_container(OLD.id, state="exited"),
        ]
    ),
    unique_by=lambda one: one.process,
    max_size=2,
).map(lambda listed: containers(*listed))

ANY_EVIDENCE = st.builds(
    Evidence,
    exit_status=st.sampled_from([None, 0, 1, 20, 128, 141, -1]),
    keeps_records=st.booleans(),
    record=st.none()
    | st.builds(a_record, st.sampled_from(BuildStatus), st.sampled_from([None, -1, 0, 1, 141])),
    output=st.builds(
        lambda marks, ours: facts(*marks, ours=tuple(ours)),
        st.sets(st.sampled_from(Mark)),
        st.sets(st.sampled_from([NEW, NEW_WORKER])),
    ),
    before=ANY_CONTAINERS.map(a_snapshot),
    after=ANY_CONTAINERS,
    report=st.none()
    | st.sampled_from([METADATA, OLD_METADATA]).map(lambda text: AppReport(metadata=text)),
    expected=st.sampled_from([None, METADATA]),
    cancel_asked=st.booleans(),
    cap_reached=st.booleans(),
    last_word=st.booleans(),
)


@given(ANY_EVIDENCE)
def test_a_success_is_never_given_without_its_evidence(given_: Evidence) -> None:
    verdict = decide(given_)
    good = verdict.kind is Kind.CHECK or verdict.phase is Phase.SUCCEEDED
    if not good:
        return
    told = given_.exit_status == 0 or (
        given_.exit_status is None
        and given_.record is not None
        and given_.record.status is BuildStatus.SUCCEEDED
    )
    assert told or not given_.keeps_records
    if verdict.phase is Phase.SUCCEEDED:
        assert given_.after is not None
        assert not given_.after.listed
        assert Mark.DEPLOYED in given_.output.marks
        assert given_.report is not None
        assert given_.report.metadata == given_.expected


@given(ANY_EVIDENCE)
def test_the_old_release_alone_is_never_a_success(given_: Evidence) -> None:
    if serving(given_.after, given_.output.ours, given_.before.containers) is Live.PREVIOUS:
        verdict = decide(given_)
        assert verdict.kind is not Kind.CHECK
        assert verdict.phase is not Phase.SUCCEEDED


@given(ANY_EVIDENCE)
def test_every_end_says_what_is_live_in_a_sentence(given_: Evidence) -> None:
    verdict = decide(given_)
    if verdict.kind in {Kind.END, Kind.START_AGAIN}:
        assert verdict.phase is not None
        assert verdict.live is not None
        assert verdict.reason.endswith(".")
        assert (verdict.failure is not None) == (verdict.phase is Phase.FAILED)
