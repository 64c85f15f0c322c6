"""How likely one line of a deploy's output is the reason of its failure. Pure.

Every pattern is anchored or starts at a fixed word, without nested repetition, so that hostile
text costs time in proportion to its length. To rank another line, add a row to its table; the
first row that matches counts.
"""

import re
from collections.abc import Callable
from functools import lru_cache

from bot.deployments.dokku_facts import Trouble

SPECIFIC = 45
"""From this rank on, a line says more than that something failed."""
DECISIVE = 88
"""From this rank on, a line is the cause of whatever follows it."""
AFTERMATH = 12
"""Says only that something failed."""

Ranks = tuple[tuple[int, Callable[[str], re.Match[str] | None]], ...]
_CHARS = 240
"""Of a line that are ranked: errors begin with what they are."""


def _rows(*rows: tuple[int, str]) -> Ranks:
    """Patterns of a line's beginning; after `~`, of any part of it."""
    return tuple((rank, _finder(pattern)) for rank, pattern in rows)


def _finder(pattern: str) -> Callable[[str], re.Match[str] | None]:
    if pattern.startswith("~"):
        return re.compile(pattern[1:]).search
    return re.compile(pattern).match


_MARGIN = re.compile(
    r"\[(?:builder|detector|analyzer|restorer|exporter|creator|launcher)\] ?"
    r"| !{1,2}(?: {1,8}|$)|[│┃➤\u00d7✖✗❌\u2a2f╰─▶▲>●]{1,4} (?=\S)"
)
_HEADING = re.compile(r"\A[-=]{5}> ")
_STAMP = re.compile(r"\A#\d{1,6} (?:\d{1,7}\.\d{1,4} )?")
_FILE = (
    r"(?:ts|tsx|js|jsx|mjs|cjs|vue|svelte|go|rs|c|cc|cpp|h|hpp|java|kt|kts|scala|cs|fs|vb|py|rb"
    r"|php|ex|exs|swift|erl|hs|css|scss)"
)
_THROWN = (
    r"(?:Error|Exception|Errno::[A-Z]{2,20}|NotFound|Unavailable|Invalid|ImproperlyConfigured"
    r"|Interrupt|Timeout|DoesNotExist|Fault|Violation|NotRegistered)"
)

_TROUBLES: tuple[tuple[Trouble, re.Pattern[str]], ...] = tuple(
    (trouble, re.compile(pattern))
    for trouble, pattern in (
        (Trouble.DISK, r"(?i:no space left on device|\bENOSPC\b|disk quota exceeded)"),
        (
            Trouble.MEMORY,
            (
                r"Killed(?: {2,}|$|: 9|\))|signal: killed|SIGKILL|OOMKilled|[Oo]ut of memory"
                r"|Cannot allocate memory|\bENOMEM\b|\bMemoryError\b|OutOfMemoryError"
                r"|(?:exit code|exit status|status|returned a non-zero code|exited with code)"
                r"(?::|=| is)? ?137\b"
            ),
        ),
        (
            Trouble.RATE_LIMIT,
            r"toomanyrequests|429 Too Many Requests|(?i:pull rate limit|rate limit exceeded)",
        ),
        (
            Trouble.REGISTRY,
            (
                r"pull access denied|requested access to the resource is denied"
                r"|unauthorized: |no basic auth credentials|failed to authorize:"
            ),
        ),
    )
)
_FETCH_TROUBLES: tuple[tuple[Trouble, re.Pattern[str]], ...] = tuple(
    (trouble, re.compile(pattern))
    for trouble, pattern in (
        (Trouble.OWNERSHIP, r"dubious ownership"),
        (Trouble.SUBMODULE, r"(?i:submodule)"),
        (Trouble.LFS, r"(?i:\blfs\b|smudge|data quota|batch response)"),
        (Trouble.DEPLOY_KEY, r"Permission denied \((?:publickey|.{0,60}publickey)|deploy key"),
        (Trouble.HOST_KEY, r"(?i:host key)"),
        (
            Trouble.CREDENTIALS,
            (
                r"could not read (?:Username|Password)|Authentication failed"
                r"|\Aremote: .{0,100}(?:[Aa]ccess denied|denied to|[Ii]nvalid)"
                r"|terminal prompts disabled|returned error: 40[13]|Invalid username or"
            ),
        ),
        (Trouble.APP_FILE, r"app\.json|Procfile"),
    )
)

_KILLED = (
    r"~(?:^|: +\d{1,9} )Killed(?: {2}|$|: 9)|signal: killed|SIGKILL|OOMKilled|out of memory"
    r"|Cannot allocate memory|(?:exit code|exit status|non-zero code)(?::|=)? ?137\b"
)

LINE_RANKS = _rows(
    # What the server or a registry cannot give: the cause of whatever follows.
    (100, r"~(?i:no space left on device|\bENOSPC\b)"),
    (98, r"~(?:toomanyrequests|429 Too Many Requests)"),
    (97, _KILLED),
    (95, r"(?:ERROR: )?Cannot connect to the Docker daemon"),
    (90, r"(?:docker: )?Error response from daemon: "),
    (89, r"~exec format error"),
    (89, r"~(?:pull access denied|no basic auth credentials)"),
    # What only follows from the error before it.
    (88, r"(?:.{1,80}: )?unknown (?:shorthand )?flag: "),
    (AFTERMATH, r"make(?:\[\d+\])?: \*\*\*|ninja: build stopped|error: could not compile"),
    (AFTERMATH, r"error Command failed|(?:\u2009|ERR_PNPM_| )?ELIFECYCLE|error Couldn't find a"),
    (AFTERMATH, (r"npm (?:error|ERR!) (?:code|path|command|cwd|errno|syscall|signal|workspace"
                r"|location|Lifecycle|lifecycle|Exit status|dest|spawnargs|prefix|gyp verb)\b")),
    (AFTERMATH, (r"npm (?:error|ERR!) (?:\d+ packages|While resolving|Found:|node_modules|Failed at"
                r"|This is probably|A complete log|Fix the upstream|this command with|to accept"
                r"|See \S+ for|For a full report)")),
    (AFTERMATH, (r"\[ERROR\] (?:-> |To see the full|Re-run Maven|For more information|After correc"
                r"|Failed to execute goal|  ?mvn )|\[ERROR\] COMPILATION ERROR|\[ERROR\]$")),
    (AFTERMATH, (r"(?:BUILD FAILED|FAILURE: Build failed|rake aborted!|Build failed|Build FAILED"
                r"|error: subprocess-exited|ERROR: Failed building wheel|ERROR: Failed to build"
                r"|Failed to build|Command failed|error during build:|Failed to compile"
                r"|Traceback \(most recent|Tasks: TOP|ERROR: failed to build: exit"
                r"|(?:ERROR: )?failed to (?:solve: process|solve: executor|solve: rpc|build: exec)"
                r"|error: failed-wheel-build|Error: Docker build failed|npm (?:error|ERR!) *$)")),
    (AFTERMATH, r"The command '.*' returned a non-zero code|process \".*\" did not complete"),
    (AFTERMATH, r"(?:Error|error|ERROR): (?:Process|process|Command|command) .{0,200}exit"),
    (AFTERMATH, r"An error occurred while installing|In Gemfile:|Some possible problems"),
    # A compiler's error with file and line, or a package manager's own error.
    (86, r"\S{1,200}\." + _FILE + r"[:(\[]\d+(?:[,:]\d+)?[\])]?:? .{0,40}(?:error|Error|undefined"
         r"|cannot|expected|undeclared|not found|unresolved|missing|imported and not used"
         r"|declared and not used|fatal)"),
    (86, r"\[ERROR\] \S{1,300}\." + _FILE + r":\[\d+,\d+\] "),
    (85, r"\S{1,200}\." + _FILE + r":\d+:\d+: \S"),
    (85, r"error(?:\[[A-Z]\d{2,6}\]| (?:TS|CS|FS|NU|MSB|NETSDK|VB)\d{2,6}): \S"),
    (85, r"~: error (?:TS|CS|FS|NU|MSB|NETSDK|VB)\d{2,6}: \S"),
    (84, r"e: (?:file://)?\S+\.kts?[: ]"),
    (84, r"\*\* \(\w[\w.]{0,80}(?:Error|Mix|exit|EXIT)\)|\*\* \((?:Mix|exit)\)"),
    (84, (r"Because .{1,300}version solving failed|Because .{1,300}(?:unsatisfiable|depends on|"
         r"requires)")),
    (83, (r"(?:Caused by|Uncaught|Unhandled|fatal|panic|PHP (?:Fatal|Parse) error)(?: \w{1,40})?:"
         r" {1,3}\S|panic: \S|fatal error: \S")),
    (82, r"(?:Uncaught |Unhandled |\[?vite\]?:? ?|Type|Exception in thread .{1,60} )?"
         r"[\w.:$\\]{0,120}" + _THROWN + r": \S"),
    (83, r"Unhandled exception\. \S|called `\S{1,60}` on an? `"),
    (82, r"~\(\w[\w:]{0,80}(?:Error|Exception)\)$"),
    (80, (r"npm (?:error|ERR!) (?:`?npm ci`? |Missing script|Could not resolve|\d{3} |notarget"
         r"|Missing: |peer |Conflicting|Unsupported|Invalid|cb\(\)"
         r"|ERESOLVE could|ERESOLVE unable)")),
    (79, r"npm (?:error|ERR!) \S+"),
    (79, (r"ERROR: (?:Could not find a version|No matching distribution|Cannot install|Package |"
         r"Could not install|Invalid requirement|Could not open requirements|unable to select)")),
    (79, r"(?:ERR_PNPM_\w{1,80}|YN(?!0000)\d{4}:) .{0,20}\S"),
    (79, (r"Your (?:bundle only|lock file does)|Your requirements could not be resolved"
         r"|pyproject\.toml changed significantly")),
    (79, (r"Your Ruby version is|Could not find (?:gem|compatible|\S+ in)|Bundler could not find"
         r"|Could not (?:resolve|find|determine|GET)\b")),
    (79, r"go: .{1,200}(?:requires go|not found|unknown revision|invalid|missing|updates to go)"),
    (80, r"Could not find \S"),
    (79, r"E: \S"),
    (60, r"ERROR in \S"),
    (78, r"(?:ERROR|Error|error|FATAL|Fatal|fatal)(?: in \S{1,200})?: \S"),
    (78, r"error \S+ \S+"),
    (77, r"\[?(?:ERROR|FATAL|CRITICAL|SEVERE|E)\]? \S+ \S"),
    (77, r"(?:.{1,80}: )?(?:line )?(?:\d+: )?\S{1,120}: (?:command |applet )?not found$"),
    (79, r"Module not found: |Cannot find (?:module|package|type)|No solution found"),
    (76, r"(?:- Root composer\.json|- \S+ \S+ requires) .{0,200}"),
    (74, r"FAILED \S|FAIL \S|FAIL: |E {3}\S|(?:Test|Tests):? .{0,60}[1-9]\d* fail"),
    (72, r"~\bunknown (?:shorthand )?flag"),
    (70, r"thread '.{1,60}' panicked at|\S{1,120}: (?:line )?\d{1,6}: \S"),
    (70, r"(?:x )?(?:Expected|Unexpected) \S"),
    # Sentences.
    (66, r"Nixpacks was unable|Unable to select a buildpack|No start command"),
    (50, (r"~(?i:\b(?:unable to|could not|cannot|can't|couldn't|not allowed|not found"
         r"|no such|not supported|is unknown|is not|are not|invalid|missing|must be|unsupported"
         r"|refused|denied|timed out|outdated|expired|exceeded)\b)")),
    (46, r"~(?i:\b(?:errors?|exception|fatal|failed|failure|fails|panic|aborted)\b)"),
)  # fmt: skip
"""Of the output of a build, a task or a container."""

_FOLLOWS = 3
"""Dokku's last words, which follow from any error."""
_OPEN = 3
"""What a line is worth less that only announces the next one."""
_DOKKU_ENDS = (
    _FOLLOWS,
    (
        r" !     (?:App build failed|Failure building image|Failure starting container during app "
        r"build"
        r"|builds-record-finalize: |Failure injecting )|parallel: This job failed"
        r"|.{0,40}no record for "
        r"|/var/lib/dokku/plugins/available/scheduler"
    ),
)
_COMPLAINT = (45, r" !{1,2} +\S")
BUILD_COMPLAINTS = _rows(
    _DOKKU_ENDS,
    (48, r" !{1,2} +(?i:error: )"),
    _COMPLAINT,
)
RELEASE_RANKS = _rows(
    (100, r"~(?i:no space left on device|\bENOSPC\b)"),
    (98, r"~(?:toomanyrequests|429 Too Many Requests)"),
    (95, r"(?:ERROR: )?Cannot connect to the Docker daemon"),
    # Complaints about what is gone already: Dokku goes on.
    (30, (r"Error response from daemon: (?:sandbox|No such container|cannot kill|Cannot kill"
         r"|Container \S+ is not running|network \S+ not found|removal of container|endpoint)")),
    (92, r"Error response from daemon: No command specified"),
    (91, r"nginx: \[emerg\]|.{0,80}\[emerg\] \d"),
    (90, r"(?:docker: )?Error response from daemon: "),
    (89, r"(?:.{1,80}: )?unknown (?:shorthand )?flag"),
    (89, r"~(?:pull access denied|no basic auth credentials|exec format error)"),
    _DOKKU_ENDS,
    (70, r" !     Failure in name="),
    (68, r" !     Execution of \S+ task failed"),
    (65, r" !     (?:Could not start due to|App container failed to start)"),
    _COMPLAINT,
    (44, r"ERROR: |(?:fatal|error|Error): "),
    (40, r"(?:\S{1,120}: )?line \d+: "),
)  # fmt: skip
"""Of Dokku's own lines after the build."""

FETCH_RANKS = _rows(
    (100, r"~(?i:no space left on device|disk quota exceeded)"),
    (96, r" !     (?:\S+ currently has a deploy lock|App \S+ does not exist)"),
    (95, r"(?:ERROR: )?Cannot connect to the Docker daemon"),
    (93, r"fatal: detected dubious ownership"),
    (92, (r"(?:fatal: clone of .{1,300} into submodule|fatal: No url found for submodule"
         r"|Fetched in submodule path|Unable to (?:checkout|fetch|find current revision).{0,40}"
         r" in submodule|fatal: .{0,200}submodule)")),
    (91, (r"(?:Error downloading|batch response|Smudge error|LFS: |git-lfs|error: external filter"
         r"|.{0,60}(?:over its data quota|LFS budget))")),
    (90, r"~(?:[Oo]ut of memory|Cannot allocate memory|unable to create thread)"),
    (85, r"fatal: .*\^\{commit\}: not a valid SHA1|error: pathspec '"),
    (85, (r"fatal: (?:couldn't find remote ref |Remote branch .* not found in upstream"
         r"|reference is not a tree|bad object |Needed a single revision|ambiguous argument "
         r"|remote error: upload-pack: not our ref)")),
    (80, r"(?:fatal|error): .*(?:cannot lock ref|[Uu]nable to (?:create|write)|write error)"),
    (78, r"fatal: (?:Authentication failed|could not read (?:Username|Password))"),
    (77, r"remote: .{0,200}(?:[Nn]ot found|[Dd]enied|[Ff]orbidden|not allowed|suspended|disabled)"),
    (76, r"No \S+ host key is known|Host key for \S+ has changed"),
    (75, r"(?:ssh: |ERROR: |Host key verification failed|\S+: Permission denied \()"),
    _DOKKU_ENDS,
    (65, r" !     (?:Failed|Invalid|Unable|Error|Could)"),
    _COMPLAINT,
    (79, r"(?:.{1,80}: )?unknown (?:shorthand )?flag"),
    (64, r"error: RPC failed"),
    (60, r"fatal: (?!Could not read from remote)"),
    (40, r"fatal: |error: "),
)  # fmt: skip
"""Of what Dokku and git print before the build."""

_NOISE = re.compile(
    r"(?:A complete log of this run|See the log output|See '\w+ \S+ --help'|We're sorry this build"
    r"|Some possible problems|Love,$|Heroku$|You can troubleshoot|If you're stuck"
    r"|If this (?:problem|error) persists"
    r"|(?:We recommend|Please (?:run|check|see|submit|make|try)|Run with --|Try:|Suggestions?:"
    r"|To fix)"
    r"|(?:https?://)\S+$|Visit https?://|info Visit|For more information|More info"
    r"|npm (?:warn|WARN|notice|http|info|verb|sill)\b|npm (?:error|ERR!)$"
    r"|npm (?:error|ERR!) (?:A complete log| {4,})"
    r"|(?i:warn(?:ing)?\b|\[warn(?:ing)?\]|deprecat|\(node:\d+\)|\[notice\]|info\b|debug\b|\[info\])"
    r"|\S{1,80} (?:WARN|WARNING|INFO|DEBUG)\b|\S{1,200}: (?:warning|note|deprecated)\b"
    r"|\S{1,200}\.\w{1,5}[:(\[][\d,:]{1,20}[\])]?:? (?:warning|note)\b"
    r"|[A-Za-z_][A-Za-z0-9_]{0,80}=\S*$|export [A-Z]|(?:ENV|ARG|LABEL|WORKDIR|COPY|RUN|FROM) "
    r"|ERROR: pip's dependency resolver|Running healthcheck|Healthcheck succeeded"
    r"|(?:Error: )?[Ff]ailed to rename container"
    r"|(?:Retagging old image|Removing invalid image|Removing invalid nginx|No healthchecks found"
    r"|No web listeners|Run 'apps:unlock'|App has been detected as not"
    r"|Skipping \S+ as it is missing|Detected |Ensure the default|Switching to pack builder"
    r"|Deploys may fail when publishing|Herokuish builder not supported)"
    r"|(?:[✓✔√☑]|ok \d|PASS\b|--- PASS|=== RUN|test \S+ \.\.\. ok|\S+ (?:PASSED|passed)\b)"
    r"|(?:Collecting|Downloading|Installing|Fetching|Compiling|Unpacking|Setting up|Using|Adding"
    r"|Get:\d+|Requirement already|added|Successfully|Step \d+/\d+ :|--->|Removing intermediate)\b"
    r"|[\d,]+ (?:errors?|failures?|failed)$|DEPRECATED: |Default types for|Procfile declares"
    r"|Reusing layer|Restoring|Saving |transferring |sha256:|(?:DONE|CACHED|CANCELED)\b)"
)
_NO_ERROR = re.compile(
    r"(?i)\b(?:0|no|zero|without)(?: \w{1,20})? (?:errors?|failures?|failed|problems?|vulnerabilit)"
    r"|\b(?:errors?|failures?|failed)\b ?[:=]? ?0\b"
)
_HINTS = tuple(
    """
    err|fail|fatal|exception|panic|abort|kill|not |n't|unable|cannot|could|denied|refused|missing
    unknown|invalid|no s|space|limit|many|memory|expired|outdated|timed|exceed|unsupp|!|yn0|because
    **|caused|e: |require|unauthor|unresolved|interrupt|emerg|expected|undefined|undeclared
    imported|declared|:1|:2|:3|:4|:5|:6|:7|:8|:9|parallel|flag|must|quota|lfs|submodule|host|but
    does|chang|only supp|conflict|incompat|line |ssh|key|no |timeout|violation|137|enospc|enomem
    """.replace("\n    ", "|")
    .strip("|")
    .split("|")
)
"""A line without any of them is not the reason. Most lines are sorted out here, at little cost."""


@lru_cache(maxsize=2_048)
def bare(line: str) -> str:
    """The line without the margins of Dokku, buildpacks and frames around it."""
    text = line if line.startswith(" !") else _HEADING.sub("", line.strip(), count=1)
    text = text[margin.end() :] if (margin := _MARGIN.match(text)) else text
    return text.strip()


@lru_cache(maxsize=2_048)
def is_noise(body: str) -> bool:
    """Whether a line never says why: farewells, advice, warnings, settings, progress."""
    return _NOISE.match(body) is not None


@lru_cache(maxsize=2_048)
def rank(line: str, body: str, ranks: Ranks) -> int:
    """How much a line says about a failure; 0: nothing. `body` is the line without its margin."""
    line, body = line[:_CHARS], body[:_CHARS]
    small = line.lower()
    if not any(hint in small for hint in _HINTS) or _NO_ERROR.search(body):
        return 0
    if ranks is not LINE_RANKS:
        return _first(line, ranks)
    if not line.startswith(" !"):
        found = _first(body, ranks)
        return found - _OPEN if found >= SPECIFIC and body.endswith(":") else found
    complaint, plain = _first(line, BUILD_COMPLAINTS), _first(body, ranks)
    return max(complaint, plain) if complaint == _COMPLAINT[0] and plain >= SPECIFIC else complaint


def trouble_of(reason: str, *, before_build: bool = False) -> Trouble | None:
    """What a reason is about, where the remedy is known."""
    rows = (*_TROUBLES[:2], *_FETCH_TROUBLES) if before_build else _TROUBLES
    return next((trouble for trouble, pattern in rows if pattern.search(reason)), None)


def means_error(line: str) -> bool:
    """Whether a line of any phase says that something failed."""
    line = _STAMP.sub("", line, count=1)
    body = bare(line)
    if is_noise(body):
        return False
    return max(rank(line, body, RELEASE_RANKS), rank(line, body, LINE_RANKS)) > _FOLLOWS


def _first(text: str, ranks: Ranks) -> int:
    return next((rank for rank, matches in ranks if matches(text)), 0)
