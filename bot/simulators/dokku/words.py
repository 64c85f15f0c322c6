"""How Dokku cuts what comes over SSH into words."""


class UnmatchedQuote(Exception):
    """A quote has no end: `xargs` refuses."""


def split(command: str) -> list[str]:
    r"""Cut a command line into words.

    `git:*` is cut at white space only. Everything else goes through `xargs -n 1`: quotes protect,
    a backslash takes the next character literally outside of quotes, and no shell is involved.

    Raises UnmatchedQuote.
    """
    if command.lstrip().startswith("git:"):
        return command.split()
    words: list[str] = []
    word: list[str] | None = None
    quote = ""
    escaped = False
    for char in command:
        if escaped:
            word = [*(word or []), char]
            escaped = False
        elif quote:
            if char == quote:
                quote = ""
            else:
                word = [*(word or []), char]
        elif char == "\\":
            escaped = True
        elif char in "'\"":
            quote, word = char, word or []
        elif char.isspace():
            if word is not None:
                words.append("".join(word))
            word = None
        else:
            word = [*(word or []), char]
    if quote:
        raise UnmatchedQuote(command)
    return [*words, "".join(word)] if word is not None else words
