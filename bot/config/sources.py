"""Where settings come from: environment over `.env` over `deploybot.toml`, with their origins."""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bot.config.secrets import proxies_in
from bot.config.settings import AppTable, ServerTable, SettingsTable, Table, WebhookTable
from bot.config.values import Wrong
from bot.errors import ConfigError

Place = tuple[str | int, ...]
"""Where a value is: `("apps", "myapp", "repo")`."""
Layers = tuple[tuple[str, Mapping[str, str]], ...]
"""Variables with their source; a later layer overrides an earlier one."""

Report = Callable[[ConfigError], None]
"""What is done about a mistake: raise it, or note it and go on."""

ENVIRONMENT = "environment"
PREFIX = "DEPLOYBOT_"
"""Of the bot's own variables: an unknown one is a mistake."""
_SET_BY_PLATFORM = re.compile(
    r"(.+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?"
    r"|PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PROTO|(PORT_)?(START|END)|PORT))?)"
)
"""Variables of a Kubernetes service or a Docker link that is named like the bot."""
_LINKED_PORT = re.compile(r"(tcp|udp|sctp)://")
_LINKED_NAME = re.compile(r"/[^/]+/[^/]+")
"""What Docker sets as `ALIAS_NAME`: the container and the alias."""
CONFIG_VARIABLE = "DEPLOYBOT_CONFIG"
DEFAULT_FILE = "deploybot.toml"
DEFAULT_SERVER = "default"
"""The server that the DOKKU_ variables describe."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What an operator has to edit to change a value."""

    setting: str
    """The variable, or the dotted path in the file."""
    source: str
    """`environment`, `.env`, or the file's path."""

    def wrong(self, problem: str, fix: str = "") -> ConfigError:
        """The error to raise about it."""
        return ConfigError(self.setting, self.source, problem, fix)


@dataclass(slots=True, kw_only=True)
class Given:
    """All values that are set, merged, and where each came from."""

    values: dict[str, object] = field(default_factory=dict)
    origins: dict[Place, Origin] = field(default_factory=dict)
    file: str | None = None
    """The configuration file, where there is one."""
    names: tuple[str, ...] = ()
    """Every variable that is set, known or not, to find misspelt ones."""
    proxies: tuple[str, ...] = field(default=(), repr=False)
    """The addresses of proxies in the environment: their passwords are secrets."""

    def origin(self, place: Place) -> Origin:
        """The origin of a value; of a missing one, where to set it."""
        found = self.origins.get(place)
        if found is not None:
            return found
        sibling = next((o for p, o in self.origins.items() if p[:-1] == place[:-1]), None)
        spelt = VARIABLE_OF.get(_generic(place))
        by_variable = self.file is None or (sibling is not None and sibling.source != self.file)
        if spelt is not None and by_variable:
            return Origin(spelt, ENVIRONMENT)
        return Origin(dotted(place), self.file or ENVIRONMENT)


def refuse(error: ConfigError) -> None:
    """Go no further than the first mistake."""
    raise error


def dotted(place: Place) -> str:
    """A place as people write it: `apps.myapp.repo`."""
    return ".".join(str(part) for part in place)


def _places() -> Iterator[tuple[str, Place]]:
    tables: tuple[tuple[Place, type[Table]], ...] = (
        ((), SettingsTable),
        (("servers", DEFAULT_SERVER), ServerTable),
        (("webhooks", "*"), WebhookTable),
    )
    for above, table in tables:
        for name in table.model_fields:
            spelt = table.variable_of(name)
            if spelt is not None:
                yield spelt, (*above, name)


PLACE_OF: Mapping[str, Place] = dict(_places())
VARIABLE_OF: Mapping[Place, str] = {place: spelt for spelt, place in PLACE_OF.items()}


def _generic(place: Place) -> Place:
    return ("webhooks", "*", *place[2:]) if place[:1] == ("webhooks",) else place


def read_given(environ: Mapping[str, str], folder: Path, report: Report = refuse) -> Given:
    """Read and merge all sources. ConfigError: unreadable file, unknown DEPLOYBOT_ variable."""
    dotenv = _read_dotenv(folder / ".env", report)
    layers: Layers = ((".env", dotenv), (ENVIRONMENT, environ))
    given = Given(names=tuple(sorted({*dotenv, *environ})), proxies=proxies_in(environ))
    for source, layer in layers:
        for error in _unknown_variables(layer, source):
            report(error)
    _read_file(given, layers, folder, report)
    extra_webhook = _count(given.values.get("webhooks"))
    for source, layer in layers:
        for spelt, place in PLACE_OF.items():
            text = layer.get(spelt, "")
            if text.strip() and not _is_linked_port(spelt, text):
                if _is_quoted(text):
                    quoted = "the value is inside quotes", "Write it without the quotes."
                    report(Origin(spelt, source).wrong(*quoted))
                    continue
                where = tuple(extra_webhook if part == "*" else part for part in place)
                _put(given.values, where, text.strip())
                given.origins[where] = Origin(spelt, source)
    return given


def _is_linked_port(name: str, text: str) -> bool:
    return name.endswith("_PORT") and _LINKED_PORT.match(text.strip()) is not None


def _is_of_link(name: str, layer: Mapping[str, str]) -> bool:
    """Whether Docker set it for a linked container.

    `ALIAS_NAME`; or `ALIAS_ENV_…`, which counts only where the link itself is to be seen.
    """
    if name.endswith("_NAME"):
        return _LINKED_NAME.fullmatch(layer[name].strip()) is not None
    alias, its_own, _ = name.partition("_ENV_")
    if not its_own:
        return False
    port, link = f"{alias}_PORT", f"{alias}_NAME"
    return _is_linked_port(port, layer.get(port, "")) or (
        link in layer and _is_of_link(link, layer)
    )


def _is_quoted(text: str) -> bool:
    """`docker --env-file` and Kubernetes keep quotes as part of a value."""
    value = text.strip()
    return len(value) > 1 and value[0] == value[-1] and value[0] in "'\""


def _count(webhooks: object) -> int:
    return len(webhooks) if isinstance(webhooks, list) else 0


def _put(values: dict[str, object], place: Place, text: str) -> None:
    """Set a variable's value among those of the file, over what the file says."""
    if place[0] == "webhooks":
        listed = values.setdefault("webhooks", [])
        if isinstance(listed, list):
            if len(listed) == place[1]:
                listed.append({})
            listed[-1][place[2]] = text
        return
    table: object = values
    for part in place[:-1]:
        table = table.setdefault(str(part), {}) if isinstance(table, dict) else None
    if isinstance(table, dict):  # else the file has no table there, which validation refuses
        table[str(place[-1])] = text


def _read_dotenv(path: Path, report: Report) -> Mapping[str, str]:
    if not path.is_file():
        return {}
    from dotenv import dotenv_values  # noqa: PLC0415 - most installations have no such file

    try:
        # As written: a password may contain `${`.
        found = dotenv_values(path, interpolate=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        report(ConfigError(".env", str(path), "cannot be read", "Fix or remove the file."))
        return {}
    return {name: text for name, text in found.items() if text is not None}


def _unknown_variables(layer: Mapping[str, str], source: str) -> Iterator[ConfigError]:
    known = [*PLACE_OF, CONFIG_VARIABLE]
    ours = [name.removeprefix(PREFIX) for name in known if name.startswith(PREFIX)]
    for name in sorted(layer):
        own = name.removeprefix(PREFIX)
        if _SET_BY_PLATFORM.fullmatch(own) or _is_linked_port(name, layer[name]):
            continue
        if _is_of_link(name, layer):
            continue
        if name.startswith(PREFIX) and name not in known:
            problem, fix = _unknown(own, ours, "See docs/configuration.md, or unset it.", PREFIX)
            yield Origin(name, source).wrong(problem, fix)


def _unknown(name: str, known: list[str], else_fix: str, before: str = "") -> tuple[str, str]:
    near = get_close_matches(name, known, n=1)
    return (f"unknown, did you mean {before}{near[0]}?", "") if near else ("unknown", else_fix)


def _read_file(given: Given, layers: Layers, folder: Path, report: Report) -> None:
    name, named_by = DEFAULT_FILE, None
    for source, layer in layers:
        if layer.get(CONFIG_VARIABLE, "").strip():
            name, named_by = layer[CONFIG_VARIABLE].strip(), source
    try:
        path = folder / Path(name).expanduser()
    except RuntimeError:
        problem = "the path begins with ~, and the user that the bot runs as has no home"
        source = named_by or ENVIRONMENT
        return report(ConfigError(CONFIG_VARIABLE, source, problem, "Write the whole path."))
    if named_by is None and not path.is_file():
        return None
    try:
        # Some editors on Windows put a byte order mark first.
        given.values = tomllib.loads(path.read_text("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        # The parser's sentence may quote the line, and the line may contain a secret.
        line = re.search(r"at line \d+", str(err))
        at = f" {line[0]}" if line else ""
        fix = "Compare it with deploybot.toml.example."
        return report(ConfigError("syntax", name, f"not valid TOML{at}", fix))
    except OSError as err:
        setting, source = (CONFIG_VARIABLE, named_by) if named_by else ("the file", name)
        problem = f"the file cannot be read ({err.strerror})"
        return report(ConfigError(setting, source, problem, "Check path and rights."))
    given.file = name
    for place in _leaves(given.values, ()):
        given.origins[place] = Origin(dotted(place), given.file)
    return None


def _leaves(value: object, above: Place) -> Iterator[Place]:
    if above:
        yield above
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _leaves(below, (*above, key))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for number, item in enumerate(value):
            yield from _leaves(item, (*above, number))


def validate(given: Given) -> SettingsTable:
    """Validate what was given. ConfigError: the first thing that is wrong."""
    try:
        return SettingsTable.model_validate(given.values)
    except ValidationError as error:
        raise next(one for _, one in explain(error, given)) from None


def explain(error: ValidationError, given: Given) -> Sequence[tuple[Place, ConfigError]]:
    """Everything that is wrong, each with its place; misspelt keys first, they say most."""
    details = error.errors(include_url=False, include_input=False)
    details.sort(key=lambda one: one["type"] != "extra_forbidden")
    found: list[tuple[Place, ConfigError]] = []
    meant: set[Place] = set()
    for one in details:
        place = tuple(one["loc"])
        if one["type"] == "extra_forbidden":
            near = get_close_matches(str(place[-1]), _keys_at(place[:-1]), n=1)
            meant.update((*place[:-1], name) for name in near)
        elif one["type"] == "missing" and place in meant:
            continue  # it is there, misspelt
        if place and place[-1] == "[key]":
            place = place[:-1]
            problem, fix = "not a usable name", "Use letters, digits, dots and dashes."
        else:
            problem, fix = _phrase(one, place)
        found.append((place, given.origin(place).wrong(problem, fix)))
    return found


def _keys_at(place: Place) -> Sequence[str]:
    table = _table_at(place)
    return [] if table is None else list(table.model_fields)


def _phrase(details: Mapping[str, Any], place: Place) -> tuple[str, str]:
    table = _table_at(place[:-1])
    setting = table.model_fields.get(str(place[-1])) if table else None
    meaning = (setting.description or "") if setting else "See docs/configuration.md."
    match details["type"]:
        case "extra_forbidden":
            keys = list(_keys_at(place[:-1]))
            return _unknown(str(place[-1]), keys, f"Known here: {', '.join(keys)}.")
        case "value_error" if isinstance(wrong := details["ctx"]["error"], Wrong):
            return wrong.problem, wrong.fix
        case "missing":
            return "missing", meaning
        case "int_parsing" | "int_type" | "int_from_float":
            return "not a whole number", meaning
        case "bool_parsing" | "bool_type":
            return "neither true nor false", meaning
        case _:
            return details["msg"].replace("Input should", "should"), meaning


def _table_at(place: Place) -> type[Table] | None:
    match place:
        case ():
            return SettingsTable
        case ("servers", _):
            return ServerTable
        case ("apps", _):
            return AppTable
        case ("webhooks", _):
            return WebhookTable
        case _:
            return None
